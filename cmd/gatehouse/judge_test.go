package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/client"
	"gatehouse.im/gatehouse/internal/token"
	"gatehouse.im/gatehouse/saslmech"
)

// judgeConfig has a host for each way in which passwords and tokens are judged.
// The script knows alice:secret, and writes down every query that it gets.
const judgeConfig = `
interfaces = { "127.0.0.1" }
gatehouse_self_signed = true
external_auth_command = "./auth.sh"
external_auth_timeout = 2
token_secret = { "the newest secret", "the secret before" }
otp_seed = { "XVGR73KMZH2M4XMY", "JBSWY3DPEHPK3PXP" }

VirtualHost "both.example"
	authentication = "external"

VirtualHost "tokens.example"
	authentication = "token"

VirtualHost "in-plain.example"
	authentication = "token"
	gatehouse_token_in_plain = true

VirtualHost "both-in-plain.example"
	authentication = "external"
	gatehouse_token_in_plain = true

VirtualHost "checked.example"
	authentication = "token"
	gatehouse_token_in_plain = true
	gatehouse_token_check_user = true
`

const judgeScript = `#!/bin/sh
while IFS= read -r q; do
	printf '%s\n' "$q" >>queries
	case $q in
	auth:alice:*:secret | isuser:alice:*) echo 1 ;;
	isuser:broken:*) exit 3 ;;
	*) echo 0 ;;
	esac
done
`

// judged runs judgeConfig, and logs in with outcomes "accepted" or a condition.
type judged struct {
	t   *testing.T
	dir string
	d   *daemon
}

func startJudged(t *testing.T) *judged {
	t.Helper()
	j := &judged{t: t, dir: t.TempDir()}
	for name, text := range map[string]string{"prosody.cfg.lua": judgeConfig, "auth.sh": judgeScript} {
		if err := os.WriteFile(filepath.Join(j.dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	j.d, err = startDaemon(context.Background(), filepath.Join(j.dir, "prosody.cfg.lua"),
		daemonOptions{Loopback: true, DataDir: filepath.Join(j.dir, "data"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := j.d.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return j
}

func (j *judged) login(mechanism, user, host, secret string) string {
	j.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := client.Login(ctx, client.Options{
		User: user, Host: host, Secret: saslmech.NewSecret([]byte(secret)), Mechanism: mechanism,
		Address: j.d.Addr(false), Fingerprint: j.d.Fingerprint(host),
	})
	var failed *client.Error
	switch {
	case err == nil:
		if err := s.Close(); err != nil {
			j.t.Error(err)
		}
		return "accepted"
	case errors.As(err, &failed) && failed.Condition != "":
		return failed.Condition
	}
	return err.Error()
}

// mint makes a token by the host's secret and seed of that age, 0 is the newest.
func (j *judged) mint(user, host string, secret, seed int) string {
	j.t.Helper()
	keys := j.d.Config().Host(host).Token
	tok, err := token.Mint(token.Key{Secret: keys.Secrets[secret], Seed: keys.Seeds[seed]},
		user+"@"+host, time.Now(), token.NewNonce())
	if err != nil {
		j.t.Fatal(err)
	}
	return tok
}

// queries is all that the script was asked.
func (j *judged) queries() string {
	b, err := os.ReadFile(filepath.Join(j.dir, "queries"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		j.t.Fatal(err)
	}
	return string(b)
}

func TestJudge_passwordsAndTokens(t *testing.T) {
	j := startJudged(t)
	for _, c := range []struct {
		name, mechanism, user, host, secret string // without a secret, a token
		want                                string
	}{
		{"password", "PLAIN", "alice", "both.example", "secret", "accepted"},
		{"wrong password", "PLAIN", "alice", "both.example", "wrong", "not-authorized"},
		{"token", "X-TOKEN", "bob", "both.example", "", "accepted"},
		{"token as a password, not asked for", "PLAIN", "bob", "both.example", "", "not-authorized"},
		{"password as a token", "X-TOKEN", "alice", "both.example", "secret", "not-authorized"},

		{"token only", "X-TOKEN", "bob", "tokens.example", "", "accepted"},

		{"token in PLAIN", "PLAIN", "bob", "in-plain.example", "", "accepted"},
		{"the script's password is none of a token host", "PLAIN", "alice", "in-plain.example", "secret", "not-authorized"},

		{"both: password", "PLAIN", "alice", "both-in-plain.example", "secret", "accepted"},
		{"both: wrong password", "PLAIN", "alice", "both-in-plain.example", "wrong", "not-authorized"},
		{"both: token in PLAIN", "PLAIN", "bob", "both-in-plain.example", "", "accepted"},

		{"the script knows the user", "X-TOKEN", "alice", "checked.example", "", "accepted"},
		{"the script knows the user, in PLAIN", "PLAIN", "alice", "checked.example", "", "accepted"},
		{"the script does not", "X-TOKEN", "bob", "checked.example", "", "not-authorized"},
		{"the script cannot say", "X-TOKEN", "broken", "checked.example", "", "temporary-auth-failure"},
		{"the script judges no passwords here", "PLAIN", "alice", "checked.example", "secret", "not-authorized"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(j.queries())
			secret := c.secret
			if secret == "" {
				secret = j.mint(c.user, c.host, 0, 0)
			}
			if got := j.login(c.mechanism, c.user, c.host, secret); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			asked := j.queries()[before:]
			if c.secret == "" && c.host != "both.example" && strings.Contains(asked, "auth:") {
				t.Errorf("a token was shown to the script: %q", asked)
			}
			if !j.d.Config().Host(c.host).ScriptPasswords && strings.Contains(asked, "auth:") {
				t.Errorf("the script was asked for a password: %q", asked)
			}
		})
	}
}

// During a rotation the application may have changed either key, or none.
func TestJudge_rotatedKeys(t *testing.T) {
	j := startJudged(t)
	for secret := range 2 {
		for seed := range 2 {
			tok := j.mint("bob", "tokens.example", secret, seed)
			if got := j.login("X-TOKEN", "bob", "tokens.example", tok); got != "accepted" {
				t.Errorf("secret %d, seed %d: %s", secret, seed, got)
			}
			if got := j.login("X-TOKEN", "bob", "tokens.example", tok); got != "not-authorized" {
				t.Errorf("secret %d, seed %d, again: %s", secret, seed, got)
			}
		}
	}
}

// A token is good once, whichever mechanism and host carries it.
func TestJudge_oneUseAcrossMechanisms(t *testing.T) {
	j := startJudged(t)
	tok := j.mint("bob", "both-in-plain.example", 0, 0)
	if got := j.login("PLAIN", "bob", "both-in-plain.example", tok); got != "accepted" {
		t.Errorf("first: %s", got)
	}
	if got := j.login("X-TOKEN", "bob", "both-in-plain.example", tok); got != "not-authorized" {
		t.Errorf("second: %s", got)
	}
	if got := j.login("X-TOKEN", "bob", "tokens.example", j.mint("bob", "both.example", 0, 0)); got != "not-authorized" {
		t.Errorf("another host's: %s", got)
	}
}
