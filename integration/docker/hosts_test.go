package docker

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gatehouse.im/gatehouse/integration/docker/engine"
	"gatehouse.im/gatehouse/internal/xmpptest"
)

// host is a virtual host that gatehouse relays: a server behind, and a way to tell it who somebody is.
type host struct {
	name   string
	server string // the service of compose.yaml
	// own is true where the server has accounts of its own, with the passwords that the script knows.
	own bool
}

var hosts = []host{
	{name: "ticket.prosody.test", server: "prosody"},
	{name: "ticket.ejabberd.test", server: "ejabberd"},
	{name: "password.prosody.test", server: "prosody", own: true},
	{name: "password.ejabberd.test", server: "ejabberd", own: true},
	{name: "external.prosody.test", server: "prosody"},
	{name: "external.ejabberd.test", server: "ejabberd"},
}

var (
	// byTicket are the hosts whose server asks gatehouse, one for each server.
	byTicket = hosts[:2]
	// stock is the host of a Prosody that is as anybody's.
	stock = hosts[2]
	// proxied is told by a PROXY header where clients are.
	proxied = host{name: "proxied.ejabberd.test", server: "ejabberd"}
	// both has two servers behind it, by ticket, Prosody before ejabberd.
	both = host{name: "both.test"}
)

// password is what the script takes.
func password(user string) string { return "secret-" + user }

// plain is PLAIN's initial response (RFC 4616) as <auth/> holds it.
func plain(user string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password(user)))
}

// register makes the accounts of servers that have their own.
func register() error {
	for _, h := range hosts {
		if !h.own {
			continue
		}
		for _, user := range []string{"alice", "bob", "björn"} {
			control := map[string]string{"prosody": "prosodyctl", "ejabberd": "ejabberdctl"}[h.server]
			if _, err := servers.exec(h.server, control, "register", user, h.name, password(user)); err != nil {
				return err
			}
		}
	}
	return nil
}

// connect opens a connection to gatehouse that the test closes.
func connect(t *testing.T) *xmpptest.Client {
	t.Helper()
	address, err := servers.address("gatehouse")
	must(t, err)
	c, err := xmpptest.Dial(address)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// login logs in and binds a resource.
func (h host) login(t *testing.T, user, resource string) *xmpptest.Client {
	t.Helper()
	c := connect(t)
	jid, err := c.Login(h.name, user, password(user), resource, trust)
	must(t, err)
	if want := user + "@" + h.name + "/" + resource; jid != want {
		t.Fatalf("bound %s, want %s", jid, want)
	}
	return c
}

// try authenticates and returns "success" or the condition of the failure, and how long the answer took.
func (h host) try(user, password string) (answer string, took time.Duration, err error) {
	return h.tryAt("gatehouse", user, password)
}

// tryAt is try at the client port of some service.
func (h host) tryAt(service, user, password string) (answer string, took time.Duration, err error) {
	address, err := servers.address(service)
	if err != nil {
		return "", 0, err
	}
	c, err := xmpptest.Dial(address)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Secure(h.name, trust); err != nil {
		return "", 0, err
	}
	start := time.Now()
	e, err := c.AuthPlain(user, password)
	if err != nil {
		return "", 0, err
	}
	took = time.Since(start)
	if e.Is(xmpptest.NSSASL, "failure") {
		return e.Condition(), took, nil
	}
	return e.Name, took, nil
}

// answers fails the test unless a login gets that answer, within a time.
func (h host) answers(t *testing.T, user, password, want string, within time.Duration) {
	t.Helper()
	h.answersAt(t, "gatehouse", user, password, want, within)
}

// answersAt is answers at the client port of some service.
func (h host) answersAt(t *testing.T, service, user, password, want string, within time.Duration) {
	t.Helper()
	answer, took, err := h.tryAt(service, user, password)
	must(t, err)
	if answer != want || took > within {
		t.Errorf("login of %s at %s: %s after %v, want %s within %v", user, h.name, answer, took, want, within)
	}
}

// recovers waits until a login at a service succeeds again.
func (h host) recovers(t *testing.T, service string) {
	t.Helper()
	must(t, engine.Poll(func() error {
		answer, _, err := h.tryAt(service, "alice", password("alice"))
		if err == nil && answer != "success" {
			err = fmt.Errorf("login of alice at %s, %s: %s", service, h.name, answer)
		}
		return err
	}))
}

// scriptDown makes the auth script end without answers, until the test ends.
func scriptDown(t *testing.T) {
	t.Helper()
	path := filepath.Join(servers.dir, "run", "down")
	must(t, os.WriteFile(path, nil, 0o644))
	t.Cleanup(func() { must(t, os.Remove(path)) })
}
