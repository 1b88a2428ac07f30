package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/admin"
	"gatehouse.im/gatehouse/internal/guard"
	"gatehouse.im/gatehouse/internal/redistest"
)

// fail has a guard count a wrong password.
func fail(t *testing.T, g *guard.Guard, from, password string) {
	t.Helper()
	done, _, err := g.Try(netip.MustParseAddr(from), "alice", "a.example", password, time.Hour)
	if err != nil || done == nil {
		t.Fatal(err)
	}
	done(false, nil)
}

// TestGuardFile_seldom: what is counted is saved soon, but once a minute at most, at the end, and again when that is possible
// again. The log has each change once.
func TestGuardFile_seldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		dir := filepath.Join(t.TempDir(), "data")
		g := guard.New(guard.Defaults())
		f := openGuardFile(g, dir, slog.New(slog.NewTextHandler(&log, nil)))
		go f.run()
		saved := func() bool {
			_, err := os.Stat(f.path)
			if err == nil {
				err = os.Remove(f.path)
			}
			return err == nil
		}
		expect := func(what string, after time.Duration, want bool) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got := saved(); got != want {
				t.Errorf("%s: saved %v", what, got)
			}
		}
		expect("nothing was counted", time.Hour, false)
		fail(t, g, "192.0.2.1", "a")
		expect("the first", guardLooks+time.Millisecond, true)
		fail(t, g, "192.0.2.2", "b")
		expect("a minute is not over", guardSaves-2*guardLooks, false)
		expect("it is", 3*guardLooks, true)
		expect("nothing new", time.Hour, false)

		inTheWay := filepath.Join(f.path+".new", "x")
		if err := os.MkdirAll(inTheWay, 0o700); err != nil {
			t.Fatal(err)
		}
		fail(t, g, "192.0.2.3", "c")
		expect("it cannot be", 10*time.Minute, false)
		if !f.failing.Load() {
			t.Error("nobody knows")
		}
		if err := os.RemoveAll(f.path + ".new"); err != nil {
			t.Fatal(err)
		}
		expect("it can again", guardSaves+guardLooks, true)
		if f.failing.Load() || strings.Count(log.String(), "since it cannot be saved") != 1 || strings.Count(log.String(), "is saved again") != 1 {
			t.Error(log.String())
		}
		fail(t, g, "192.0.2.4", "d")
		f.close(context.Background())
		expect("at the end", 0, true)
	})
}

// TestGuardFile_end: the end of the daemon waits for the last save, also where the time for the end is over already, and not
// for ever.
func TestGuardFile_end(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over, cancel := context.WithCancel(t.Context())
		cancel()
		g := guard.New(guard.Defaults())
		f := openGuardFile(g, t.TempDir(), slog.New(slog.DiscardHandler))
		go f.run()
		fail(t, g, "192.0.2.1", "a")
		f.close(over)
		if _, err := os.Stat(f.path); err != nil {
			t.Error(err)
		}
		f = openGuardFile(g, t.TempDir(), slog.New(slog.DiscardHandler))
		began := time.Now()
		f.close(over) // run was not called, as if it never ended
		if took := time.Since(began); took != guardLast {
			t.Errorf("it took %v", took)
		}
	})
}

// TestMemory_guard: the guard counts in the Redis that is in the config, whichever it was before.
func TestMemory_guard(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	g := guard.New(guard.Defaults())
	m := &memory{dir: t.TempDir(), logger: slog.New(slog.DiscardHandler), metrics: admin.NewMetrics("test"), guard: g}
	t.Cleanup(func() {
		if err := m.close(); err != nil {
			t.Error(err)
		}
	})
	expect := func(prefix string, counts int) {
		t.Helper()
		n := 0
		for _, key := range s.Client.Keys(t.Context(), "{"+prefix+"}:guard:counts:*").Val() {
			n += int(s.Client.HLen(t.Context(), key).Val())
		}
		if n != counts {
			t.Errorf("{%s} has %d counts, want %d", prefix, n, counts)
		}
	}
	until := func(what string, holds func() bool) {
		t.Helper()
		deadline, tick := time.Now().Add(10*time.Second), time.NewTicker(5*time.Millisecond)
		defer tick.Stop()
		for !holds() {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
			<-tick.C
		}
	}
	n := 0
	use := func(prefix string) {
		t.Helper()
		m.use(&config.State{Addresses: []string{s.Socket}, Prefix: prefix}, true)
		until("the counts are not shared", func() bool { return *m.guardShared() })
		// On a busy machine a front may count for itself.
		until("nothing was counted", func() bool {
			alone := g.Stats().Alone
			n++
			fail(t, g, fmt.Sprint("192.0.2.", n), fmt.Sprint(n))
			return g.Stats().Alone == alone
		})
	}
	use("one")
	expect("one", 4)
	use("two")
	expect("two", 4)
	use("one")
	if n == 3 {
		expect("one", 7) // the user's is the same
	}
	expect("two", 4)
	m.use(nil, true)
	if m.guardShared() != nil {
		t.Error("shared without a Redis")
	}
	before := g.Stats()
	fail(t, g, "192.0.2.200", "x")
	if after := g.Stats(); after.Alone != before.Alone || after.Counters <= before.Counters {
		t.Errorf("%+v, then %+v", before, after)
	}
	expect("two", 4)
}
