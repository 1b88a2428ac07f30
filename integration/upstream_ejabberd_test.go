package integration

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// ejabberdConfig is ejabberd.yml: port, command of gatehouse extauth. The cache of passwords has to be off, or ejabberd
// would believe a ticket for an hour, and a password for as long after it was changed.
const ejabberdConfig = `
hosts: [localhost]
loglevel: info
auth_method: [external]
extauth_program: "%[2]s"
extauth_pool_size: 2
auth_use_cache: false
registration_timeout: infinity
listen:
  - port: %[1]d
    ip: "127.0.0.1"
    module: ejabberd_c2s
    starttls: false
modules:
  mod_disco: {}
  mod_offline: {}
  mod_ping: {}
  mod_register:
    ip_access: all
  mod_roster: {}
`

// ejabberd is a running one.
type ejabberd struct {
	address string
	log     string // a file
}

// startEjabberd runs Debian's ejabberd in dir, with the Erlang node that its ejabberdctl would make but for its name, and
// without that program's change of user. It is killed when the test ends.
func startEjabberd(t *testing.T, dir, extauth string) *ejabberd {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &ejabberd{address: free.Addr().String(), log: filepath.Join(dir, "ejabberd.log")}
	port := free.Addr().(*net.TCPAddr).Port
	_ = free.Close()
	config := filepath.Join(dir, "ejabberd.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, ejabberdConfig, port, extauth), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob("/usr/lib/*/ejabberd-*/ebin")
	if err != nil || len(found) == 0 {
		t.Fatalf("ejabberd is not installed (scripts/test-deps.sh): %v", err)
	}
	cmd := exec.Command("erl", "-noinput", "+P", "20000", "-mnesia", "dir", `"`+filepath.Join(dir, "mnesia")+`"`, "-s", "ejabberd")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "ERL_LIBS="+filepath.Dir(filepath.Dir(found[0])), "EJABBERD_CONFIG_PATH="+config,
		"EJABBERD_LOG_PATH="+e.log, "ERL_CRASH_DUMP="+filepath.Join(dir, "crash"))
	var output bytes.Buffer // read when the process has ended
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("ejabberd wrote:\n%s", &output)
		}
	})
	until(t, "ejabberd takes connections", 3*patience, func() bool {
		conn, err := net.Dial("tcp", e.address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return e
}

// logged counts the lines of the log with a text.
func (e *ejabberd) logged(t *testing.T, text string) int {
	t.Helper()
	log, err := os.ReadFile(e.log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), text)
}

// auth opens a stream there and tries to log in.
func (e *ejabberd) auth(t *testing.T, user, password string) (*xmpptest.Client, string) {
	t.Helper()
	c, err := xmpptest.Dial(e.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	c.Timeout = patience
	if _, err := c.Open("localhost"); err != nil {
		t.Fatal(err)
	}
	answer, err := c.AuthPlain(user, password)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Name == "success" {
		return c, "success"
	}
	return c, answer.Condition()
}

// wiretap passes connections on, and keeps what clients send.
type wiretap struct {
	net.Listener
	mu   sync.Mutex // guards sent
	sent bytes.Buffer
}

func startWiretap(t *testing.T, to func() string) *wiretap {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{Listener: ln}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { w.pass(client, to()) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		running.Wait()
	})
	return w
}

// Write keeps what was sent.
func (w *wiretap) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent.Write(p)
}

func (w *wiretap) pass(client net.Conn, to string) {
	defer client.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(client, server) // ends with one of the two
		_ = client.Close()
	}()
	_, _ = io.Copy(server, io.TeeReader(client, w))
	_ = server.Close()
	<-done
}

var plainMessage = regexp.MustCompile(`<auth[^>]*mechanism=['"]PLAIN['"][^>]*>([^<]+)</auth>`)

// passwords returns those that were sent with PLAIN.
func (w *wiretap) passwords(t *testing.T) []string {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []string
	for _, m := range plainMessage.FindAllStringSubmatch(w.sent.String(), -1) {
		message, err := base64.StdEncoding.DecodeString(m[1])
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, string(message[bytes.LastIndexByte(message, 0)+1:]))
	}
	return found
}

// TestEjabberd_behindGatehouse has a real ejabberd that knows its users by gatehouse only.
func TestEjabberd_behindGatehouse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket := filepath.Join(dir, "extauth.sock")
	e := startEjabberd(t, filepath.Join(dir, "ejabberd"), gatehouse+" extauth --socket "+socket)

	// Without a daemon nobody comes in, and the pool of ejabberd lives on.
	if _, got := e.auth(t, "alice", "secret"); got != "not-authorized" {
		t.Errorf("without a daemon: %s", got)
	}

	tap := startWiretap(t, func() string { return e.address })
	s := installScript(t, dir, "script", map[string]any{
		"protocol": "generic",
		"accounts": map[string]string{"alice": "secret", "bob": "bob's", "carol": "old"},
		"rules":    []any{map[string]any{"match": "stuck", "do": []any{}}},
	})
	d := start(t, writeConfig(t, dir, []host{{name: "localhost", options: options{
		"authentication":        "external",
		"external_auth_command": s.path,
		"external_auth_timeout": 0.5,
		"gatehouse_upstream":    tap.Addr().String(),
	}}}, baseOptions(dir), options{"gatehouse_extauth_socket": socket}))
	front := d.address(t, "starttls")
	insecure := &tls.Config{InsecureSkipVerify: true}
	login := func(t *testing.T, user, password string) (*xmpptest.Client, error) {
		c, err := xmpptest.Dial(front)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		c.Timeout = patience
		_, err = c.Login("localhost", user, password, "", insecure)
		return c, err
	}

	t.Run("passwords", func(t *testing.T) {
		for _, c := range []struct{ user, password, want string }{
			{"alice", "secret", "success"},
			{"ALICE", "secret", "success"},
			{"alice", "wrong", "not-authorized"},
			{"nobody", "secret", "not-authorized"},
			{"alice", "ght_" + strings.Repeat("A", 43), "not-authorized"},
			{"alice", "secret", "success"},
		} {
			if _, got := e.auth(t, c.user, c.password); got != c.want {
				t.Errorf("%s %s: %s, want %s", c.user, c.password, got, c.want)
			}
		}
		for _, q := range s.queries(t) {
			if strings.Contains(q, "ght_") {
				t.Errorf("the script was shown what has the shape of a ticket: %s", q)
			}
		}
	})

	t.Run("relayed, by a ticket that is good once", func(t *testing.T) {
		asked := len(s.queries(t))
		c, err := login(t, "alice", "secret")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Ping(); err != nil {
			t.Error(err)
		}
		if n := len(s.queries(t)) - asked; n != 1 {
			t.Errorf("the script was asked %d times", n)
		}
		tickets := tap.passwords(t)
		if len(tickets) != 1 || !strings.HasPrefix(tickets[0], "ght_") {
			t.Fatalf("ejabberd was sent %q", tickets)
		}
		for range 2 {
			if _, got := e.auth(t, "alice", tickets[0]); got != "not-authorized" {
				t.Errorf("the ticket once more: %s", got)
			}
		}
	})

	t.Run("relayed, refused", func(t *testing.T) {
		if _, err := login(t, "alice", "wrong"); !errors.Is(err, xmpptest.ErrUnexpected) || !strings.Contains(err.Error(), "not-authorized") {
			t.Errorf("wrong password: %v", err)
		}
	})

	t.Run("offline message to a user of the script", func(t *testing.T) {
		c, err := login(t, "alice", "secret")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Send("<presence/><message to='bob@localhost' type='chat' id='m1'><body>hello</body></message>" +
			"<message to='nobody@localhost' type='chat' id='m2'><body>hello</body></message>"); err != nil {
			t.Fatal(err)
		}
		for bounced := false; !bounced; {
			got, err := c.ReadElement()
			if err != nil {
				t.Fatal(err)
			}
			if got.Attr("id") == "m1" {
				t.Fatalf("the message to bob came back: %s", got.Raw)
			}
			bounced = got.Attr("id") == "m2" && got.Condition() == "service-unavailable"
		}
		b, err := login(t, "bob", "bob's")
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Send("<presence/>"); err != nil {
			t.Fatal(err)
		}
		for {
			got, err := b.ReadElement()
			if err != nil {
				t.Fatal(err)
			}
			if got.Name == "message" {
				if body := got.Child("body"); body == nil || body.Text != "hello" {
					t.Errorf("bob got %s", got.Raw)
				}
				return
			}
		}
	})

	t.Run("password change", func(t *testing.T) {
		c, err := login(t, "carol", "old")
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.IQ("set", "localhost", "<query xmlns='jabber:iq:register'><username>carol</username><password>n:w</password></query>")
		if err != nil || answer.Attr("type") != "result" {
			t.Fatalf("%v, %v", answer, err)
		}
		for password, want := range map[string]string{"old": "not-authorized", "n:w": "success"} {
			if _, got := e.auth(t, "carol", password); got != want {
				t.Errorf("%s: %s, want %s", password, got, want)
			}
		}
	})

	// ejabberd has no word for it, but must not stumble.
	t.Run("cannot say", func(t *testing.T) {
		before := e.logged(t, "unexpected_response")
		for range 4 {
			if _, got := e.auth(t, "stuck", "x"); got != "not-authorized" {
				t.Errorf("nobody knows: %s", got)
			}
		}
		until(t, "ejabberd's log tells of each", patience, func() bool { return e.logged(t, "unexpected_response") == before+4 })
		if _, got := e.auth(t, "alice", "secret"); got != "success" {
			t.Errorf("afterwards: %s", got)
		}
	})

	t.Run("another daemon", func(t *testing.T) {
		d.stop(t)
		if _, got := e.auth(t, "alice", "secret"); got != "not-authorized" {
			t.Errorf("without a daemon: %s", got)
		}
		d = start(t, filepath.Join(dir, "prosody.cfg.lua"))
		front = d.address(t, "starttls")
		if _, err := login(t, "alice", "secret"); err != nil {
			t.Errorf("with another: %v", err)
		}
	})

	if n := e.logged(t, "terminated unexpectedly"); n != 0 {
		t.Errorf("%d times gatehouse extauth ended", n)
	}
}
