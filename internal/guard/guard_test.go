package guard

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

// However many come at a time, no more guesses get through than one after the other would.
func TestGuard_parallelGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Defaults())
		var asked, refused atomic.Int64
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				var waited time.Duration
				for {
					done, wait, err := g.Try(netip.MustParseAddr(attacker), "alice", "a.example", fmt.Sprint(i), waited)
					if err != nil {
						refused.Add(1)
						return
					}
					if wait > 0 {
						time.Sleep(wait)
						waited += wait
						continue
					}
					asked.Add(1)
					time.Sleep(300 * time.Millisecond) // the script's
					done(false, nil)
					return
				}
			})
		}
		wg.Wait()
		if asked.Load() != 10 || refused.Load() != 190 {
			t.Errorf("%d guesses were made, %d refused", asked.Load(), refused.Load())
		}
	})
}

// After a restart everybody comes back at once, from behind one address. They wait for each other, and nobody is refused.
func TestGuard_everybodyComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Defaults())
		var wg sync.WaitGroup
		began := time.Now()
		for i := range 1000 {
			wg.Go(func() {
				for {
					done, wait, err := g.Try(netip.MustParseAddr(home), fmt.Sprint("user", i%300), "a.example", right, 0)
					if err != nil {
						t.Errorf("user %d: %v", i, err)
						return
					}
					if wait == 0 {
						time.Sleep(100 * time.Millisecond)
						done(true, nil)
						return
					}
					time.Sleep(wait)
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
		if s := g.Stats(); s.Counters != 0 || s.Known != 300 {
			t.Errorf("%+v", s)
		}
	})
}

func TestGuard_stats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.guess(12, attacker, "alice")
		w.want("bob", home, "bob", right, "yes")
		s := w.guard.Stats()
		if s.Refused["pair"] != 2 || s.Delayed["pair"] != 4 || s.Known != 1 || s.Counters < 3 || len(s.Refused) != int(Reasons) {
			t.Errorf("%+v", s)
		}
	})
}

// What a Refusal says is for the log, which has who and from where already.
func TestRefusal_tellsNoSecret(t *testing.T) {
	seen := make(map[string]bool)
	for r := range Reasons {
		text := Refusal(r).Error()
		if seen[text] || len(text) < len("guard: x") || text[:7] != "guard: " {
			t.Errorf("%s: %q", r, text)
		}
		seen[text] = true
	}
}

// nth is an attempt of which no two have anything in common.
func nth(n uint64, s *Settings) *Attempt {
	return &Attempt{Address: n * 0x9e3779b97f4a7c15, User: n*0xbf58476d1ce4e5b9 + 1, Settings: s, Waited: time.Hour}
}

func refuse(m *Memory, a *Attempt) { _ = m.Settle(a, Answer{}, Refused) }

// A flood of new counters does not drive out one that is high.
func TestMemory_floodKeepsHighCounts(t *testing.T) {
	m := NewMemory()
	s := Defaults()
	for i := range uint16(9) {
		a := nth(1, &s)
		a.Mark = i
		refuse(m, a)
	}
	for i := range uint64(shards * perShard) {
		refuse(m, nth(i+10, &s))
	}
	if got, _ := m.Take(nth(1, &s)); got.Scores[Pair] < 8.9 || got.Scores[User] < 8.9 {
		t.Errorf("9 have become %v", got.Scores)
	}
	if n := m.size(); n > shards*perShard {
		t.Errorf("%d counters", n)
	}
}

// What has faded is cleared away by what comes.
func TestMemory_clearsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		s := Settings{HalfLife: time.Second}
		for i := range uint64(shards * perShard / 4) {
			refuse(m, nth(i+1, &s))
			if i%25 == 0 {
				time.Sleep(time.Second)
			}
		}
		if n := m.size(); n > 10_000 {
			t.Errorf("%d counters, where 700 count", n)
		}
	})
}

// A counter may be driven out while an attempt has a place in it.
func TestMemory_placeIsGone(t *testing.T) {
	m := NewMemory()
	s := Settings{PerPair: 1, HalfLife: time.Hour}
	a := nth(1, &s)
	got, _ := m.Take(a)
	for i := range m.shards {
		clear(m.shards[i].m)
	}
	_ = m.Settle(a, got, Undecided)
	if got, _ := m.Take(a); !got.Granted || m.size() != 2 {
		t.Errorf("%+v, %d counters", got, m.size())
	}
}

func TestKnown_bounded(t *testing.T) {
	k := newKnown()
	for i := range uint64(2 * shards * knownPerShard) {
		k.add(i*2654435761, 1)
	}
	if n := k.len(); n > shards*knownPerShard || n < shards*knownPerShard/2 {
		t.Errorf("%d users", n)
	}
}

// Nothing runs together in a key: neither names nor hosts nor kinds.
func TestHasher_keys(t *testing.T) {
	h := newHasher()
	seen := make(map[key]string)
	for _, c := range []struct{ ip, user, host, secret string }{
		{"192.0.2.1", "ab", "c", "x"}, {"192.0.2.1", "a", "bc", "x"}, {"192.0.2.2", "ab", "c", "x"}, {"192.0.2.1", "ab", "c", "y"},
		{"2001:db8::1", "ab", "c", "x"}, {"2001:db8:0:1::1", "ab", "c", "x"}, {"192.0.2.1", strings.Repeat("long", 300), "c", "x"},
	} {
		a := h.attempt(origin(netip.MustParseAddr(c.ip)), c.user, c.host, c.secret)
		if a != h.attempt(origin(netip.MustParseAddr(c.ip)), c.user, c.host, c.secret) {
			t.Errorf("%v has two keys", c)
		}
		for r := range Reasons {
			name := map[Reason]string{
				Secret: fmt.Sprint(c), Pair: fmt.Sprint(c.ip, " ", c.user, " ", c.host), Address: c.ip, User: fmt.Sprint(c.user, " ", c.host),
			}[r]
			name = fmt.Sprint(r, " ", name)
			if other, ok := seen[a.key(r)]; ok && other != name {
				t.Errorf("%s and %s have one key", name, other)
			}
			seen[a.key(r)] = name
		}
	}
	other := newHasher()
	if p := origin(netip.MustParseAddr("192.0.2.1")); h.address(p) == other.address(p) || h.user("a", "b") == other.user("a", "b") {
		t.Error("two keys make the same hash")
	}
	if got := origin(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("no address is %v", got)
	}
}

// Any mix of calls leaves counts within their limits, and no place taken.
func TestGuard_race(t *testing.T) {
	g := New(Settings{PerPair: 5, PerAddress: 20, PerUser: 20, HalfLife: time.Hour})
	var wg sync.WaitGroup
	var failures [4]atomic.Int64 // by address
	down := errors.New("down")
	for n := range 16 {
		wg.Go(func() {
			for i := range 500 {
				from := netip.AddrFrom4([4]byte{198, 51, 100, byte(i % 4)})
				user := fmt.Sprint("user", (i*7+n)%8)
				done, _, err := g.Try(from, user, "a.example", fmt.Sprint(n, i), time.Hour)
				switch {
				case err != nil || done == nil:
				case i%3 == 0:
					done(false, down)
				case i%50 == 1:
					_, _ = g.Forgive(netip.Addr{}, "nobody", "a.example")
					done(false, down)
				default:
					failures[i%4].Add(1)
					done(false, nil)
				}
				if i%100 == 0 {
					g.Set(Settings{PerPair: 5, PerAddress: 20, PerUser: 20, HalfLife: time.Hour})
					g.Stats()
				}
			}
		})
	}
	wg.Wait()
	for i := range failures {
		if n := failures[i].Load(); n > 21 { // one may fade meanwhile
			t.Errorf("address %d made %d guesses", i, n)
		}
	}
	for i := range g.memory.shards {
		for _, c := range g.memory.shards[i].m {
			if c.pending != 0 || c.score > 21 {
				t.Errorf("left: %+v", c)
			}
		}
	}
}

func BenchmarkGuard_success(b *testing.B) {
	g := New(Defaults())
	b.ReportAllocs()
	var n atomic.Uint32
	b.RunParallel(func(pb *testing.PB) {
		for i := n.Add(1) << 20; pb.Next(); i++ {
			ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			done, _, err := g.Try(ip, "alice", "a.example", right, 0)
			if err == nil && done != nil {
				done(true, nil)
			}
		}
	})
}

func BenchmarkGuard_failure(b *testing.B) {
	g := New(Defaults())
	users := make([]string, 1000)
	for i := range users {
		users[i] = fmt.Sprint("user", i)
	}
	b.ReportAllocs()
	var n atomic.Uint32
	b.RunParallel(func(pb *testing.PB) {
		for i := n.Add(1) << 20; pb.Next(); i++ {
			ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			done, _, err := g.Try(ip, users[i%1000], "a.example", "wrong", time.Hour)
			if err == nil && done != nil {
				done(false, nil)
			}
		}
	})
}

func BenchmarkGuard_refused(b *testing.B) {
	g := New(Defaults())
	ip := netip.MustParseAddr(attacker)
	for i := range 10 {
		if done, _, err := g.Try(ip, "alice", "a.example", fmt.Sprint(i), time.Hour); err == nil {
			done(false, nil)
		}
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, _, err := g.Try(ip, "alice", "a.example", "x", 0); err == nil {
				b.Error("let through")
			}
		}
	})
}
