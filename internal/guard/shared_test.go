package guard

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// flaky are Counters that can be switched off.
type flaky struct {
	*Memory
	off   atomic.Bool
	leaks bool // it takes places although it fails
	asked atomic.Int64
}

var errOff = errors.New("off")

func (f *flaky) Take(a *Attempt) (Answer, error) {
	f.asked.Add(1)
	off := f.off.Load()
	if off && !f.leaks {
		return Answer{}, errOff
	}
	got, _ := f.Memory.Take(a)
	if off {
		return got, errOff
	}
	return got, nil
}

func (f *flaky) Settle(a *Attempt, got Answer, o Outcome) error {
	f.asked.Add(1)
	if f.off.Load() {
		return errOff
	}
	return f.Memory.Settle(a, got, o)
}

func (f *flaky) Forgive(address, user uint64) (int, error) {
	if f.off.Load() {
		return 0, errOff
	}
	return f.Memory.Forgive(address, user)
}

// endPlaces is what time does to those that nobody gives back.
func (f *flaky) endPlaces() {
	for i := range f.shards {
		for k, c := range f.shards[i].m {
			c.pending = 0
			f.shards[i].m[k] = c
		}
	}
}

// fronts are worlds that share their counters.
func fronts(t *testing.T, n int) ([]*world, *flaky) {
	f := &flaky{Memory: NewMemory()}
	worlds := make([]*world, n)
	for i := range worlds {
		worlds[i] = newWorld(t)
		worlds[i].guard.Share(f, [KeySize]byte{1})
	}
	return worlds, f
}

// All that is so with one guard is so with one that shares its counters.
func TestShared_scenarios(t *testing.T) {
	for name, play := range scenarios {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _ := fronts(t, 1)
				play(w[0])
			})
		})
	}
}

func TestShared_fronts(t *testing.T) {
	for name, play := range map[string]func(a, b *world, f *flaky){
		"guesses count for all": func(a, b *world, _ *flaky) {
			a.wantOutcomes("here", a.guess(6, attacker, "alice"), "map[no:6]")
			b.tried = 100
			b.wantOutcomes("there", b.guess(6, attacker, "alice"), "map[no:4 pair:2]")
			a.want("here again", attacker, "alice", right, "pair")
		},
		"known at one, known at all": func(a, b *world, _ *flaky) {
			a.want("at home", home, "alice", right, "yes")
			for i := range 200 {
				_, _ = b.login(fmt.Sprintf("10.1.0.%d", i), "alice", fmt.Sprint(i))
			}
			b.want("at home", home, "alice", right, "yes")
			b.want("elsewhere", "198.51.100.9", "alice", right, "user")
			a.want("elsewhere", "198.51.100.9", "alice", right, "user")
		},
		"two questions a login": func(a, _ *world, f *flaky) {
			a.want("right", home, "alice", right, "yes")
			a.want("wrong", home, "alice", "x", "no")
			if n := f.asked.Load(); n != 4 {
				a.t.Errorf("%d questions", n)
			}
			a.guess(9, home, "alice")
			before := f.asked.Load()
			a.want("too often", home, "alice", "x", "pair")
			if n := f.asked.Load() - before; n != 1 {
				a.t.Errorf("%d questions", n)
			}
		},
		"away": func(a, b *world, f *flaky) {
			a.want("at home", home, "alice", right, "yes")
			a.guess(6, attacker, "alice")
			f.off.Store(true)
			a.want("at home", home, "alice", right, "yes")
			a.want("somebody new", "198.51.100.9", "bob", right, "yes")
			a.wantOutcomes("guesses here", a.guess(10, attacker, "alice"), "map[no:4 pair:6]")
			b.tried = 100
			b.wantOutcomes("guesses there", b.guess(20, attacker, "alice"), "map[no:10 pair:10]")
			if s := a.guard.Stats(); s.Alone < 12 {
				a.t.Errorf("%d judged alone", s.Alone)
			}
			f.off.Store(false)
		},
		"what this front has seen of the others counts": func(a, b *world, f *flaky) {
			b.guess(10, attacker, "alice")
			a.want("refused by others' counts", attacker, "alice", "y", "pair")
			f.off.Store(true)
			a.want("known to be so", attacker, "alice", "z", "pair")
			f.off.Store(false)
			if n, err := b.guard.Forgive(addr(attacker), "", ""); n == 0 || err != nil {
				b.t.Error(n, err)
			}
			a.want("forgiven by others", attacker, "alice", right, "yes")
			f.off.Store(true)
			a.want("known to be so", attacker, "alice", right, "yes")
		},
		"it goes away and comes back during an attempt": func(a, _ *world, f *flaky) {
			try := func() func(bool, error) {
				done, _, err := a.guard.Try(addr(attacker), "alice", "a.example", fmt.Sprint(time.Now().UnixNano()), time.Hour)
				if err != nil || done == nil {
					a.t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
				return done
			}
			done := try()
			f.off.Store(true)
			done(false, nil) // counts here alone; there the place is left
			done = try()
			f.off.Store(false)
			done(false, nil) // counts there too
			key := a.guard.shared.Load().hasher
			theirs := key.attempt(origin(addr(attacker)), "alice", "a.example", "")
			theirs.Settings, theirs.Waited = a.guard.settings.Load(), time.Hour
			got, _ := f.Take(&theirs)
			if got.Scores[Pair] < 0.9 || got.Scores[Pair] > 1.1 {
				a.t.Errorf("there it is %v", got.Scores)
			}
			ours := a.guard.own.attempt(origin(addr(attacker)), "alice", "a.example", "")
			if s := a.guard.memory.score(ours.key(Pair), a.guard.memory.now(), time.Hour); s < 1.9 {
				a.t.Errorf("here it is %v", s)
			}
		},
		"coming and going lets nobody guess for ever": func(a, _ *world, f *flaky) {
			for range 50 {
				f.off.Store(true)
				a.guess(1, attacker, "alice")
				f.off.Store(false)
				a.guess(1, attacker, "alice")
			}
			if a.asked > 25 {
				a.t.Errorf("%d guesses", a.asked)
			}
			f.off.Store(true)
			a.want("at the end", attacker, "alice", "y", "pair")
		},
		"they fail whenever an outcome comes": func(a, _ *world, f *flaky) {
			guesses := 0
			for i := range 500 {
				f.off.Store(false)
				done, wait, err := a.guard.Try(addr(attacker), "alice", "a.example", fmt.Sprint(i), time.Hour)
				if wait > 0 {
					a.t.Fatalf("has to wait %v for a place", wait)
				}
				f.off.Store(true)
				if err == nil {
					guesses++
					done(false, nil)
				}
				f.endPlaces()
			}
			if guesses != 10 {
				a.t.Errorf("%d guesses", guesses)
			}
			f.off.Store(false)
			a.want("at the end", attacker, "alice", "y", "pair")
			a.want("from elsewhere", home, "alice", right, "yes")
			for i := range f.shards {
				for k, c := range f.shards[i].m {
					if c.pending > 0 {
						a.t.Errorf("%+v is left there: %+v", k, c)
					}
				}
			}
		},
		"they fail whenever many outcomes come": func(a, _ *world, f *flaky) {
			guesses := 0
			for i := range 20 {
				var under []func(bool, error)
				for j := range 30 {
					done, _, err := a.guard.Try(addr(attacker), "alice", "a.example", fmt.Sprint(i, j), time.Hour)
					if err == nil && done != nil {
						under = append(under, done)
					}
				}
				f.off.Store(true)
				for _, done := range under {
					guesses++
					done(false, nil)
				}
				f.off.Store(false)
				f.endPlaces()
			}
			if guesses != 10 {
				a.t.Errorf("%d guesses", guesses)
			}
		},
		"forgiven here, if there cannot be": func(a, _ *world, f *flaky) {
			a.guess(10, attacker, "alice")
			f.off.Store(true)
			if n, err := a.guard.Forgive(addr(attacker), "", ""); n == 0 || !errors.Is(err, errOff) {
				a.t.Error(n, err)
			}
			a.want("here", attacker, "alice", right, "yes")
		},
		"no more": func(a, b *world, f *flaky) {
			a.guess(10, attacker, "alice")
			a.guard.Share(nil, [KeySize]byte{})
			asked := f.asked.Load()
			a.want("by itself", attacker, "alice", "x", "pair")
			if f.asked.Load() != asked {
				a.t.Error("they are asked on")
			}
			b.want("with another key", attacker, "alice", "x", "pair")
			b.guard.Share(f, [KeySize]byte{2})
			b.want("with another key", attacker, "alice", right, "yes")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, f := fronts(t, 2)
				play(w[0], w[1], f)
			})
		})
	}
}

// However often the shared counters come and go, two fronts let no more than a limit each through alone, and one together;
// and no place is left.
func TestShared_flapping(t *testing.T) {
	for _, leaks := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) { flap(t, leaks) })
	}
}

func flap(t *testing.T, leaks bool) {
	w, f := fronts(t, 2)
	f.leaks = leaks
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(7 * time.Millisecond):
				f.off.Store(!f.off.Load())
			}
		}
	}()
	var asked [2]atomic.Int64
	var wg sync.WaitGroup
	for i := range 256 {
		wg.Go(func() {
			var waited time.Duration
			for {
				done, wait, err := w[i%2].guard.Try(addr(attacker), "alice", "a.example", fmt.Sprint(i), waited)
				if err != nil {
					return
				}
				if wait > 0 {
					time.Sleep(wait)
					waited += wait
					if waited > time.Minute {
						return // it ends by the time of a login
					}
					continue
				}
				asked[i%2].Add(1)
				time.Sleep(10 * time.Millisecond)
				done(false, nil)
				return
			}
		})
	}
	wg.Wait()
	close(ended)
	if n := asked[0].Load() + asked[1].Load(); n > 31 { // one may fade meanwhile
		t.Errorf("%d guesses got through", n)
	}
	for i := range asked {
		if n := asked[i].Load(); n > 21 {
			t.Errorf("front %d let %d guesses through", i, n)
		}
		for j := range w[i].guard.memory.shards {
			for _, c := range w[i].guard.memory.shards[j].m {
				if c.pending != 0 {
					t.Errorf("front %d has places left: %+v", i, c)
				}
			}
		}
	}
}
