package upstream

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A server that can do no more than so many at a time has never more to do, and
// everybody gets in.
func TestOpen_inTurns(t *testing.T) {
	var now, most atomic.Int64
	release := make(chan struct{})
	u := start(t, nil, serve(t, func(p *peer) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		p.stream(offer)
		p.message(Plain)
		now.Add(-1)
		p.send(success)
		p.hang()
	}))
	var all sync.WaitGroup
	for range 3 * maxOpening {
		all.Go(func() {
			conn, err := u.Open(t.Context(), "alice", "example.org", secret, nil, nil)
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.Close()
		})
	}
	await(t, "as many as there may be", func() bool { return now.Load() == maxOpening })
	close(release)
	all.Wait()
	if most.Load() != maxOpening {
		t.Errorf("%d at a time", most.Load())
	}
	if len(u.turns) != 0 {
		t.Errorf("%d turns are not over", len(u.turns))
	}
}

// Those who wait for a server that says nothing are told with the first who have
// found out.
func TestOpen_turnsOfAServerThatHangs(t *testing.T) {
	u := start(t, func(c *Config) { c.Timeout = 500 * time.Millisecond }, serve(t, (*peer).hang))
	began := time.Now()
	var down, slow atomic.Int64
	var all sync.WaitGroup
	for range 8 * maxOpening {
		all.Go(func() {
			conn, err := u.Open(t.Context(), "alice", "example.org", secret, nil, nil)
			switch {
			case conn != nil:
				t.Error("a connection")
			case errors.Is(err, ErrDown):
				down.Add(1)
			case errors.Is(err, ErrSlow):
				slow.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	// One round has found out, and perhaps some more that came before its end.
	if took := time.Since(began); took > 3*time.Second || down.Load() < 4*maxOpening {
		t.Errorf("took %v; %d found it slow and %d down", took, slow.Load(), down.Load())
	}
}

func TestOpen_turnEndsWithItsContext(t *testing.T) {
	u := start(t, nil, serve(t, (*peer).hang))
	for range maxOpening {
		u.turns <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var conn net.Conn
	conn, err := u.Open(ctx, "alice", "example.org", secret, nil, nil)
	if conn != nil || !errors.Is(err, ErrSlow) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", conn, err)
	}
	for range maxOpening {
		u.turns.end()
	}
}
