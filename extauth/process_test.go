package extauth

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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
