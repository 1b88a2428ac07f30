package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

const (
	canary = "canary-Tr0ub4dor"

	// The keys of the example.
	testTokenSecret = "example-only-JYXEX4IQOEYFYQ2S3MC5P4ZT4SDHYEA7"
	testOTPSeed     = "XVGR73KMZH2M4XMYGEZDGNBVGY3TQOJQ"
)

// tableScript answers as the example's script does.
const tableScript = `while IFS= read -r query; do
	case $query in
	auth:alice:localhost:` + canary + `|isuser:alice:localhost) echo 1 ;;
	*) echo 0 ;;
	esac
done`

// writeConfig makes a directory with a config for localhost, its script, and the
// table of users that the demo reads, and returns the config's path.
func writeConfig(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf(`gatehouse_self_signed = true
gatehouse_data_dir = "data"
external_auth_timeout = 2
gatehouse_external_auth_start_timeout = 2
VirtualHost "localhost"
	authentication = "external"
	external_auth_command = "./auth.sh"
	token_secret = %q
	otp_seed = %q
`, testTokenSecret, testOTPSeed)
	for name, text := range map[string]string{
		"auth.sh": "#!/bin/sh\n" + script + "\n", "prosody.cfg.lua": config, "examples/users.txt": "alice:" + canary + "\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "prosody.cfg.lua")
}

// runDaemon runs the real daemon on free ports until the test ends.
func runDaemon(t *testing.T, config string) *daemon {
	t.Helper()
	d, err := startDaemon(context.Background(), config, daemonOptions{
		Loopback: true, DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), d.Config().ShutdownTimeout)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return d
}

// command runs the program with this standard input.
func command(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	code = run(args, globals{&out, &errOut, strings.NewReader(stdin)})
	return code, out.String(), errOut.String()
}

func TestLoginCmd_outcomes(t *testing.T) {
	t.Setenv(passwordVariable, "")
	config := writeConfig(t, tableScript)
	d := runDaemon(t, config)
	broken := runDaemon(t, writeConfig(t, "read -r query; exit 3"))
	fp := "--fingerprint=" + d.Fingerprint("localhost")
	here, direct := "--connect="+d.Addr(false), "--connect="+d.Addr(true)
	for _, c := range []struct {
		name  string
		stdin string
		args  []string
		code  int
		want  []string // in what is printed
	}{
		{"in", canary, []string{here, fp, "alice@localhost"}, 0, []string{"PLAIN, the strongest", "is in, after"}},
		{"in, with a resource", canary, []string{here, fp, "alice@localhost/desk"}, 0, []string{"✓ alice@localhost/desk\n"}},
		{"in, by direct TLS", canary, []string{direct, fp, "--direct-tls", "alice@localhost"}, 0, []string{"(direct TLS)", "ALPN xmpp-client"}},
		{"in, whoever it is", canary, []string{here, "--insecure", "ALICE@localhost"}, 0, []string{"! NOT verified", "alice@localhost/"}},
		{"in, by a token", "", []string{here, fp, "--mint", "--config=" + config, "alice@localhost"}, 0, []string{"X-TOKEN, as asked for", "Minted"}},
		{"in, with the XML", canary, []string{here, fp, "-v", "alice@localhost"}, 0, []string{"mechanism='PLAIN'>•••</auth>", "<mechanism>X-TOKEN</mechanism>"}},
		{"a wrong password", canary + "x", []string{here, fp, "alice@localhost"}, exitRefused, []string{"refused: not-authorized", "check --query"}},
		{"a forged token", "0000" + canary, []string{here, fp, "-m", "X-TOKEN", "alice@localhost"}, exitRefused, []string{"refused: not-authorized"}},
		{"a script that breaks", canary, []string{"--connect=" + broken.Addr(false), "--insecure", "alice@localhost"}, exitUnavailable, []string{"temporary-auth-failure", "says nothing about the password"}},
		{"a stranger's certificate", canary, []string{here, "alice@localhost"}, exitUnavailable, []string{"✗ not trusted", "Nothing was sent"}},
		{"another certificate", canary, []string{here, "--fingerprint=" + strings.Repeat("ab", 32), "alice@localhost"}, exitUnavailable, []string{"another fingerprint"}},
		{"another host", canary, []string{here, fp, "alice@example.org"}, exitUnavailable, []string{"host-unknown", "does not serve this host"}},
		{"a mechanism that is not offered", canary, []string{here, fp, "-m", "SCRAM-SHA-1", "alice@localhost"}, exitUnavailable, []string{"offers", "not SCRAM-SHA-1"}},
		{"STARTTLS to direct TLS", canary, []string{here, fp, "--direct-tls", "alice@localhost"}, exitUnavailable, []string{"leave out --direct-tls"}},
		{"in the clear", canary, []string{here, "--send-in-the-clear", "alice@localhost"}, exitUnavailable, []string{"no mechanism"}},
		{"no host", canary, []string{"alice"}, exitUsage, []string{"USER@HOST"}},
		{"unknown mechanism", canary, []string{"-m", "PLANE", "alice@localhost"}, exitUsage, []string{"SCRAM-SHA-256"}},
		{"no password", "", []string{"alice@localhost"}, exitUsage, []string{"no password"}},
		{"no time", canary, []string{"--timeout=0s", "alice@localhost"}, exitUsage, []string{"--timeout"}},
		{"two ways to trust", canary, []string{fp, "--insecure", "alice@localhost"}, exitUsage, []string{"together"}},
		{"no such authority", canary, []string{"--ca=" + config + ".missing", "alice@localhost"}, exitUsage, []string{"--ca"}},
		{"no authority in it", canary, []string{"--ca=" + config, "alice@localhost"}, exitUsage, []string{"no certificate"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := command(c.stdin, append([]string{"login"}, c.args...)...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(stdout+stderr, want) {
					t.Errorf("%q is missing", want)
				}
			}
			if strings.Contains(stdout+stderr, canary) || strings.ContainsRune(stdout+stderr, '\x1b') {
				t.Error("the secret or colours were printed")
			}
			if t.Failed() {
				t.Logf("stdout:\n%s\nstderr:\n%s", stdout, stderr)
			}
		})
	}
}

// The whole output, because it is for people: what differs from run to run is
// replaced.
func TestLoginCmd_output(t *testing.T) {
	t.Setenv(passwordVariable, canary)
	d := runDaemon(t, writeConfig(t, tableScript))
	code, stdout, stderr := command("", "login", "--connect="+d.Addr(false), "--fingerprint="+d.Fingerprint("localhost"), "alice@localhost/desk")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	for _, r := range []struct{ old, new string }{
		{`\b[0-9.]+(µs|ms|s)\b`, "TIME"}, {`127\.0\.0\.1:[0-9]+`, "ADDR"}, {`[0-9a-f]{64}`, "SUM"}, {`[0-9]{4}-[0-9]{2}-[0-9]{2}`, "DATE"},
	} {
		stdout = regexp.MustCompile(r.old).ReplaceAllString(stdout, r.new)
	}
	want := `connect   ADDR, TIME
stream    localhost offers STARTTLS (required)
tls       TLS 1.3, TLS_AES_128_GCM_SHA256, X25519MLKEM768, TIME
          certificate for localhost; self-signed; ECDSA P-256
          valid until DATE (in 10 years)
          SHA-256 SUM
          ✓ it is the certificate with that fingerprint
stream    localhost offers X-TOKEN, PLAIN
login     PLAIN, the strongest that both sides know
          ✓ accepted after TIME
stream    localhost, logged in
          also bind, session
bind      ✓ alice@localhost/desk
ping      ✓ answered after TIME
close     both sides said goodbye

alice@localhost/desk is in, after TIME.
`
	if stdout != want {
		t.Errorf("got:\n%s\nwant:\n%s", stdout, want)
	}
}

func TestReadSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from the file\r\nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, file, env, stdin string
		want                   string // empty: refused
	}{
		{"file", file, "env", "stdin", "from the file"},
		{"environment", "", "env", "stdin", "env"},
		{"standard input", "", "", " spaces stay \nnext", " spaces stay "},
		{"no line end", "", "", "stdin", "stdin"},
		{"nothing", "", "", "", ""},
		{"an empty line", "", "", "\nsecond", ""},
		{"too long", "", "", strings.Repeat("x", maxSecret+1), ""},
		{"the longest", "", "", strings.Repeat("x", maxSecret), strings.Repeat("x", maxSecret)},
		{"no such file", file + ".missing", "env", "stdin", ""},
		{"a directory", filepath.Dir(file), "env", "stdin", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(passwordVariable, c.env)
			g := &globals{io.Discard, io.Discard, strings.NewReader(c.stdin)}
			got, err := readSecret(g, c.file, "")
			if string(got.Bytes()) != c.want || (err == nil) != (c.want != "") {
				t.Errorf("got %q, %v", got.Bytes(), err)
			}
		})
	}
}

func TestReadSecret_terminalDoesNotEcho(t *testing.T) {
	t.Setenv(passwordVariable, "")
	user, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer user.Close()
	defer terminal.Close()
	if err := user.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		secret string
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		secret, err := readSecret(&globals{io.Discard, terminal, terminal}, "", "Password: ")
		done <- answer{string(secret.Bytes()), err}
	}()
	// The echo is off a moment after the prompt: wait until it is.
	screen := readUntil(t, user, "Password: ")
	for echoes(t, terminal) {
		select {
		case a := <-done:
			t.Fatalf("it did not wait: %q, %v", a.secret, a.err)
		case <-time.After(time.Millisecond):
		}
	}
	if _, err := io.WriteString(user, canary+"\r"); err != nil {
		t.Fatal(err)
	}
	if a := <-done; a.secret != canary || a.err != nil {
		t.Errorf("got %q, %v", a.secret, a.err)
	}
	screen += readUntil(t, user, "\n")
	if strings.Contains(screen, canary) {
		t.Errorf("the screen shows %q", screen)
	}
	if !echoes(t, terminal) {
		t.Error("the terminal was left without echo")
	}
}
