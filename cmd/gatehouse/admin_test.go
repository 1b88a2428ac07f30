package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"gatehouse.im/gatehouse/config"
)

// The socket that the program's own commands use has other rights than the one
// for servers behind: to take the one for the other must not pass in silence.
func TestAdminPorts_extauthIsNotTheControlSocket(t *testing.T) {
	control := config.AdminAddr{Network: "unix", Addr: filepath.Join(t.TempDir(), controlSocket)}
	a := &adminPorts{logger: slog.New(slog.DiscardHandler), control: control, open: make(map[config.AdminAddr]*adminPort)}
	c, err := a.prepare(context.Background(), &config.Config{ExtauthSocket: &control}, nil)
	if err == nil {
		c.discard()
		t.Error("both are to be the same")
	}
}
