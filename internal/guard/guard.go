package guard

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// Guard judges attempts to log in. Create it with [New]. Its methods may be called by any number of goroutines; none of
// them waits for anything but shared Counters.
type Guard struct {
	settings atomic.Pointer[Settings]
	own      hasher
	memory   *Memory
	shared   atomic.Pointer[shared] // nil for none
	delayed  [Reasons]atomic.Uint64
	refused  [Reasons]atomic.Uint64
	alone    atomic.Uint64
}

// shared are Counters that others have too.
type shared struct {
	Counters
	hasher hasher
}

// New returns a Guard that has counted nothing yet.
func New(s Settings) *Guard {
	g := &Guard{own: newHasher(), memory: NewMemory()}
	g.Set(s)
	return g
}

// Set changes the settings. What was counted stays, and counts by the new ones.
func (g *Guard) Set(s Settings) { g.settings.Store(&s) }

// Share has attempts be judged by Counters that other guards have as well, with the same secret key; nil ends it. They are
// asked twice for an attempt, without a lock. While they fail the guard's own memory judges, which has what has come to
// this guard; and what it has counted meanwhile that they have not goes on to count here, until it has faded. However often
// they come and go, guesses get through up to a limit at each guard, and one at all together.
func (g *Guard) Share(c Counters, key [KeySize]byte) {
	if c == nil {
		g.shared.Store(nil)
		return
	}
	g.shared.Store(&shared{c, hasher{key}})
}

// busy is when to ask again where others' attempts, whose outcome is not known yet, have taken all the places: later each
// time, since each costs a question to shared counters.
func busy(waited time.Duration) time.Duration {
	return min(50*time.Millisecond+waited/4, 250*time.Millisecond)
}

// Try says whether a judge may be asked about a user's secret. The user is prepared; waited is how long the client has
// waited for this attempt already. It waits as long as shared Counters do. One of three comes back:
//
//   - done: ask. The caller must call it, once, with the outcome: (true, nil) yes, (false, nil) no, and an error where
//     nobody could say, which is as if there had been no attempt.
//   - wait, which is positive: call again after it, with waited greater by it.
//   - a [Refusal]: nobody may be asked.
func (g *Guard) Try(from netip.Addr, user, host, secret string, waited time.Duration) (done func(ok bool, err error), wait time.Duration, err error) {
	s := g.settings.Load()
	if s.allowed(from.Unmap().WithZone("")) {
		return func(bool, error) {}, 0, nil
	}
	prefix := origin(from)
	a := &attempt{guard: g, Attempt: g.own.attempt(prefix, user, host, secret)}
	a.Settings, a.Waited = s, waited
	got := a.take(prefix, user, host, secret)
	if got.Granted {
		return a.done, 0, nil
	}
	var (
		delay time.Duration
		why   Reason
	)
	for r := range Reasons {
		if !got.Judges(&a.Attempt, r) {
			continue
		}
		score, limit := got.Scores[r], s.limit(r)
		if score+1 > limit {
			g.refused[r].Add(1)
			return nil, 0, Refusal(r)
		}
		if d := s.delay(score, limit); d > delay {
			delay, why = d, r
		}
	}
	if waited < delay {
		if waited == 0 {
			g.delayed[why].Add(1)
		}
		return nil, delay - waited, nil
	}
	return nil, busy(waited), nil
}

// attempt is one with what was answered.
type attempt struct {
	guard *Guard
	Attempt
	got    Answer // of the guard's own memory, which may have it from others
	theirs *theirs
}

// theirs is an attempt as shared Counters know it.
type theirs struct {
	*shared
	Attempt
	got Answer // zero if they could not say
}

// take asks the shared counters, or else the guard's own.
func (a *attempt) take(prefix netip.Prefix, user, host, secret string) Answer {
	g := a.guard
	if sh := g.shared.Load(); sh != nil {
		t := &theirs{shared: sh, Attempt: sh.hasher.attempt(prefix, user, host, secret)}
		t.Settings, t.Waited = a.Settings, a.Waited
		a.theirs = t
		var err error
		if t.got, err = sh.Take(&t.Attempt); err == nil {
			a.got = g.memory.follow(&a.Attempt, t.got)
			if t.got.Granted && !a.got.Granted {
				_ = t.Settle(&t.Attempt, t.got, Undecided) // or the places end by themselves
			}
			return a.got
		}
		t.got = Answer{}
		g.alone.Add(1)
	}
	a.got, _ = g.memory.Take(&a.Attempt)
	return a.got
}

func (a *attempt) done(ok bool, err error) {
	outcome := Refused
	switch {
	case err != nil:
		outcome = Undecided
	case ok:
		outcome = Accepted
	}
	_ = a.guard.memory.Settle(&a.Attempt, a.got, outcome)
	if t := a.theirs; t != nil && (outcome != Undecided || t.got.Granted) {
		// Places there end by themselves if it fails.
		if err := t.Settle(&t.Attempt, t.got, outcome); err != nil {
			a.guard.memory.stray(&a.Attempt)
		}
	}
}

// Forgive forgets what was counted of an address, with the users that were tried from it, or of a user, with the addresses
// from where; or of the two together. What is not meant is the zero Addr, or empty. It returns how many counts there were,
// and the error of shared Counters: then it is forgotten here alone.
func (g *Guard) Forgive(from netip.Addr, user, host string) (int, error) {
	hashes := func(h *hasher) (address, name uint64) {
		if from.IsValid() {
			address = h.address(origin(from))
		}
		if user != "" {
			name = h.user(user, host)
		}
		return address, name
	}
	n, _ := g.memory.Forgive(hashes(&g.own))
	sh := g.shared.Load()
	if sh == nil {
		return n, nil
	}
	theirs, err := sh.Forgive(hashes(&sh.hasher))
	return max(n, theirs), err
}

// Stats are what the guard has done since its start.
type Stats struct {
	// Delayed and Refused are attempts, by the word of the [Reason].
	Delayed, Refused map[string]uint64
	Alone            uint64 // attempts that were judged by this guard's own memory, since shared Counters failed
	Counters         int    // that are kept in it
	Known            int    // users of whom it knows an address
}

// Stats returns numbers for people.
func (g *Guard) Stats() Stats {
	s := Stats{make(map[string]uint64), make(map[string]uint64), g.alone.Load(), g.memory.size(), g.memory.known.len()}
	for r := range Reasons {
		s.Delayed[r.String()] = g.delayed[r].Load()
		s.Refused[r.String()] = g.refused[r].Load()
	}
	return s
}
