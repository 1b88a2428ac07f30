package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// fakeServer answers each stream header with features, until the test ends.
func fakeServer(t *testing.T, ln net.Listener, features string) string {
	t.Helper()
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			answerHeader(nc, features)
		}
	}()
	return ln.Addr().String()
}

// answerHeader answers once, and waits for the end of the stream.
func answerHeader(nc net.Conn, features string) {
	defer nc.Close()
	in := bufio.NewReader(nc)
	for range 2 { // <?xml?> and <stream>
		if _, err := in.ReadString('>'); err != nil {
			return
		}
	}
	_, err := nc.Write([]byte("<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' " +
		"version='1.0' id='1' from='a.example'><stream:features>" + features + "</stream:features>"))
	if err == nil {
		_, _ = in.ReadString('>')
	}
}

func offering(mechanisms ...string) string {
	return "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>" + strings.Join(mechanisms, "</mechanism><mechanism>") + "</mechanism></mechanisms>"
}

func listenLocal(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// writeAuthority puts DIR/ca.crt and ca.key there, for everybody to read.
func writeAuthority(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "logins"}, NotBefore: time.Now().Add(-day),
		NotAfter: time.Now().Add(day), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"ca.crt": {Type: "CERTIFICATE", Bytes: der}, "ca.key": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCheckCmd_upstream(t *testing.T) {
	dir := checkDir(t, map[string]string{"auth.sh": yesScript})
	writeCertificate(t, dir, "a.example", testCertificate{left: 100 * day, issuer: "Example CA", chain: true})
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "certs/a.example.crt"), filepath.Join(dir, "certs/a.example.key"))
	if err != nil {
		t.Fatal(err)
	}
	chain, err := os.ReadFile(filepath.Join(dir, "certs/a.example.crt"))
	if err != nil {
		t.Fatal(err)
	}
	const endOfCert = "-----END CERTIFICATE-----\n"
	_, issuer, _ := strings.Cut(string(chain), endOfCert)
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), []byte(issuer), 0o644); err != nil {
		t.Fatal(err)
	}
	secured := fakeServer(t, tls.NewListener(listenLocal(t), &tls.Config{Certificates: []tls.Certificate{pair}}), offering("PLAIN", "EXTERNAL"))
	plain := fakeServer(t, listenLocal(t), offering("SCRAM-SHA-1", "PLAIN"))
	silent := fakeServer(t, listenLocal(t), "")
	closed := listenLocal(t)
	down := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	writeAuthority(t, dir)
	const (
		api  = "gatehouse_admin = '127.0.0.1:5280' gatehouse_auth_api_user = 'u' gatehouse_auth_api_password = 'canary-0123456789'\n"
		host = "VirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh'\n"
		keys = "gatehouse_upstream_token_secret = 'canary-0123456789' gatehouse_upstream_otp_seed = 'MFRGGZDFMZTWQ2LK'\n"
		ca   = "gatehouse_upstream_ca = { certificate = 'ca.crt', key = 'ca.key' }\n"
	)
	for _, c := range []struct {
		name, config string
		args         []string
		code         int
		want, not    []string
	}{
		{
			name:   "explained",
			config: "gatehouse_extauth_socket = 'x.sock' gatehouse_proxy_protocol_from = '10.0.0.0/8'\n" + api + host + "gatehouse_upstream = { '127.0.0.1:1', 'unix:c2s.sock' } gatehouse_upstream_proxy_protocol = 1",
			want: []string{`upstream     127\.0\.0\.1:1, else unix:DIR/c2s\.sock \(prosody\.cfg\.lua:6\)\n +no TLS, as it does not leave this machine\n`,
				`knows its users by tickets \(PLAIN\), about which it asks gatehouse extauth at x\.sock or http://127\.0\.0\.1:5280/auth/\n`,
				`5s to be logged in there; the client's address is told by the PROXY protocol, version 1\n`,
				`extauth      x\.sock \(prosody\.cfg\.lua:3\)`, `believes     10\.0\.0\.0/8 \(prosody\.cfg\.lua:3\)`, "This file is good"},
			not: []string{"tried", "canary"},
		},
		{
			name:   "nobody asks",
			config: host + "gatehouse_upstream = '127.0.0.1:1'",
			want:   []string{`about which it asks NOWHERE`, `warning  prosody\.cfg\.lua:4: host a\.example: gatehouse_upstream: the server behind has no way to ask`},
		},
		{
			name:   "in the clear",
			config: host + "gatehouse_upstream = 'prosody:5222' gatehouse_upstream_auth = 'password' gatehouse_upstream_tls = 'none' gatehouse_upstream_allow_unencrypted = true",
			want:   []string{`no TLS, and it may leave this machine`, `checks their passwords itself \(PLAIN\)`},
		},
		{
			name:   "goes there",
			config: api + host + "gatehouse_upstream = '" + plain + "'",
			args:   []string{"--upstream"},
			want:   []string{`tried +` + plain + `: answers in \S+ without TLS, and offers SCRAM-SHA-1, PLAIN\n`},
		},
		{
			name:   "over TLS",
			config: api + host + "gatehouse_upstream = '" + secured + "' gatehouse_upstream_tls = 'direct' gatehouse_upstream_trust = 'ca.pem'",
			args:   []string{"--upstream"},
			want: []string{`direct TLS, with a certificate for a\.example from one of ca\.pem\n`,
				`tried +\S+: answers in \S+ over TLS 1\.3, with a certificate from Example CA \(Testers\) until \d{4}-\d\d-\d\d, and offers PLAIN, EXTERNAL\n`},
		},
		{
			name:   "a certificate of somebody else",
			config: api + host + "gatehouse_upstream = '" + secured + "' gatehouse_upstream_tls = 'direct' gatehouse_upstream_trust = 'ca.pem' gatehouse_upstream_tls_name = 'b.example'",
			args:   []string{"--upstream"},
			code:   exitUnavailable,
			want:   []string{`tried +\S+: the link to the upstream is not secure: TLS handshake: .*b\.example`, `gatehouse: 1 server behind cannot be used now`},
		},
		{
			name:   "one of two is down, one offers too little",
			config: host + keys + "gatehouse_upstream = { '" + down + "', '" + plain + "', '" + silent + "' } gatehouse_upstream_auth = 'token'",
			args:   []string{"--upstream"},
			code:   exitUnavailable,
			want: []string{`tried +` + down + `: the upstream is down: dial: .*refused`, `offers SCRAM-SHA-1, PLAIN; not X-TOKEN, which gatehouse needs there\n`,
				`offers no mechanism; not X-TOKEN`, `knows its users by tokens that gatehouse mints \(X-TOKEN\)`, `3 servers behind cannot be used now`},
			not: []string{"canary", "MFRGG"},
		},
		{
			name:   "no TLS where there must be",
			config: api + host + "gatehouse_upstream = '" + plain + "' gatehouse_upstream_tls = 'starttls'",
			args:   []string{"--upstream"},
			code:   exitUnavailable,
			want:   []string{`the link to the upstream is not secure: it offers no STARTTLS`},
		},
		{
			name:   "quiet",
			config: api + host + "gatehouse_upstream = '" + down + "'",
			args:   []string{"--upstream", "--quiet"},
			code:   exitUnavailable,
			want:   []string{`1 server behind cannot be used now`},
		},
		{
			name:   "certificates",
			config: host + ca + "gatehouse_upstream = '" + secured + "' gatehouse_upstream_auth = 'external' gatehouse_upstream_tls = 'direct' gatehouse_upstream_trust = 'ca.pem'",
			args:   []string{"--upstream"},
			want: []string{`certificates that gatehouse signs for each login \(EXTERNAL\), with ca\.crt\n`,
				`DANGER   prosody\.cfg\.lua:4: gatehouse_upstream_ca: everybody on this machine may read its key DIR/ca\.key`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(dir, "prosody.cfg.lua"), []byte(selfSignedHead+c.config+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := checked(t, dir, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range c.want {
				if !regexp.MustCompile(want).MatchString(stdout + stderr) {
					t.Errorf("%q is missing", want)
				}
			}
			for _, not := range c.not {
				if regexp.MustCompile(not).MatchString(stdout + stderr) {
					t.Errorf("%q is there", not)
				}
			}
			if t.Failed() {
				t.Logf("%s\n%s", stdout, stderr)
			}
		})
	}
}
