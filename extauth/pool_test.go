package extauth

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestPool_verdicts(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		p := testPool(t, v, "plain")
		for range 20 {
			mustSay(t, p, "alice", "right", true)
			mustSay(t, p, "alice", "wrong", false)
		}
		for name, f := range map[string]func() (bool, error){
			"isuser":      func() (bool, error) { return p.IsUser(ctxBackground, "alice", "example.org") },
			"setpass":     func() (bool, error) { return p.SetPass(ctxBackground, "alice", "example.org", "right") },
			"tryregister": func() (bool, error) { return p.TryRegister(ctxBackground, "alice", "example.org", "right") },
			"removeuser":  func() (bool, error) { return p.RemoveUser(ctxBackground, "alice", "example.org") },
			"removeuser3": func() (bool, error) { return p.RemoveUser3(ctxBackground, "alice", "example.org", "right") },
		} {
			if yes, err := f(); !yes || err != nil {
				t.Errorf("%s: %v, %v", name, yes, err)
			}
		}
	})
}

// TestPool_faults shows for every misbehaviour of a script what the query that meets it gets, and that the queries
// after it get their own answers.
func TestPool_faults(t *testing.T) {
	faults := []struct {
		user string
		err  error // nil: a proper verdict is due
		only string
	}{
		{user: "slow"}, {user: "pieces"}, {user: "stderr"}, {user: "once"}, {user: "once1"},
		{user: "crlf", only: "generic"}, {user: "bare", only: "generic"}, {user: "latelf", only: "generic"},
		{user: "hang", err: ErrTimeout}, {user: "late", err: ErrTimeout}, {user: "deaf", err: ErrTimeout},
		{user: "half", err: ErrTimeout},
		{user: "exit0", err: ErrDied}, {user: "exit3", err: ErrDied}, {user: "killed", err: ErrDied},
		{user: "orphan", err: ErrDied}, {user: "escaped", err: ErrDied},
		{user: "closed", err: ErrDied, only: "pipe"}, {user: "closed", err: ErrTimeout, only: "pty"},
		{user: "garbage", err: ErrBadReply}, {user: "long", err: ErrBadReply}, {user: "nul", err: ErrBadReply},
		{user: "two", err: ErrBadReply}, {user: "echo", err: ErrBadReply}, {user: "halfdie", err: ErrBadReply},
		{user: "comment", err: ErrBadReply}, {user: "eleven", err: ErrBadReply}, {user: "blank", err: ErrBadReply},
	}
	eachVariant(t, func(t *testing.T, v variant) {
		checkLeaks(t)
		for _, f := range faults {
			if !strings.Contains(v.String(), f.only) {
				continue
			}
			t.Run(f.user, func(t *testing.T) {
				t.Parallel()
				p := newParallelPool(t, testConfig(t, v, "plain"))
				mustSay(t, p, "warm", "right", true)
				if f.err == nil {
					mustSay(t, p, f.user, "wrong", false)
					mustSay(t, p, f.user, "right", true)
				} else {
					mustFail(t, p, f.user, f.err)
				}
				mustRecover(t, p)
			})
		}
	})
}

// TestPool_stress mixes right and wrong logins with every fault there is, from many clients at once.
func TestPool_stress(t *testing.T) {
	// Scripts that answer twice are in a test of their own: they make the pool suspicious, which is slow.
	faults := []string{"exit0", "exit3", "killed", "garbage", "nul", "once", "pieces", "late", "halfdie"}
	checkLeaks(t)
	eachVariant(t, func(t *testing.T, v variant) {
		t.Parallel()
		p := newParallelPool(t, testConfig(t, v, "plain"))
		mustSay(t, p, "warm", "right", true)
		const clients, each = 8, 2000 / 8
		var wg sync.WaitGroup
		var mu sync.Mutex
		asked, answered := 0, 0
		for c := range clients {
			wg.Go(func() {
				for i := range each {
					user, password, want := fmt.Sprintf("u%d", c), "right", true
					if i%2 == 1 {
						password, want = "wrong", false
					}
					if n := c*each + i; n%25 == 24 {
						user = faults[n/25%len(faults)]
					}
					yes, err := p.Auth(ctxBackground, user, "example.org", password)
					switch {
					case yes && !want:
						t.Errorf("%s with %q was let in", user, password)
					case err == nil && yes != want:
						t.Errorf("%s with %q was refused", user, password)
					}
					mu.Lock()
					asked++
					if err == nil {
						answered++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if answered < asked/2 {
			t.Errorf("only %d of %d queries were answered", answered, asked)
		}
		mustRecover(t, p)
		t.Logf("%d of %d answered, %+v", answered, asked, p.Stats())
	})
}

func TestPool_processesWorkAtTheSameTime(t *testing.T) {
	v := variant{Generic, true, 3}
	p := testPool(t, v, "plain")
	var wg sync.WaitGroup
	begun := time.Now()
	for range 3 {
		wg.Go(func() { mustSay(t, p, "slow", "right", true) })
	}
	eventually(t, "all three are busy", func() bool { return p.Stats().Busy == 3 })
	wg.Wait()
	if took := time.Since(begun); took > testTimeout {
		t.Errorf("took %v", took)
	}
	if s := p.Stats(); s.Size != 3 {
		t.Errorf("%d workers", s.Size)
	}
}

func TestPool_startsNoMoreThanNeeded(t *testing.T) {
	p := testPool(t, variant{Generic, true, 3}, "plain")
	for range 50 {
		mustSay(t, p, "alice", "right", true)
	}
	if s := p.Stats(); s.Size != 1 || s.Restarts != 0 {
		t.Errorf("%+v", s)
	}
}

func TestPool_fullQueueIsBusy(t *testing.T) {
	cfg := testConfig(t, variant{Generic, false, 1}, "plain")
	cfg.Queue = 2
	p := newTestPool(t, cfg)
	mustSay(t, p, "warm", "right", true)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { p.Auth(ctxBackground, "slow", "example.org", "right") })
	}
	eventually(t, "one busy, two waiting", func() bool { s := p.Stats(); return s.Busy == 1 && s.Queued == 2 })
	mustFail(t, p, "alice", ErrBusy)
	wg.Wait()
	mustSay(t, p, "alice", "right", true)
}

func TestPool_firstComeFirstServed(t *testing.T) {
	cfg := testConfig(t, variant{Generic, false, 1}, "plain")
	cfg.Timeout = 5 * time.Second
	cfg.Env = append(cfg.Env, dirEnv+"="+t.TempDir())
	p := newTestPool(t, cfg)
	var wg sync.WaitGroup
	wg.Go(func() { mustSay(t, p, "slow", "right", true) })
	eventually(t, "the first is with the worker", func() bool { return p.Stats().Busy == 1 })
	for i := range 5 {
		wg.Go(func() { mustSay(t, p, fmt.Sprintf("u%d", i), "right", true) })
		eventually(t, "it waits", func() bool { return p.Stats().Queued == i+1 })
	}
	wg.Wait()
	got := queries(t, cfg)
	for i := range 5 {
		if want := fmt.Sprintf("auth:u%d:example.org:right", i); !strings.Contains(got[i+1], want) {
			t.Errorf("query %d is %s, want %s", i+1, got[i+1], want)
		}
	}
}

// Whose time is up first is served first; of two who have the same, the one who came first.
func TestPool_earliestDeadlineFirst(t *testing.T) {
	p := &Pool{waiters: list.New()}
	now := time.Now()
	for i, after := range []time.Duration{5, 6, 2, 6, 1, 9, 2} {
		p.enqueue(&waiter{timing: timing{arrived: now.Add(time.Duration(i)), deadline: now.Add(after * time.Second)}})
	}
	var got []int
	for at := p.waiters.Front(); at != nil; at = at.Next() {
		got = append(got, int(at.Value.(*waiter).arrived.Sub(now)))
	}
	if want := []int{4, 2, 6, 0, 1, 3, 5}; !slices.Equal(got, want) {
		t.Errorf("served in the order %v, want %v", got, want)
	}
}

func TestPool_waitingSpendsTheDeadline(t *testing.T) {
	p := testPool(t, variant{Generic, false, 1}, "plain")
	var wg sync.WaitGroup
	wg.Go(func() { mustFail(t, p, "hang", ErrTimeout) })
	eventually(t, "the worker hangs", func() bool { return p.Stats().Busy == 1 })
	begun := time.Now()
	for range 5 {
		wg.Go(func() { p.Auth(ctxBackground, "hang", "example.org", "right") })
	}
	wg.Wait()
	if took := time.Since(begun); took > testTimeout*7/4 {
		t.Errorf("six queries to a script that hangs took %v together, Timeout is %v", took, testTimeout)
	}
	mustRecover(t, p)
}

func TestPool_contextDeadlineIsADeadline(t *testing.T) {
	p := testPool(t, variant{Generic, true, 1}, "plain")
	ctx, cancel := context.WithTimeout(ctxBackground, 50*time.Millisecond)
	defer cancel()
	if yes, err := p.Auth(ctx, "slow", "example.org", "right"); yes || !errors.Is(err, ErrTimeout) {
		t.Fatal(yes, err)
	}
	if yes, err := p.Auth(ctx, "bob", "example.org", "right"); yes || !errors.Is(err, ErrTimeout) {
		t.Fatal(yes, err)
	}
	mustRecover(t, p)
}

func TestPool_cancelledQueryLeavesTheQueue(t *testing.T) {
	p := testPool(t, variant{Generic, true, 1}, "plain")
	var wg sync.WaitGroup
	wg.Go(func() { mustSay(t, p, "slow", "right", true) })
	eventually(t, "the worker is busy", func() bool { return p.Stats().Busy == 1 })
	ctx, cancel := context.WithCancel(ctxBackground)
	wg.Go(func() {
		if yes, err := p.Auth(ctx, "bob", "example.org", "right"); yes || !errors.Is(err, context.Canceled) {
			t.Error(yes, err)
		}
	})
	eventually(t, "one waits", func() bool { return p.Stats().Queued == 1 })
	cancel()
	eventually(t, "nobody waits", func() bool { return p.Stats().Queued == 0 })
	wg.Wait()
	if s := p.Stats(); s.Restarts != 0 {
		t.Errorf("a cancelled wait cost a worker: %+v", s)
	}
}

func TestPool_cancelledQueryInFlightKeepsTheWorker(t *testing.T) {
	p := testPool(t, variant{Generic, true, 1}, "plain")
	ctx, cancel := context.WithCancel(ctxBackground)
	var wg sync.WaitGroup
	wg.Go(func() {
		if yes, err := p.Auth(ctx, "slow", "example.org", "right"); !yes || err != nil {
			t.Error(yes, err)
		}
	})
	eventually(t, "the worker is busy", func() bool { return p.Stats().Busy == 1 })
	cancel()
	mustSay(t, p, "bob", "wrong", false)
	wg.Wait()
	if s := p.Stats(); s.Restarts != 0 {
		t.Errorf("%+v", s)
	}
}

func TestPool_infoNamesTheWorker(t *testing.T) {
	p := testPool(t, variant{Generic, true, 1}, "plain")
	var info Info
	ctx := WithInfo(ctxBackground, &info)
	if _, err := p.Auth(ctx, "slow", "example.org", "right"); err != nil {
		t.Fatal(err)
	}
	if info.Worker != 1 || info.PID == 0 || info.Tries != 1 || info.Script < 150*time.Millisecond || info.Queue > info.Script {
		t.Errorf("%+v", info)
	}
	if _, err := p.Auth(ctx, "exit3", "example.org", "right"); err == nil {
		t.Fatal("a dead script said yes")
	}
	if info.Tries != 2 || info.Worker == 1 {
		t.Errorf("%+v", info)
	}
}

func TestPool_setPassIsAskedOnce(t *testing.T) {
	checkLeaks(t)
	for _, again := range []bool{true, false} {
		cfg := testConfig(t, variant{Generic, true, 1}, "plain")
		cfg.Env = append(cfg.Env, dirEnv+"="+t.TempDir())
		p := newParallelPool(t, cfg)
		want := 1
		ask := p.SetPass
		if again {
			ask, want = p.Auth, 2
		}
		if yes, err := ask(ctxBackground, "exit3", "example.org", "right"); yes || !errors.Is(err, ErrDied) {
			t.Fatal(yes, err)
		}
		if got := queries(t, cfg); len(got) != want {
			t.Errorf("asked %d times, want %d: %s", len(got), want, got)
		}
	}
}

func TestPool_refusesBeforeAByteIsWritten(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		cfg := testConfig(t, v, "plain")
		cfg.Env = append(cfg.Env, dirEnv+"="+t.TempDir())
		p := newTestPool(t, cfg)
		mustSay(t, p, "alice", "right", true)
		bad := []struct{ user, host, password string }{
			{"", "h", "p"}, {"u", "", "p"}, {"u", "h", ""}, {"u:v", "h", "p"}, {"u", "h:i", "p"},
			{"u\xff", "h", "p"}, {"u", "\xc0\x80", "p"}, {"u", "h", "\xed\xa0\x80"},
			{"u", "h", strings.Repeat("x", 992)},
		}
		for _, c := range []string{"\n", "\r", "\x00", "\t", "\x1b", "\x7f", "\u0085", "\u2028"} {
			bad = append(bad, struct{ user, host, password string }{"u" + c, "h", "p"},
				struct{ user, host, password string }{"u", c + "h", "p"},
				struct{ user, host, password string }{"u", "h", "p" + c + "auth:root:h:p"})
		}
		for _, b := range bad {
			if yes, err := p.Auth(ctxBackground, b.user, b.host, b.password); yes || !errors.Is(err, ErrQuery) {
				t.Errorf("auth %q: %v, %v", b, yes, err)
			}
			if yes, err := p.SetPass(ctxBackground, b.user, b.host, b.password); yes || !errors.Is(err, ErrQuery) {
				t.Errorf("setpass %q: %v, %v", b, yes, err)
			}
		}
		// 1000 bytes are the limit, colons in a password are nobody's business.
		if yes, err := p.Auth(ctxBackground, "u", "h", strings.Repeat("x", 991)); yes || err != nil {
			t.Errorf("1000 bytes: %v, %v", yes, err)
		}
		if yes, err := p.Auth(ctxBackground, "u", "h", "a:b::c"); yes || err != nil {
			t.Errorf("colons: %v, %v", yes, err)
		}
		if got := queries(t, cfg); len(got) != 3 {
			t.Errorf("the script got %q", got)
		}
	})
}

// An answer that comes much sooner than others is waited out, in case it is a second one to the query before, and
// then it counts.
func TestPool_quickAnswerOfASlowScript(t *testing.T) {
	checkLeaks(t)
	eachVariant(t, func(t *testing.T, v variant) {
		t.Parallel()
		cfg := testConfig(t, v, "plain")
		cfg.Processes, cfg.Timeout = 1, 10*time.Second
		p := newParallelPool(t, cfg)
		for range 4 {
			mustSay(t, p, "slow", "right", true)
			mustSay(t, p, "bob", "wrong", false)
			mustSay(t, p, "bob", "right", true)
		}
		if s := p.Stats(); s.Restarts != 0 {
			t.Errorf("%+v", s)
		}
	})
}
