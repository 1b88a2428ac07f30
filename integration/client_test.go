package integration

import (
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// dial connects to a port of the program and gets the connection behind TLS. The certificate is not checked.
func dial(t testing.TB, address, kind, host string) (*xmpptest.Client, error) {
	t.Helper()
	config := insecureTLS(host)
	var c *xmpptest.Client
	var err error
	if kind == "direct" {
		c, err = xmpptest.DialTLS(address, config)
	} else {
		c, err = xmpptest.Dial(address)
	}
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = c.Close() })
	c.Timeout = patience
	if _, err := c.Secure(host, config); err != nil {
		return nil, err
	}
	return c, nil
}

// authenticate makes one attempt on a connection of its own and returns "success", the condition of the failure, or
// whatever else came.
func authenticate(t testing.TB, address, host, mechanism, message string) (string, error) {
	t.Helper()
	c, err := dial(t, address, "starttls", host)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	return attempt(c, mechanism, message)
}

// attempt makes one attempt on an open stream.
func attempt(c *xmpptest.Client, mechanism, message string) (string, error) {
	answer, err := c.Auth(mechanism, []byte(message))
	switch {
	case err != nil:
		return "", err
	case answer.Is(xmpptest.NSSASL, "failure"):
		return answer.Condition(), nil
	case answer.Is(xmpptest.NSSASL, "success"):
		return "success", nil
	}
	return answer.Raw, nil
}

// expectAuth makes an attempt and fails the test unless it gives what it should.
func expectAuth(t testing.TB, what, address, host, mechanism, message, right string) {
	t.Helper()
	got, err := authenticate(t, address, host, mechanism, message)
	if err != nil || got != right {
		t.Errorf("%s: got %q, %v; want %q", what, got, err, right)
	}
}

// plain is the message of PLAIN (RFC 4616).
func plain(user, password string) string { return "\x00" + user + "\x00" + password }

// session logs in completely and returns the bound stream.
func session(t testing.TB, address, host, user, password, resource string) (*xmpptest.Client, string) {
	t.Helper()
	c, err := dial(t, address, "starttls", host)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := attempt(c, "PLAIN", plain(user, password)); err != nil || got != "success" {
		t.Fatalf("login of %s: %q, %v", user, got, err)
	}
	if _, err := c.Open(host); err != nil {
		t.Fatal(err)
	}
	jid, err := c.Bind(resource)
	if err != nil {
		t.Fatal(err)
	}
	return c, jid
}

// tokenKeys are a host's secret and seed in tests, and how a user of that host shows a token.
type tokenKeys struct {
	host, secret, seed string
}

// message is an X-TOKEN message with a fresh token.
func (k tokenKeys) message(t testing.TB, user string) string {
	t.Helper()
	return plain(user, freshToken(t, k.secret, k.seed, user+"@"+k.host))
}

// roomInWindow waits until a one-time password made now lasts for at least so long without its window changing.
func roomInWindow(needed time.Duration) {
	if left := tokenWindow - time.Duration(time.Now().UnixNano())%tokenWindow; left < needed {
		sleepUntilWindow(0.1)
	}
}

// peer describes the certificate that a connection was shown.
func peer(c *xmpptest.Client) string {
	conn, ok := c.Conn().(*tls.Conn)
	if !ok {
		return "no TLS"
	}
	certificate := conn.ConnectionState().PeerCertificates[0]
	return fmt.Sprint(certificate.DNSNames, " ", certificate.PublicKeyAlgorithm)
}
