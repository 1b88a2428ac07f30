package integration

import (
	"context"
	"crypto/tls"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// lastSession is a cache that keeps one session and offers it to whichever server is asked next. That is what no honest
// client does.
type lastSession struct{ session *tls.ClientSessionState }

func (l *lastSession) Get(string) (*tls.ClientSessionState, bool)    { return l.session, l.session != nil }
func (l *lastSession) Put(_ string, session *tls.ClientSessionState) { l.session = session }

// A tlsPort is a port on which a handshake is made.
type tlsPort struct {
	name, address, alpn string
	starttls            bool
}

// connect makes a handshake for a host, and reads what the server says first in it, with which tickets come.
func (p tlsPort) connect(t *testing.T, host string, version uint16, cache tls.ClientSessionCache) tls.ConnectionState {
	t.Helper()
	config := &tls.Config{
		ServerName: host, InsecureSkipVerify: true, ClientSessionCache: cache,
		MinVersion: version, MaxVersion: version, NextProtos: []string{p.alpn},
	}
	var c *xmpptest.Client
	var err error
	if p.starttls {
		if c, err = xmpptest.Dial(p.address); err == nil {
			_, err = c.Secure(host, config)
		}
	} else if c, err = xmpptest.DialTLS(p.address, config); err == nil && p.alpn == "xmpp-client" {
		_, err = c.Open(host)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	tc := c.Conn().(*tls.Conn)
	if p.alpn == "http/1.1" {
		_ = tc.SetDeadline(time.Now().Add(patience))
		if _, err := tc.Write([]byte("GET /none HTTP/1.1\r\nHost: " + host + "\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := tc.Read(make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
	}
	return tc.ConnectionState()
}

// twoHosts serves one.example and two.example, each with a certificate of its own.
func twoHosts(t *testing.T) *served {
	t.Helper()
	dir := t.TempDir()
	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	s := &served{dir: dir, ca: ca}
	script := installScript(t, dir, "auth", accounts("alice", "secret"))
	var hosts []host
	for _, name := range []string{"one.example", "two.example"} {
		s.certify(t, name)
		hosts = append(hosts, host{name, options{
			"authentication": "external", "external_auth_command": script.path,
			"ssl": map[string]any{"certificate": name + ".crt", "key": name + ".key"},
		}})
	}
	s.daemon = start(t, writeConfig(t, dir, hosts, baseOptions(dir), webPorts(0, 0)))
	s.ports = []tlsPort{
		{"starttls", s.daemon.address(t, "starttls"), "xmpp-client", true},
		{"direct", s.daemon.address(t, "direct"), "xmpp-client", false},
		{"wss", webWays(t, s.daemon)[1].address, "http/1.1", false},
	}
	return s
}

type served struct {
	*daemon
	dir   string
	ca    *xmpptest.CA
	ports []tlsPort
}

// certify puts a new certificate for a host where the config wants it.
func (s *served) certify(t *testing.T, name string) {
	t.Helper()
	pair, err := s.ca.Issue(xmpptest.ECDSA, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := pair.Write(s.dir, name); err != nil {
		t.Fatal(err)
	}
}

var tlsVersions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// TestTLS_resumption: a TLS session goes on at the host where it began, and nowhere else: at another host of the same port
// there is a full handshake, with that host's certificate (RFC 6066 §3).
func TestTLS_resumption(t *testing.T) {
	t.Parallel()
	s := twoHosts(t)
	for _, port := range s.ports {
		for _, version := range tlsVersions {
			t.Run(port.name+" "+tls.VersionName(version), func(t *testing.T) {
				t.Parallel()
				cache := &lastSession{}
				if state := port.connect(t, "one.example", version, cache); state.DidResume || cache.session == nil {
					t.Fatalf("first handshake: resumed %v, ticket %v", state.DidResume, cache.session != nil)
				}
				if state := port.connect(t, "one.example", version, cache); !state.DidResume {
					t.Error("not resumed at its own host")
				}
				state := port.connect(t, "two.example", version, cache)
				if names := state.PeerCertificates[0].DNSNames; state.DidResume || names[0] != "two.example" {
					t.Errorf("at two.example: resumed %v, certificate for %v", state.DidResume, names)
				}
			})
		}
	}
}

// TestTLS_resumptionNewCertificate: with the certificate go the sessions that began with it. It may have been replaced
// because its key is known to others.
func TestTLS_resumptionNewCertificate(t *testing.T) {
	t.Parallel()
	s := twoHosts(t)
	caches := make(map[tlsPort]*lastSession)
	before := make(map[tlsPort]tls.ConnectionState)
	for _, port := range s.ports {
		caches[port] = &lastSession{}
		before[port] = port.connect(t, "one.example", tls.VersionTLS13, caches[port])
	}
	s.certify(t, "one.example")
	deadline := time.Now().Add(patience)
	for _, port := range s.ports {
		state := port.connect(t, "one.example", tls.VersionTLS13, nil)
		for state.PeerCertificates[0].Equal(before[port].PeerCertificates[0]) {
			if time.Now().After(deadline) {
				t.Fatal("the new certificate is not served")
			}
			state = port.connect(t, "one.example", tls.VersionTLS13, nil)
		}
		if state := port.connect(t, "one.example", tls.VersionTLS13, caches[port]); state.DidResume {
			t.Errorf("%s: a session of the old certificate was resumed", port.name)
		}
	}
}

// TestTLS_earlyData: tickets allow none (RFC 8446 §4.2.10), and who sends some all the same is not listened to. It could be
// sent again by anybody who saw it.
func TestTLS_earlyData(t *testing.T) {
	t.Parallel()
	s := twoHosts(t)
	for _, port := range s.ports {
		t.Run(port.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			args := []string{"s_client", "-connect", port.address, "-servername", "one.example", "-tls1_3", "-ign_eof"}
			if port.starttls {
				args = append(args, "-starttls", "xmpp", "-name", "one.example")
			}
			openssl := exec.CommandContext(ctx, "openssl", args...)
			openssl.Stdin = strings.NewReader(xmpptest.Header("one.example") + "</stream:stream>")
			if port.alpn == "http/1.1" {
				openssl.Stdin = strings.NewReader("GET / HTTP/1.1\r\nHost: one.example\r\nConnection: close\r\n\r\n")
			}
			out, err := openssl.CombinedOutput()
			if _, ticket, ok := strings.Cut(string(out), "New Session Ticket"); err != nil || !ok || !strings.Contains(ticket, "Max Early Data: 0\n") {
				t.Errorf("want a ticket without early data; %v\n%s", err, out)
			}

			h := hello{versions: []uint16{tls.VersionTLS13}, suites: []uint16{tls.TLS_AES_128_GCM_SHA256}, earlyData: true}
			if answer := port.hello(t, h); answer.alert != alertUnsupportedExtension {
				t.Errorf("early data: %+v", answer)
			}
		})
	}
}

// TestTLS_hellos are what sslscan as Debian builds it cannot offer: compression (CRIME), which must not be taken, and old
// things one by one, which must be refused with an alert.
func TestTLS_hellos(t *testing.T) {
	t.Parallel()
	s := twoHosts(t)
	good := []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	cases := map[string]struct {
		hello
		want serverHello
	}{
		"TLS 1.2":     {hello{suites: good}, serverHello{suite: good[0]}},
		"compression": {hello{suites: good, compression: []byte{1, 0}}, serverHello{suite: good[0]}},
		"compression alone": {hello{suites: good, compression: []byte{1}},
			serverHello{alert: alertIllegalParameter}},
		"TLS 1.1": {hello{legacy: tls.VersionTLS11, suites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
			serverHello{alert: alertProtocolVersion}},
		"no forward secrecy": {hello{suites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_CBC_SHA}},
			serverHello{alert: alertHandshakeFailure}},
		"CBC": {hello{suites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA}},
			serverHello{alert: alertHandshakeFailure}},
		"P-521": {hello{suites: good, groups: []tls.CurveID{tls.CurveP521}}, serverHello{alert: alertHandshakeFailure}},
	}
	for name, c := range cases {
		for _, port := range s.ports {
			t.Run(name+" "+port.name, func(t *testing.T) {
				t.Parallel()
				if got := port.hello(t, c.hello); got != c.want {
					t.Errorf("got %+v, want %+v", got, c.want)
				}
			})
		}
	}
}

// hello sends a ClientHello for one.example and reads the answer.
func (p tlsPort) hello(t *testing.T, h hello) serverHello {
	t.Helper()
	c, err := xmpptest.Dial(p.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if p.starttls {
		if _, err = c.Open("one.example"); err == nil {
			err = c.Send("<starttls xmlns='" + xmpptest.NSTLS + "'/>")
		}
		if err == nil {
			_, err = c.Expect("proceed")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	conn := c.Conn()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(h.record("one.example")); err != nil {
		t.Fatal(err)
	}
	answer, err := readServerHello(conn)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}
