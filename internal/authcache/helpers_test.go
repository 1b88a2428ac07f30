package authcache

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// fakeScript judges by a table, after a while, and counts what it is asked. Its note is the number of the question.
type fakeScript struct {
	think time.Duration

	mu        sync.Mutex // guards the fields below
	passwords map[string]string
	err       error // if not nil, nobody can say
	asked     int
	cancelled int
	running   int
}

func newFakeScript(think time.Duration) *fakeScript {
	return &fakeScript{think: think, passwords: map[string]string{"alice": "secret", "bob": "hunter2"}}
}

func (s *fakeScript) ask(ctx context.Context, user, _, password string) (int, bool, error) {
	s.mu.Lock()
	s.asked++
	n := s.asked
	s.running++
	// What is true when the question arrives counts, so that an answer is as old as it can be.
	yes, err := s.passwords[user] == password, s.err
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running--
	}()
	select {
	case <-time.After(s.think):
		return n, yes, err
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cancelled++
		return n, false, ctx.Err()
	}
}

func (s *fakeScript) set(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passwords[user] = password
}

func (s *fakeScript) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *fakeScript) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

var errDown = errors.New("the script is down")

// verdict is an answer in one word, with its source.
func verdict(a Answer[int], err error) string {
	switch {
	case err != nil && a.Yes:
		return "both a yes and an error"
	case err != nil:
		return "error: " + err.Error()
	case a.Yes:
		return "yes from " + a.From.String()
	}
	return "no from " + a.From.String()
}

func expect(t *testing.T, c *Cache[int], user, password, want string) {
	t.Helper()
	if got := verdict(c.Authenticate(t.Context(), user, "example.org", password)); got != want {
		t.Errorf("%s with %q: %s, want %s", user, password, got, want)
	}
}
