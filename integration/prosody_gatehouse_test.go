package integration

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// TestProsodyModule_gatehouse lets a real Prosody ask the real program: clients on Prosody's port get what the script and
// the tokens say, and the script sees what it would see from clients of gatehouse.
func TestProsodyModule_gatehouse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plan := accounts("alice", "secret", "jürgen", "a:b%41+c&d ü")
	plan["rules"] = []any{map[string]any{"match": ":mallory:", "do": []any{do("exit", 1)}}}
	s := installScript(t, dir, "auth", plan)
	keys := tokenKeys{"tokens.localhost", "a secret of the web application", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"}
	address := unusedAddress(t)
	d := start(t, writeConfig(t, dir, []host{
		{"localhost", options{"authentication": "external", "external_auth_command": []any{s.path}}},
		{keys.host, options{"authentication": "token", "token_secret": keys.secret, "otp_seed": keys.seed}},
	}, baseOptions(dir), options{
		"gatehouse_admin": address, "gatehouse_auth_api_user": apiUser, "gatehouse_auth_api_password": apiPassword,
	}))
	p := startProsody(t, "prosody.cfg.lua", "http://"+address+"/auth/")

	for _, test := range []struct{ what, host, mechanism, message, right string }{
		{"right", "localhost", "PLAIN", plain("alice", "secret"), "success"},
		{"wrong", "localhost", "PLAIN", plain("alice", "Secret"), "not-authorized"},
		{"delimiters", "localhost", "PLAIN", plain("Jürgen", "a:b%41+c&d ü"), "success"},
		{"as long as PLAIN may be", "localhost", "PLAIN", plain("alice", strings.Repeat("☃", 341)), "not-authorized"},
		{"a script that dies", "localhost", "PLAIN", plain("mallory", "x"), "temporary-auth-failure"},
		{"right afterwards", "localhost", "PLAIN", plain("alice", "secret"), "success"},
		{"a ticket that nobody gave", "localhost", "PLAIN",
			plain("alice", "ght_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"), "not-authorized"},
		{"a host that gatehouse does not have", "open.localhost", "PLAIN", plain("alice", "secret"), "temporary-auth-failure"},
		{"a password where only tokens are", keys.host, "PLAIN", plain("alice", "secret"), "not-authorized"},
	} {
		expectAuth(t, test.what, p.address, test.host, test.mechanism, test.message, test.right)
	}
	roomInWindow(5 * time.Second)
	token := keys.message(t, "alice")
	expectAuth(t, "another's token", p.address, keys.host, "X-TOKEN", plain("bob", token[len("\x00alice\x00"):]), "not-authorized")
	expectAuth(t, "token", p.address, keys.host, "X-TOKEN", token, "success")
	expectAuth(t, "token again", p.address, keys.host, "X-TOKEN", token, "not-authorized")

	alice, _ := session(t, p.address, "localhost", "alice", "secret", "a")
	if err := alice.Send("<message to='jürgen@localhost' id='1'><body>later</body></message>" +
		"<message to='nobody@localhost' id='2'><body>never</body></message>"); err != nil {
		t.Fatal(err)
	}
	if e, err := alice.Expect("message"); err != nil || e.Attr("id") != "2" || e.Condition() != "service-unavailable" {
		t.Errorf("a message to nobody: %v, %v", e, err)
	}
	changePassword(t, alice, "alice", "n3w : pass")
	expectAuth(t, "old password", p.address, "localhost", "PLAIN", plain("alice", "secret"), "not-authorized")
	expectAuth(t, "new password", p.address, "localhost", "PLAIN", plain("alice", "n3w : pass"), "success")
	jürgen, _ := session(t, p.address, "localhost", "jürgen", "a:b%41+c&d ü", "j")
	if err := jürgen.Send("<presence/>"); err != nil {
		t.Fatal(err)
	}
	for {
		e, err := jürgen.ReadElement()
		if err != nil {
			t.Fatal(err)
		}
		if e.Name == "message" {
			break // the one that waited
		}
	}
	queries := s.queries(t)
	for _, right := range []string{"auth:jürgen:localhost:a:b%41+c&d ü", "isuser:jürgen:localhost", "isuser:nobody:localhost",
		"setpass:alice:localhost:n3w : pass"} {
		if !slices.Contains(queries, right) {
			t.Errorf("the script was not asked %q but %q", right, queries)
		}
	}

	d.stop(t)
	expectAuth(t, "gatehouse is gone", p.address, "localhost", "PLAIN", plain("alice", "n3w : pass"), "temporary-auth-failure")
}

// changePassword changes a password in the band (XEP-0077 §3.3).
func changePassword(t testing.TB, c *xmpptest.Client, user, password string) {
	t.Helper()
	answer, err := c.IQ("set", "localhost", "<query xmlns='jabber:iq:register'><username>"+xmpptest.Escape(user)+
		"</username><password>"+xmpptest.Escape(password)+"</password></query>")
	if err == nil && answer.Attr("type") != "result" {
		err = errors.New(answer.Raw)
	}
	if err != nil {
		t.Fatalf("changing the password: %v", err)
	}
}
