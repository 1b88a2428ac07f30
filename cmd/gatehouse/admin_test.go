package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/config"
)

// The socket that the program's own commands use has other rights than the one
// for servers behind: to take the one for the other must not pass in silence.
func TestAdminPorts_extauthIsNotTheControlSocket(t *testing.T) {
	control := config.AdminAddr{Network: "unix", Addr: filepath.Join(t.TempDir(), controlSocket)}
	a := &adminPorts{logger: slog.New(slog.DiscardHandler), control: control, open: make(map[config.AdminAddr]*adminPort)}
	c, err := a.prepare(context.Background(), &config.Config{ExtauthSocket: &control}, nil, nil)
	if err == nil {
		c.discard()
		t.Error("both are to be the same")
	}
}

// A path can be for one thing before a reload and for another after it. Nobody who
// is connected takes the new rights over, and a reload that is refused leaves what
// was there.
func TestAdminPorts_pathChangesItsUse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "gh.sock")
	busy := listen(t, "tcp", "127.0.0.1:0")
	defer busy.Close()
	cfgPath := filepath.Join(dir, "prosody.cfg.lua")
	script := filepath.Join(dir, "auth.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nwhile read -r q; do echo 1; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(option string) {
		t.Helper()
		text := "gatehouse_self_signed = true\n" + option + "\nVirtualHost 'a.example' authentication = 'external' external_auth_command = '" + script + "'\n"
		if err := os.WriteFile(cfgPath, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(c net.Conn, target string) int {
		t.Helper()
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: gatehouse\r\n\r\n", target); err != nil {
			return 0
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return 0
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	const question = "/auth/user_exists?user=alice&server=a.example"
	write("gatehouse_admin = '" + path + "'")
	ctx := context.Background()
	d, err := startDaemon(ctx, cfgPath, daemonOptions{Loopback: true, DataDir: filepath.Join(dir, "data"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(ctx); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "[.g][gh]*")); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
	serves := func(target string, code int) net.Conn {
		t.Helper()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if got := ask(c, target); got != code {
			t.Errorf("%s: %d, want %d", target, got, code)
		}
		return c
	}
	kept := serves("/healthz", http.StatusOK)
	serves(question, http.StatusNotFound)
	if err := os.Chmod(path, 0o666); err != nil { // for whoever wants to look
		t.Fatal(err)
	}

	write("gatehouse_admin = '" + busy.Addr().String() + "' gatehouse_extauth_socket = '" + path + "'")
	if _, err := d.reload(ctx, byCommand); err == nil {
		t.Error("a reload passes that needs a port of somebody else")
	}
	serves("/healthz", http.StatusOK)
	if got := ask(kept, "/healthz"); got != http.StatusOK {
		t.Errorf("after a reload that was refused an old connection gets %d", got)
	}

	write("gatehouse_extauth_socket = '" + path + "'")
	if _, err := d.reload(ctx, byCommand); err != nil {
		t.Fatal(err)
	}
	serves(question, http.StatusOK)
	serves("/healthz", http.StatusNotFound)
	if got := ask(kept, question); got == http.StatusOK {
		t.Error("a connection of before has the rights of servers behind")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}

	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	write("gatehouse_admin = '" + path + "' gatehouse_extauth_socket = '" + filepath.Join(dir, "file", "x.sock") + "'")
	if _, err := d.reload(ctx, byCommand); err == nil {
		t.Error("a reload passes that needs a directory that is a file")
	}
	serves(question, http.StatusOK)

	write("gatehouse_admin = '" + path + "'")
	if _, err := d.reload(ctx, byCommand); err != nil {
		t.Fatal(err)
	}
	serves("/healthz", http.StatusOK)
	serves(question, http.StatusNotFound)
}

// A path may be as long as a socket's can be, wherever in it the directory ends.
func TestListenUnix_longPaths(t *testing.T) {
	base, err := os.MkdirTemp("", "gh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	for _, name := range []int{1, 20, 50} {
		dir := filepath.Join(base, strings.Repeat("d", config.MaxSocketPath-len(base)-name-2))
		path := filepath.Join(dir, strings.Repeat("s", name))
		ln, err := listenUnix(context.Background(), path, 0o600)
		if err != nil {
			t.Fatalf("%d bytes: %v", len(path), err)
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		if _, err := listenUnix(context.Background(), path+"x", 0o600); err == nil || !strings.Contains(err.Error(), "too long") {
			t.Errorf("a byte more: %v", err)
		}
	}
}
