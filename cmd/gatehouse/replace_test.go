package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/server"
)

// replaced is a daemon whose config a test changes.
type replaced struct {
	*daemon
	t   *testing.T
	dir string
}

// startReplaced serves a.example on the client port that the config names, which a
// script lets everybody in at.
func startReplaced(t *testing.T, config string) *replaced {
	t.Helper()
	r := &replaced{t: t, dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(r.dir, "auth.sh"), []byte("#!/bin/sh\nwhile read -r q; do echo 1; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.write(config)
	var err error
	r.daemon, err = startDaemon(context.Background(), filepath.Join(r.dir, "prosody.cfg.lua"),
		daemonOptions{DataDir: filepath.Join(r.dir, "data"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// write writes a config; what is in the host comes last.
func (r *replaced) write(config string) {
	r.t.Helper()
	text := "gatehouse_self_signed = true interfaces = '127.0.0.1'\n" + config
	if !strings.Contains(config, "VirtualHost") {
		text += "\nVirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh'\n"
	}
	if err := os.WriteFile(filepath.Join(r.dir, "prosody.cfg.lua"), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// becomes reloads a config.
func (r *replaced) becomes(config string) outcome {
	r.t.Helper()
	r.write(config)
	o, err := r.reload(context.Background(), byCommand)
	if err != nil {
		r.t.Fatalf("%s: %v", config, err)
	}
	return o
}

// freePort is a port that nobody has at the moment.
func freePort(t *testing.T) int {
	t.Helper()
	ln := listen(t, "tcp4", "127.0.0.1:0")
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// TestReload_portChangesHands: a port may be for clients before a reload and for the
// status page after it, and the other way round.
func TestReload_portChangesHands(t *testing.T) {
	a, b := freePort(t), freePort(t)
	r := startReplaced(t, fmt.Sprintf("c2s_ports = %d gatehouse_admin = '127.0.0.1:%d'", a, b))
	asked := func(addr string) error {
		resp, err := http.Get("http://" + addr + "/healthz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		return nil
	}
	// The kernel may still have given a connection to the socket that is being closed.
	inTheEnd := func(ask func(addr string) error, port int) (err error) {
		for range 3 {
			if err = ask(fmt.Sprint("127.0.0.1:", port)); !errors.Is(err, syscall.ECONNRESET) {
				break
			}
		}
		return err
	}
	for n, config := range []struct {
		text           string
		clients, admin int
	}{
		{"c2s_ports = %d gatehouse_admin = '127.0.0.1:%d'", b, a},
		{"c2s_ports = %d gatehouse_admin = '127.0.0.1:%d'", a, b},
		{"interfaces = '*' c2s_ports = %d gatehouse_admin = '127.0.0.1:%d'", b, a},
		{"c2s_ports = %d gatehouse_admin = '127.0.0.1:%d'", a, b},
	} {
		o := r.becomes(fmt.Sprintf(config.text, config.clients, config.admin))
		if got := strings.Join(o.changed, "; "); !strings.Contains(got, "c2s_ports") || !strings.Contains(got, "gatehouse_admin") {
			t.Errorf("%d: changed: %s", n, got)
		}
		if err := inTheEnd(answers, config.clients); err != nil {
			t.Errorf("%d: client port: %v", n, err)
		}
		if err := inTheEnd(asked, config.admin); err != nil {
			t.Errorf("%d: admin port: %v", n, err)
		}
	}
}

// TestReload_keepsWhatIsKnownOfServersBehind: as long as the servers behind are the
// same, a reload does not forget that one is down.
func TestReload_keepsWhatIsKnownOfServersBehind(t *testing.T) {
	nobody := freePort(t)
	host := "\nVirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh' gatehouse_upstream_timeout = 1 gatehouse_upstream = '127.0.0.1:%d'\n"
	host = fmt.Sprintf(host, nobody)
	port := fmt.Sprintf("c2s_ports = %d gatehouse_extauth_socket = './e.sock' ", freePort(t))
	r := startReplaced(t, port+host)
	first := r.parts.Load()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := first.server.Hosts["a.example"].Upstream.Open(ctx, server.UpstreamLogin{User: "alice", Host: "a.example"}); err == nil {
		t.Fatal("there is somebody behind")
	}
	known := func() (dials uint64, up bool) {
		s := r.parts.Load().behind["a.example"].Stats()
		return s[0].Dials, s[0].Up
	}
	for _, config := range []string{port + host, port + "c2s_timeout = 20\n" + host, port + host + "external_auth_timeout = 7\n"} {
		r.becomes(config)
		if dials, up := known(); dials != 1 || up {
			t.Errorf("after a reload of what has nothing to do with it: %d dials, up %v", dials, up)
		}
	}
	r.becomes(port + host + "gatehouse_upstream_timeout = 2\n")
	if dials, up := known(); dials != 0 || !up {
		t.Errorf("after a reload that changes it: %d dials, up %v", dials, up)
	}
	if r.parts.Load().behind["a.example"] == first.behind["a.example"] {
		t.Error("it is the old one")
	}
}

// TestReload_triesTheScriptOfAHostThatHadNone: a script that dies does not take the
// place of tokens, nor does it come into the daemon with a new host.
func TestReload_triesTheScriptOfAHostThatHadNone(t *testing.T) {
	const keys = "token_secret = '0123456789abcdef' otp_seed = 'XVGR73KMZH2M4XMY' "
	port := fmt.Sprintf("c2s_ports = %d\n", freePort(t))
	byToken := port + "VirtualHost 'a.example' authentication = 'token' " + keys
	r := startReplaced(t, byToken)
	for name, text := range map[string]string{"dies.sh": "#!/bin/sh\necho no database >&2\nexit 3\n", "works.sh": "#!/bin/sh\nwhile read -r q; do echo 1; done\n"} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, config := range []string{
		port + "VirtualHost 'a.example' authentication = 'external' external_auth_command = './dies.sh'\n",
		byToken + "\nVirtualHost 'b.example' authentication = 'external' external_auth_command = './dies.sh'\n",
		byToken + "\nVirtualHost 'b.example' authentication = 'external' external_auth_command = './works.sh'\n" +
			"VirtualHost 'c.example' authentication = 'external' external_auth_command = './dies.sh'\n",
	} {
		r.write(config)
		_, err := r.reload(context.Background(), byCommand)
		if err == nil || !strings.Contains(err.Error(), "new script is not taken into use") || !strings.Contains(err.Error(), "no database") {
			t.Errorf("%s: %v", config, err)
		}
		if h := r.parts.Load().server.Hosts; len(h) != 1 || h["a.example"].Token == nil || h["a.example"].Password != nil {
			t.Errorf("%s: something has changed: %v", config, h)
		}
	}
	r.becomes(byToken + "\nVirtualHost 'b.example' authentication = 'external' external_auth_command = './works.sh'\n")
	yes, err := r.parts.Load().server.Hosts["b.example"].Password.Authenticate(context.Background(), "alice", "b.example", "secret")
	if !yes || err != nil {
		t.Errorf("the script that works: %v, %v", yes, err)
	}
}
