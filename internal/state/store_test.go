package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/redistest"
)

// span is that of package token.
const span = 150 * time.Second

func open(t testing.TB, s *redistest.Server, change ...func(*Config)) *Store {
	t.Helper()
	c := Config{Addresses: []string{s.Socket}, Prefix: "gatehouse", Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&c)
	}
	store := Open(c, span)
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func newID() (id [32]byte) {
	for i := range id {
		id[i] = byte(rand.Uint32())
	}
	return id
}

// use is Use with a token whose one-time password is of this moment.
func use(store *Store, id [32]byte) (bool, error) {
	now := time.Now()
	return store.Use(id, now.Add(120*time.Second), now)
}

func expectUse(t testing.TB, what string, store *Store, id [32]byte, want bool, wantErr error) {
	t.Helper()
	if got, err := use(store, id); got != want || !errors.Is(err, wantErr) {
		t.Errorf("%s: %v, %v; want %v, %v", what, got, err, want, wantErr)
	}
}

// until polls.
func until(t testing.TB, what string, limit time.Duration, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, limit)
		}
		<-tick.C
	}
}

func TestStore_onceAcrossFronts(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Aged(t, "gatehouse")
	fronts := []*Store{open(t, s), open(t, s)}
	for range 200 {
		id := newID()
		var yes, no atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				switch fresh, err := use(fronts[i%2], id); {
				case err != nil:
					t.Error(err)
				case fresh:
					yes.Add(1)
				default:
					no.Add(1)
				}
			})
		}
		wg.Wait()
		if yes.Load() != 1 || no.Load() != 7 {
			t.Fatalf("%d times yes, %d times no", yes.Load(), no.Load())
		}
	}
}

// TestStore_keys: what is kept, for how long, and that two prefixes are two memories.
func TestStore_keys(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Aged(t, "gatehouse")
	s.Aged(t, "other")
	one, other := open(t, s), open(t, s, func(c *Config) { c.Prefix = "other" })
	id := newID()
	expectUse(t, "one", one, id, true, nil)
	expectUse(t, "again", one, id, false, nil)
	expectUse(t, "another prefix", other, id, true, nil)
	name := fmt.Sprintf("{gatehouse}:used:%x", id)
	ttl, err := s.Client.PTTL(context.Background(), name).Result()
	if err != nil || ttl < 115*time.Second || ttl > 121*time.Second {
		t.Errorf("kept for %v, %v", ttl, err)
	}
	if ttl := s.Client.TTL(context.Background(), "{gatehouse}:memory").Val(); ttl != -1 {
		t.Errorf("the memory of the Redis itself ends after %v", ttl)
	}
}

// TestStore_mayHaveForgotten: whatever may have made the Redis forget, tokens of before are refused, as not judged, and
// tokens made later are not.
func TestStore_mayHaveForgotten(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		forget  func(*testing.T, *redistest.Server)
		durable bool
		want    error // of a fresh token afterwards
	}{
		"nothing": {forget: func(*testing.T, *redistest.Server) {}},
		"emptied": {forget: func(t *testing.T, s *redistest.Server) { s.Do(t, "FLUSHALL") }, want: ErrHeld},
		"killed":  {forget: func(t *testing.T, s *redistest.Server) { s.Kill(); s.Run(t) }, want: ErrHeld},
		"killed with an old snapshot": {forget: func(t *testing.T, s *redistest.Server) {
			s.Kill()
			s.Run(t)
		}, want: ErrHeld},
		"clock set back": {forget: func(t *testing.T, s *redistest.Server) {
			s.Do(t, "HSET", "{gatehouse}:memory", "seen", time.Now().Add(time.Minute).UnixMilli())
		}, want: ErrHeld},
		"evicted": {forget: func(t *testing.T, s *redistest.Server) {
			s.Do(t, "CONFIG", "SET", "maxmemory-policy", "allkeys-random")
			s.Do(t, "SET", "large", strings.Repeat("x", 1<<20))
			s.Do(t, "CONFIG", "SET", "maxmemory", "1mb")
			until(t, "the Redis evicts", 5*time.Second, func() bool {
				_ = s.Client.Set(context.Background(), "another", "x", 0).Err()
				return s.Client.InfoMap(context.Background(), "stats").Val()["Stats"]["evicted_keys"] != "0"
			})
			s.Do(t, "CONFIG", "SET", "maxmemory", "0")
		}, want: ErrHeld},
		"killed, durable": {durable: true, forget: func(t *testing.T, s *redistest.Server) { s.Kill(); s.Run(t) }},
		"emptied, durable": {durable: true, forget: func(t *testing.T, s *redistest.Server) {
			s.Do(t, "FLUSHALL")
		}, want: ErrHeld},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var args []string
			if c.durable {
				args = []string{"--appendonly", "yes", "--appendfsync", "always"}
			}
			s := redistest.Start(t, args...)
			s.Aged(t, "gatehouse")
			store := open(t, s, func(cfg *Config) { cfg.Durable = c.durable })
			id := newID()
			expectUse(t, "before", store, id, true, nil)
			if name == "killed with an old snapshot" {
				s.Do(t, "SAVE")
				id = newID()
				expectUse(t, "after the snapshot", store, id, true, nil)
			}
			c.forget(t, s)
			until(t, "the Redis is asked again", 3*time.Second, func() bool {
				_, err := use(store, id)
				return !errors.Is(err, ErrAway)
			})
			if fresh, err := use(store, id); fresh || c.want == nil && err != nil {
				t.Errorf("the token of before: %v, %v", fresh, err)
			}
			expectUse(t, "a token of this moment", store, newID(), c.want == nil, c.want)
			now := time.Now()
			if fresh, err := store.Use(newID(), now.Add(span+MaxSkew+time.Second), now); !fresh || err != nil {
				t.Errorf("a token that is good from now on: %v, %v", fresh, err)
			}
		})
	}
}

// TestStore_faults: what a Redis may do wrong is no verdict, and is over when it is over.
func TestStore_faults(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]redistest.Fault{
		"paused":    redistest.Paused,
		"gone":      redistest.Killed,
		"a replica": redistest.Replica,
		"full":      redistest.Full,
		"forbidden": redistest.Forbidden("-eval", "-evalsha"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
			s.Aged(t, "gatehouse")
			store := open(t, s, func(c *Config) { c.Durable = true })
			used := newID()
			expectUse(t, "before", store, used, true, nil)
			until(t, "the state is good", 3*time.Second, func() bool { return store.State() == nil })
			fault.Begin(t, s)
			during := newID()
			began := time.Now()
			expectUse(t, "during", store, during, false, ErrAway)
			if took := time.Since(began); took > timeout+500*time.Millisecond {
				t.Errorf("that took %v", took)
			}
			until(t, "the state is bad", 4*time.Second, func() bool { return errors.Is(store.State(), ErrAway) })
			began = time.Now()
			if err := store.Put(newID(), newID(), time.Second); !errors.Is(err, ErrAway) || time.Since(began) > 100*time.Millisecond {
				t.Errorf("a ticket while the Redis is known to be away: %v in %v", err, time.Since(began))
			}
			fault.End(t, s)
			until(t, "tokens are accepted again", 3*time.Second, func() bool {
				fresh, err := use(store, newID())
				return fresh && err == nil
			})
			expectUse(t, "the token of before", store, used, false, nil)
			until(t, "the state is good", 3*time.Second, func() bool { return store.State() == nil })
			if first, err := use(store, during); err != nil {
				t.Error(err)
			} else if first {
				expectUse(t, "the token of meanwhile, again", store, during, false, nil)
			}
		})
	}
}

func TestStore_clocks(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Aged(t, "gatehouse")
	store := open(t, s)
	for off, want := range map[time.Duration]error{
		-2 * time.Minute: ErrClocks, -12 * time.Second: ErrClocks, -7 * time.Second: nil, 7 * time.Second: nil, 12 * time.Second: ErrClocks,
	} {
		now := time.Now().Add(off)
		if fresh, err := store.Use(newID(), now.Add(120*time.Second), now); fresh != (want == nil) || !errors.Is(err, want) {
			t.Errorf("%v: %v, %v", off, fresh, err)
		}
	}
}

// TestStore_sameAttempt: whoever asks again because the answer was lost is told the same, and others are not.
func TestStore_sameAttempt(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Aged(t, "gatehouse")
	store := open(t, s)
	now := time.Now()
	ask := func(attempt string) string {
		t.Helper()
		a, err := store.ask(t.Context(), now, []string{store.key("memory"), store.key("used:x")},
			millis(now.Add(-30*time.Second)), millis(now.Add(120*time.Second)), attempt)
		if err != nil {
			t.Fatal(err)
		}
		return a.word
	}
	if got := []string{ask("one"), ask("one"), ask("other"), ask("one")}; fmt.Sprint(got) != "[fresh fresh used fresh]" {
		t.Error(got)
	}
}

func TestStore_tickets(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	one, other := open(t, s), open(t, s)
	until(t, "the Redis was looked at", 3*time.Second, func() bool { return !errors.Is(one.State(), ErrAway) })
	ticket, owner := newID(), newID()
	put := func(life time.Duration) {
		t.Helper()
		if err := one.Put(ticket, owner, life); err != nil {
			t.Fatal(err)
		}
	}
	take := func(what string, owner [32]byte, want bool) {
		t.Helper()
		if good, err := other.Take(ticket, owner); good != want || err != nil {
			t.Errorf("%s: %v, %v", what, good, err)
		}
	}
	take("unknown", owner, false)
	put(10 * time.Second)
	if ttl := s.Client.PTTL(t.Context(), one.ticketKey(ticket)).Val(); ttl < 9*time.Second || ttl > 10*time.Second {
		t.Errorf("kept for %v", ttl)
	}
	take("good", owner, true)
	take("again", owner, false)
	put(10 * time.Second)
	take("another's", newID(), false)
	take("after another has shown it", owner, false)
	for range 100 {
		put(10 * time.Second)
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				if good, err := []*Store{one, other}[i%2].Take(ticket, owner); err != nil {
					t.Error(err)
				} else if good {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d redeemed one ticket", won.Load())
		}
	}
}

func TestStore_leavesNothing(t *testing.T) {
	s := redistest.Start(t)
	s.Aged(t, "gatehouse")
	before := runtime.NumGoroutine()
	for range 5 {
		store := Open(Config{Addresses: []string{s.Socket}, Prefix: "gatehouse", Logger: slog.New(slog.DiscardHandler)}, span)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := use(store, newID()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	until(t, "goroutines are gone", 5*time.Second, func() bool { return runtime.NumGoroutine() <= before })
}

func BenchmarkUse(b *testing.B) {
	s := redistest.Start(b)
	s.Aged(b, "gatehouse")
	store := open(b, s)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if fresh, err := use(store, newID()); !fresh || err != nil {
				b.Fatal(fresh, err)
			}
		}
	})
}
