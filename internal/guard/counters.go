package guard

import (
	"math"
	"sync"
	"time"
)

// Counters keep counts that fade. [Guard] has them in memory; several gatehouses could share theirs in a store. Every
// method is safe for concurrent use, and one step: two callers never see the same place free.
type Counters interface {
	// Score returns a count as it has faded by now, without the places that are taken.
	Score(k Key, halfLife time.Duration) float64
	// Reserve takes a place if count and places together stay within limit. It returns the count, to tell whether others'
	// places are what is in the way.
	Reserve(k Key, halfLife time.Duration, limit float64) (score float64, ok bool)
	// Settle gives a place back if placed is true, and adds to the count, which does not get below 0. It returns the count
	// as it was before.
	Settle(k Key, halfLife time.Duration, placed bool, add float64) (before float64)
	// Forgive drops the counts that the key's Address and User have a part in; one that is 0 stands for any, but not both.
	// It returns how many there were.
	Forgive(address, user uint32) int
	// Len returns how many counters there are, those included that have faded and were not cleared away yet.
	Len() int
}

// negligible is a count that is as good as none: seven half-lives after a single failure.
const negligible = 1.0 / 128

// counter is one count, as it was at a time.
type counter struct {
	score         float64
	at            time.Duration // since the start of the memory
	pending       int32         // places
	address, user uint32
}

func (c counter) faded(now, halfLife time.Duration) float64 {
	if c.score == 0 {
		return 0
	}
	s := c.score * math.Exp2(-float64(now-c.at)/float64(halfLife))
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

// memory is Counters in this process: at most shards*perShard of them, some 6 MiB.
type memory struct {
	began  time.Time
	shards [shards]shard
}

type shard struct {
	mu sync.Mutex // guards m
	m  map[uint64]counter
	_  [48]byte // a cache line for each
}

func newMemory() *memory {
	m := &memory{began: time.Now()}
	for i := range m.shards {
		m.shards[i].m = make(map[uint64]counter)
	}
	return m
}

// now is by the clock that nobody sets.
func (m *memory) now() time.Duration { return time.Since(m.began) }

func (m *memory) shard(id uint64) *shard { return &m.shards[id>>32%shards] }

func (m *memory) Score(k Key, halfLife time.Duration) float64 {
	now, s := m.now(), m.shard(k.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[k.ID].faded(now, halfLife)
}

func (m *memory) Reserve(k Key, halfLife time.Duration, limit float64) (float64, bool) {
	now, s := m.now(), m.shard(k.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.m[k.ID]
	score := c.faded(now, halfLife)
	if score+float64(c.pending)+1 > limit {
		return score, false
	}
	if !known {
		s.makeRoom(now, halfLife)
	}
	s.m[k.ID] = counter{score, now, c.pending + 1, k.Address, k.User}
	return score, true
}

func (m *memory) Settle(k Key, halfLife time.Duration, placed bool, add float64) float64 {
	now, s := m.now(), m.shard(k.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.m[k.ID]
	before := c.faded(now, halfLife)
	if placed && c.pending > 0 { // it may have been forgotten in between
		c.pending--
	}
	score := max(before+add, 0)
	switch {
	case score < negligible && c.pending == 0:
		delete(s.m, k.ID)
		return before
	case !known:
		s.makeRoom(now, halfLife)
	}
	s.m[k.ID] = counter{score, now, c.pending, k.Address, k.User}
	return before
}

// makeRoom looks at a few counters by chance. It drops those that have faded, so that the memory follows what is in use;
// and the lowest if the shard is full. One with many failures goes only where all that were looked at have as many.
func (s *shard) makeRoom(now, halfLife time.Duration) {
	var (
		sampled int
		lowest  uint64
		least   = math.Inf(1)
	)
	for id, c := range s.m {
		score := c.faded(now, halfLife) + float64(c.pending)
		if score == 0 {
			delete(s.m, id)
		} else if score < least {
			lowest, least = id, score
		}
		if sampled++; sampled == maxSampled || sampled == 2 && len(s.m) < perShard {
			break
		}
	}
	if len(s.m) >= perShard {
		delete(s.m, lowest)
	}
}

func (m *memory) Forgive(address, user uint32) (n int) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for id, c := range s.m {
			if (address == 0 || c.address == address) && (user == 0 || c.user == user) && (address != 0 || user != 0) {
				if c.pending == 0 {
					delete(s.m, id)
				} else {
					c.score = 0
					s.m[id] = c
				}
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}

func (m *memory) Len() (n int) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += len(s.m)
		s.mu.Unlock()
	}
	return n
}

var _ Counters = (*memory)(nil)
