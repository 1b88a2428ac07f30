package server_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
	"gatehouse.im/gatehouse/server"
)

const host = "xmpp.example"

// accounts is a judge with a table of passwords. Some names have a fault of
// their own.
type accounts struct {
	mu        sync.Mutex
	passwords map[string]string
	asked     []string
	// slow, if not nil, is waited for by the user "slow".
	slow chan struct{}
}

var errOutage = errors.New("the script is on fire")

func (a *accounts) Authenticate(ctx context.Context, user, _, secret string) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, user)
	switch user {
	case "outage":
		return true, errOutage // ok must be ignored
	case "long":
		return false, server.ErrRefused
	case "panic":
		panic("a bug in a judge")
	case "lagging": // its verdict is old when it comes
		ok := a.passwords[user] == secret
		a.mu.Unlock()
		select {
		case <-a.slow:
		case <-ctx.Done():
		}
		a.mu.Lock()
		return ok, nil
	case "slow":
		a.mu.Unlock()
		select {
		case <-a.slow:
		case <-ctx.Done():
		}
		a.mu.Lock()
	}
	return a.passwords[user] == secret, nil
}

func (a *accounts) IsUser(_ context.Context, user, _ string) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, "isuser "+user)
	_, ok := a.passwords[user]
	return ok, nil
}

func (a *accounts) SetPass(_ context.Context, user, _, password string) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch password {
	case "no":
		return false, nil
	case "outage":
		return true, errOutage
	case "long":
		return false, server.ErrRefused
	}
	a.passwords[user] = password
	return true, nil
}

// startTLS is for ports that do not begin with TLS.
func startTLS() bool { return false }

// fixture is a server on loopback ports.
type fixture struct {
	t        *testing.T
	server   *server.Server
	config   *server.Config // the first one
	accounts *accounts
	client   *tls.Config
	addr     string
	direct   string
}

func start(t *testing.T, change ...func(*server.Config)) *fixture {
	t.Helper()
	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(xmpptest.ECDSA, host)
	if err != nil {
		t.Fatal(err)
	}
	a := &accounts{passwords: map[string]string{"alice": "secret", "bob": "hunter2", "slow": "secret"}, slow: make(chan struct{})}
	tc := &tls.Config{Certificates: []tls.Certificate{pair.TLS}, MinVersion: tls.VersionTLS12}
	cfg := &server.Config{
		Hosts: map[string]*server.Host{host: {
			Name: host, Password: a, Users: a, Passwords: a, TLS: tc,
			RequireEncryption: true, Conflict: server.KickOld,
		}},
		DirectTLS:           tc,
		LoginTimeout:        30 * time.Second,
		StanzaLimit:         262144,
		UnauthedStanzaLimit: 10000,
		Version:             "test",
		Logger:              slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(cfg)
	}
	f := &fixture{t: t, config: cfg, accounts: a, client: ca.ClientConfig(), server: server.New(cfg)}
	var served sync.WaitGroup
	listen := func(direct bool) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served.Add(1)
		go func() {
			defer served.Done()
			if err := f.server.Serve(ln, func() bool { return direct }); !errors.Is(err, server.ErrClosed) {
				t.Errorf("Serve: %v", err)
			}
		}()
		return ln.Addr().String()
	}
	f.addr, f.direct = listen(false), listen(true)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.server.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		served.Wait()
	})
	return f
}

// clearText takes TLS away, for transcripts that a person can read.
func clearText(c *server.Config) {
	h := c.Hosts[host]
	h.RequireEncryption, h.AllowUnencryptedPlain = false, true
}

func (f *fixture) dial() *xmpptest.Client {
	f.t.Helper()
	c, err := xmpptest.Dial(f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	return c
}

// login returns a bound client.
func (f *fixture) login(user, password, resource string) *xmpptest.Client {
	f.t.Helper()
	c := f.dial()
	if _, err := c.Login(host, user, password, resource, f.client); err != nil {
		f.t.Fatal(err)
	}
	return c
}

// sendPlain sends <auth/> without waiting for the answer.
func sendPlain(c *xmpptest.Client, user, password string) error {
	return c.Sendf("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>",
		plainText(user, password))
}

func plainText(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestLogin_directTLS(t *testing.T) {
	f := start(t)
	c := must(xmpptest.DialTLS(f.direct, withName(f.client)))(t)
	defer c.Close()
	must(c.Open(host))(t)
	if e := must(c.AuthPlain("alice", "secret"))(t); e.Name != "success" {
		t.Fatalf("got %s", e.Raw)
	}
	must(c.Open(host))(t)
	if jid := must(c.Bind("r"))(t); jid != "alice@xmpp.example/r" {
		t.Errorf("bound %s", jid)
	}
	if err := c.Ping(); err != nil {
		t.Error(err)
	}
}

func withName(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.ServerName = host
	return c
}

// Each verdict has its own words, and none of them is another's.
func TestLogin_verdicts(t *testing.T) {
	f := start(t, clearText)
	for user, want := range map[string]string{
		"alice": "not-authorized", "nobody": "not-authorized",
		"outage": "temporary-auth-failure", "long": "not-authorized",
	} {
		c := f.dial()
		must(c.Open(host))(t)
		e := must(c.AuthPlain(user, "wrong"))(t)
		if e.Name != "failure" || !strings.Contains(e.Raw, "<"+want+"/>") {
			t.Errorf("%s: got %s, want %s", user, e.Raw, want)
		}
	}
}

func TestLogin_fiveFailuresEndTheStream(t *testing.T) {
	f := start(t, clearText)
	c := f.dial()
	must(c.Open(host))(t)
	for range 5 {
		if e := must(c.AuthPlain("alice", "wrong"))(t); e.Name != "failure" {
			t.Fatalf("got %s", e.Raw)
		}
	}
	if err := c.ExpectError("policy-violation"); err != nil {
		t.Error(err)
	}
}

// A judge that panics ends its connection, and no other.
func TestLogin_panicEndsOneConnection(t *testing.T) {
	f := start(t, clearText)
	other := f.login("alice", "secret", "r")
	c := f.dial()
	must(c.Open(host))(t)
	if err := sendPlain(c, "panic", "x"); err != nil {
		t.Fatal(err)
	}
	if err := c.ExpectEOF(); err != nil {
		t.Error(err)
	}
	if err := other.Ping(); err != nil {
		t.Error(err)
	}
}

// What follows <starttls/> in plain text would be taken for what came through
// TLS.
func TestStartTLS_refusesPipelinedBytes(t *testing.T) {
	f := start(t)
	c := f.dial()
	must(c.Open(host))(t)
	if err := c.Send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><iq type='get' id='1'/>"); err != nil {
		t.Fatal(err)
	}
	must(c.Expect("failure"))(t)
	if err := c.ExpectEnd(); err != nil {
		t.Error(err)
	}
}

func TestShutdown_endsStreamsWithSystemShutdown(t *testing.T) {
	f := start(t)
	bound := f.login("alice", "secret", "r")
	stranger := f.dial()
	must(stranger.Open(host))(t)
	done := make(chan error, 1)
	go func() { done <- f.server.Shutdown(context.Background()) }()
	for _, c := range []*xmpptest.Client{bound, stranger} {
		if err := c.ExpectError("system-shutdown"); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A query that is under way when the server is told to stop still counts.
func TestShutdown_waitsForTheVerdict(t *testing.T) {
	f := start(t, clearText)
	c := f.dial()
	must(c.Open(host))(t)
	if err := sendPlain(c, "slow", "secret"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		f.accounts.mu.Lock()
		defer f.accounts.mu.Unlock()
		return len(f.accounts.asked) == 1
	})
	done := make(chan error, 1)
	go func() { done <- f.server.Shutdown(context.Background()) }()
	close(f.accounts.slow)
	must(c.Expect("success"))(t)
	if err := c.ExpectError("system-shutdown"); err != nil {
		t.Error(err)
	}
	c.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it did not happen within 10 s")
		}
		time.Sleep(time.Millisecond)
	}
}

// A login whose verdict was on its way when the password was changed is by the
// old password.
func TestPassword_changeEndsLoginsUnderWay(t *testing.T) {
	f := start(t, clearText)
	f.accounts.passwords["lagging"] = "old"
	logged := func(password string) *xmpptest.Client {
		c := f.dial()
		must(c.Open(host))(t)
		f.accounts.mu.Lock()
		before := len(f.accounts.asked)
		f.accounts.mu.Unlock()
		if err := sendPlain(c, "lagging", password); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool {
			f.accounts.mu.Lock()
			defer f.accounts.mu.Unlock()
			return len(f.accounts.asked) > before
		})
		return c
	}
	owner := logged("old")
	f.accounts.slow <- struct{}{}
	must(owner.Expect("success"))(t)
	must(owner.Open(host))(t)
	must(owner.Bind("r"))(t)

	thief := logged("old")
	must(owner.IQ("set", "", "<query xmlns='jabber:iq:register'><username>lagging</username><password>new</password></query>"))(t)
	f.accounts.slow <- struct{}{}
	must(thief.Expect("success"))(t)
	if err := thief.ExpectError("reset"); err != nil {
		t.Error(err)
	}

	again := logged("new")
	f.accounts.slow <- struct{}{}
	must(again.Expect("success"))(t)
	must(again.Open(host))(t)
	must(again.Bind("r2"))(t)
}
