package guard

import (
	"slices"
	"sync"
	"time"
)

const (
	knownFor       = 30 * 24 * time.Hour
	knownAddresses = 8    // of a user
	knownPerShard  = 2048 // users
)

// known remembers from where users have logged in: of each his last addresses, of at most shards*knownPerShard users, some
// 18 MiB. Addresses of one user do not drive out those of another, so it takes as many accounts to make it forget.
type known struct {
	began  time.Time
	shards [shards]struct {
		mu      sync.Mutex // guards the rest
		m       map[uint64]homes
		changed bool   // notably, since the last save
		saved   uint32 // when that was, or the start
	}
}

// homes are the addresses of a user, by half of their hash, in any order; 0 is none.
type homes struct {
	address [knownAddresses]uint32
	seen    [knownAddresses]uint32 // in seconds, see known.now
}

// notable is after how long it is worth a save that an address was seen again: most logins are from where the user was a
// minute ago.
const notable = uint32(time.Hour / time.Second)

func half(address uint64) uint32 { return max(uint32(address), 1) } // #nosec G115 -- part of it

func newKnown() *known {
	k := &known{began: time.Now()}
	for i := range k.shards {
		k.shards[i].m, k.shards[i].saved = make(map[uint64]homes), k.now()
	}
	return k
}

// now is in seconds since knownFor before the start, by the clock that nobody sets: there is room for what was seen before.
func (k *known) now() uint32 { return uint32((knownFor + time.Since(k.began)) / time.Second) } // #nosec G115 -- for 136 years

func fresh(seen, now uint32) bool { return now-seen <= uint32(knownFor/time.Second) }

// has says whether a user has logged in from an address lately.
func (k *known) has(user, address uint64) bool {
	s, now, wanted := &k.shards[user%shards], k.now(), half(address)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.m[user]
	for i, a := range h.address {
		if a == wanted {
			return fresh(h.seen[i], now)
		}
	}
	return false
}

// add remembers a login, in the place of the one that is longest ago.
func (k *known) add(user, address uint64) {
	s, now, wanted := &k.shards[user%shards], k.now(), half(address)
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.m[user]
	if !ok && len(s.m) >= knownPerShard {
		dropOne(s.m)
	}
	place := 0
	for i, a := range h.address {
		if a == wanted || a == 0 {
			place = i
			break
		}
		if h.seen[i] < h.seen[place] {
			place = i
		}
	}
	s.changed = s.changed || h.address[place] != wanted || now-s.saved > notable
	h.address[place], h.seen[place] = wanted, now
	s.m[user] = h
}

// dropOne drops, of a few users by chance, the one who has not been here for longest.
func dropOne(m map[uint64]homes) {
	var (
		sampled int
		oldest  uint64
		least   uint32
	)
	for user, h := range m {
		if last := slices.Max(h.seen[:]); sampled == 0 || last < least {
			oldest, least = user, last
		}
		if sampled++; sampled == maxSampled {
			break
		}
	}
	delete(m, oldest)
}

// len returns how many users there are.
func (k *known) len() (n int) {
	for i := range k.shards {
		s := &k.shards[i]
		s.mu.Lock()
		n += len(s.m)
		s.mu.Unlock()
	}
	return n
}
