package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPublic(t *testing.T) {
	const text = "/etc/x:3: host a: worker 2: died (exit status 1 after 4ms); stderr: db password is hunter2 | end\n/etc/x:9: host b: no such file"
	const want = "/etc/x:3: host a: worker 2: died (exit status 1 after 4ms); the log has what it wrote to standard error\n/etc/x:9: host b: no such file"
	if got := public(text); got != want {
		t.Errorf("got %q", got)
	}
}

func TestScriptName(t *testing.T) {
	got := scriptName([]string{"/usr/bin/php", "-f", "/etc/auth.php", "hunter2"})
	if want := "/usr/bin/php … /etc/auth.php …"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// readiness starts a daemon with hosts and returns what asks it whether it is ready.
func readiness(t *testing.T, dir, hosts string) func() string {
	t.Helper()
	path := filepath.Join(dir, "prosody.cfg.lua")
	if err := os.WriteFile(path, []byte("gatehouse_self_signed = true\n"+hosts), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	d, err := startDaemon(ctx, path, daemonOptions{Loopback: true, DataDir: filepath.Join(dir, "data"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(ctx); err != nil {
			t.Error(err)
		}
		if err := (status{d}).Ready(); err == nil || err.Error() != "the daemon is starting or shutting down" {
			t.Errorf("after the end: %v", err)
		}
	})
	return func() string {
		if err := (status{d}).Ready(); err != nil {
			return err.Error()
		}
		return ""
	}
}

// becomes waits until the daemon says something that begins so, or nothing.
func becomes(t *testing.T, ready func() string, want string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var got string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		if got = ready(); strings.HasPrefix(got, want) && (want != "" || got == "") {
			return
		}
	}
	t.Fatalf("readiness: %q, want %q", got, want)
}

// Nobody has to log in for a daemon to find out that its script is well again: those who balance load send nobody to one
// that is not ready.
func TestReady_scriptMended(t *testing.T) {
	dir := t.TempDir()
	script, good := filepath.Join(dir, "auth.sh"), filepath.Join(dir, "good")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n[ -e "+good+" ] || exit 3\nwhile read -r q; do echo 1; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ready := readiness(t, dir, "VirtualHost 'a.example' authentication = 'external' external_auth_command = '"+script+"'\n")
	becomes(t, ready, "a.example: worker 1: script ended without an answer (exit status 3")
	if err := os.WriteFile(good, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	becomes(t, ready, "")
}

// Without the memory of used tokens no token is accepted, and a host that takes nothing else is closed.
func TestReady_tokensWithoutMemory(t *testing.T) {
	const tokens = "VirtualHost 'a.example' authentication = 'token' token_secret = 'secretsecretsecret' otp_seed = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'\n"
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "data", "replay.db"), 0o700); err != nil { // no file can be there
		t.Fatal(err)
	}
	becomes(t, readiness(t, dir, tokens), "a.example: the memory of used tokens does not work: ")

	script := filepath.Join(dir, "auth.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nwhile read -r q; do echo 1; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	becomes(t, readiness(t, dir, tokens+"VirtualHost 'b.example' authentication = 'external' external_auth_command = '"+script+"'\n"), "")
	becomes(t, readiness(t, t.TempDir(), tokens), "")
}
