package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

func TestCheckCmd_queryTellsTheOtherProtocol(t *testing.T) {
	tests := []struct{ name, protocol, script, want string }{
		{"ejabberd's answer", "generic", `read line; printf '\0\2\0\1'; sleep 60`, `set external_auth_protocol = "ejabberd"`},
		{"a line", "ejabberd", `echo 1; sleep 60`, `set external_auth_protocol = "generic"`},
		{"nothing", "ejabberd", `read line; echo 1`, `Does the script speak the ejabberd protocol`},
		{"sudo's question", "generic", `printf '[sudo] password for gatehouse: '; sleep 60`, "needs NOPASSWD in sudoers"},
		{"quotes on standard error", "generic", `echo 'File "auth.py", line 1' >&2`, `stderr: File "auth.py", line 1`},
		{"other text", "generic", `read line; echo fine`, `neither a line "0" nor a line "1"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			config := filepath.Join(dir, "prosody.cfg.lua")
			for path, text := range map[string]string{
				filepath.Join(dir, "auth.sh"): "#!/bin/sh\n" + test.script + "\n",
				config: "gatehouse_self_signed = true\nexternal_auth_timeout = 1\ngatehouse_external_auth_start_timeout = 1\n" +
					"external_auth_protocol = '" + test.protocol + "'\n" +
					"VirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh'\n",
			} {
				if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			cmd := CheckCmd{Config: config, Query: "auth:alice:a.example:secret"}
			err := cmd.Run(&globals{Stdout: new(bytes.Buffer), Stderr: new(bytes.Buffer), Stdin: strings.NewReader("")})
			var e *exitError
			if !errors.As(err, &e) || e.Code != exitUnavailable || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// A script that root may run may be one that the daemon may not.
func TestCheckCmd_queryTellsWhoAsks(t *testing.T) {
	path := writeConfig(t, tableScript)
	for user, want := range map[string]bool{"nobody": true, userName(os.Geteuid()): false} {
		_, _, stderr := command("", "check", "--user", user, "--config", path, "--query", "isuser:alice:localhost")
		if told := strings.Contains(stderr, "as nobody for the daemon: runuser -u nobody -- gatehouse check --query"); told != want {
			t.Errorf("%s: told: %v; %s", user, told, stderr)
		}
	}
}

// What is typed for --query is not shown, neither by the terminal nor by the
// exchange.
func TestCheckCmd_queryPasswordIsNotEchoed(t *testing.T) {
	user, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer user.Close()
	defer terminal.Close()
	if err := user.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	cmd := CheckCmd{Config: writeConfig(t, tableScript), Query: "auth:alice:localhost"}
	done := make(chan error, 1)
	go func() { done <- cmd.Run(&globals{Stdout: terminal, Stderr: terminal, Stdin: terminal}) }()
	screen := readUntil(t, user, "Password: ")
	for echoes(t, terminal) {
		select {
		case err := <-done:
			t.Fatalf("it did not wait: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	if _, err := io.WriteString(user, canary+"\r"); err != nil {
		t.Fatal(err)
	}
	screen += readUntil(t, user, "verdict   yes\r\n")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if strings.Contains(screen, canary) {
		t.Errorf("the screen shows %q", screen)
	}
}
