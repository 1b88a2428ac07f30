package integration

import (
	"path/filepath"
	"strings"
	"testing"
)

// tryBehind runs check with a login at the server behind.
func (r *relay) tryBehind(t *testing.T, jid, password string, more ...string) result {
	t.Helper()
	args := append([]string{"check", "--config", filepath.Join(r.dir(), "prosody.cfg.lua"), "--upstream-user", jid}, more...)
	res := command(t, password+"\n", args...)
	res.holdsNot(t, jid, ticketPrefix, "canary", relayAccounts["alice"], "wrong-secret", hostKeys.secret)
	return res
}

// TestCheckUpstream_ticket has the running daemon log in at a Prosody that asks about tickets, at one that does not, and at
// none.
func TestCheckUpstream_ticket(t *testing.T) {
	t.Parallel()
	r := newRelay(t, "gatehouse")
	const noDaemon = `login +\S+: no daemon answers at \S+gatehouse\.sock .*\n +Only the running daemon can make a ticket`
	r.write(t)
	r.tryBehind(t, "alice@localhost", "").expect(t, "no daemon", exitUnavailable, noDaemon, `1 server behind cannot be used now`)

	r.begin(t)
	r.tryBehind(t, "Alice@LocalHost", "").expect(t, "right", exitOK,
		`tried +\S+: answers in \S+ without TLS, and offers PLAIN\n`, `login +\S+: alice@localhost is let in by a ticket, in `, `This file is good`)
	r.says(t, 0, `"msg":"check behind","host":"localhost","user":"alice","upstream":"`+r.backend.address+`","verdict":"accepted"`)
	r.tryBehind(t, "♥@localhost", "").expect(t, "a name that differs", exitUnavailable, `login +\S+: the user's name would be another one`, `try another`)

	// What works is not told; what does not is all that is told.
	if quiet := r.tryBehind(t, "alice@localhost", "", "--quiet"); quiet.code != exitOK || quiet.out+quiet.err != "" {
		t.Errorf("quiet: %+v", quiet)
	}

	// A Prosody that knows its users itself, and no tickets.
	knowing := startBackend(t, "internal_plain", r.api, relayAccounts)
	known := r.hosts[0].options["gatehouse_upstream"]
	r.set("gatehouse_upstream", knowing.address)
	r.write(t)
	r.nextReload(t, reloaded, "")
	r.tryBehind(t, "alice@localhost", "").expect(t, "it does not ask", exitUnavailable,
		`login +\S+: the upstream refused the login: not-authorized`, `did not ask this gatehouse about the ticket`)
	r.tryBehind(t, "alice@localhost", "", "--quiet").expect(t, "quiet", exitUnavailable,
		`^gatehouse: 1 server behind cannot be used now:\n\S+: the upstream refused the login: not-authorized\n$`)

	// A server that lets everybody in.
	dir := t.TempDir()
	credulous := installScript(t, dir, "auth", map[string]any{"protocol": "generic", "rules": []any{
		map[string]any{"match": "auth:", "do": []any{do("write", "1\n")}},
	}})
	open := start(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": credulous.path, "c2s_require_encryption": false, "allow_unencrypted_plain_auth": true,
	}}}, baseOptions(dir)))
	r.set("gatehouse_upstream", open.address(t, "starttls"))
	r.write(t)
	r.nextReload(t, reloaded, "")
	r.tryBehind(t, "alice@localhost", "").expect(t, "it believes anything", exitUnavailable,
		`login +\S+: it lets the user in without having asked gatehouse`, `may come in with any password`)

	// A file that the daemon does not serve.
	r.set("gatehouse_upstream", known)
	other := writeConfig(t, t.TempDir(), r.hosts, r.global)
	command(t, "", "check", "--config", other, "--upstream-user", "alice@localhost").expect(t, "another file", exitUnavailable,
		`login +\S+: the running daemon has other servers behind that host`, `gatehouse reload`)

	open.stop(t)
	r.tryBehind(t, "alice@localhost", "").expect(t, "down", exitUnavailable, `tried +\S+: the upstream is down: dial: .*refused`)
	r.tryBehind(t, "alice@elsewhere.example", "").expect(t, "a host of others", exitConfig, `there is no host elsewhere\.example with a server behind`)
	for _, jid := range []string{"", "localhost", "@localhost", "alice@", "al\nice@localhost", "al ice@localhost", strings.Repeat("a", 3000) + "@localhost"} {
		r.tryBehind(t, jid, "").expect(t, "no user", exitUsage, `--upstream-user wants USER@HOST`)
	}
	r.tryBehind(t, "alice@localhost", "", "--query", "isuser:alice:localhost").expect(t, "two wishes", exitUsage, `can't be used together`)
}

// TestCheckUpstream_withoutDaemon: the other ways need nothing but the file.
func TestCheckUpstream_withoutDaemon(t *testing.T) {
	t.Parallel()
	t.Run("password", func(t *testing.T) {
		t.Parallel()
		r := newRelay(t, "internal_plain")
		r.set("gatehouse_upstream_auth", "password")
		r.write(t)
		r.tryBehind(t, "alice@localhost", relayAccounts["alice"]).expect(t, "right", exitOK, `alice@localhost is let in by the password`)
		r.tryBehind(t, "björn@localhost", strings.ReplaceAll(relayAccounts["björn"], " ", "\u00a0")).expect(t, "prepared", exitOK, `is let in by the password`)
		r.tryBehind(t, "alice@localhost", "wrong-secret").expect(t, "wrong", exitUnavailable,
			`the upstream refused the login: not-authorized`, `no such user, or another password`)
		r.tryBehind(t, "alice@localhost", "").expect(t, "none", exitUsage, `standard input holds no password`)
	})
	t.Run("external", func(t *testing.T) {
		t.Parallel()
		r := newRelay(t, "internal_plain")
		r.hosts[0].name = "certificates.localhost"
		r.set("gatehouse_upstream_auth", "external")
		r.set("gatehouse_upstream_trust", r.backend.ca)
		r.set("gatehouse_upstream_ca", map[string]any{"certificate": r.backend.usersCA, "key": filepath.Join(r.backend.dir, "users.key")})
		r.write(t)
		r.tryBehind(t, "alice@certificates.localhost", "").expect(t, "right", exitOK, `tried +\S+: answers in .*EXTERNAL`, `is let in by a certificate`)

		stranger := t.TempDir()
		makeUsersCA(t, stranger)
		r.set("gatehouse_upstream_ca", map[string]any{"certificate": filepath.Join(stranger, "users.pem"), "key": filepath.Join(stranger, "users.key")})
		r.write(t)
		r.tryBehind(t, "alice@certificates.localhost", "").expect(t, "an authority that it does not know", exitUnavailable,
			`login +\S+: the `, `trust the authority of gatehouse_upstream_ca`)
	})
	t.Run("token", func(t *testing.T) {
		t.Parallel()
		// Debian has no Prosody with mod_auth_token; a gatehouse alone is a server with X-TOKEN.
		secret, seed := "canary-upstream-secret-0123456789", "XVGR73KMZH2M4XMYXVGR73KMZH2M4XMY"
		dir := t.TempDir()
		d := start(t, writeConfig(t, dir, []host{{"localhost", options{
			"authentication": "token", "token_secret": secret, "otp_seed": seed, "c2s_require_encryption": false,
		}}}, baseOptions(dir)))
		r := newRelay(t, "gatehouse")
		r.set("gatehouse_upstream_auth", "token")
		r.set("gatehouse_upstream_token_secret", secret)
		r.set("gatehouse_upstream_otp_seed", seed)
		r.set("gatehouse_upstream", d.address(t, "starttls"))
		r.set("gatehouse_upstream_tls", "none")
		r.write(t)
		r.tryBehind(t, "alice@localhost", "").expect(t, "right", exitOK, `alice@localhost is let in by a token`)
		r.set("gatehouse_upstream_token_secret", "canary-of-somebody-else-0123456")
		r.write(t)
		r.tryBehind(t, "alice@localhost", "").expect(t, "other keys", exitUnavailable,
			`the upstream refused the login: not-authorized`, `and do the clocks agree`)
	})
}

// TestCheckUpstream_ticketEndsWithIt: what check had made for itself is good for nobody who comes later.
func TestCheckUpstream_ticketEndsWithIt(t *testing.T) {
	t.Parallel()
	r := newRelay(t, "gatehouse")
	deaf := newTap(t, "")
	r.set("gatehouse_upstream", deaf.address)
	r.set("gatehouse_upstream_timeout", 1)
	r.begin(t)
	r.tryBehind(t, "alice@localhost", "").expect(t, "no answer", exitUnavailable, `login +\S+: the upstream is slow`, `gatehouse_upstream_timeout`)
	left := deaf.secret(t)
	if !strings.HasPrefix(left, ticketPrefix) {
		t.Fatal("what went to the server is no ticket")
	}
	if got := r.checkPassword(t, "alice", left); got != "200 false" {
		t.Errorf("the ticket afterwards: %s", got)
	}
}

// TestRelay_tokenInPlainIsNoPassword: a token that came in the place of the password is not shown to a server that checks
// passwords, and the client, who was right, is not told that it was wrong.
func TestRelay_tokenInPlainIsNoPassword(t *testing.T) {
	t.Parallel()
	r := newRelay(t, "internal_plain")
	tapped := newTap(t, r.backend.address)
	r.set("gatehouse_upstream", tapped.address)
	r.set("gatehouse_upstream_auth", "password")
	r.set("token_secret", hostKeys.secret)
	r.set("otp_seed", hostKeys.seed)
	r.set("gatehouse_token_in_plain", true)
	r.begin(t)
	r.expect(t, "a token", "alice", freshToken(t, hostKeys.secret, hostKeys.seed, "alice@localhost"), "temporary-auth-failure")
	r.says(t, 0, "the client has logged in without one")
	r.expect(t, "a password", "alice", relayAccounts["alice"], "success")
	if got := tapped.secret(t); got != relayAccounts["alice"] {
		t.Error("the first that the server behind was shown is not the password")
	}
}
