package server_test

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
	"gatehouse.im/gatehouse/server"
)

// reload gives the server a changed copy of its first configuration.
func (f *fixture) reload(change func(*server.Config, *server.Host)) {
	cfg, h := *f.config, *f.config.Hosts[host]
	cfg.Hosts = maps.Clone(cfg.Hosts)
	cfg.Hosts[host] = &h
	change(&cfg, &h)
	f.server.SetConfig(&cfg)
}

func removeHost(c *server.Config, _ *server.Host) { delete(c.Hosts, host) }

// What was offered before a reload is judged by what holds after it.
func TestSetConfig_judgesTheNextAttempt(t *testing.T) {
	f := start(t, clearText)
	c := f.dial()
	must(c.Open(host))(t)
	f.reload(func(_ *server.Config, h *server.Host) {
		h.Password = &accounts{passwords: map[string]string{"alice": "new"}}
	})
	if e := must(c.AuthPlain("alice", "secret"))(t); !strings.Contains(e.Raw, "<not-authorized/>") {
		t.Errorf("the old password: %s", e.Raw)
	}
	if e := must(c.AuthPlain("alice", "new"))(t); e.Name != "success" {
		t.Errorf("the new password: %s", e.Raw)
	}
	d := f.dial()
	must(d.Open(host))(t)
	f.reload(func(_ *server.Config, h *server.Host) { h.Password = nil })
	if e := must(d.AuthPlain("alice", "secret"))(t); !strings.Contains(e.Raw, "<invalid-mechanism/>") {
		t.Errorf("a mechanism that is not there any more: %s", e.Raw)
	}
	f.reload(func(_ *server.Config, h *server.Host) { h.RequireEncryption = true })
	if e := must(d.AuthPlain("alice", "secret"))(t); !strings.Contains(e.Raw, "<encryption-required/>") {
		t.Errorf("TLS is required now: %s", e.Raw)
	}
}

// A verdict that comes when its mechanism is not there any more lets nobody in.
func TestSetConfig_mechanismGoneWhileAsked(t *testing.T) {
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
	f.reload(func(_ *server.Config, h *server.Host) { h.Password = nil })
	close(f.accounts.slow)
	if e := must(c.Expect("failure"))(t); !strings.Contains(e.Raw, "<temporary-auth-failure/>") {
		t.Errorf("got %s", e.Raw)
	}
}

func TestSetConfig_keepsSessions(t *testing.T) {
	f := start(t)
	c := f.login("alice", "secret", "r")
	changed := &accounts{passwords: map[string]string{"alice": "secret"}}
	f.reload(func(_ *server.Config, h *server.Host) { h.Passwords = changed })
	if err := c.Ping(); err != nil {
		t.Fatal(err)
	}
	must(c.IQ("set", "", "<query xmlns='jabber:iq:register'><username>alice</username><password>new</password></query>"))(t)
	if changed.passwords["alice"] != "new" || f.accounts.passwords["alice"] != "secret" {
		t.Error("the password was changed by the host's old script")
	}
}

// Everybody at a host that is not served any more hears of it, wherever their
// login stands.
func TestSetConfig_removedHostIsGone(t *testing.T) {
	f := start(t, clearText)
	bound := f.login("alice", "secret", "r")
	stranger := f.dial()
	must(stranger.Open(host))(t)
	asking := f.dial()
	must(asking.Open(host))(t)
	if err := sendPlain(asking, "slow", "secret"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		f.accounts.mu.Lock()
		defer f.accounts.mu.Unlock()
		return f.accounts.asked[len(f.accounts.asked)-1] == "slow"
	})
	unbound := f.dial()
	must(unbound.Open(host))(t)
	must(unbound.AuthPlain("alice", "secret"))(t)
	silent := f.dial() // has not said which host it wants

	f.reload(removeHost)
	for name, c := range map[string]*xmpptest.Client{"bound": bound, "stranger": stranger} {
		if err := c.ExpectError("host-gone"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	close(f.accounts.slow)
	if err := asking.ExpectError("host-gone"); err != nil {
		t.Errorf("asking: %v", err)
	}
	if err := unbound.ExpectError("host-gone"); err != nil {
		t.Errorf("unbound: %v", err)
	}
	if _, err := silent.Open(host); err == nil {
		t.Error("a host that is gone was opened")
	}
	f.reload(func(*server.Config, *server.Host) {})
	f.login("alice", "secret", "r")
}

// Clients log in while the host comes and goes: each gets in, or hears why not,
// and none stays at a host that is gone.
func TestSetConfig_raceWithLogins(t *testing.T) {
	f := start(t, clearText)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var in atomic.Int32
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := xmpptest.Dial(f.addr)
				if err != nil {
					t.Error(err)
					return
				}
				// Without TLS: in the middle of a handshake nobody can be told.
				_, err = c.Open(host)
				var e *xmpptest.Element
				if err == nil {
					e, err = c.AuthPlain("alice", "secret")
				}
				if err == nil && e.Name != "success" {
					err = errors.New(e.Raw)
				}
				if err == nil {
					_, err = c.Open(host)
				}
				if err == nil {
					_, err = c.Bind("")
				}
				if errors.Is(err, syscall.EPIPE) {
					err = c.ExpectError("host-gone") // it was said before
					c.Close()
					if err != nil {
						t.Error(err)
					}
					continue
				}
				if err != nil && !strings.Contains(err.Error(), "host-gone") && !strings.Contains(err.Error(), "host-unknown") {
					t.Error(err)
				}
				if err == nil {
					in.Add(1)
				}
				c.Close()
			}
		}()
	}
	for range 100 {
		f.reload(removeHost)
		waitFor(t, func() bool { return f.server.Bound() == 0 })
		f.reload(func(*server.Config, *server.Host) {})
	}
	waitFor(t, func() bool { return in.Load() > 0 })
	close(stop)
	wg.Wait()
}

func TestSetConfig_certificateOfTheNextHandshake(t *testing.T) {
	f := start(t)
	ca := must(xmpptest.NewCA())(t)
	pair := must(ca.Issue(xmpptest.RSA, host))(t)
	upgraded := f.dial()
	must(upgraded.Open(host))(t)
	renewed := &tls.Config{Certificates: []tls.Certificate{pair.TLS}, MinVersion: tls.VersionTLS12}
	f.reload(func(c *server.Config, h *server.Host) { h.TLS, c.DirectTLS = renewed, renewed })
	if err := upgraded.StartTLS(withName(ca.ClientConfig())); err != nil {
		t.Errorf("STARTTLS: %v", err)
	}
	c, err := xmpptest.DialTLS(f.direct, withName(ca.ClientConfig()))
	if err != nil {
		t.Fatalf("direct TLS: %v", err)
	}
	c.Close()
}

// watcher collects what an Observer is told.
type watcher struct {
	mu         sync.Mutex
	logins     []server.Login
	handshakes int
	failed     int
	limits     []server.Limit
}

func (w *watcher) Login(l server.Login) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logins = append(w.logins, l)
}

func (w *watcher) Handshake(_ time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.failed++
		return
	}
	w.handshakes++
}

func (w *watcher) Limit(l server.Limit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limits = append(w.limits, l)
}

func TestObserver_hearsOfLoginsAndHandshakes(t *testing.T) {
	w := new(watcher)
	f := start(t, func(c *server.Config) {
		c.Observer = w
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError}))
	})
	f.login("alice", "secret", "r")
	for _, user := range []string{"bob", "outage", strings.Repeat("x", 300)} {
		if _, err := f.dial().Login(host, user, "wrong", "", f.client); err == nil {
			t.Errorf("%s is in", user)
		}
	}
	stranger := f.dial()
	must(stranger.Open(host))(t)
	if err := stranger.StartTLS(&tls.Config{ServerName: "other.example"}); err == nil {
		t.Error("a certificate of nobody's was trusted")
	}
	waitFor(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.failed == 1
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.handshakes != 4 || len(w.logins) != 4 {
		t.Fatalf("%d handshakes, %d logins", w.handshakes, len(w.logins))
	}
	for i, want := range []server.Login{
		{User: "alice", Verdict: server.Accepted},
		{User: "bob", Verdict: server.Refused, Condition: "not-authorized"},
		{User: "outage", Verdict: server.Undecided, Condition: "temporary-auth-failure", Cause: errOutage.Error()},
		{User: strings.Repeat("x", 64) + "…", Verdict: server.Refused, Condition: "not-authorized"},
	} {
		got := w.logins[i]
		if got.Time.IsZero() || got.Duration <= 0 || !strings.HasPrefix(got.Remote, "127.0.0.1:") {
			t.Errorf("%+v", got)
		}
		got.Time, got.Duration, got.Remote = time.Time{}, 0, ""
		want.Host, want.Mechanism, want.TLS = host, "PLAIN", "TLS 1.3"
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestConnections_areCountedByState(t *testing.T) {
	f := start(t)
	f.login("alice", "secret", "r")
	f.dial()
	silent := f.dial()
	must(silent.Open(host))(t)
	if err := silent.Send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"); err != nil {
		t.Fatal(err)
	}
	want := map[server.State]int{server.StateHandshake: 1, server.StateLogin: 1, server.StateSession: 1, server.StateRelay: 0}
	waitFor(t, func() bool { return maps.Equal(f.server.Connections(), want) })
	f.reload(removeHost)
	silent.Close()
	want = map[server.State]int{server.StateHandshake: 0, server.StateLogin: 1, server.StateSession: 0, server.StateRelay: 0}
	waitFor(t, func() bool { return maps.Equal(f.server.Connections(), want) })
}
