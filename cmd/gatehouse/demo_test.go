package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// The example as it is shipped.
func TestDemoCmd_example(t *testing.T) {
	code, stdout, stderr := command("", "demo", "--once", "--config", "../../prosody.cfg.lua.example")
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if n := strings.Count(stdout, "✓"); n != 9 || strings.Contains(stdout, "✗") {
		t.Errorf("%d steps went well, want 9", n)
	}
	for _, want := range []string{
		"alice logs in with a password over STARTTLS", "direct TLS", "X-TOKEN, accepted", "wrong password is refused",
		"PLAIN, refused: not-authorized", "X-TOKEN, refused: not-authorized", "All 8 logins went as they should.",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if t.Failed() {
		t.Log(stdout)
	}
}

// A demo that cannot fail would show nothing.
func TestDemoCmd_failsWhenALoginGoesWrong(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"a script that says yes to all", "while read -r query; do echo 1; done", "But it was let in"},
		{"a script that says no to all", "while read -r query; do echo 0; done", "refused: not-authorized"},
		{"a script that breaks", "read -r query; exit 3", "temporary-auth-failure"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := command("", "demo", "--once", "--config", writeConfig(t, c.script))
			if code != exitUnavailable || !strings.Contains(stderr, "did not go as they should") {
				t.Errorf("exit code %d, %s", code, stderr)
			}
			if !strings.Contains(stdout, "✗") || !strings.Contains(stdout, c.want) || strings.Contains(stdout, "All") {
				t.Errorf("got:\n%s", stdout)
			}
		})
	}
}

func TestDemoCmd_configs(t *testing.T) {
	config := writeConfig(t, tableScript)
	noToken := writeConfig(t, tableScript)
	text, err := os.ReadFile(noToken)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(?m)^\s*(token_secret|otp_seed).*$`).ReplaceAll(text, nil)
	if err := os.WriteFile(noToken, text, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, config string
		code         int
		want         string
	}{
		{"missing", config + ".missing", exitUsage, "top of gatehouse's source tree"},
		{"no tokens", noToken, exitConfig, "keys of tokens"},
	} {
		code, _, stderr := command("", "demo", "--once", "--config", c.config)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d, %s", c.name, code, stderr)
		}
	}
}

// safeBuffer is read while the demo writes.
type safeBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// What the demo invites people to paste works while it stays up.
func TestDemoCmd_staysUp(t *testing.T) {
	t.Setenv(passwordVariable, "")
	config := writeConfig(t, tableScript)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var out safeBuffer
	done := make(chan error, 1)
	go func() {
		cmd := DemoCmd{Config: config}
		done <- cmd.run(ctx, &globals{&out, io.Discard, strings.NewReader("")})
	}()
	deadline := time.After(30 * time.Second)
	waitFor := func(text string) {
		t.Helper()
		for !strings.Contains(out.String(), text) {
			select {
			case err := <-done:
				t.Fatalf("it ended: %v\n%s", err, out.String())
			case <-deadline:
				t.Fatalf("waiting for %q, got:\n%s", text, out.String())
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	waitFor("What the daemon says")
	if strings.Contains(out.String(), "level=INFO") {
		t.Error("the daemon's log is mixed into the show")
	}
	pasted := 0
	for _, line := range strings.Split(out.String(), "\n") {
		_, args, found := strings.Cut(line, "go run ./cmd/gatehouse ")
		if !found {
			continue
		}
		pasted++
		if code, stdout, stderr := command(canary, strings.Fields(args)...); code != 0 {
			t.Errorf("%s: exit code %d\n%s%s", line, code, stdout, stderr)
		}
	}
	if pasted != 2 {
		t.Errorf("%d lines to paste, want 2", pasted)
	}
	waitFor("msg=login")
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it ended with %v", err)
	}
}
