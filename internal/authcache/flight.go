package authcache

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// flight is a question that is being asked.
type flight[N any] struct {
	sum    sum
	user   string
	asked  time.Time
	cancel context.CancelFunc
	done   chan struct{} // closed when the fields at the end are written

	// Under Cache.mu.
	callers  int  // who wait for it
	detached bool // it cannot be joined any more, and leaves no entry

	note  N
	yes   bool
	err   error
	fault error // a panic of Ask
}

// start asks a question for whoever joins. The caller holds c.mu.
func (c *Cache[N]) start(k sum, user, host, password string) *flight[N] {
	ctx, cancel := context.WithCancel(context.Background())
	f := &flight[N]{sum: k, user: user, asked: time.Now(), cancel: cancel, done: make(chan struct{})}
	c.flights[k] = f
	c.flying.Go(func() {
		defer c.land(f)
		defer func() {
			if p := recover(); p != nil {
				f.fault = fmt.Errorf("%v, in a goroutine that asked for this one:\n%s", p, debug.Stack())
			}
		}()
		f.note, f.yes, f.err = c.ask(ctx, user, host, password)
		f.yes = f.yes && f.err == nil
	})
	return f
}

// land ends a flight.
func (c *Cache[N]) land(f *flight[N]) {
	c.mu.Lock()
	if !f.detached {
		c.detach(f)
		if f.err == nil && f.fault == nil {
			c.remember(f.sum, f.user, f.yes, f.asked)
		}
	}
	c.mu.Unlock()
	f.cancel()
	close(f.done)
}

// detach lets nobody join a flight any more. The caller holds c.mu.
func (c *Cache[N]) detach(f *flight[N]) {
	f.detached = true
	delete(c.flights, f.sum)
}

// leave takes a caller out of a flight. Nobody flies for nobody.
func (c *Cache[N]) leave(f *flight[N]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.callers--; f.callers == 0 {
		if !f.detached {
			c.detach(f)
		}
		f.cancel()
	}
}
