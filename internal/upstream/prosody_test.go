package upstream

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// prosody is a real one, with the user alice whose password is secret.
type prosody struct {
	plain, direct Address
	cmd           *exec.Cmd
	ended         chan struct{}
	log           *logs
}

// startProsody starts a Prosody with the config of testdata and waits until it
// takes connections. authority signs what clients show.
func startProsody(t *testing.T, ca *xmpptest.CA, authority []byte) *prosody {
	t.Helper()
	dir := t.TempDir()
	pair, err := ca.Issue(xmpptest.ECDSA, "example.org", "cert.example.org")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := pair.Write(dir, "example.org"); err != nil {
		t.Fatal(err)
	}
	accounts := filepath.Join(dir, "example%2eorg", "accounts")
	if err := os.MkdirAll(accounts, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{
		filepath.Join(dir, "ca.pem"):         string(authority),
		filepath.Join(accounts, "alice.dat"): fmt.Sprintf("return { password = %q };", secret),
	} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	config, err := filepath.Abs("testdata/prosody.cfg.lua")
	if err != nil {
		t.Fatal(err)
	}
	var addresses [2]Address
	var held []net.Listener
	env := append(os.Environ(), "TEST_DATA="+dir)
	for i, name := range []string{"TEST_PORT", "TEST_DIRECT_PORT"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, ln)
		addresses[i] = Address{"tcp", ln.Addr().String()}
		env = append(env, fmt.Sprintf("%s=%d", name, ln.Addr().(*net.TCPAddr).Port))
	}
	for _, ln := range held {
		_ = ln.Close()
	}
	p := &prosody{
		plain: addresses[0], direct: addresses[1],
		cmd: exec.Command("prosody", "-F", "--config", config), ended: make(chan struct{}), log: new(logs),
	}
	p.cmd.Env, p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = env, dir, p.log, p.log, time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%v; run scripts/test-deps.sh as root", err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("Prosody's log:\n%s", p.log)
		}
	})
	for _, a := range addresses {
		await(t, "Prosody takes connections on "+a.Addr, func() bool {
			select {
			case <-p.ended:
				t.Fatal("Prosody ended")
			default:
			}
			conn, err := net.Dial(a.Network, a.Addr)
			if err == nil {
				_ = conn.Close()
			}
			return err == nil
		})
	}
	return p
}

func (p *prosody) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// bind goes on with the stream as a client would, and returns the bound JID.
func bind(t *testing.T, conn net.Conn, host string) string {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='"+host+"'>"+
		"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq>"); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for b := make([]byte, 4096); !strings.Contains(got.String(), "</iq>"); {
		n, err := conn.Read(b)
		if err != nil {
			t.Fatalf("%v after %s", err, &got)
		}
		got.Write(b[:n])
	}
	if !strings.HasPrefix(got.String(), "<?xml") {
		t.Errorf("something stood before the stream: %s", &got)
	}
	_, rest, _ := strings.Cut(got.String(), "<jid>")
	jid, _, _ := strings.Cut(rest, "</jid>")
	return jid
}

func TestProsody(t *testing.T) {
	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	users := newUserCA(t)
	p := startProsody(t, ca, users.pem)
	trust := &tls.Config{RootCAs: ca.Pool(), ServerName: "example.org"}
	certificate := func(_ context.Context, user, host, _ string) (Credential, error) {
		return Credential{Mechanism: External, Certificate: users.issue(t, user+"@"+host)}, nil
	}
	tests := []struct {
		name   string
		user   string // alice, unless said
		host   string // example.org, unless said
		config Config
		want   error
	}{
		{name: "plain", config: Config{Addresses: []Address{p.plain}, Credentials: plain}},
		{name: "STARTTLS", config: Config{Addresses: []Address{p.plain}, Mode: StartTLS, Credentials: plain}},
		{name: "direct TLS", config: Config{Addresses: []Address{p.direct}, Mode: DirectTLS, Credentials: plain}},
		{name: "wrong password", config: Config{Addresses: []Address{p.plain}, Credentials: func(context.Context, string, string, string) (Credential, error) {
			return Credential{Mechanism: Plain, Secret: "not " + secret}, nil
		}}, want: ErrRefused},
		{name: "unknown host", host: "elsewhere.example", config: Config{Addresses: []Address{p.plain}, Credentials: plain}, want: ErrDown},
		{name: "no X-TOKEN", config: Config{Addresses: []Address{p.plain}, Credentials: func(context.Context, string, string, string) (Credential, error) {
			return Credential{Mechanism: XToken, Secret: secret}, nil
		}}, want: ErrProtocol},
		{name: "TLS where there is none", config: Config{Addresses: []Address{p.plain}, Mode: DirectTLS, Credentials: plain, Timeout: 2 * time.Second}, want: ErrInsecure},
		{name: "EXTERNAL, STARTTLS", host: "cert.example.org", config: Config{Addresses: []Address{p.plain}, Mode: StartTLS, Credentials: certificate}},
		{name: "EXTERNAL, somebody else", user: "bob", host: "cert.example.org", config: Config{Addresses: []Address{p.plain}, Mode: StartTLS, Credentials: certificate}},
		{name: "EXTERNAL, another's certificate", user: "bob", host: "cert.example.org", config: Config{Addresses: []Address{p.plain}, Mode: StartTLS,
			Credentials: func(context.Context, string, string, string) (Credential, error) {
				return certificate(t.Context(), "alice", "cert.example.org", "")
			}}, want: ErrRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.user == "" {
				tt.user = "alice"
			}
			if tt.host == "" {
				tt.host = "example.org"
			}
			tt.config.TLS = trust
			if tt.config.Timeout == 0 {
				tt.config.Timeout = 10 * time.Second
			}
			u := New(tt.config)
			defer u.Close()
			conn, err := u.Open(t.Context(), tt.user, tt.host, "", nil, nil)
			if !errors.Is(err, tt.want) {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			if err != nil {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the secret is in %q", err)
				}
				return
			}
			defer conn.Close()
			if jid := bind(t, conn, tt.host); !strings.HasPrefix(jid, tt.user+"@"+tt.host+"/") {
				t.Errorf("bound %q", jid)
			}
		})
	}
}

// TestProsody_dies: the second of two takes over when the first is killed, and
// the first is seen again when it is back.
func TestProsody_dies(t *testing.T) {
	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	first, second := startProsody(t, ca, ca.PEM()), startProsody(t, ca, ca.PEM())
	u := start(t, nil, first.plain, second.plain)
	login := func(want int) {
		t.Helper()
		began := time.Now()
		conn, err := open(t, u)
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.RemoteAddr().String(); got != u.config.Addresses[want].Addr {
			t.Errorf("logged in at %s", got)
		}
		bind(t, conn, "example.org")
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("took %v", d)
		}
	}
	login(0)
	first.kill()
	login(1)
	second.kill()
	if _, err := open(t, u); !errors.Is(err, ErrDown) {
		t.Error(err)
	}
	first.cmd, first.ended = restart(t, first)
	await(t, "the first is up", func() bool { return u.Stats()[0].Up })
	login(0)
}

// restart runs the same command once more.
func restart(t *testing.T, p *prosody) (*exec.Cmd, chan struct{}) {
	t.Helper()
	cmd := exec.Command(p.cmd.Path, p.cmd.Args[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = p.cmd.Env, p.cmd.Dir, p.log, p.log, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	return cmd, ended
}

// userCA signs the certificates of users.
type userCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newUserCA(t *testing.T) *userCA {
	t.Helper()
	ca := &userCA{cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "users"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}}
	var der []byte
	ca.key, der = sign(t, ca.cert, ca.cert, nil)
	ca.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return ca
}

// issue makes a certificate with an xmppAddr (RFC 6120 §13.7.1.4).
func (ca *userCA) issue(t *testing.T, jid string) *tls.Certificate {
	t.Helper()
	value, err := asn1.MarshalWithParams(jid, "utf8,explicit,tag:0")
	if err != nil {
		t.Fatal(err)
	}
	id, err := asn1.Marshal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5})
	if err != nil {
		t.Fatal(err)
	}
	names, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: append(id, value...)}})
	if err != nil {
		t.Fatal(err)
	}
	key, der := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "user"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature,
		// Prosody verifies clients' certificates as if they were servers' (LuaSec's lsec_ignore_purpose).
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: names}},
	}, ca.cert, ca.key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// sign makes a key and the certificate for it, signed by the parent's or itself.
func sign(t *testing.T, template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}
