package state

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/guard"
	"gatehouse.im/gatehouse/internal/guard/guardtest"
	"gatehouse.im/gatehouse/internal/redistest"
)

// openCounters opens a Store with counts that can be used.
func openCounters(t testing.TB, s *redistest.Server, change ...func(*Config)) *Counters {
	t.Helper()
	return openPatient(t, s, guardTimeout, change...)
}

// patient is a timeout for tests in which the Redis has no fault, however busy the machine is.
const patient = 20 * time.Second

func openPatient(t testing.TB, s *redistest.Server, timeout time.Duration, change ...func(*Config)) *Counters {
	t.Helper()
	store := open(t, s, change...)
	store.Counters().timeout = timeout
	store.Counters().Use(true)
	until(t, "the counts can be used", 5*time.Second, func() bool { return store.Counters().State() == nil })
	return store.Counters()
}

// TestCounters_model: two fronts are as one memory.
func TestCounters_model(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for range 4 {
		s.Do(t, "FLUSHALL")
		guardtest.Play(t, 2000, openPatient(t, s, patient), openPatient(t, s, patient))
	}
}

// TestCounters_cluster: all keys of an attempt are in one slot, wherever that is.
func TestCounters_cluster(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(redistest.FreePort(t)))
	s.Do(t, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
	until(t, "the Cluster is complete", 10*time.Second, func() bool {
		return strings.Contains(fmt.Sprint(s.Do(t, "CLUSTER", "INFO")), "cluster_state:ok")
	})
	cluster := func(c *Config) { c.Addresses, c.Cluster = []string{s.Addr}, true }
	guardtest.Play(t, 1000, openPatient(t, s, patient, cluster), openPatient(t, s, patient, cluster))
}

// TestCounters_everybodyComesBack: after a restart of two fronts a thousand come at once, from behind one address. They wait
// for each other, and nobody is refused.
func TestCounters_everybodyComesBack(t *testing.T) {
	t.Parallel()
	g := guards(t, redistest.Start(t), patient)
	var wg sync.WaitGroup
	var tries atomic.Int64
	began := time.Now()
	for i := range 1000 {
		wg.Go(func() {
			for waited := time.Duration(0); ; {
				tries.Add(1)
				done, wait, err := g[i%2].Try(guesser, fmt.Sprint("user", i), "a.example", "right", waited)
				if err != nil {
					t.Errorf("user %d: %v", i, err)
					return
				}
				if wait == 0 {
					<-time.After(20 * time.Millisecond) // the script's
					done(true, nil)
					return
				}
				<-time.After(wait)
				waited += wait
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	t.Logf("it took %v and %d questions", took, tries.Load())
	if took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

var guesser = netip.MustParseAddr("203.0.113.66")

// quick are settings without a delay, so that attempts come as fast as they can.
func quick() guard.Settings {
	return guard.Settings{PerPair: 10, PerAddress: 50, PerUser: 50, HalfLife: 30 * time.Minute}
}

// guards are those of two fronts.
func guards(t testing.TB, s *redistest.Server, timeout time.Duration) [2]*guard.Guard {
	t.Helper()
	var g [2]*guard.Guard
	for i := range g {
		c := openPatient(t, s, timeout)
		g[i] = guard.New(quick())
		g[i].Share(c, c.store.GuardKey())
	}
	return g
}

// siege has 64 guessers at each of two fronts try each a few passwords of one user, all at a time, and says how many guesses
// were made and what the guard took for the slowest answer.
func siege(guards [2]*guard.Guard, user string, each int) (guesses int64, slowest time.Duration) {
	var made, longest atomic.Int64
	var wg sync.WaitGroup
	for n := range 128 {
		wg.Go(func() {
			for i := range each {
				for waited := time.Duration(0); waited < time.Second; {
					began := time.Now()
					done, wait, err := guards[n%2].Try(guesser, user, "a.example", fmt.Sprint("guess ", n, i), waited)
					if took := int64(time.Since(began)); took > longest.Load() {
						longest.Store(took)
					}
					if err != nil {
						break
					}
					if wait == 0 {
						made.Add(1)
						done(false, nil)
						break
					}
					<-time.After(wait)
					waited += wait
				}
			}
		})
	}
	wg.Wait()
	return made.Load(), time.Duration(longest.Load())
}

// TestCounters_race: at two fronts no more guesses get through than at one, however many come at a time, and no place is
// left taken.
func TestCounters_race(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	g := guards(t, s, patient)
	for i := range 5 {
		user := fmt.Sprint("user", i)
		if made, _ := siege(g, user, 3); made != 10 {
			t.Errorf("%d guesses", made)
		}
		if n, err := g[1].Forgive(guesser, "", ""); err != nil || n == 0 {
			t.Fatal(n, err)
		}
		if made, _ := siege(g, user, 1); made != 10 {
			t.Errorf("after it was forgiven: %d guesses", made)
		}
		if _, err := g[0].Forgive(guesser, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range s.Client.Keys(t.Context(), "*").Val() {
		if strings.Contains(key, ":counts:") {
			for name, count := range s.Client.HGetAll(t.Context(), key).Val() {
				if strings.Contains(count, "=") {
					t.Errorf("%s %s has a place taken: %s", key, name, count)
				}
			}
		}
	}
}

// TestCounters_key: it is the same for all who have the password, and another for others.
func TestCounters_key(t *testing.T) {
	t.Parallel()
	seen := make(map[[guard.KeySize]byte]bool)
	for _, c := range []Config{{Password: "a", Prefix: "p"}, {Password: "b", Prefix: "p"}, {Password: "a", Prefix: "q"}, {Prefix: "p"}} {
		one := (&Store{config: c}).GuardKey()
		c.Username, c.Addresses = "another", []string{"elsewhere"}
		if other := (&Store{config: c}).GuardKey(); one != other || seen[one] {
			t.Errorf("%x and %x", one, other)
		}
		seen[one] = true
	}
}

// TestCounters_names: keys are of one slot and end by themselves, and nothing in them says who it is.
func TestCounters_names(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	g := guards(t, s, patient)
	siege(g, "canary-user", 1)
	done, _, err := g[0].Try(netip.MustParseAddr("192.0.2.1"), "canary-user", "a.example", "canary-secret", 0)
	if err != nil || done == nil {
		t.Fatal(err)
	}
	done(true, nil)
	var all strings.Builder
	keys := s.Client.Keys(t.Context(), "*").Val()
	for _, key := range keys {
		fmt.Fprintln(&all, key, s.Client.HGetAll(t.Context(), key).Val(), s.Client.ZRange(t.Context(), key, 0, -1).Val())
		if key == "{gatehouse}:memory" {
			continue
		}
		if !strings.HasPrefix(key, "{gatehouse}:guard:") || s.Client.PTTL(t.Context(), key).Val() <= 0 {
			t.Errorf("%s ends after %v", key, s.Client.PTTL(t.Context(), key).Val())
		}
	}
	if text := all.String(); len(keys) < 4 || strings.Contains(text, "canary") || strings.Contains(text, "203.0") || strings.Contains(text, "a.example") {
		t.Error(text)
	}
}

// TestCounters_bounded: however many come, there are 1024 counts in a hash at most, and low ones go first.
func TestCounters_bounded(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	counters := openPatient(t, s, patient)
	settings := quick()
	refuse := func(a *guard.Attempt) {
		t.Helper()
		a.Settings = &settings
		if err := counters.Settle(a, guard.Answer{}, guard.Refused); err != nil {
			t.Fatal(err)
		}
	}
	const sameHash = guardShards
	for i := range uint16(9) {
		refuse(&guard.Attempt{Address: sameHash, User: sameHash, Mark: i})
	}
	for i := range uint64(1500) {
		refuse(&guard.Attempt{Address: (i + 2) * sameHash, User: (i + 2) * sameHash})
	}
	if n := s.Client.HLen(t.Context(), "{gatehouse}:guard:counts:0").Val(); n > 1024+4 || n < 900 {
		t.Errorf("%d counts", n)
	}
	got, err := counters.Take(&guard.Attempt{Address: sameHash, User: sameHash, Settings: &guard.Settings{PerPair: 99, PerUser: 99, HalfLife: settings.HalfLife}})
	if err != nil || got.Scores[guard.Pair] < 8.9 || got.Scores[guard.User] < 8.9 {
		t.Errorf("9 have become %v, %v", got.Scores, err)
	}
	for i := range uint64(20) {
		if err := counters.Settle(&guard.Attempt{Address: i + 1, User: 7, Settings: &settings}, guard.Answer{}, guard.Accepted); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Client.ZCard(t.Context(), "{gatehouse}:guard:known:0000000000000007").Val(); n != 8 {
		t.Errorf("%d addresses of one user", n)
	}
}

// TestCounters_time: counts fade by the clock of the Redis, places of a front that died end, and a clock that was set does
// not keep anything for ever.
func TestCounters_time(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	counters := openPatient(t, s, patient)
	settings := guard.Settings{PerPair: 4, HalfLife: time.Hour}
	a := &guard.Attempt{Address: 3, User: 3, Settings: &settings}
	const hashKey, name = "{gatehouse}:guard:counts:0", "p:0000000000000003:0000000000000003"
	now := time.Now().UnixMilli()
	ago := func(d time.Duration) int64 { return now - d.Milliseconds() }
	old := ago(80*time.Second) / 15000 * 15000
	for what, c := range map[string]struct {
		count   string
		granted bool
		score   float64
	}{
		"as it is":                     {fmt.Sprintf("2 %d", now), true, 2},
		"an hour old":                  {fmt.Sprintf("4 %d", ago(time.Hour)), true, 2},
		"too high":                     {fmt.Sprintf("3.9 %d", now), false, 3.9},
		"of yesterday":                 {fmt.Sprintf("4 %d", ago(24*time.Hour)), true, 0},
		"of 1970":                      {"4 0", true, 0},
		"places":                       {fmt.Sprintf("1 %d %d=3", now, now/15000*15000), false, 1},
		"places that are long over":    {fmt.Sprintf("1 %d %d=3", now, old), true, 1},
		"places of both kinds":         {fmt.Sprintf("1 %d %d=3 %d=2", now, old, now/15000*15000), true, 1},
		"places of the future":         {fmt.Sprintf("1 %d %d=3", now, now+3600_000), true, 1},
		"the clock was set back a day": {fmt.Sprintf("3.5 %d", now+24*3600_000), false, 3.5},
		"huge":                         {fmt.Sprintf("1e300 %d", now), false, 1e6},
		"negative":                     {fmt.Sprintf("-7 %d", now), true, 0},
		"not a number":                 {fmt.Sprintf("nan %d", now), true, 0},
		"nonsense":                     {"nonsense", true, 0},
		"empty":                        {"", true, 0},
		"negative places":              {fmt.Sprintf("0 %d %d=-3", now, now/15000*15000), true, 0},
	} {
		s.Do(t, "HSET", hashKey, name, c.count)
		got, err := counters.Take(a)
		if err != nil || got.Granted != c.granted || got.Scores[guard.Pair] < c.score*0.99-0.01 || got.Scores[guard.Pair] > c.score*1.01+0.01 {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
		if err := counters.Settle(a, got, guard.Undecided); err != nil {
			t.Error(what, err)
		}
	}
	// From the moment it is seen, a count of the future fades as others do.
	s.Do(t, "HSET", hashKey, name, fmt.Sprintf("3.5 %d", now+24*3600_000))
	if _, err := counters.Take(a); err != nil {
		t.Fatal(err)
	}
	var score float64
	var at int64
	if _, err := fmt.Sscan(s.Client.HGet(t.Context(), hashKey, name).Val(), &score, &at); err != nil || score != 3.5 || at > time.Now().UnixMilli()+1000 {
		t.Errorf("%v of %d, %v", score, at, err)
	}

	const home = "{gatehouse}:guard:known:0000000000000003"
	for age, known := range map[time.Duration]bool{0: true, 29 * 24 * time.Hour: true, 31 * 24 * time.Hour: false, -time.Hour: true} {
		s.Do(t, "ZADD", home, ago(age), "0000000000000003")
		if got, err := counters.Take(a); err != nil || got.Known != known {
			t.Errorf("seen %v ago: %+v, %v", age, got, err)
		}
	}
}

// BenchmarkCounters is what a login costs more: two questions.
func BenchmarkCounters(b *testing.B) {
	s := redistest.Start(b)
	for name, address := range map[string]string{"socket": s.Socket, "loopback": s.Addr} {
		b.Run(name, func(b *testing.B) {
			c := openCounters(b, s, func(c *Config) { c.Addresses = []string{address} })
			g := guard.New(quick())
			g.Share(c, c.store.GuardKey())
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				done, wait, err := g.Try(guesser, fmt.Sprint("user", i%1000), "a.example", "right", 0)
				if err != nil || wait > 0 {
					b.Fatal(wait, err)
				}
				done(true, nil)
			}
			b.ReportMetric(float64(g.Stats().Alone)/float64(b.N), "alone/op") // 0, or it was not Redis that was measured
		})
	}
}
