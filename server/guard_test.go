package server_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/server"
)

// sentry is a guard that does by the user's name, and notes what it is told.
type sentry struct {
	mu      sync.Mutex
	tries   int
	refuse  bool
	waits   []time.Duration // what it wants of the user "held", one after the other
	settled []string
}

var errTooMany = errors.New("guard: too many")

func (s *sentry) Try(from netip.Addr, user, _, _ string, waited time.Duration) (func(bool, error), time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries++
	switch {
	case from != netip.MustParseAddr("127.0.0.1"):
		return nil, 0, errors.New("not from " + from.String())
	case s.refuse:
		return nil, 0, errTooMany
	case user == "held" && len(s.waits) > 0:
		wait := s.waits[0]
		s.waits = s.waits[1:]
		return nil, wait, nil
	}
	return func(ok bool, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		outcome := user + " no"
		switch {
		case err != nil:
			outcome = user + " cannot say"
		case ok:
			outcome = user + " yes"
		}
		s.settled = append(s.settled, outcome)
	}, 0, nil
}

func (s *sentry) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.settled, ", ")
}

func (s *sentry) tried() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries
}

// guardedBy starts a server with a guard, and a buffer for its log.
func guardedBy(t *testing.T, s *sentry, logged *bytes.Buffer, change ...func(*server.Config)) *fixture {
	return start(t, append(change, clearText, func(c *server.Config) {
		c.Hosts[host].Guard = s
		c.Logger = slog.New(slog.NewTextHandler(logged, nil))
	})...)
}

// stop ends the server, so that its log is complete.
func (f *fixture) stop() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := f.server.Shutdown(ctx); err != nil {
		f.t.Error(err)
	}
}

// The guard is told what the judge said, and nothing that was no verdict is one.
func TestGuard_isToldTheOutcome(t *testing.T) {
	s := &sentry{}
	f := guardedBy(t, s, new(bytes.Buffer))
	for _, a := range []struct{ user, password string }{
		{"alice", "secret"}, {"alice", "wrong"}, {"nobody", "x"}, {"outage", "x"}, {"long", "x"}, {"panic", "x"},
	} {
		c := f.dial()
		must(c.Open(host))(t)
		if err := sendPlain(c, a.user, a.password); err != nil {
			t.Fatal(err)
		}
		_, _ = c.ReadElement() // nobody answers where the judge breaks
	}
	want := "alice yes, alice no, nobody no, outage cannot say, long cannot say, panic cannot say"
	waitFor(t, func() bool { return strings.HasSuffix(s.told(), "panic cannot say") })
	if got := s.told(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What is no attempt at a password is none for the guard.
func TestGuard_isAskedAboutPasswordsOnly(t *testing.T) {
	s := &sentry{}
	f := guardedBy(t, s, new(bytes.Buffer))
	for _, in := range []struct{ mechanism, payload, condition string }{
		{"SCRAM-SHA-1", "n,,n=alice,r=x", "invalid-mechanism"},
		{"PLAIN", "\x00alice", "malformed-request"},
		{"PLAIN", "bob@xmpp.example\x00alice\x00secret", "invalid-authzid"},
	} {
		c := f.dial()
		must(c.Open(host))(t)
		if e := must(c.Auth(in.mechanism, []byte(in.payload)))(t); e.Condition() != in.condition {
			t.Errorf("%s: %s", in.condition, e.Raw)
		}
	}
	if n := s.tried(); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
}

// Who is turned away is told to come later, and nobody is asked; the second time on a stream is the last.
func TestGuard_turnsAway(t *testing.T) {
	s := &sentry{refuse: true}
	var logged bytes.Buffer
	f := guardedBy(t, s, &logged)
	c := f.dial()
	must(c.Open(host))(t)
	var answers []string
	for _, user := range []string{"alice", "nobody"} {
		e := must(c.AuthPlain(user, "secret"))(t)
		if e.Condition() != "temporary-auth-failure" {
			t.Errorf("%s: %s", user, e.Raw)
		}
		answers = append(answers, e.Raw)
	}
	if answers[0] != answers[1] {
		t.Errorf("who exists and who does not hear other words: %q", answers)
	}
	if err := c.ExpectError("policy-violation"); err != nil {
		t.Error(err)
	}
	f.accounts.mu.Lock()
	defer f.accounts.mu.Unlock()
	if len(f.accounts.asked) != 0 {
		t.Errorf("the judge was asked about %q", f.accounts.asked)
	}
	f.stop()
	line := regexp.MustCompile(`level=INFO msg=login .*user=alice .*verdict=refused condition=temporary-auth-failure cause="guard: too many"`)
	if !line.Match(logged.Bytes()) {
		t.Errorf("in the log:\n%s", &logged)
	}
}

// A delay is served, asked about again, and told in the log.
func TestGuard_delays(t *testing.T) {
	s := &sentry{waits: []time.Duration{30 * time.Millisecond, 20 * time.Millisecond}}
	var logged bytes.Buffer
	f := guardedBy(t, s, &logged)
	f.accounts.passwords["held"] = "secret"
	c := f.dial()
	must(c.Open(host))(t)
	began := time.Now()
	if e := must(c.AuthPlain("held", "secret"))(t); e.Name != "success" {
		t.Errorf("got %s", e.Raw)
	}
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	if n := s.tried(); n != 3 {
		t.Errorf("the guard was asked %d times", n)
	}
	c.Close()
	f.stop()
	if !strings.Contains(logged.String(), " delayed=50ms") {
		t.Errorf("in the log:\n%s", &logged)
	}
}

// held returns a client whose attempt the guard holds back for long.
func (f *fixture) held(s *sentry, wait time.Duration) (expect func(string) error) {
	f.t.Helper()
	s.mu.Lock()
	s.waits = []time.Duration{wait}
	before := s.tries
	s.mu.Unlock()
	c := f.dial()
	must(c.Open(host))(f.t)
	if err := sendPlain(c, "held", "secret"); err != nil {
		f.t.Fatal(err)
	}
	waitFor(f.t, func() bool { return s.tried() > before })
	return c.ExpectError
}

// Who is held back hears at once that the server ends, or the host.
func TestGuard_delayEndsWithTheConnection(t *testing.T) {
	s := &sentry{}
	f := guardedBy(t, s, new(bytes.Buffer))
	expect := f.held(s, 20*time.Second)
	f.reload(removeHost)
	if err := expect("host-gone"); err != nil {
		t.Error(err)
	}
	f.server.SetConfig(f.config)
	expect = f.held(s, 20*time.Second)
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f.server.Shutdown(ctx) }()
	if err := expect("system-shutdown"); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("the end took %v: %v", time.Since(began), err)
	}
	if got := s.told(); got != "" {
		t.Errorf("the guard was told %q", got)
	}
}

// What a reload changed during the delay holds for the attempt.
func TestGuard_reloadDuringDelay(t *testing.T) {
	s := &sentry{waits: []time.Duration{300 * time.Millisecond}}
	f := guardedBy(t, s, new(bytes.Buffer))
	f.accounts.passwords["held"] = "old"
	c := f.dial()
	must(c.Open(host))(t)
	if err := sendPlain(c, "held", "old"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return s.tried() > 0 })
	f.reload(func(_ *server.Config, h *server.Host) {
		h.Password = &accounts{passwords: map[string]string{"held": "new"}}
	})
	if e := must(c.Expect("failure"))(t); e.Condition() != "not-authorized" {
		t.Errorf("got %s", e.Raw)
	}
	s.mu.Lock()
	s.waits = []time.Duration{300 * time.Millisecond}
	before := s.tries
	s.mu.Unlock()
	if err := sendPlain(c, "held", "new"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return s.tried() > before })
	f.reload(func(_ *server.Config, h *server.Host) { h.Password = nil })
	if e := must(c.Expect("failure"))(t); e.Condition() != "temporary-auth-failure" {
		t.Errorf("got %s", e.Raw)
	}
}

// A delay beyond the time for the login is none: the client hears at once.
func TestGuard_delayBeyondTheLogin(t *testing.T) {
	s := &sentry{waits: []time.Duration{time.Hour}}
	f := guardedBy(t, s, new(bytes.Buffer))
	c := f.dial()
	must(c.Open(host))(t)
	if e := must(c.AuthPlain("held", "secret"))(t); e.Condition() != "temporary-auth-failure" {
		t.Errorf("got %s", e.Raw)
	}
}
