package guard

import (
	"hash/maphash"
	"math"
	"net/netip"
	"sync/atomic"
	"time"
)

// Guard judges attempts to log in. Create it with [New]. Its methods may be called by any number of goroutines; none of
// them waits.
type Guard struct {
	settings atomic.Pointer[Settings]
	hasher   hasher
	counters Counters
	known    *known
	delayed  [reasons]atomic.Uint64
	refused  [reasons]atomic.Uint64
}

// New returns a Guard that has counted nothing yet.
func New(s Settings) *Guard {
	g := &Guard{hasher: hasher{maphash.MakeSeed()}, counters: newMemory(), known: newKnown()}
	g.Set(s)
	return g
}

// Set changes the settings. What was counted stays, and counts by the new ones.
func (g *Guard) Set(s Settings) { g.settings.Store(&s) }

// busy is when to ask again where others' attempts, whose outcome is not known yet, have taken all the places.
const busy = 50 * time.Millisecond

// Try says whether a judge may be asked about a user's secret. The user is prepared; waited is how long the client has
// waited for this attempt already. One of three comes back:
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
	a := &attempt{guard: g, halfLife: s.HalfLife, keys: g.hasher.keys(origin(from), user, host, secret)}
	judged := User
	if g.known.has(a.keys[Pair].User, a.keys[Pair].Address) {
		judged = Pair
	}
	var (
		delay time.Duration
		why   Reason
	)
	for r := range judged + 1 {
		limit := s.limit(r)
		if limit == 0 {
			continue
		}
		score := g.counters.Score(a.keys[r], s.HalfLife)
		if score+1 > limit {
			return nil, 0, g.refuse(r)
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
	for r := range judged + 1 {
		limit := s.limit(r)
		if limit == 0 {
			continue
		}
		score, ok := g.counters.Reserve(a.keys[r], s.HalfLife, limit)
		a.placed[r] = ok
		if ok {
			continue
		}
		a.giveBack()
		if score+1 > limit {
			return nil, 0, g.refuse(r)
		}
		return nil, busy, nil
	}
	return a.done, 0, nil
}

func (g *Guard) refuse(r Reason) error {
	g.refused[r].Add(1)
	return Refusal(r)
}

// attempt is one that may be made.
type attempt struct {
	guard    *Guard
	halfLife time.Duration
	keys     [reasons]Key
	placed   [reasons]bool
}

func (a *attempt) done(ok bool, err error) {
	switch {
	case err != nil:
		a.giveBack()
	case ok:
		a.settle(Secret, math.Inf(-1))
		spent := a.settle(Pair, math.Inf(-1))
		a.settle(Address, -spent)
		a.settle(User, -spent)
		a.guard.known.add(a.keys[Pair].User, a.keys[Pair].Address)
	default:
		add := 0.0
		if a.settle(Secret, 1) == 0 {
			add = 1
		}
		for r := Pair; r <= User; r++ {
			a.settle(r, add)
		}
	}
}

// giveBack ends the attempt as if it had not been.
func (a *attempt) giveBack() {
	for r := range User + 1 {
		if a.placed[r] {
			a.settle(r, 0)
		}
	}
}

func (a *attempt) settle(r Reason, add float64) (before float64) {
	before = a.guard.counters.Settle(a.keys[r], a.halfLife, a.placed[r], add)
	a.placed[r] = false
	return before
}

// Forgive forgets what was counted of an address, with the users that were tried from it, or of a user, with the addresses
// from where; or of the two together. What is not meant is the zero Addr, or empty. It returns how many counts there were.
func (g *Guard) Forgive(from netip.Addr, user, host string) int {
	var address, name uint32
	if from.IsValid() {
		address = g.hasher.address(origin(from))
	}
	if user != "" {
		name = g.hasher.user(user, host)
	}
	return g.counters.Forgive(address, name)
}

// Stats are what the guard has done since its start.
type Stats struct {
	// Delayed and Refused are attempts, by the word of the [Reason].
	Delayed, Refused map[string]uint64
	Counters         int // that are kept
	Known            int // users of whom an address is known
}

// Stats returns numbers for people.
func (g *Guard) Stats() Stats {
	s := Stats{make(map[string]uint64), make(map[string]uint64), g.counters.Len(), g.known.len()}
	for r := range User + 1 {
		s.Delayed[r.String()] = g.delayed[r].Load()
		s.Refused[r.String()] = g.refused[r].Load()
	}
	return s
}
