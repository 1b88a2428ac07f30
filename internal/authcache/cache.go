package authcache

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Ask judges a password: yes (true, nil), no (false, nil), or an error where nobody can say. note is what it has to tell
// about how it got there; it is shared by all who asked. It must return soon after ctx ends, or in bounded time without
// that, and is called by any number of goroutines at a time.
type Ask[N any] func(ctx context.Context, user, host, password string) (note N, yes bool, err error)

// Settings say which verdicts are remembered. The zero value remembers none.
type Settings struct {
	Yes    time.Duration // how long a yes is given again without asking
	No     time.Duration // how long a no is
	Outage time.Duration // how old a yes may be that counts when nobody can say
	// Entries is how many yeses are kept, and how many noes, but of those no more than 1000.
	Entries int
}

// maxNoes bounds the noes: there is no end of wrong passwords.
const maxNoes = 1000

// Source is where a verdict comes from.
type Source int

// The sources.
const (
	FromScript Source = iota // asked for this caller
	FromShared               // asked for another caller, with the same question in flight
	FromCache                // remembered
	FromOutage               // a yes beyond its life, since nobody could say
	sources    int    = iota
)

// String returns one lower-case word.
func (s Source) String() string { return [sources]string{"script", "shared", "cache", "outage"}[s] }

// Answer is a verdict and where it comes from.
type Answer[N any] struct {
	Yes  bool
	From Source
	Note N             // of the question that was put; the zero value if From is FromCache
	Age  time.Duration // of a remembered verdict
	// Outage is why nobody could say, if From is FromOutage.
	Outage error
}

// Cache stands before an Ask. Its methods may be called by any number of goroutines.
type Cache[N any] struct {
	ask    Ask[N]
	key    *key
	counts [sources]atomic.Uint64
	flying sync.WaitGroup // the goroutines of the flights

	mu       sync.Mutex // guards everything below
	settings Settings
	closed   bool
	flights  map[sum]*flight[N] // that can be joined
	yeses    store
	noes     store
}

// New returns a cache that remembers nothing until Set. The caller owns it and must Close it.
func New[N any](ask Ask[N]) *Cache[N] {
	return &Cache[N]{ask: ask, key: newKey(), flights: make(map[sum]*flight[N]), yeses: newStore(), noes: newStore()}
}

// Set puts other settings into force. Entries stay, as far as these allow.
func (c *Cache[N]) Set(s Settings) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settings = s
	c.yeses.max, c.noes.max = s.Entries, min(s.Entries, maxNoes)
	c.yeses.resize(c.yeses.max)
	c.noes.resize(c.noes.max)
	c.expire(time.Now())
}

// Authenticate judges a password: from memory, by joining an equal question in flight, or by asking. It blocks until
// there is a verdict or ctx ends. An error is that of Ask, as it is, or wraps ctx's; then Answer has From and Note, if
// there was an answer at all.
func (c *Cache[N]) Authenticate(ctx context.Context, user, host, password string) (Answer[N], error) {
	if err := ctx.Err(); err != nil {
		return Answer[N]{}, fmt.Errorf("not asked: %w", err)
	}
	k, ok := c.key.sum(user, host, password)
	if !ok {
		return c.alone(ctx, user, host, password)
	}
	c.mu.Lock()
	if a, ok := c.remembered(k); ok {
		c.mu.Unlock()
		c.counts[FromCache].Add(1)
		return a, nil
	}
	f, from := c.flights[k], FromShared
	if f == nil {
		if c.closed {
			c.mu.Unlock()
			return c.alone(ctx, user, host, password)
		}
		f, from = c.start(k, user, host, password), FromScript
	}
	f.callers++
	c.mu.Unlock()

	select {
	case <-f.done:
	case <-ctx.Done():
		c.leave(f)
		return Answer[N]{}, fmt.Errorf("no verdict yet: %w", ctx.Err())
	}
	if f.fault != nil {
		panic(f.fault)
	}
	a := Answer[N]{Yes: f.yes, From: from, Note: f.note}
	err := f.err
	if err != nil {
		if age, ok := c.standby(k); ok {
			a.Yes, a.From, a.Age, a.Outage = true, FromOutage, age, err
			err = nil
		}
	}
	c.counts[a.From].Add(1)
	return a, err
}

// alone asks in the caller's goroutine.
func (c *Cache[N]) alone(ctx context.Context, user, host, password string) (Answer[N], error) {
	c.counts[FromScript].Add(1)
	note, yes, err := c.ask(ctx, user, host, password)
	return Answer[N]{Yes: yes && err == nil, Note: note}, err
}

// remembered finds a verdict that lives. The caller holds c.mu.
func (c *Cache[N]) remembered(k sum) (Answer[N], bool) {
	if c.settings.Entries == 0 {
		return Answer[N]{}, false
	}
	now := time.Now()
	c.expire(now)
	if age, ok := c.yeses.age(k, now); ok && age < c.settings.Yes {
		return Answer[N]{Yes: true, From: FromCache, Age: age}, true
	}
	if age, ok := c.noes.age(k, now); ok && age < c.settings.No {
		return Answer[N]{From: FromCache, Age: age}, true
	}
	return Answer[N]{}, false
}

// standby finds a yes that may be used because nobody can say.
func (c *Cache[N]) standby(k sum) (age time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	age, ok = c.yeses.age(k, time.Now())
	return age, ok && age < c.settings.Outage
}

// remember keeps a verdict. A later one takes the place of an earlier one, whichever they are. The caller holds c.mu.
func (c *Cache[N]) remember(k sum, user string, yes bool, asked time.Time) {
	now := time.Now()
	c.expire(now)
	if yes {
		c.noes.remove(k)
		c.yeses.put(k, user, asked)
	} else {
		c.yeses.remove(k)
		c.noes.put(k, user, asked)
	}
	c.expire(now) // it may have been asked long ago, or have no life at all
}

// expire drops what is of no use any more. The caller holds c.mu.
func (c *Cache[N]) expire(now time.Time) {
	c.yeses.expire(now, max(c.settings.Yes, c.settings.Outage))
	c.noes.expire(now, c.settings.No)
}

// Forget is called when a user's password or account may have changed, once that is over. Whoever asks after it returns
// gets no verdict of before. It says how many entries it dropped.
func (c *Cache[N]) Forget(user string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.flights {
		if f.user == user {
			c.detach(f)
		}
	}
	return c.yeses.forget(user) + c.noes.forget(user)
}

// Clear is Forget for all users.
func (c *Cache[N]) Clear() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.flights {
		c.detach(f)
	}
	n := c.yeses.order.Len() + c.noes.order.Len()
	c.yeses.resize(0)
	c.noes.resize(0)
	return n
}

// Close waits for the flights, whose Ask must be about to end: it is called after what they ask was closed. From then on
// every question is asked in its caller's goroutine, and nothing is remembered.
func (c *Cache[N]) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.flying.Wait()
	c.Set(Settings{})
}

// Stats are the answers since the cache was made, by Source, and what it remembers.
type Stats struct {
	Answers  map[Source]uint64
	Yes, No  int // entries
	InFlight int // questions that can be joined
	Waiting  int // callers who wait for those
}

// Stats returns how things are.
func (c *Cache[N]) Stats() Stats {
	s := Stats{Answers: make(map[Source]uint64, sources)}
	for from := range c.counts {
		s.Answers[Source(from)] = c.counts[from].Load()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire(time.Now())
	s.Yes, s.No, s.InFlight = c.yeses.order.Len(), c.noes.order.Len(), len(c.flights)
	for _, f := range c.flights {
		s.Waiting += f.callers
	}
	return s
}
