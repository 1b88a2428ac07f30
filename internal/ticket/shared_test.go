package ticket

import (
	"crypto/sha256"
	"errors"
	"sync"
	"testing"
	"time"
)

// shelf is a Shared in memory. It does what it is told even when it fails.
type shelf struct {
	mu   sync.Mutex // guards the rest
	kept map[[32]byte][32]byte
	life time.Duration
	err  error
}

func (s *shelf) Put(ticket, owner [32]byte, life time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = make(map[[32]byte][32]byte)
	}
	s.kept[ticket], s.life = owner, life
	return s.err
}

func (s *shelf) Take(ticket, owner [32]byte) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, found := s.kept[ticket]
	delete(s.kept, ticket)
	return found && kept == owner, s.err
}

// TestShared_elsewhere: what one issues another redeems, once, for its owner alone.
func TestShared_elsewhere(t *testing.T) {
	s := new(shelf)
	one, other := New(s), New(s)
	ticket := issue(t, one, "alice", "example.com")
	if s.life != TTL || len(one.byHash) != 0 {
		t.Errorf("kept for %v, and %d here", s.life, len(one.byHash))
	}
	if !redeem(t, other, ticket, "alice", "example.com") {
		t.Error("refused elsewhere")
	}
	if redeem(t, one, ticket, "alice", "example.com") || redeem(t, other, ticket, "alice", "example.com") {
		t.Error("good a second time")
	}
	ticket = issue(t, one, "alice", "example.com")
	if redeem(t, other, ticket, "bob", "example.com") || redeem(t, other, ticket, "alice", "example.com") {
		t.Error("good for another, or after another has shown it")
	}
}

// TestShared_lost: where tickets cannot be shared they are good here, once, and nobody can say anything about others. What
// may have been kept elsewhere in spite of the error is in nobody's hands.
func TestShared_lost(t *testing.T) {
	down := errors.New("down")
	s := &shelf{err: down}
	one, other := New(s), New(s)
	ticket := issue(t, one, "alice", "example.com")
	if good, err := other.Redeem(ticket, "alice", "example.com"); good || !errors.Is(err, down) {
		t.Errorf("elsewhere: %v, %v", good, err)
	}
	if !redeem(t, one, ticket, "alice", "example.com") {
		t.Error("refused where it was issued")
	}
	s.err = nil
	for name, tickets := range map[string]*Tickets{"here": one, "elsewhere": other} {
		if redeem(t, tickets, ticket, "alice", "example.com") {
			t.Error("good a second time", name)
		}
	}
	if len(s.kept) != 1 {
		t.Errorf("%d were kept in spite of the error", len(s.kept))
	}
	for kept := range s.kept {
		if kept == sha256.Sum256([]byte(ticket)) {
			t.Error("the ticket that was given out is the one whose keeping failed")
		}
	}
}
