package extauth

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestPool_saysWhyAScriptCannotBeStarted(t *testing.T) {
	tests := []struct {
		name, script string
		mode         os.FileMode
		want         string
	}{
		{"lines of Windows", "#!/bin/sh\r\necho 1\r\n", 0o700, "lines end with CR LF"},
		{"unknown interpreter", "#! /opt/none/python -u\n", 0o700, `asks for "/opt/none/python"`},
		{"no first line", "echo 1\n", 0o700, "name an interpreter"},
		{"not executable", "#!/bin/sh\n", 0o600, "chmod +x"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "auth.sh")
			if err := os.WriteFile(path, []byte(test.script), test.mode); err != nil {
				t.Fatal(err)
			}
			cfg := testConfig(t, variant{Generic, true, 1}, "plain")
			cfg.Command = []string{path}
			p := newTestPool(t, cfg)
			_, err := p.Auth(context.Background(), "alice", "example.org", "secret")
			if !errors.Is(err, ErrStart) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want ErrStart with %q", err, test.want)
			}
		})
	}
	if hint := missingHint(filepath.Join(t.TempDir(), "none.sh")); !strings.Contains(hint, "the file or the working directory") {
		t.Errorf("no script: %q", hint)
	}
}

// TestProcess_waitTakesNoThread: whoever waits for the end of a process waits as for a network, not in a system call.
func TestProcess_waitTakesNoThread(t *testing.T) {
	cfg := testConfig(t, variants[0], "plain")
	cfg.Processes = 1
	p := newTestPool(t, cfg)
	mustSay(t, p, "bob", "right", true)
	stacks := make([]byte, 1<<20)
	eventually(t, "the end of the worker is waited for without a thread", func() bool {
		for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(stack, "awaitEnd(") {
				return strings.Contains(stack, "[IO wait")
			}
		}
		return false
	})
}
