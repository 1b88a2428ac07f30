package extauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestUpdate_discardLeavesThePoolAsItWas(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		cfg := testConfig(t, v, "plain")
		p := newTestPool(t, versioned(cfg, 1))
		mustBeVersion(t, p, 1)
		files, before := openFiles(t), p.Stats()
		for range 3 {
			u, err := p.Prepare(ctxBackground, versioned(cfg, 2))
			if err != nil {
				t.Fatal(err)
			}
			if n := len(marked(t, cfg)); n < 2 {
				t.Errorf("%d processes, want one more than before", n)
			}
			if s := p.Stats(); fmt.Sprintf("%+v", s) != fmt.Sprintf("%+v", before) {
				t.Errorf("%+v, before: %+v", s, before)
			}
			u.Discard()
			u.Discard()
			u.Apply()
		}
		eventually(t, "processes and files are as before", func() bool {
			return len(marked(t, cfg)) == 1 && openFiles(t) == files
		})
		mustBeVersion(t, p, 1)
	})
}

func TestPool_prepareEndsWithItsContext(t *testing.T) {
	cfg := testConfig(t, variant{Generic, true, 1}, "plain")
	p := newTestPool(t, versioned(cfg, 1))
	mustBeVersion(t, p, 1)
	ctx, cancel := context.WithTimeout(ctxBackground, trialTime/3)
	defer cancel()
	if _, err := p.Prepare(ctx, versioned(cfg, 2)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	u, err := p.Prepare(ctxBackground, versioned(cfg, 2))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Discard()
	ctx, cancel = context.WithCancel(ctxBackground)
	cancel()
	if _, err := p.Prepare(ctx, versioned(cfg, 3)); !errors.Is(err, context.Canceled) {
		t.Error("two updates at a time: ", err)
	}
	u.Apply()
	mustBeVersion(t, p, 2)
	eventually(t, "one process", func() bool { return len(marked(t, cfg)) == 1 })
}

// The process that was tried may end before it is taken over. That costs nothing but a start.
func TestUpdate_applyAfterTheTriedProcessEnded(t *testing.T) {
	cfg := testConfig(t, variant{Generic, true, 1}, "plain")
	p := newTestPool(t, versioned(cfg, 1))
	mustBeVersion(t, p, 1)
	u, err := p.Prepare(ctxBackground, versioned(cfg, 2))
	if err != nil {
		t.Fatal(err)
	}
	u.trial.proc.kill()
	<-u.trial.exited
	eventually(t, "one process", func() bool { return len(marked(t, cfg)) == 1 })
	u.Apply()
	eventually(t, "a new process", func() bool { return p.Stats().Size == 1 })
	mustBeVersion(t, p, 2)
	if s := p.Stats(); s.Restarts != 0 {
		t.Errorf("%+v", s)
	}
}

// A script that is down for long is not started often; one that a reload brings must not have to wait for that.
func TestPool_reloadEndsABackOff(t *testing.T) {
	cfg := testConfig(t, variant{Generic, true, 2}, "plain")
	cfg.Timeout = 10 * time.Second
	broken := with(cfg, scriptEnv, "die-at-once")
	p := newTestPool(t, broken)
	for p.deathsInARow() < 6 {
		mustFail(t, p, "alice", ErrDied)
	}
	var wg sync.WaitGroup
	begun := time.Now()
	wg.Go(func() { mustSay(t, p, "alice", "right", true) })
	eventually(t, "it waits for the next start", func() bool { return p.Stats().Queued == 1 })
	mustApply(t, p, cfg)
	wg.Wait()
	if took := time.Since(begun); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if s := p.Stats(); s.Fault != nil || s.Size != 1 {
		t.Errorf("%+v", s)
	}
}

func TestPool_closeWithAnUpdatePending(t *testing.T) {
	checkLeaks(t)
	eachVariant(t, func(t *testing.T, v variant) {
		cfg := testConfig(t, v, "plain")
		p := newParallelPool(t, versioned(cfg, 1))
		u, err := p.Prepare(ctxBackground, versioned(cfg, 2))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(ctxBackground); err != nil {
			t.Error(err)
		}
		if n := len(marked(t, cfg)); n != 0 {
			t.Errorf("%d processes are left", n)
		}
		u.Apply()
		u.Apply()
		u.Discard()
		mustFail(t, p, "alice", ErrClosed)
		if _, err := p.Prepare(ctxBackground, cfg); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

// TestPool_closeDuringPrepare closes pools at every moment of a trial.
func TestPool_closeDuringPrepare(t *testing.T) {
	checkLeaks(t)
	for i := range 30 {
		cfg := testConfig(t, variants[i%len(variants)], "plain")
		p := newParallelPool(t, versioned(cfg, 1))
		var wg sync.WaitGroup
		wg.Go(func() {
			u, err := p.Prepare(ctxBackground, versioned(cfg, 2))
			if err == nil {
				u.Apply()
			} else if !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		})
		timer := time.NewTimer(time.Duration(i) * 6 * time.Millisecond)
		<-timer.C
		if err := p.Close(ctxBackground); err != nil {
			t.Error(err)
		}
		if n := len(marked(t, cfg)); n != 0 {
			t.Errorf("%d processes are left", n)
		}
		wg.Wait()
	}
}

// TestNewTriedPool: a pool that a reload needs begins with a process that has proved itself, or is not there.
func TestNewTriedPool(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		err    error
		text   string
	}{
		"dies at once": {func(c *Config) { c.Command = diesAtOnce }, ErrDied, "exit status 3"},
		"missing":      {func(c *Config) { c.Command = []string{"/no/such/script"} }, ErrStart, "does not exist"},
		"no time":      {func(c *Config) { c.Timeout = 0 }, ErrConfig, "timeout"},
	} {
		var log logBuffer
		cfg := testConfig(t, variant{Generic, true, 2}, "plain")
		cfg.Logger = log.logger()
		c.change(&cfg)
		files := openFiles(t)
		p, err := NewTriedPool(ctxBackground, cfg)
		if p != nil || !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v; want an error that wraps %q and holds %q", name, err, c.err, c.text)
		}
		if strings.Contains(log.String(), "level=WARN") {
			t.Errorf("%s: log: %s", name, log.String())
		}
		eventually(t, "nothing left", func() bool { return len(marked(t, cfg)) == 0 && openFiles(t) == files })
	}
	cfg := testConfig(t, variant{Generic, true, 2}, "plain")
	p, err := NewTriedPool(ctxBackground, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(ctxBackground); err != nil {
			t.Error(err)
		}
	}()
	if n := len(marked(t, cfg)); n != 1 {
		t.Errorf("%d processes", n)
	}
	mustSay(t, p, "alice", "right", true)
	if s := p.Stats(); s.Restarts != 0 || s.Size != 1 {
		t.Errorf("%+v", s)
	}
	ctx, cancel := context.WithTimeout(ctxBackground, 20*time.Millisecond)
	defer cancel()
	if _, err := NewTriedPool(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without the time for it: %v", err)
	}
	eventually(t, "one process", func() bool { return len(marked(t, cfg)) == 1 })
}
