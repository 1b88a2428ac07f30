package guard

import (
	"math"
	"sync"
	"time"
)

// key names a counter. What it does not count by is 0.
type key struct {
	address, user uint64
	kind          uint64 // Reason, and the mark of a secret above it
}

func (a *Attempt) key(r Reason) key {
	k := key{a.Address, a.User, uint64(r)} // #nosec G115 -- one of four
	switch r {
	case Secret:
		k.kind |= uint64(a.Mark) << 8
	case Address:
		k.user = 0
	case User:
		k.address = 0
	}
	return k
}

// counter is one count, as it was at a time.
type counter struct {
	score   float64
	at      time.Duration // since the start of the memory
	pending int32         // places
	alone   bool          // there are failures in it that the counters that this memory follows do not have
}

func (c counter) faded(now, halfLife time.Duration) float64 {
	if c.score == 0 {
		return 0
	}
	return fade(c.score, now-c.at, halfLife)
}

func fade(score float64, age, halfLife time.Duration) float64 {
	s := score * math.Exp2(-float64(age)/float64(halfLife))
	if s < negligible {
		return 0
	}
	return s
}

const (
	shards     = 64
	perShard   = 1024 // counters
	maxSampled = 8
)

// Memory is Counters in this process: at most shards*perShard of them, some 6 MiB, beside the addresses of users.
type Memory struct {
	began  time.Time
	shards [shards]shard
	known  *known
}

type shard struct {
	mu      sync.Mutex // guards the rest
	m       map[key]counter
	changed bool     // a count, since the last save
	_       [40]byte // a cache line for each
}

// NewMemory returns an empty one.
func NewMemory() *Memory {
	m := &Memory{began: time.Now(), known: newKnown()}
	for i := range m.shards {
		m.shards[i].m = make(map[key]counter)
	}
	return m
}

// now is by the clock that nobody sets.
func (m *Memory) now() time.Duration { return time.Since(m.began) }

func (m *Memory) shard(k key) *shard { return &m.shards[(k.address^k.user)>>32%shards] }

// Take implements [Counters]. It never fails.
func (m *Memory) Take(a *Attempt) (Answer, error) {
	got := Answer{Known: m.known.has(a.User, a.Address)}
	now, may := m.now(), true
	for r := range Reasons {
		if got.Judges(a, r) {
			got.Scores[r] = m.score(a.key(r), now, a.Settings.HalfLife)
			may = may && a.allows(r, got.Scores[r])
		}
	}
	for r := Reason(0); may && r < Reasons; r++ {
		if !got.Judges(a, r) {
			continue
		}
		if got.Scores[r], may = m.reserve(a.key(r), now, a.Settings.HalfLife, a.Limit(r)); !may {
			for before := range r {
				if got.Judges(a, before) {
					m.settle(a.key(before), a.Settings.HalfLife, true, 0)
				}
			}
		}
	}
	got.Granted = may
	return got, nil
}

// Settle implements [Counters]. It never fails.
func (m *Memory) Settle(a *Attempt, got Answer, o Outcome) error {
	settle := func(r Reason, add float64) float64 {
		return m.settle(a.key(r), a.Settings.HalfLife, got.Granted && got.Judges(a, r), add)
	}
	switch o {
	case Undecided:
		if got.Granted {
			for r := range Reasons {
				settle(r, 0)
			}
		}
	case Accepted:
		settle(Secret, math.Inf(-1))
		spent := settle(Pair, math.Inf(-1))
		settle(Address, -spent)
		settle(User, -spent)
		m.known.add(a.User, a.Address)
	case Refused:
		add := 0.0
		if settle(Secret, 1) == 0 {
			add = 1
		}
		for r := Pair; r <= User; r++ {
			settle(r, add)
		}
	}
	return nil
}

// follow does what other Counters have done: they are asked, and this memory stands by. A count in which there is more than
// they have stays, and judges as well: if they came and went they would have it forgotten each time. The Answer is that of
// both; where they alone have granted places, those are to be given back there.
func (m *Memory) follow(a *Attempt, theirs Answer) Answer {
	now, got := m.now(), theirs
	for r := range Reasons {
		if !got.Judges(a, r) {
			continue
		}
		k := a.key(r)
		s := m.shard(k)
		s.mu.Lock()
		c, found := s.m[k]
		before, score := c.faded(now, a.Settings.HalfLife), theirs.Scores[r]
		if c.alone {
			score = max(score, before)
			got.Granted = got.Granted && a.allows(r, score) && score+float64(c.pending)+1 <= a.Limit(r)
		}
		s.changed = s.changed || math.Abs(before-score) > negligible
		c.score, c.at, got.Scores[r] = score, now, score
		if theirs.Granted {
			c.pending++
		}
		s.put(k, c, found, now, a.Settings.HalfLife)
		s.mu.Unlock()
	}
	if theirs.Granted && !got.Granted {
		_ = m.Settle(a, theirs, Undecided)
	}
	return got
}

// stray remembers that an outcome was not counted by those that this memory follows.
func (m *Memory) stray(a *Attempt) {
	for r := range Reasons {
		k := a.key(r)
		s := m.shard(k)
		s.mu.Lock()
		if c, found := s.m[k]; found {
			c.alone = true
			s.m[k] = c
		}
		s.mu.Unlock()
	}
}

// score returns a count as it has faded by now, without the places that are taken.
func (m *Memory) score(k key, now, halfLife time.Duration) float64 {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[k].faded(now, halfLife)
}

// reserve takes a place if count and places together stay within limit. It returns the count.
func (m *Memory) reserve(k key, now, halfLife time.Duration, limit float64) (float64, bool) {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	c, found := s.m[k]
	score := c.faded(now, halfLife)
	if score+float64(c.pending)+1 > limit {
		return score, false
	}
	s.put(k, counter{score, now, c.pending + 1, c.alone}, found, now, halfLife)
	return score, true
}

// settle gives a place back if placed is true, and adds to the count, which does not get below 0. It returns the count as
// it was before.
func (m *Memory) settle(k key, halfLife time.Duration, placed bool, add float64) float64 {
	now, s := m.now(), m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	c, found := s.m[k]
	before := c.faded(now, halfLife)
	if placed && c.pending > 0 { // it may have been forgotten in between
		c.pending--
	}
	score := min(max(before+add, 0), MaxScore)
	s.changed = s.changed || score != before
	s.put(k, counter{score, now, c.pending, c.alone}, found, now, halfLife)
	return before
}

// put keeps a counter, or drops one that is as good as none.
func (s *shard) put(k key, c counter, found bool, now, halfLife time.Duration) {
	if c.score < negligible && c.pending == 0 {
		if found {
			delete(s.m, k)
		}
		return
	}
	if !found {
		s.makeRoom(now, halfLife)
	}
	s.m[k] = c
}

// makeRoom looks at a few counters by chance. It drops those that have faded, so that the memory follows what is in use;
// and the lowest if the shard is full. One with many failures goes only where all that were looked at have as many.
func (s *shard) makeRoom(now, halfLife time.Duration) {
	var (
		sampled int
		lowest  key
		least   = math.Inf(1)
	)
	for k, c := range s.m {
		score := c.faded(now, halfLife) + float64(c.pending)
		if score == 0 {
			delete(s.m, k)
		} else if score < least {
			lowest, least = k, score
		}
		if sampled++; sampled == maxSampled || sampled == 2 && len(s.m) < perShard {
			break
		}
	}
	if len(s.m) >= perShard {
		delete(s.m, lowest)
	}
}

// Forgive implements [Counters]. It never fails.
func (m *Memory) Forgive(address, user uint64) (n int, _ error) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for k, c := range s.m {
			if (address == 0 || k.address == address) && (user == 0 || k.user == user) && (address != 0 || user != 0) {
				if c.pending == 0 {
					delete(s.m, k)
				} else {
					c.score = 0
					s.m[k] = c
				}
				s.changed = true
				n++
			}
		}
		s.mu.Unlock()
	}
	return n, nil
}

// size returns how many counters there are, those included that have faded and were not cleared away yet.
func (m *Memory) size() (n int) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += len(s.m)
		s.mu.Unlock()
	}
	return n
}

var _ Counters = (*Memory)(nil)
