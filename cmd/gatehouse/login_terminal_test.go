package main

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// readUntil returns what a terminal shows, up to and with text.
func readUntil(t *testing.T, terminal *os.File, text string) string {
	t.Helper()
	var screen strings.Builder
	b := make([]byte, 1)
	for !strings.HasSuffix(screen.String(), text) {
		if _, err := terminal.Read(b); err != nil {
			t.Fatalf("waiting for %q, got %q: %v", text, screen.String(), err)
		}
		screen.Write(b)
	}
	return screen.String()
}

func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	termios, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return termios.Lflag&unix.ECHO != 0
}
