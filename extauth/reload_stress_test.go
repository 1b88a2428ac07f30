package extauth

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var stressSeed = flag.Uint64("reload.seed", 0, "the seed of the first schedule of TestPool_reloadAtRandom; 0 takes one from the clock")

// TestPool_reloadAtRandom asks, changes and closes pools in schedules that nobody thought of.
func TestPool_reloadAtRandom(t *testing.T) {
	seed := *stressSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	checkLeaks(t)
	for i := range uint64(8) {
		t.Run(fmt.Sprint(seed+i), func(t *testing.T) {
			t.Parallel()
			newSchedule(t, seed+i).run()
		})
	}
}

// schedule is one random life of a pool.
type schedule struct {
	t    *testing.T
	seed uint64
	cfg  Config
	p    *Pool

	mu      sync.Mutex    // held by whoever changes the version
	made    atomic.Int64  // versions so far, discarded ones included
	applied atomic.Int64  // the version that Apply has returned for last
	closed  chan struct{} // closed before Close is called
}

func newSchedule(t *testing.T, seed uint64) *schedule {
	cfg := testConfig(t, variants[seed%uint64(len(variants))], "plain")
	cfg.Timeout = 10 * time.Second
	return &schedule{t: t, seed: seed, cfg: cfg, p: newParallelPool(t, versioned(cfg, 0)), closed: make(chan struct{})}
}

func (s *schedule) run() {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	loop := func(n uint64, step func(*rand.Rand)) {
		r := rand.New(rand.NewPCG(s.seed, n))
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					step(r)
				}
			}
		})
	}
	for n := range uint64(4) {
		loop(n, s.ask)
	}
	loop(10, s.change)
	loop(11, s.change)
	loop(12, func(*rand.Rand) { s.p.Stats() })
	r := rand.New(rand.NewPCG(s.seed, 99))
	<-time.After(time.Duration(r.IntN(2000)) * time.Millisecond) // how long the schedule is
	if r.IntN(2) == 0 {
		close(stop)
		wg.Wait()
		s.checkCounts()
		mustSay(s.t, s.p, fmt.Sprintf("version-%d", s.applied.Load()), "right", true)
		close(s.closed)
	} else {
		close(s.closed)
	}
	if err := s.p.Close(ctxBackground); err != nil {
		s.t.Error(err)
	}
	if n := len(marked(s.t, s.cfg)); n != 0 {
		s.t.Errorf("%d processes are left", n)
	}
	select {
	case <-stop:
	default:
		close(stop)
	}
	wg.Wait()
}

// ask asks one query and judges the answer.
func (s *schedule) ask(r *rand.Rand) {
	n := s.applied.Load()
	user, password, want := "alice", "right", true
	faulty := false
	ctx, cancel := context.WithCancel(ctxBackground)
	defer cancel()
	switch k := r.IntN(100); {
	case k < 30:
	case k < 50:
		password, want = "wrong", false
	case k < 70:
		user, want = fmt.Sprintf("version-%d", n-1-int64(r.IntN(2))), false
	case k < 85:
		user = "fifty"
	case k < 88:
		user, password, want = "slow", "wrong", false
	case k < 92:
		user = "once"
	case k < 95:
		user, want, faulty = []string{"exit0", "killed", "halfdie", "garbage"}[r.IntN(4)], false, true
	default:
		user = "fifty"
		timer := time.AfterFunc(time.Duration(r.IntN(60))*time.Millisecond, cancel)
		defer timer.Stop()
	}
	yes, err := s.p.Auth(ctx, user, "example.org", password)
	switch {
	case yes && !want:
		s.t.Errorf("%s with %q was let in", user, password)
	case err == nil && !yes && want:
		s.t.Errorf("%s with %q was refused", user, password)
	case err != nil && !faulty && !s.excused(err):
		s.t.Errorf("%s with %q: %v", user, password, err)
	}
}

// excused reports whether a query may end with err, although its script is in order. Faults that queries of others
// provoked may keep a script from starting for a while.
func (s *schedule) excused(err error) bool {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, ErrDied):
		return true
	case errors.Is(err, ErrClosed):
		select {
		case <-s.closed:
			return true
		default:
		}
	}
	return false
}

// change prepares an update, and applies or discards it.
func (s *schedule) change(r *rand.Rand) {
	ctx, cancel := context.WithTimeout(ctxBackground, time.Duration(r.IntN(1500))*time.Millisecond)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.cfg
	next.Processes = 1 + r.IntN(5)
	version, broken := s.applied.Load(), false
	switch k := r.IntN(10); {
	case k < 4:
		version = s.made.Add(1)
		v := variants[r.IntN(3)]
		next = with(next, protoEnv, v.proto.String())
		next.Protocol, next.PTY = v.proto, v.pty
	case k < 6:
		next, broken = with(next, scriptEnv, "die-at-once"), true
	}
	u, err := s.p.Prepare(ctx, versioned(next, int(version)))
	switch {
	case errors.Is(err, ErrClosed):
		if !s.excused(err) {
			s.t.Error(err)
		}
	case err != nil && !errors.Is(err, context.DeadlineExceeded) && !(broken && errors.Is(err, ErrDied)):
		s.t.Error(err)
	}
	if err != nil {
		return
	}
	defer u.Discard()
	if broken || r.IntN(4) == 0 { // a busy machine may take longer than the trial to get the script to its end
		return
	}
	u.Apply()
	s.applied.Store(version)
	next.Env = s.cfg.Env
	if version == s.made.Load() {
		s.cfg = with(next, protoEnv, next.Protocol.String())
	}
}

// checkCounts compares the pool's counters with what they count, while nobody asks.
func (s *schedule) checkCounts() {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	live := 0
	for w := range s.p.workers {
		switch {
		case w.busy:
			s.t.Errorf("worker %d is busy", w.id)
		case !w.retired && w.gen != s.p.gen:
			s.t.Errorf("worker %d is of generation %d, the pool is at %d", w.id, w.gen.n, s.p.gen.n)
		case !w.retired:
			live++
		}
	}
	if p := s.p; live != p.gen.live || live != len(p.idle) || p.busy != 0 || p.waiters.Len() != 0 || live > p.settings.Load().Processes {
		s.t.Errorf("%d live workers, counted %d, idle %d; %d busy, %d waiting", live, p.gen.live, len(p.idle), p.busy, p.waiters.Len())
	}
}
