package server_test

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/admission"
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
