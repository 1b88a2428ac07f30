package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/config"
)

// TestReload_triedAgain: a file that was refused for what is not in the file is taken
// when that has passed, although no file has changed, and however often the daemon is
// asked whether it is alive.
func TestReload_triedAgain(t *testing.T) {
	r := startReplaced(t, "")
	path := os.Getenv("PATH")
	r.write("VirtualHost 'a.example' authentication = 'external' external_auth_command = 'auth.sh --all'")
	if err := os.Rename(filepath.Join(r.dir, "auth.sh"), filepath.Join(t.TempDir(), "auth.sh")); err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "auth.sh"), []byte("#!/bin/sh\nwhile read -r q; do echo 1; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var ofFile *config.Error
	if _, err := r.reload(context.Background(), byCommand); !errors.As(err, &ofFile) {
		t.Fatalf("a program that is missing: %v", err)
	}
	t.Setenv("PATH", bin+":"+path)
	if tried := r.reloaded.Load().retryAfter(); tried != retryFilePause {
		t.Errorf("tried again after %v", tried)
	}
	r.tried = time.Now().Add(200*time.Millisecond - retryFilePause)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.supervise(ctx, nil)
	}()
	for r.reloaded.Load().broken != nil && r.do(ctx, func() {}) == nil {
		time.Sleep(10 * time.Millisecond) // asked now and then
	}
	if ctx.Err() != nil {
		t.Error("not tried again")
	}
	cancel()
	<-ended
}

// TestReload_knownTrouble: what a script that does not start says is said once, though
// it is another worker each time.
func TestReload_knownTrouble(t *testing.T) {
	said := "/etc/x.lua:6: host a.example: worker 3: script ended without an answer (exit status 3 after 9ms); stderr: 15:31:07.25 no"
	for text, known := range map[string]bool{
		said: true,
		"/etc/x.lua:6: host a.example: worker 14: script ended without an answer (exit status 3 after 1.2s); stderr: 15:31:17.3 no": true,
		"/etc/x.lua:6: host a.example: worker 4: script ended without an answer (exit status 3 after 0s); stderr: 15:31:17 maybe":   false,
		"cannot listen on a client port": false,
	} {
		state := configState{broken: errors.New(said)}
		if got := state.stillBroken(errors.New(text)); got != known {
			t.Errorf("%s: known %t", text, got)
		}
	}
	if new(configState).stillBroken(errors.New(said)) {
		t.Error("known before anything was broken")
	}
}

// TestReload_severalScriptsFail: what two scripts say that do not start is said in the
// same order, whichever is the first to end.
func TestReload_severalScriptsFail(t *testing.T) {
	r := startReplaced(t, "")
	config := ""
	for _, host := range []string{"b", "c"} {
		script := fmt.Sprintf("#!/bin/sh\n[ -e %[1]s.slow ] && sleep 0.05\necho no %[1]s >&2\nexit 3\n", host)
		if err := os.WriteFile(filepath.Join(r.dir, host+".sh"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		config += fmt.Sprintf("VirtualHost '%[1]s.example' authentication = 'external' external_auth_command = './%[1]s.sh'\n", host)
	}
	r.write(config)
	for _, slow := range []string{"b.slow", "c.slow"} {
		path := filepath.Join(r.dir, slow)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := r.reload(context.Background(), byCommand)
		text := fmt.Sprint(err)
		if b, c := strings.Index(text, "no b"), strings.Index(text, "no c"); b < 0 || c < b {
			t.Errorf("%s: %s", slow, text)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDaemon_workingDirectory: a daemon that was given a relative path goes on with
// the same file, whatever becomes of the directory that it was started in.
func TestDaemon_workingDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etc")
	if err := os.MkdirAll(filepath.Join(dir, "cwd"), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		text = "gatehouse_self_signed = true interfaces = '127.0.0.1' c2s_ports = 0\n" + text +
			"\nVirtualHost 'a.example' authentication = 'token' token_secret = '0123456789abcdef' otp_seed = 'XVGR73KMZH2M4XMY'\n"
		if err := os.WriteFile(filepath.Join(dir, "prosody.cfg.lua"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	t.Chdir(filepath.Join(dir, "cwd"))
	d, err := startDaemon(context.Background(), "../prosody.cfg.lua", daemonOptions{
		Loopback: true, DataDir: filepath.Join(dir, "data"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err := os.Remove(filepath.Join(dir, "cwd")); err != nil {
		t.Fatal(err)
	}
	write("c2s_timeout = 20")
	if o, err := d.reload(context.Background(), byCommand); err != nil || len(o.changed) != 1 {
		t.Errorf("%+v, %v", o, err)
	}
}
