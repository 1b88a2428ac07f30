package state

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"gatehouse.im/gatehouse/internal/guard"
)

// guardTimeout is how long a login waits for the counts of the guard: there are those of the front.
const guardTimeout = 250 * time.Millisecond

// guardShards is how many hashes there are of 1024 counts each at most (see guard.lua).
const guardShards = 64

// Counters are the counts of the guard in a Redis, for all fronts. They are asked until they fail. From then on they fail at
// once with the same error, until the Store has seen that they work again, and all of it: what the guard needs of a Redis
// is more than tokens do.
//
// Times are by the clock of the Redis. If it was set back counts do not fade meanwhile, and places are free at once.
type Counters struct {
	store   *Store
	timeout time.Duration         // guardTimeout, but for tests on busy machines
	trouble atomic.Pointer[error] // why they cannot be used; nil if they can
	told    atomic.Bool           // the log has it
	used    atomic.Bool
}

var errNotAsked = fmt.Errorf("%w: it was not asked yet", ErrAway)

// Counters returns the counts of the guard. They can be used some time after [Counters.Use].
func (s *Store) Counters() *Counters { return s.counters }

// Use says whether anybody wants to use the counts. Without, the Redis is not tried for them, and the log not told.
func (c *Counters) Use(on bool) { c.used.Store(on) }

// GuardKey returns a key by which all fronts make the same hashes for [Counters]. It is made of the password and the prefix,
// since these are what fronts have in common and the data in Redis do not show. It takes some 20 ms, so that a password is
// not found quickly by hashes of names that are known. Without a password it is no secret.
func (s *Store) GuardKey() [guard.KeySize]byte {
	password := sha256.Sum256([]byte(s.config.Password)) // of a length that FIPS 140 allows
	key, err := pbkdf2.Key(sha256.New, string(password[:]), []byte("gatehouse guard "+s.config.Prefix), 1<<16, guard.KeySize)
	if err != nil {
		panic(err) // there is nothing that it could refuse
	}
	return [guard.KeySize]byte(key)
}

// Take implements guard.Counters. It blocks for 250 ms at most. The errors are [ErrAway], after which places may have been
// taken, for 75 s, and [ErrAnswer].
func (c *Counters) Take(a *guard.Attempt) (guard.Answer, error) {
	var got guard.Answer
	err := c.watched(func(ctx context.Context) (err error) {
		got, err = c.take(ctx, a)
		return err
	})
	return got, err
}

// Settle implements guard.Counters. It blocks for 250 ms at most. The errors are [ErrAway], after which it may have been
// done, and [ErrAnswer].
func (c *Counters) Settle(a *guard.Attempt, got guard.Answer, o guard.Outcome) error {
	return c.watched(func(ctx context.Context) error { return c.settle(ctx, a, got, o) })
}

// Forgive implements guard.Counters. It blocks for a second at most.
func (c *Counters) Forgive(address, user uint64) (n int, err error) {
	if address == 0 && user == 0 {
		return 0, nil
	}
	if err := c.State(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for shard := range uint64(guardShards) {
		reply, err := forgiveScript.Run(ctx, c.store.client, []string{c.shard(shard)}, hash(address), hash(user)).Result()
		if err != nil {
			return n, away(err)
		}
		dropped, ok := reply.(int64)
		if !ok || dropped < 0 || dropped > math.MaxInt32 {
			return n, ErrAnswer
		}
		n += int(dropped)
	}
	return n, nil
}

// State returns why the counts cannot be used; nil if they can. It does not block.
func (c *Counters) State() error {
	if e := c.trouble.Load(); e != nil {
		return *e
	}
	return nil
}

// watched asks, unless that is known to be in vain.
func (c *Counters) watched(ask func(context.Context) error) (err error) {
	if err := c.State(); err != nil {
		return err
	}
	defer c.store.observe("guard", time.Now(), &err)
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	if err = ask(ctx); err != nil {
		c.fail(err)
	}
	return err
}

// fail has the counts not be asked from now on.
func (c *Counters) fail(err error) {
	if c.trouble.CompareAndSwap(nil, &err) || !c.told.Load() {
		c.tell(err)
	}
}

func (c *Counters) tell(err error) {
	if !c.told.Swap(true) {
		c.store.config.Logger.Warn("guard: this front counts for itself until Redis can be used", "cause", err)
	}
}

// look is what the Store does after each look at the Redis, whose outcome is seen. It is the only one to say that the counts
// can be used again.
func (c *Counters) look(ctx context.Context, seen error) {
	if !c.used.Load() {
		return
	}
	if errors.Is(seen, ErrAway) || errors.Is(seen, ErrAnswer) {
		c.fail(seen)
		return
	}
	if c.State() == nil {
		return
	}
	// What was too slow for a login has to be quicker than that.
	ctx, cancel := context.WithTimeout(ctx, c.timeout/2)
	defer cancel()
	if err := c.probe(ctx); err != nil {
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			c.tell(err)
		}
		return
	}
	c.trouble.Store(nil)
	if c.told.Swap(false) {
		c.store.config.Logger.Info("guard: the counts are shared again")
	}
}

// probe does all that attempts do, for nobody.
func (c *Counters) probe(ctx context.Context) error {
	nobody := &guard.Attempt{Settings: &guard.Settings{PerPair: guard.MaxScore, HalfLife: time.Minute}}
	got, err := c.take(ctx, nobody)
	if err == nil {
		err = c.settle(ctx, nobody, got, guard.Refused)
	}
	if err == nil {
		err = c.settle(ctx, nobody, guard.Answer{}, guard.Accepted)
	}
	return err
}

func (c *Counters) take(ctx context.Context, a *guard.Attempt) (guard.Answer, error) {
	args := c.names(a, "take")
	for r := range guard.Reasons {
		args = append(args, number(a.Limit(r)))
	}
	for r := range guard.Reasons {
		args = append(args, number(a.Enough(r)))
	}
	reply, err := guardScript.Run(ctx, c.store.client, c.keys(a), args...).Result()
	if err != nil {
		return guard.Answer{}, away(err)
	}
	return readGuard(reply, a)
}

func (c *Counters) settle(ctx context.Context, a *guard.Attempt, got guard.Answer, o guard.Outcome) error {
	word := map[guard.Outcome]string{guard.Undecided: "undecided", guard.Refused: "refused", guard.Accepted: "accepted"}[o]
	args := append(c.names(a, word), strconv.FormatInt(got.Place, 10))
	for r := range guard.Reasons {
		placed := "0"
		if got.Granted && got.Judges(a, r) {
			placed = "1"
		}
		args = append(args, placed)
	}
	reply, err := guardScript.Run(ctx, c.store.client, c.keys(a), args...).Result()
	switch {
	case err != nil:
		return away(err)
	case reply != int64(1):
		return ErrAnswer
	}
	return nil
}

// keys are those that guard.lua wants: where a count lies says nothing about whose it is that its name does not.
func (c *Counters) keys(a *guard.Attempt) []string {
	pair := c.shard(a.Address ^ a.User)
	return []string{c.store.key("guard:known:" + hash(a.User)), pair, pair, c.shard(a.Address), c.shard(a.User)}
}

func (c *Counters) shard(n uint64) string {
	return c.store.key("guard:counts:" + strconv.FormatUint(n%guardShards, 10))
}

// names are the arguments that guard.lua wants first.
func (c *Counters) names(a *guard.Attempt, operation string) []any {
	address, user := hash(a.Address), hash(a.User)
	pair := address + ":" + user
	return append(make([]any, 0, 15), operation, strconv.FormatInt(max(a.Settings.HalfLife.Milliseconds(), 1), 10), address,
		"s:"+pair+":"+strconv.FormatUint(uint64(a.Mark), 16), "p:"+pair, "a:"+address+":", "u::"+user)
}

// hash is empty for nobody.
func hash(h uint64) string {
	if h == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", h)
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// readGuard reads what guard.lua answers to an attempt. Whoever sends something else is no Redis, or not ours.
func readGuard(reply any, a *guard.Attempt) (got guard.Answer, err error) {
	const before = 3 // the scores
	parts, ok := reply.([]any)
	if !ok || len(parts) != before+int(guard.Reasons) {
		return got, ErrAnswer
	}
	granted, okGranted := parts[0].(int64)
	known, okKnown := parts[1].(int64)
	place, okPlace := parts[2].(int64)
	if !okGranted || !okKnown || !okPlace || granted>>1 != 0 || known>>1 != 0 || place < 0 {
		return got, ErrAnswer
	}
	got = guard.Answer{Granted: granted == 1, Known: known == 1, Place: place}
	for r := range guard.Reasons {
		text, ok := parts[before+int(r)].(string)
		if !ok {
			return guard.Answer{}, ErrAnswer
		}
		if got.Scores[r], err = strconv.ParseFloat(text, 64); err != nil {
			return guard.Answer{}, ErrAnswer
		}
	}
	if !got.Possible(a) {
		return guard.Answer{}, ErrAnswer
	}
	return got, nil
}

var _ guard.Counters = (*Counters)(nil)
