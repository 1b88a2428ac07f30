package state

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/guard"
	"gatehouse.im/gatehouse/internal/redistest"
)

// TestCounters_faultsDuringASiege: whatever becomes of the Redis, guesses are bounded, and nobody waits for it.
func TestCounters_faultsDuringASiege(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault func(*testing.T, *redistest.Server)
		most  int64 // guesses
	}{
		"killed":          {func(_ *testing.T, s *redistest.Server) { s.Kill() }, 30},
		"paused":          {func(t *testing.T, s *redistest.Server) { s.Signal(t, syscall.SIGSTOP) }, 30},
		"replica":         {func(t *testing.T, s *redistest.Server) { s.Do(t, "REPLICAOF", "127.0.0.1", "1") }, 30},
		"full":            {func(t *testing.T, s *redistest.Server) { s.Do(t, "CONFIG", "SET", "maxmemory", "1") }, 30},
		"flushed":         {func(t *testing.T, s *redistest.Server) { s.Do(t, "FLUSHALL") }, 40},
		"scripts flushed": {func(t *testing.T, s *redistest.Server) { s.Do(t, "SCRIPT", "FLUSH") }, 10},
		"connections killed": {func(t *testing.T, s *redistest.Server) {
			s.Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		}, 30},
		"evicted": {func(t *testing.T, s *redistest.Server) {
			for _, key := range s.Client.Keys(t.Context(), "{gatehouse}:guard:*").Val() {
				s.Do(t, "DEL", key)
			}
		}, 40},
		"overwritten": {func(t *testing.T, s *redistest.Server) {
			for _, key := range s.Client.Keys(t.Context(), "{gatehouse}:guard:*").Val() {
				s.Do(t, "SET", key, "x")
			}
		}, 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			timeout := guardTimeout
			if c.most == 10 {
				timeout = patient
			}
			g := guards(t, s, timeout)
			var (
				made    int64
				slowest time.Duration
				over    = make(chan struct{})
			)
			go func() {
				defer close(over)
				made, slowest = siege(g, "alice", 3)
			}()
			until(t, "the first guesses count", 5*time.Second, func() bool {
				return len(s.Client.Keys(t.Context(), "{gatehouse}:guard:counts:*").Val()) > 0
			})
			c.fault(t, s)
			<-over
			if made < 10 || made > c.most {
				t.Errorf("%d guesses", made)
			}
			// The Redis is waited for once; the rest is what else this machine does.
			if timeout != patient && slowest > timeout+2*time.Second {
				t.Errorf("the guard took %v", slowest)
			}
			again, _ := siege(g, "alice", 1)
			if name != "flushed" && name != "evicted" && name != "overwritten" && again > 20 || again > 40 {
				t.Errorf("%d guesses after it", again)
			}
			done, _, err := g[0].Try(netip.MustParseAddr("192.0.2.1"), "bob", "a.example", "right", time.Hour)
			if err != nil || done == nil {
				t.Fatalf("somebody else: %v", err)
			}
			done(true, nil)
			t.Logf("%d guesses, then %d; the guard took %v at most", made, again, slowest)
		})
	}
}

// TestCounters_faults: a Redis that fails is waited for once, and used again when all of it works.
func TestCounters_faults(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]redistest.Fault{
		"paused":                     redistest.Paused,
		"gone":                       redistest.Killed,
		"may not look for room":      redistest.Forbidden("-hrandfield"),
		"may not remember addresses": redistest.Forbidden("-zadd"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			s.Aged(t, "gatehouse")
			var log lines
			counters := openCounters(t, s, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
			settings := quick()
			attempt := func(n uint64) error {
				a := &guard.Attempt{Address: n, User: n, Settings: &settings}
				got, err := counters.Take(a)
				if err == nil {
					err = counters.Settle(a, got, guard.Accepted)
				}
				if err == nil {
					err = counters.Settle(a, guard.Answer{}, guard.Refused)
				}
				return err
			}
			if err := attempt(1); err != nil {
				t.Fatal(err)
			}
			fault.Begin(t, s)
			began := time.Now()
			until(t, "it fails", 5*time.Second, func() bool { return attempt(uint64(time.Now().UnixNano())) != nil })
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("it took %v to see it", took)
			}
			began = time.Now()
			for range 1000 {
				if err := attempt(2); !errors.Is(err, ErrAway) {
					t.Fatalf("while it is away: %v", err)
				}
			}
			if took := time.Since(began); took > guardTimeout {
				t.Errorf("a thousand were kept waiting for %v", took)
			}
			if _, err := counters.Forgive(1, 0); !errors.Is(err, ErrAway) {
				t.Errorf("forgive: %v", err)
			}
			if strings.HasPrefix(name, "may not") {
				expectUse(t, "a token all the while", counters.store, newID(), true, nil)
			}
			fault.End(t, s)
			until(t, "it works again", 5*time.Second, func() bool { return attempt(3) == nil })
			for _, line := range []string{"guard: this front counts for itself until Redis can be used", "guard: the counts are shared again"} {
				until(t, "the log says so", time.Second, func() bool { return log.count(line) > 0 })
				if n := log.count(line); n != 1 {
					t.Errorf("%d times %q", n, line)
				}
			}
		})
	}
}

// TestCounters_idle: connections that the Redis has closed meanwhile are no reason to count alone, nor to refuse a token.
func TestCounters_idle(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Aged(t, "gatehouse")
	for _, address := range []string{s.Socket, s.Addr} {
		counters := openPatient(t, s, patient, func(c *Config) { c.Addresses = []string{address} })
		for i := range 10 {
			s.Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
			if i%2 == 0 {
				expectUse(t, "a token", counters.store, newID(), true, nil)
			} else if _, err := counters.Take(&guard.Attempt{Address: 1, User: 1, Settings: &guard.Settings{HalfLife: time.Hour}}); err != nil {
				t.Error(err)
			}
		}
	}
}

// lines collects a log.
type lines struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

// TestCounters_unused: nobody is asked, and the log not told, where nobody wants the counts.
func TestCounters_unused(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	counters := openCounters(t, s)
	counters.Use(false)
	counters.fail(ErrAnswer)
	s.Do(t, "FLUSHALL")
	until(t, "the Redis was looked at twice", 10*time.Second, func() bool {
		return s.Client.HExists(t.Context(), "{gatehouse}:memory", "run").Val()
	})
	if keys := s.Client.Keys(t.Context(), "*guard*").Val(); len(keys) > 0 || counters.State() == nil {
		t.Errorf("%v, %v", keys, counters.State())
	}
	counters.Use(true)
	until(t, "the counts can be used", 5*time.Second, func() bool { return counters.State() == nil })
}

// TestCounters_liars: what is no answer of our script is none.
func TestCounters_liars(t *testing.T) {
	t.Parallel()
	list := func(parts ...any) []any { return parts }
	settings := quick()
	a := &guard.Attempt{Address: 1, User: 1, Settings: &settings}
	for name, reply := range map[string]any{
		"nil": nil, "one": int64(1), "text": "OK", "empty": list(), "short": list(int64(1), int64(0), int64(0), "0", "0", "0"),
		"long":          list(int64(1), int64(0), int64(0), "0", "0", "0", "0", "0"),
		"texts":         list("1", "0", "0", "0", "0", "0", "0"),
		"numbers":       list(int64(1), int64(0), int64(0), int64(0), int64(0), int64(0), int64(0)),
		"two":           list(int64(2), int64(0), int64(0), "0", "0", "0", "0"),
		"minus one":     list(int64(-1), int64(0), int64(0), "0", "0", "0", "0"),
		"known as two":  list(int64(1), int64(2), int64(0), "0", "0", "0", "0"),
		"place":         list(int64(1), int64(0), int64(-1), "0", "0", "0", "0"),
		"negative":      list(int64(0), int64(0), int64(0), "-1", "0", "0", "0"),
		"nan":           list(int64(0), int64(0), int64(0), "nan", "0", "0", "0"),
		"infinite":      list(int64(0), int64(0), int64(0), "0", "inf", "0", "0"),
		"out of range":  list(int64(0), int64(0), int64(0), "0", "1e9", "0", "0"),
		"no number":     list(int64(0), int64(0), int64(0), "0", "", "0", "0"),
		"yes, too high": list(int64(1), int64(0), int64(0), "0", "9.5", "0", "0"),
	} {
		if got, err := readGuard(reply, a); !errors.Is(err, ErrAnswer) || got != (guard.Answer{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, err := readGuard(list(int64(1), int64(1), int64(15000), "1.5", "8.9", "0", "0"), a); err != nil ||
		got != (guard.Answer{Granted: true, Known: true, Place: 15000, Scores: [guard.Reasons]float64{1.5, 8.9, 0, 0}}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// FuzzCounters_answers: no answer lets an attempt through whose counts are too high, nor makes one of it that is none.
func FuzzCounters_answers(f *testing.F) {
	bulk := func(scores ...string) string {
		var b strings.Builder
		for _, s := range scores {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(s), s)
		}
		return b.String()
	}
	f.Add("*7\r\n:1\r\n:0\r\n:15000\r\n" + bulk("0", "0", "0", "0"))
	f.Add("*7\r\n:1\r\n:1\r\n:15000\r\n" + bulk("1", "9.9", "0", "0"))
	f.Add("*7\r\n:0\r\n:0\r\n:15000\r\n" + bulk("nan", "-1", "1e300", "inf"))
	f.Add("*7\r\n:0\r\n:0\r\n:15000\r\n" + bulk("10", "10", "0", "0"))
	f.Add(":1\r\n")
	f.Add("$-1\r\n")
	f.Add("*1000000000\r\n")
	f.Add("-NOSCRIPT x\r\n")
	f.Add("-NOPERM this user has no permissions\r\n")
	l := newLiar(f, "", true)
	settings := quick()
	f.Fuzz(func(t *testing.T, answer string) {
		l.answer.Store(&answer)
		store := &Store{config: Config{Prefix: "gatehouse", Logger: slog.New(slog.DiscardHandler)}, client: newClient(Config{Addresses: []string{l.address}})}
		defer func() { _ = store.client.Close() }()
		c := &Counters{store: store, timeout: guardTimeout}
		a := &guard.Attempt{Address: 1, User: 1, Settings: &settings}
		got, err := c.Take(a)
		if err != nil {
			if got != (guard.Answer{}) || !errors.Is(err, ErrAway) && !errors.Is(err, ErrAnswer) || c.State() == nil {
				t.Errorf("%q: %+v, %v", answer, got, err)
			}
			return
		}
		if got.Granted && slices.Max(got.Scores[:2]) > 9 || !got.Possible(a) {
			t.Errorf("%q: %+v", answer, got)
		}
	})
}
