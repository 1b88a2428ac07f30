package server_test

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/admission"
	"gatehouse.im/gatehouse/internal/xmpptest"
	"gatehouse.im/gatehouse/server"
)

// placesFor is a Counter with places for so many strangers.
func placesFor(n int) *admission.Counter {
	c := admission.New(slog.New(slog.DiscardHandler), nil)
	c.SetLimits(admission.Limits{Unauthed: n})
	return c
}

// Who waits for a slow script does not linger: strangers who come meanwhile drive each other out.
func TestPlaces_slowScript(t *testing.T) {
	f := start(t, func(c *server.Config) { c.Admission = placesFor(6) })
	c := f.dial()
	must(c.Secure(host, f.client))(t)
	if err := sendPlain(c, "slow", "secret"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return f.accounts.count() == 1 })
	for range 20 {
		must(f.dial().Secure(host, f.client))(t)
	}
	close(f.accounts.slow)
	if e, err := c.Expect("success"); err != nil {
		t.Fatalf("got %v, %v", e, err)
	}
	if got := f.config.Admission.Counts(); got.Unauthed > 6 {
		t.Errorf("%+v", got)
	}
}

// A no makes a stranger of the client again, who has to make room like others.
func TestPlaces_afterANo(t *testing.T) {
	f := start(t, func(c *server.Config) { c.Admission = placesFor(6) })
	c := f.dial()
	must(c.Secure(host, f.client))(t)
	if e := must(c.AuthPlain("alice", "wrong"))(t); e.Condition() != "not-authorized" {
		t.Fatalf("got %s", e.Raw)
	}
	for range 8 {
		must(f.dial().Secure(host, f.client))(t)
	}
	if e, err := c.AuthPlain("alice", "secret"); err == nil {
		t.Errorf("it is still there: %s", e.Raw)
	}
}

// Whoever has lost his place in the guard's delay costs nothing any more, or there were more of them than places.
func TestPlaces_lostInTheDelay(t *testing.T) {
	s, w := &sentry{}, new(watcher)
	f := guardedBy(t, s, new(bytes.Buffer), func(c *server.Config) { c.Admission, c.Observer = placesFor(1), w })
	f.held(s, 20*time.Second)
	began := time.Now()
	f.dial()
	waitFor(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.logins) == 1
	})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	waitFor(t, func() bool { return f.server.Connections()[server.StateLogin] == 1 })
	if got := w.logins[0].Cause; got != "somebody else has got the place of this connection meanwhile" {
		t.Errorf("the cause is %q", got)
	}
	if got := s.told(); got != "" {
		t.Errorf("the guard was told %q", got)
	}
}

// Whoever is driven out at whatever moment, in the end nothing is left.
func TestPlaces_endAtZero(t *testing.T) {
	f := start(t, func(c *server.Config) { c.Admission = placesFor(8) })
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for n := range 12 {
				c, err := xmpptest.Dial(f.addr)
				if err != nil {
					t.Error(err)
					return
				}
				// Any of it may fail, since somebody else wants the place.
				switch n % 4 {
				case 0:
					_, _ = c.Open(host)
				case 1:
					_, _ = c.Secure(host, f.client)
				case 2:
					if _, err := c.Secure(host, f.client); err == nil {
						_, _ = c.AuthPlain("alice", "wrong")
					}
				case 3:
					_, _ = c.Login(host, "alice", "secret", "", f.client)
				}
				c.Close()
			}
		})
	}
	clients.Wait()
	waitFor(t, func() bool {
		for _, n := range f.server.Connections() {
			if n != 0 {
				return false
			}
		}
		got := f.config.Admission.Counts()
		return got.Connections == 0 && got.Unauthed == 0 && got.Addresses == 0
	})
	if c := must(f.dial().Login(host, "bob", "hunter2", "r", f.client))(t); c == "" {
		t.Error("nobody comes in afterwards")
	}
}
