package extauth

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestPool_closeWaitsForQueriesInFlight(t *testing.T) {
	p := testPool(t, variant{Generic, true, 1}, "plain")
	var wg sync.WaitGroup
	wg.Go(func() { mustSay(t, p, "slow", "right", true) })
	eventually(t, "one is asked", func() bool { return p.Stats().Busy == 1 })
	wg.Go(func() { mustFail(t, p, "waiting", ErrClosed) })
	eventually(t, "one waits", func() bool { return p.Stats().Queued == 1 })
	if err := p.Close(ctxBackground); err != nil {
		t.Error(err)
	}
	wg.Wait()
	mustFail(t, p, "alice", ErrClosed)
}

func TestPool_closeCutsOffWhenItsContextEnds(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		cfg := testConfig(t, v, "plain")
		cfg.Timeout = time.Minute
		p := newTestPool(t, cfg)
		mustSay(t, p, "warm", "right", true)
		var wg sync.WaitGroup
		for _, user := range []string{"hang", "deaf"}[:min(2, v.size)] {
			wg.Go(func() { mustFail(t, p, user, ErrClosed) })
		}
		eventually(t, "they are asked", func() bool { return p.Stats().Busy == min(2, v.size) })
		ctx, cancel := context.WithTimeout(ctxBackground, 50*time.Millisecond)
		defer cancel()
		begun := time.Now()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("Close took %v", took)
		}
		wg.Wait()
	})
}

func TestPool_closeTwice(t *testing.T) {
	p := testPool(t, variant{Generic, false, 3}, "plain")
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := p.Close(ctxBackground); err != nil {
				t.Error(err)
			}
			if s := p.Stats(); s.Size != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
	wg.Wait()
	if err := p.Close(ctxBackground); err != nil {
		t.Error(err)
	}
}

// TestPool_closeDuringStart closes pools at every moment of their start.
func TestPool_closeDuringStart(t *testing.T) {
	for i := range 40 {
		checkLeaks(t)
		p, err := NewPool(testConfig(t, variants[i%len(variants)], "plain"))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { p.Auth(ctxBackground, "alice", "example.org", "right") })
		timer := time.NewTimer(time.Duration(i) * 200 * time.Microsecond)
		<-timer.C
		if err := p.Close(ctxBackground); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}

func TestPool_closeKillsScriptThatIgnoresSIGTERM(t *testing.T) {
	p := testPool(t, variant{Generic, true, 1}, "plain")
	mustFail(t, p, "deaf", ErrTimeout)
	begun := time.Now()
	if err := p.Close(ctxBackground); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("Close took %v", took)
	}
}
