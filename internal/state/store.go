package state

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	// ErrAway says that the Redis could not be asked, or has not answered in time, or could not do what it was asked: it is
	// a replica, its memory is full, it is loading. What was asked may have been done.
	ErrAway = errors.New("the shared Redis cannot be used")
	// ErrAnswer says that the answer is none of a Redis with our scripts.
	ErrAnswer = errors.New("the answer is not one of Redis")
	// ErrHeld says that the Redis may have forgotten that this token was used. It passes: see [Hold].
	ErrHeld = errors.New("the shared Redis may have forgotten used tokens")
	// ErrClocks says that the clocks of the front and the Redis differ by more than [MaxSkew].
	ErrClocks = errors.New("the clocks of this machine and of Redis differ by more than 10 s")
)

const (
	// MaxSkew is how far the clocks of the fronts and the Redis may be apart.
	MaxSkew = 10 * time.Second
	// Hold is after how long at the latest, counted from when the Redis may have forgotten something, tokens that are made
	// from then on are accepted. It is the age that a token's one-time password may have, and be early by, and MaxSkew.
	Hold = 60*time.Second + MaxSkew

	// The Redis is looked at so often, while it answers and while it does not.
	lookEvery, lookAgain = 2 * time.Second, 500 * time.Millisecond
)

// A Store is a Redis that fronts share. Its methods may be called by any number of goroutines.
type Store struct {
	config Config
	client redis.UniversalClient
	span   time.Duration
	down   atomic.Pointer[error] // why the Redis cannot be used, as of the last look; nil before the first; &nil if it can
	late   atomic.Bool           // a ticket had to wait in vain since then

	counters *Counters

	stop    context.CancelFunc
	stopped chan struct{} // closed when watch has returned
}

// Open returns a Store. It asks nobody yet, so that it cannot fail, and starts a goroutine that looks at the Redis from
// now on. span is how long before its expiry a token may have been good for the first time. The caller ends it with Close.
func Open(c Config, span time.Duration) *Store {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Store{config: c, client: newClient(c), span: span, stop: cancel, stopped: make(chan struct{})}
	s.counters = &Counters{store: s, timeout: guardTimeout}
	s.counters.trouble.Store(&errNotAsked)
	go s.watch(ctx)
	return s
}

// Use marks a token as used, id being a hash of it, until it expires, and reports whether it was fresh: of all that ask
// at all fronts, one is told that it was. now is the caller's clock. It blocks for a second at most. The errors are
// [ErrAway], [ErrAnswer], [ErrHeld] and [ErrClocks]; after the first two the token may be used up.
func (s *Store) Use(id [32]byte, expires, now time.Time) (fresh bool, err error) {
	defer s.observe("token", time.Now(), &err)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	a, err := s.ask(ctx, now, []string{s.key("memory"), s.key("used:" + hex.EncodeToString(id[:]))},
		millis(expires.Add(-s.span)), millis(expires), rand.Text())
	if err != nil {
		return false, err
	}
	return a.verdict(now)
}

// ask runs use.lua. The same call twice gives the same answer.
func (s *Store) ask(ctx context.Context, now time.Time, keys []string, args ...any) (answer, error) {
	durable := "0"
	if s.config.Durable {
		durable = "1"
	}
	args = append([]any{millis(now), strconv.FormatInt(MaxSkew.Milliseconds(), 10), durable}, args...)
	reply, err := useScript.Run(ctx, s.client, keys, args...).Result()
	if err != nil {
		return answer{}, away(err)
	}
	return readAnswer(reply)
}

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

func (s *Store) key(rest string) string { return "{" + s.config.Prefix + "}:" + rest }

// away says what the library's errors mean to us. They hold addresses and what the server said, which knows no secrets.
func away(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: no answer in time", ErrAway)
	case errors.Is(err, redis.Nil):
		return ErrAnswer
	}
	text := err.Error()
	if len(text) > 300 {
		text = text[:300]
	}
	return fmt.Errorf("%w: %q", ErrAway, text)
}

func (s *Store) observe(operation string, began time.Time, err *error) {
	if s.config.Observe != nil {
		s.config.Observe(operation, time.Since(began), *err)
	}
}

// Ping asks the Redis how it is, as the store does by itself every two seconds: nil if tokens can be used.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	now := time.Now()
	a, err := s.ask(ctx, now, []string{s.key("memory")})
	if err != nil {
		return err
	}
	return a.fault(now)
}

// State returns why tokens are refused, as of the last look; nil if they are not. It does not block.
func (s *Store) State() error {
	if e := s.down.Load(); e != nil {
		return *e
	}
	return errNotAsked
}

// watch looks at the Redis until ctx ends, and tells what it sees when that changes.
func (s *Store) watch(ctx context.Context) {
	defer close(s.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := s.Ping(ctx)
		if ctx.Err() != nil {
			return
		}
		s.tell(s.down.Swap(&err), err)
		s.late.Store(false)
		s.counters.look(ctx, err)
		if err != nil {
			timer.Reset(lookAgain)
		} else {
			timer.Reset(lookEvery)
		}
	}
}

// tell logs that the Redis has become usable or unusable, or unusable in another way.
func (s *Store) tell(before *error, now error) {
	was := error(nil)
	if before != nil {
		was = *before
	}
	switch {
	case now == nil && was != nil:
		s.config.Logger.Info("tokens are accepted again")
	case now != nil && kind(was) != kind(now):
		s.config.Logger.LogAttrs(context.Background(), slog.LevelError, "tokens are refused until Redis can be used", slog.Any("cause", now))
	}
}

func kind(err error) error {
	for _, k := range []error{ErrAway, ErrAnswer, ErrHeld, ErrClocks} {
		if errors.Is(err, k) {
			return k
		}
	}
	return err
}

// Close ends the goroutine and the connections. What is being asked fails.
func (s *Store) Close() error {
	s.stop()
	<-s.stopped
	if err := s.client.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
		return err
	}
	return nil
}
