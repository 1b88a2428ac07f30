package integration

import (
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// What a ticket looks like: 256 bits in base64url. ticketShaped is none that was ever made.
const (
	ticketPrefix = "ght_"
	ticketShaped = ticketPrefix + "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
)

// TestRelay_handOffs logs in by each way to tell the server behind who the user is.
func TestRelay_handOffs(t *testing.T) {
	t.Parallel()
	tokens := func(r *relay) {
		r.set("token_secret", hostKeys.secret)
		r.set("otp_seed", hostKeys.seed)
	}
	for _, test := range []struct {
		name, authentication string // the name is gatehouse_upstream_auth
		host                 string
		prepare              func(t *testing.T, r *relay)
		byToken              string // what becomes of a login by a token
	}{
		{"ticket", "gatehouse", "localhost", func(*testing.T, *relay) {}, "success"},
		{"password", "internal_plain", "localhost", func(*testing.T, *relay) {}, "temporary-auth-failure"},
		{"external", "internal_plain", "certificates.localhost", func(_ *testing.T, r *relay) {
			r.hosts[0].name = "certificates.localhost"
			r.set("gatehouse_upstream_trust", r.backend.ca)
			r.set("gatehouse_upstream_ca", map[string]any{
				"certificate": r.backend.usersCA, "key": filepath.Join(r.backend.dir, "users.key"),
			})
		}, "success"},
		{"token", "gatehouse", "localhost", func(t *testing.T, r *relay) {
			// Debian has no Prosody with mod_auth_token; a gatehouse alone is a server with X-TOKEN.
			secret, seed := "canary-upstream-secret-0123456789", "XVGR73KMZH2M4XMYXVGR73KMZH2M4XMY"
			r.set("gatehouse_upstream_token_secret", secret)
			r.set("gatehouse_upstream_otp_seed", seed)
			dir := t.TempDir()
			d := start(t, writeConfig(t, dir, []host{{"localhost", options{
				"authentication": "token", "token_secret": secret, "otp_seed": seed, "c2s_require_encryption": false,
			}}}, baseOptions(dir)))
			r.set("gatehouse_upstream", d.address(t, "starttls"))
			r.set("gatehouse_upstream_tls", "none")
		}, "success"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRelay(t, test.authentication)
			r.set("gatehouse_upstream_auth", test.name)
			tokens(r)
			test.prepare(t, r)
			r.begin(t)
			keys := hostKeys
			keys.host = test.host

			c, jid := session(t, r.address, test.host, "alice", relayAccounts["alice"], "phone")
			if want := "alice@" + test.host + "/phone"; jid != want {
				t.Errorf("bound %q, want %q", jid, want)
			}
			if err := c.Ping(); err != nil {
				t.Error(err)
			}
			version, err := c.IQ("get", test.host, "<query xmlns='jabber:iq:version'/>")
			if err != nil {
				t.Fatal(err)
			}
			if name := version.Child("query").Child("name"); test.name != "token" && (name == nil || name.Text != "Prosody") {
				t.Errorf("what answers is no Prosody: %s", version.Raw)
			}
			for _, try := range []struct{ what, mechanism, message, right string }{
				{"another user", "PLAIN", plain("bob", relayAccounts["bob"]), "success"},
				{"wrong password", "PLAIN", plain("alice", "wrong"), "not-authorized"},
				{"another's password", "PLAIN", plain("alice", relayAccounts["bob"]), "not-authorized"},
				{"unknown user", "PLAIN", plain("nobody", relayAccounts["alice"]), "not-authorized"},
				{"script down", "PLAIN", plain("down", "whatever"), "temporary-auth-failure"},
				{"token", "X-TOKEN", keys.message(t, "alice"), test.byToken},
				{"token of another user", "X-TOKEN",
					plain("bob", freshToken(t, keys.secret, keys.seed, "alice@"+keys.host)), "not-authorized"},
				{"like a ticket", "PLAIN", plain("alice", ticketShaped), "not-authorized"},
				{"like a short ticket", "PLAIN", plain("alice", ticketShaped[:20]), "not-authorized"},
				{"right again", "PLAIN", plain("alice", relayAccounts["alice"]), "success"},
			} {
				expectAuth(t, try.what, r.address, test.host, try.mechanism, try.message, try.right)
			}
			log := r.reloadable.log.String()
			for _, secret := range []string{
				relayAccounts["alice"], relayAccounts["bob"], ticketPrefix, "whatever", relayAPIPassword, keys.secret, "canary",
			} {
				if strings.Contains(log, secret) {
					t.Errorf("%q is in gatehouse's log", secret)
				}
			}
		})
	}
}

// TestRelay_names logs in under names and with passwords that have to be prepared. Who comes in is the same user on both
// sides, and a name that servers may prepare differently does not come in at all.
func TestRelay_names(t *testing.T) {
	t.Parallel()
	for auth, authentication := range map[string]string{"ticket": "gatehouse", "password": "internal_plain"} {
		t.Run(auth, func(t *testing.T) {
			t.Parallel()
			r := newRelay(t, authentication)
			r.set("gatehouse_upstream_auth", auth)
			r.begin(t)
			for _, test := range []struct{ user, password, jid string }{
				{"Alice", relayAccounts["alice"], "alice@localhost/phone"},
				{"ＡＬＩＣＥ", relayAccounts["alice"], "alice@localhost/phone"},
				{"björn", relayAccounts["björn"], "björn@localhost/phone"},
				{"BJO\u0308RN", strings.ReplaceAll(relayAccounts["björn"], " ", "\u00a0"), "björn@localhost/phone"},
			} {
				if _, jid := session(t, r.address, "localhost", test.user, test.password, "phone"); jid != test.jid {
					t.Errorf("%s is bound to %q, want %q", test.user, jid, test.jid)
				}
			}
			// PRECIS has no place for hearts in names, and nodeprep has.
			r.expect(t, "a name that is not the same everywhere", "♥", relayAccounts["♥"], "not-authorized")
			r.says(t, 0, "the user's name would be another one at the upstream")
		})
	}
}

// checkPassword asks the auth API.
func (r *relay) checkPassword(t testing.TB, user, password string) string {
	t.Helper()
	values := url.Values{"user": {user}, "server": {"localhost"}, "pass": {password}}
	req, err := http.NewRequest(http.MethodGet, r.api+"/check_password?"+values.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("prosody", relayAPIPassword)
	return fetch(t, req)
}

// TestRelay_ticketOnce reads the tickets on the way between gatehouse and Prosody: one that was used is good nowhere any
// more, one that was not is good for its user alone, and the script is never shown one.
func TestRelay_ticketOnce(t *testing.T) {
	t.Parallel()
	r := newRelay(t, "gatehouse")
	tapped := newTap(t, r.backend.address)
	r.set("gatehouse_upstream", tapped.address)
	r.begin(t)
	r.alice(t, "phone")
	used := tapped.secret(t)
	if !strings.HasPrefix(used, ticketPrefix) || len(used) != len(ticketShaped) {
		t.Fatal("what went to Prosody is no ticket")
	}
	if got := r.checkPassword(t, "alice", used); got != "200 false" {
		t.Errorf("the auth API about a used ticket: %q", got)
	}
	for what, at := range map[string]string{"Prosody": r.backend.address, "gatehouse": r.address} {
		expectAuth(t, "a used ticket at "+what, at, "localhost", "PLAIN", plain("alice", used), "not-authorized")
	}

	// A server that takes the ticket and does not ask about it.
	deaf := newTap(t, "")
	r.set("gatehouse_upstream", deaf.address)
	r.set("gatehouse_upstream_timeout", 2)
	r.reload(t)
	c, err := dial(t, r.address, "starttls", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Sendf("<auth xmlns='%s' mechanism='PLAIN'>%s</auth>", xmpptest.NSSASL, encoded(plain("alice", relayAccounts["alice"]))); err != nil {
		t.Fatal(err)
	}
	fresh := deaf.secret(t)
	expectAuth(t, "a fresh ticket at gatehouse", r.address, "localhost", "PLAIN", plain("alice", fresh), "not-authorized")
	if got := r.checkPassword(t, "bob", fresh); got != "200 false" {
		t.Errorf("the auth API about another's ticket: %q", got)
	}
	if answer, err := c.Expect("failure"); err != nil || answer.Condition() != "temporary-auth-failure" {
		t.Errorf("the login at a server that does not answer: %v, %v", answer, err)
	}
	if slices.ContainsFunc(r.script.queries(t), func(q string) bool { return strings.Contains(q, ticketPrefix) }) {
		t.Error("the script was shown a ticket")
	}
	if log := r.backend.log.String(); strings.Contains(log, ticketPrefix) {
		t.Error("a ticket is in Prosody's log")
	}
}
