package token

import (
	"errors"
	"sync"
	"time"
)

var (
	// ErrFull says that more tokens have been used, which have not expired, than
	// a store remembers.
	ErrFull = errors.New("too many tokens in use")
	// ErrClockBack says that the clock was set back so far that tokens of the
	// present have been forgotten already. It passes when the clock has reached
	// the former time again.
	ErrClockBack = errors.New("the clock was set back; used tokens of this time are forgotten")
)

// maxUsed bounds what a store holds at one time: the logins of two minutes at
// some 7,000 a second, at about 100 bytes of memory each.
const maxUsed = 1 << 20

// keptOn is for how many seconds a token is remembered that has expired. A clock
// that is stepped by less, ahead and back or back and ahead again, makes no token
// good that was forgotten, so nobody is refused for the step.
const keptOn = 150

// Memory is a ReplayStore that forgets everything when the program ends: for
// tools and tests, not for a server, where a restart would let used tokens in
// again. The zero value is ready. Its errors are ErrFull and ErrClockBack; it
// never blocks for long.
type Memory struct {
	mu   sync.Mutex // guards used
	used used
}

// Use implements ReplayStore.
func (m *Memory) Use(id ID, expires, now time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, found, err := m.used.lookup(id, expires, now)
	if found || err != nil {
		return false, err
	}
	m.used.add(id, expiryOf(expires), nil)
	return true, nil
}

// used is the set of used tokens. They are grouped by the second at which they
// may be forgotten, rounded up to a whole step, so that there are few groups and
// forgetting one costs nothing.
type used struct {
	groups map[int64]map[ID]*commit
	count  int
	// forgotten is the newest expiry of all that was ever forgotten. The set is
	// complete for what expires later and knows nothing about the rest: this,
	// and not the clock, says what may be accepted after the clock was set back.
	forgotten int64
}

func expiryOf(expires time.Time) int64 {
	return (windowOf(expires.Add(-time.Nanosecond)) + 1) * step
}

// lookup finds id and the commit it was added with. If it is not there, and there
// is no error, it may be added.
func (u *used) lookup(id ID, expires, now time.Time) (c *commit, found bool, err error) {
	for _, group := range u.groups {
		if c, found := group[id]; found {
			return c, true, nil
		}
	}
	u.forget(now.Unix() - keptOn)
	if u.count >= maxUsed {
		u.forget(now.Unix())
	}
	if u.forgotten > 0 && expiryOf(expires) <= u.forgotten {
		return nil, false, ErrClockBack
	}
	if u.count >= maxUsed {
		return nil, false, ErrFull
	}
	return nil, false, nil
}

func (u *used) add(id ID, expiry int64, c *commit) {
	group := u.groups[expiry]
	if group == nil {
		if u.groups == nil {
			u.groups = make(map[int64]map[ID]*commit)
		}
		group = make(map[ID]*commit)
		u.groups[expiry] = group
	}
	if _, found := group[id]; !found {
		u.count++
	}
	group[id] = c
}

// remove takes back what was added with c, where it was not remembered.
func (u *used) remove(id ID, expiry int64, c *commit) {
	if now, found := u.groups[expiry][id]; found && now == c {
		delete(u.groups[expiry], id)
		u.count--
	}
}

// forget drops what had expired at a unix time.
func (u *used) forget(at int64) {
	for expiry, group := range u.groups {
		if expiry <= at {
			u.count -= len(group)
			u.forgotten = max(u.forgotten, expiry)
			delete(u.groups, expiry)
		}
	}
}
