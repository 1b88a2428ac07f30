package integration

import (
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// TestHosts serves three hosts with certificates, scripts and keys of their own, over IPv4 and IPv6, STARTTLS and
// direct TLS: each shows its own certificate, offers its own mechanisms and believes nobody else's passwords.
func TestHosts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	certificate := func(keyType xmpptest.KeyType, name string) map[string]any {
		pair, err := ca.Issue(keyType, name)
		if err != nil {
			t.Fatal(err)
		}
		cert, key, err := pair.Write(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		return map[string]any{"certificate": cert, "key": key}
	}
	one := installScript(t, dir, "one", accounts("alice", "one-secret"))
	two := installScript(t, dir, "two", accounts("alice", "two-secret"))
	keys := map[string]tokenKeys{
		"two.example":   {"two.example", "a secret of host two, long enough", "GEZDGNBVGY3TQOJQ"},
		"three.example": {"three.example", "a secret of host three, long too", "MFRGGZDFMZTWQ2LK"},
	}
	config := writeConfig(t, dir, []host{
		{"one.example", options{
			"authentication": "external", "external_auth_command": one.path, "ssl": certificate(xmpptest.ECDSA, "one.example"),
		}},
		{"two.example", options{
			"authentication": "external_insecure", "external_auth_command": two.path, "ssl": certificate(xmpptest.RSA, "two.example"),
			"token_secret": keys["two.example"].secret, "otp_seed": keys["two.example"].seed,
		}},
		{"three.example", options{
			"authentication": "token", "ssl": certificate(xmpptest.ECDSA, "three.example"),
			"token_secret": keys["three.example"].secret, "otp_seed": keys["three.example"].seed,
		}},
	}, baseOptions(dir), options{"gatehouse_self_signed": nil, "interfaces": loopbacks(t)})
	d := start(t, config)

	mechanisms := map[string][]string{
		"one.example": {"PLAIN"}, "two.example": {"PLAIN", "X-TOKEN"}, "three.example": {"X-TOKEN"},
	}
	passwords := map[string]string{"one.example": "one-secret", "two.example": "two-secret"}
	for _, kind := range []string{"starttls", "direct"} {
		addresses := d.addresses(kind)
		if len(addresses) != len(loopbacks(t)) {
			t.Fatalf("%s: listening on %q, want %q", kind, addresses, loopbacks(t))
		}
		for _, address := range addresses {
			for name, offered := range mechanisms {
				t.Run(kind+" "+address+" "+name, func(t *testing.T) {
					features := trusting(t, ca, address, kind, name)
					var got []string
					for _, m := range features.Child("mechanisms").Children {
						got = append(got, m.Text)
					}
					slices.Sort(got)
					if !slices.Equal(got, offered) {
						t.Errorf("mechanisms %q, want %q", got, offered)
					}
					checkHost(t, address, kind, name, passwords, keys)
				})
			}
		}
	}
}

// loopbacks are the loopback addresses of this machine.
func loopbacks(t *testing.T) []any {
	t.Helper()
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Logf("this machine has no IPv6: %v", err)
		return []any{"127.0.0.1"}
	}
	_ = ln.Close()
	return []any{"127.0.0.1", "::1"}
}

// trusting opens a stream as a client that checks the certificate and returns the features.
func trusting(t *testing.T, ca *xmpptest.CA, address, kind, name string) *xmpptest.Element {
	t.Helper()
	config := ca.ClientConfig()
	config.ServerName = name
	config.NextProtos = []string{"xmpp-client"}
	var c *xmpptest.Client
	var err error
	if kind == "direct" {
		c, err = xmpptest.DialTLS(address, config)
	} else {
		c, err = xmpptest.Dial(address)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	features, err := c.Secure(name, config)
	if err != nil {
		t.Fatal(err)
	}
	state := c.Conn().(*tls.Conn).ConnectionState()
	if kind == "direct" && state.NegotiatedProtocol != "xmpp-client" {
		t.Errorf("ALPN gave %q", state.NegotiatedProtocol)
	}
	return features
}

// checkHost makes sure that a host takes its own passwords and tokens and no other host's.
func checkHost(t *testing.T, address, kind, name string, passwords map[string]string, keys map[string]tokenKeys) {
	t.Helper()
	expect := func(what, mechanism, message, right string) {
		t.Helper()
		c, err := dial(t, address, kind, name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := attempt(c, mechanism, message); err != nil || got != right {
			t.Errorf("%s: got %q, %v; want %q", what, got, err, right)
		}
	}
	for owner, password := range passwords {
		right := "not-authorized"
		switch {
		case name == "three.example":
			right = "invalid-mechanism"
		case owner == name:
			right = "success"
		}
		expect("password of "+owner, "PLAIN", plain("alice", password), right)
	}
	for owner, k := range keys {
		right := "not-authorized"
		switch {
		case name == "one.example":
			right = "invalid-mechanism"
		case owner == name:
			right = "success"
		}
		expect("token of "+owner, "X-TOKEN", k.message(t, "alice"), right)
		// The right name in the token does not help if the keys are another host's.
		if owner != name && name != "one.example" {
			message := plain("alice", freshToken(t, k.secret, k.seed, "alice@"+name))
			expect("token for this host with the keys of "+owner, "X-TOKEN", message, "not-authorized")
		}
	}
}

// TestHosts_certificateFromHeader: a client that sends no server name in its TLS hello gets the certificate of the host
// that its stream header named.
func TestHosts_certificateFromHeader(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	external := options{"authentication": "external", "external_auth_command": s.path}
	d := start(t, writeConfig(t, dir, []host{{"one.example", external}, {"two.example", external}}, baseOptions(dir)))
	for _, name := range []string{"one.example", "two.example"} {
		c, err := xmpptest.Dial(d.address(t, "starttls"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Open(name); err != nil {
			t.Fatal(err)
		}
		// An IP address is never sent as a server name.
		if err := c.StartTLS(insecureTLS("127.0.0.1")); err != nil {
			t.Fatal(err)
		}
		if got := peer(c); !strings.Contains(got, "["+name+"]") {
			t.Errorf("%s: certificate for %s", name, got)
		}
		_ = c.Close()
	}
}

// TestHosts_bothKeyTypes: a host with an ECDSA and an RSA certificate shows the first, which is much cheaper to sign
// with, and the second to clients that know no other.
func TestHosts_bothKeyTypes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	// The names are those by which Prosody and acme clients keep two: HOST.crt, and HOST.ecc.crt or fullchain.pem.
	for keyType, name := range map[xmpptest.KeyType]string{xmpptest.RSA: "localhost", xmpptest.ECDSA: "localhost-ecdsa"} {
		pair, err := ca.Issue(keyType, "localhost")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := pair.Write(dir, name); err != nil {
			t.Fatal(err)
		}
	}
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	config := writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path,
	}}}, baseOptions(dir), options{"gatehouse_self_signed": nil, "certificates": dir})
	d := start(t, config)
	rsaOnly := insecureTLS("localhost")
	rsaOnly.MaxVersion = tls.VersionTLS12
	rsaOnly.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	for want, settings := range map[string]*tls.Config{"ECDSA": insecureTLS("localhost"), "RSA": rsaOnly} {
		c, err := xmpptest.DialTLS(d.address(t, "direct"), settings)
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		if got := peer(c); !strings.HasSuffix(got, want) {
			t.Errorf("got a certificate for %s, want %s", got, want)
		}
		_ = c.Close()
	}
}
