package authcache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestModel has many callers, changes of passwords, outages and callers that give up at random, and checks each verdict
// against what was true when: a yes or no must have been true at some moment that the settings allow.
func TestModel(t *testing.T) {
	for name, s := range map[string]Settings{
		"single flight only": {},
		"cache":              {Yes: 2 * time.Second, No: 500 * time.Millisecond, Entries: 3},
		"outage":             {Yes: time.Second, Outage: 5 * time.Second, Entries: 100},
		"outage only":        {Outage: 3 * time.Second, No: time.Second, Entries: 4},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(map[string]int)
			for range 12 {
				seed := rand.Uint64()
				synctest.Test(t, func(t *testing.T) {
					for kind, n := range runModel(t, s, seed) {
						seen[kind] += n
					}
				})
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
			seesAll(t, s, seen)
		})
	}
}

// model is the script, and the history of what was true.
type model struct {
	settings Settings
	cache    *Cache[int]

	mu      sync.Mutex // guards the fields below
	rnd     *rand.Rand
	history map[string][]fact // by user, in order
	changes map[string][]fact // those that came through the cache, with the time when they were over
	outages []span            // the last one may be open
	verdict map[string]int    // how often each was seen
}

// fact is the password from some moment on.
type fact struct {
	at       time.Time
	password string
	over     time.Time // when Forget had returned; zero if it was changed elsewhere
}

type span struct{ from, to time.Time }

func (m *model) random(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rnd.IntN(n)
}

func (m *model) pause(longest time.Duration) { time.Sleep(1 + time.Duration(m.random(int(longest)))) }

// ask takes time before and after it looks. Nobody can say if there is an outage when it does.
func (m *model) ask(ctx context.Context, user, _, password string) (int, bool, error) {
	wait := func() bool {
		select {
		case <-time.After(1 + time.Duration(m.random(int(100*time.Millisecond)))):
			return true
		case <-ctx.Done():
			return false
		}
	}
	if !wait() {
		return 0, false, ctx.Err()
	}
	m.mu.Lock()
	of := m.history[user]
	yes := of[len(of)-1].password == password
	down := len(m.outages) > 0 && m.outages[len(m.outages)-1].to.IsZero()
	m.mu.Unlock()
	if down {
		return 1, true, errDown // the yes does not count
	}
	if !wait() {
		return 0, false, ctx.Err()
	}
	return 1, yes, nil
}

// wasTrue says whether a verdict was true at some moment from from to to.
func (m *model) wasTrue(user, password string, yes bool, from, to time.Time) bool {
	of := m.history[user]
	for i, f := range of {
		ends := to.Add(1)
		if i+1 < len(of) {
			ends = of[i+1].at
		}
		if (f.password == password) == yes && !f.at.After(to) && ends.After(from) {
			return true
		}
	}
	return false
}

// allowed says whether a verdict may have been given to a question from began to ended.
func (m *model) allowed(user, password string, a Answer[int], began, ended time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	oldest := began // the script was asked after that, or before by a flight that was joined
	switch {
	case a.From == FromShared:
		oldest = began.Add(-200 * time.Millisecond)
	case a.From == FromCache && a.Yes:
		oldest = began.Add(-m.settings.Yes)
	case a.From == FromCache:
		oldest = began.Add(-m.settings.No)
	case a.From == FromOutage:
		oldest = ended.Add(-m.settings.Outage)
	}
	for _, change := range m.changes[user] {
		if change.over.Before(began) && change.at.After(oldest) {
			oldest = change.at
		}
	}
	if a.From == FromOutage {
		down := false
		for _, o := range m.outages {
			down = down || o.from.Before(ended) && (o.to.IsZero() || o.to.After(began.Add(-200*time.Millisecond)))
		}
		if !down || !a.Yes || a.Outage != errDown {
			return false
		}
	}
	return m.wasTrue(user, password, a.Yes, oldest, ended)
}

// runModel returns how often each kind of answer was seen.
func runModel(t *testing.T, s Settings, seed uint64) map[string]int {
	start := time.Now()
	m := &model{
		settings: s, rnd: rand.New(rand.NewPCG(seed, 0)), verdict: make(map[string]int),
		history: make(map[string][]fact), changes: make(map[string][]fact),
	}
	m.cache = New(m.ask)
	m.cache.Set(s)
	users, passwords := []string{"alice", "bob"}, []string{"one", "two", "three"}
	for _, u := range users {
		m.history[u] = []fact{{at: start.Add(-time.Hour), password: passwords[0]}}
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 60 {
				m.pause(300 * time.Millisecond)
				user, password := users[m.random(2)], passwords[m.random(3)]
				ctx, cancel := context.WithCancel(t.Context())
				if m.random(4) == 0 {
					ctx, cancel = context.WithTimeout(t.Context(), 1+time.Duration(m.random(int(150*time.Millisecond))))
				}
				began := time.Now()
				a, err := m.cache.Authenticate(ctx, user, "example.org", password)
				cancel()
				if err != nil && a.Yes || err == nil && !m.allowed(user, password, a, began, time.Now()) {
					t.Errorf("%s with %q from %v to %v: %s\nhistory %v", user, password, began.Sub(start), time.Since(start), verdict(a, err), m.history[user])
				}
				m.mu.Lock()
				m.verdict[verdict(a, err)]++
				m.mu.Unlock()
			}
		})
	}
	stop := make(chan struct{})
	var movers sync.WaitGroup
	for _, user := range users {
		movers.Go(func() { // one who changes a user's password, mostly through the cache
			for {
				m.pause(time.Second)
				select {
				case <-stop:
					return
				default:
				}
				m.pause(50 * time.Millisecond) // the script is at it
				m.mu.Lock()
				f := fact{at: time.Now(), password: passwords[m.rnd.IntN(3)]}
				m.history[user] = append(m.history[user], f)
				elsewhere := m.rnd.IntN(3) == 0
				m.mu.Unlock()
				if elsewhere {
					continue
				}
				m.pause(50 * time.Millisecond)
				if m.random(10) == 0 {
					m.cache.Clear()
				} else {
					m.cache.Forget(user)
				}
				m.mu.Lock()
				f.over = time.Now()
				m.changes[user] = append(m.changes[user], f)
				m.mu.Unlock()
			}
		})
	}
	movers.Go(func() { // outages
		for {
			m.pause(2 * time.Second)
			m.mu.Lock()
			m.outages = append(m.outages, span{from: time.Now()})
			m.mu.Unlock()
			m.pause(2 * time.Second)
			m.mu.Lock()
			m.outages[len(m.outages)-1].to = time.Now()
			m.mu.Unlock()
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	wg.Wait()
	close(stop)
	movers.Wait()
	if n := m.cache.Stats().InFlight; n != 0 {
		t.Errorf("%d questions in flight that nobody waits for", n)
	}
	m.cache.Close()
	return m.verdict
}

// seesAll: a model that never sees a kind of answer proves nothing about it.
func seesAll(t *testing.T, s Settings, seen map[string]int) {
	t.Helper()
	wanted := []string{"yes from script", "no from script", "yes from shared", "no from shared", "error: " + errDown.Error()}
	if s.Yes > 0 {
		wanted = append(wanted, "yes from cache")
	}
	if s.No > 0 {
		wanted = append(wanted, "no from cache")
	}
	if s.Outage > 0 {
		wanted = append(wanted, "yes from outage")
	}
	for _, w := range wanted {
		if seen[w] == 0 {
			t.Errorf("there was no %s: %s", w, fmt.Sprint(seen))
		}
	}
}
