package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// result is what a command gave.
type result struct {
	out, err string
	code     int
}

// command runs the program to its end with something on standard input.
func command(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return commandIn(t, ".", stdin, args...)
}

// commandIn is command in a directory.
func commandIn(t *testing.T, dir, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, gatehouse, args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{out.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// expect fails the test unless the code is right and every pattern is found in the output, in this order.
func (r result) expect(t *testing.T, what string, code int, patterns ...string) {
	t.Helper()
	bad := r.code != code
	rest := r.out + r.err
	for _, p := range patterns {
		at := regexp.MustCompile(p).FindStringIndex(rest)
		if at == nil {
			bad = true
			t.Errorf("%s: no %q after what was found before", what, p)
			continue
		}
		rest = rest[at[1]:]
	}
	if bad {
		t.Errorf("%s: exit code %d, want %d; output:\n%s\n%s", what, r.code, code, r.out, r.err)
	}
}

// holdsNot fails the test if the output has a secret in it.
func (r result) holdsNot(t *testing.T, what string, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(r.out+r.err, s) {
			t.Errorf("%s: the output holds %q:\n%s\n%s", what, s, r.out, r.err)
		}
	}
}

// TestCommand_usage: nonsense on the command line is a usage error that says what was wrong.
func TestCommand_usage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"no-such-command"}, {"serve", "--no-such-option"}, {"serve", "extra"}, {"token"}, {"token", "mint"}, {"login"},
		{"login", "no-host"}, {"check", "--query"}, {"config"},
	} {
		command(t, "", args...).expect(t, strings.Join(args, " "), exitUsage, `gatehouse: `)
	}
	command(t, "", "--help").expect(t, "--help", exitOK, "serve", "check", "token", "login", "demo")
	command(t, "", "--version").expect(t, "--version", exitOK, "gatehouse")
}

// TestCommand_configErrors: every command that uses a config tells all its mistakes at once, each with file and line.
// Config dump shows what is in the file, wrong or not, but the file has to be Lua.
func TestCommand_configErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "broken.cfg.lua")
	text := "c2s_ports = \"many\"\nVirtualHost \"localhost\"\nauthentication = \"external\"\n" +
		"external_auth_command = \"/no/such/script\"\nexternal_auth_timeout = -1\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"serve"}, {"check"}, {"token", "mint", "a@localhost"},
		{"token", "verify", "a@localhost", "x"}, {"check", "--query", "isuser:a:localhost"},
	} {
		r := command(t, "", append(args, "--config", path)...)
		r.expect(t, strings.Join(args, " "), exitConfig)
		for _, problem := range []string{`broken\.cfg\.lua:1:.*c2s_ports`, `broken\.cfg\.lua:4:.*external_auth_command`,
			`broken\.cfg\.lua:5:.*external_auth_timeout`} {
			r.expect(t, strings.Join(args, " "), exitConfig, problem)
		}
	}
	missing := filepath.Join(dir, "none.cfg.lua")
	command(t, "", "serve", "--config", missing).expect(t, "no config", exitConfig, regexp.QuoteMeta(missing))
	if err := os.WriteFile(path, []byte("VirtualHost \"a\nx = {"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"serve"}, {"check"}, {"config", "dump", "--json"}} {
		command(t, "", append(args, "--config", path)...).expect(t, "no Lua: "+args[0], exitConfig, `broken\.cfg\.lua:1`)
	}
}

// commandConfig is a config with a script and tokens for localhost.
func commandConfig(t *testing.T) (config string, s *script) {
	t.Helper()
	dir := t.TempDir()
	plan := accounts("alice", "canary-secret")
	plan["rules"] = []any{
		map[string]any{"match": "auth:hangs:", "do": []any{}},
		map[string]any{"match": "auth:noisy:", "do": []any{do("stderr", "a word of warning\n"), do("write", "0\n")}},
	}
	s = installScript(t, dir, "auth", plan)
	return tokenConfig(t, dir, s, options{"external_auth_timeout": 1}), s
}

func TestCommand_check(t *testing.T) {
	t.Parallel()
	config, s := commandConfig(t)
	r := command(t, "", "check", "--config", config)
	r.expect(t, "check", exitOK, `localhost`, `X-TOKEN, PLAIN`, regexp.QuoteMeta(s.path), `certificate`)
	r.holdsNot(t, "check", hostKeys.secret, hostKeys.seed)
}

func TestCommand_checkQuery(t *testing.T) {
	t.Parallel()
	config, s := commandConfig(t)
	query := func(q, stdin string) result {
		t.Helper()
		r := command(t, stdin, "check", "--config", config, "--query", q)
		r.holdsNot(t, q, "canary")
		return r
	}
	query("auth:alice:localhost:canary-secret", "").expect(t, "right", exitOK,
		`sent .*auth:alice:localhost:`, `received .*1\\n`, `yes`)
	query("auth:ALICE:localhost", "canary-secret\n").expect(t, "password on standard input", exitOK, `auth:alice:localhost:`, `yes`)
	query("auth:alice:localhost:canary-wrong", "").expect(t, "wrong", exitRefused, `received .*0\\n`, `no`)
	query("isuser:alice:localhost", "").expect(t, "isuser", exitOK, `isuser:alice:localhost`, `yes`)
	query("isuser:nobody:localhost", "").expect(t, "isuser nobody", exitRefused, `no`)
	query("auth:hangs:localhost:canary-x", "").expect(t, "hangs", exitUnavailable, `cannot say`)
	query("auth:noisy:localhost:canary-x", "").expect(t, "standard error", exitRefused, `a word of warning`)
	query("auth:alice:nowhere.example:canary-x", "").expect(t, "unknown host", exitConfig, `nowhere\.example`)
	query("nonsense", "").expect(t, "nonsense", exitUsage, `--query`)
	want := []string{
		"auth:alice:localhost:canary-secret", "auth:alice:localhost:canary-secret", "auth:alice:localhost:canary-wrong",
		"isuser:alice:localhost", "isuser:nobody:localhost", "auth:hangs:localhost:canary-x", "auth:noisy:localhost:canary-x",
	}
	if got := s.queries(t); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the script was asked %q, want %q", got, want)
	}
}

func TestCommand_configDump(t *testing.T) {
	t.Parallel()
	config, s := commandConfig(t)
	r := command(t, "", "config", "dump", "--json", "--config", config)
	r.expect(t, "config dump", exitOK)
	r.holdsNot(t, "config dump", hostKeys.secret, hostKeys.seed)
	var dump map[string]map[string]any
	if err := json.Unmarshal([]byte(r.out), &dump); err != nil {
		t.Fatalf("no JSON: %v\n%s", err, r.out)
	}
	if got := dump["localhost"]["external_auth_command"]; got != s.path {
		t.Errorf("external_auth_command is %v, want %s", got, s.path)
	}
	if got := dump["*"]["gatehouse_self_signed"]; got != true {
		t.Errorf("global gatehouse_self_signed is %v", got)
	}
	if len(dump) != 2 {
		t.Errorf("hosts: %v", dump)
	}
}

// TestCommand_token mints with the program and verifies with code of the test's own, and the other way round.
func TestCommand_token(t *testing.T) {
	t.Parallel()
	config, _ := commandConfig(t)
	roomInWindow(10 * time.Second)
	keys := command(t, "", "token", "keys")
	keys.expect(t, "keys", exitOK, `token_secret = "[^"]{32,}"`, `otp_seed = "[A-Z2-7]{16,}"`)
	if again := command(t, "", "token", "keys"); again.out == keys.out {
		t.Error("the same keys twice")
	}
	minted := command(t, "", "token", "mint", "--config", config, "Alice@localhost")
	minted.expect(t, "mint", exitOK, `^\d{40} \S{44}\n`)
	token := strings.TrimSuffix(minted.out, "\n")
	plan := &tokenPlan{Nonce: token[8:40], SignJID: "alice@localhost"}
	if want := plan.mint(t, hostKeys.secret, hostKeys.seed, time.Now()); token != want {
		t.Errorf("minted %q, want %q", token, want)
	}
	verify := func(jid, token string) result {
		return command(t, token+"\n", "token", "verify", "--config", config, jid)
	}
	verify("alice@localhost", freshToken(t, hostKeys.secret, hostKeys.seed, "alice@localhost")).expect(t, "verify", exitOK, `yes`)
	verify("alice@localhost", token).expect(t, "verify what was minted", exitOK, `yes`)
	verify("alice@localhost", token).expect(t, "verify does not use it up", exitOK, `yes`)
	verify("bob@localhost", token).expect(t, "another user's", exitRefused, `no`)
	spoilt := []byte(token)
	spoilt[41] ^= 1 // the first character of the signature, to its neighbour
	verify("alice@localhost", string(spoilt)).expect(t, "spoilt", exitRefused, `no`)
	verify("alice@localhost", "hunter2").expect(t, "a password", exitRefused, `no`)
	old := &tokenPlan{Window: -2, Nonce: strings.Repeat("7", 32), SignJID: "alice@localhost"}
	verify("alice@localhost", old.mint(t, hostKeys.secret, hostKeys.seed, time.Now())).expect(t, "old", exitRefused, `no`)
	verify("alice@nowhere.example", token).expect(t, "unknown host", exitConfig, `nowhere\.example`)
	command(t, "", "token", "mint", "--config", config, "localhost").expect(t, "no user", exitUsage, `localhost`)
}

// TestCommand_login logs in with the program as a client, against the program as a server.
func TestCommand_login(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plan := accounts("alice", "canary-secret")
	plan["rules"] = []any{map[string]any{"match": "auth:broken:", "do": []any{do("exit", 1)}}}
	s := installScript(t, dir, "auth", plan)
	caFile, d := startWithCertificate(t, dir, s)
	login := func(password string, args ...string) result {
		t.Helper()
		r := command(t, password+"\n", append([]string{"login", "--ca", caFile}, args...)...)
		r.holdsNot(t, strings.Join(args, " "), "canary")
		return r
	}
	starttls, direct := d.address(t, "starttls"), d.address(t, "direct")
	login("canary-secret", "--connect", starttls, "--resource", "desk", "alice@localhost").expect(t, "STARTTLS", exitOK,
		`(?i)starttls`, `(?i)TLS 1\.3`, `PLAIN`, `accepted`, `alice@localhost/desk`)
	login("canary-secret", "--connect", direct, "--direct-tls", "--mechanism", "PLAIN", "--verbose", "alice@localhost").
		expect(t, "direct TLS", exitOK, `(?i)TLS 1\.3`, `PLAIN`, `accepted`, `alice@localhost/`)
	login("canary-wrong", "--connect", starttls, "alice@localhost").expect(t, "wrong password", exitRefused, `not-authorized`)
	login("canary-secret", "--connect", starttls, "broken@localhost").expect(t, "broken script", exitUnavailable, `temporary-auth-failure`)
	login("canary-secret", "--connect", starttls, "alice@nowhere.example").expect(t, "unknown host", exitUnavailable)
	login("canary-secret", "--connect", "127.0.0.1:1", "alice@localhost").expect(t, "nobody there", exitUnavailable, `127\.0\.0\.1:1`)
	r := command(t, "canary-secret\n", "login", "--connect", starttls, "alice@localhost")
	r.expect(t, "a certificate that nobody vouches for", exitUnavailable, `certificate`)
	r.holdsNot(t, "a certificate that nobody vouches for", "canary")
	if asked := s.queries(t); len(asked) < 4 {
		t.Errorf("the script was asked only %q", asked)
	}
}

// TestCommand_demo is the first thing that a new user does.
func TestCommand_demo(t *testing.T) {
	t.Parallel()
	r := commandIn(t, "..", "", "demo", "--once")
	r.expect(t, "demo --once", exitOK, `STARTTLS`, `PLAIN, accepted`, `direct TLS`, `X-TOKEN, accepted`, `wrong password`,
		`PLAIN, refused: not-authorized`, `token that was used`, `X-TOKEN, refused: not-authorized`)
}

// TestCommand_example serves the example config, as the README says, on free ports.
func TestCommand_example(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../prosody.cfg.lua.example")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "examples"), os.DirFS("../examples")); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "prosody.cfg.lua")
	changed := regexp.MustCompile(`(?m)^c2s_ports = .*$`).ReplaceAllString(string(text), `c2s_ports = { 0 }`)
	changed = regexp.MustCompile(`(?m)^c2s_direct_tls_ports = .*$`).ReplaceAllString(changed, `c2s_direct_tls_ports = { 0 }`)
	if err := os.WriteFile(config, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	d := start(t, config)
	_, port, _ := strings.Cut(d.address(t, "starttls"), ":")
	address := "127.0.0.1:" + port[strings.LastIndexByte(port, ':')+1:]
	expectAuth(t, "right", address, "localhost", "PLAIN", plain("alice", "secret"), "success")
	expectAuth(t, "wrong", address, "localhost", "PLAIN", plain("alice", "wrong"), "not-authorized")
	d.stop(t)
}
