package state

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Put keeps a ticket, by its hash, for its owner, another hash. While the Redis is known to be away it fails at once, and
// otherwise within 250 ms: nobody's login has to wait for it. The error is [ErrAway]; the ticket may have been kept.
func (s *Store) Put(ticket, owner [32]byte, life time.Duration) (err error) {
	defer s.observe("ticket", time.Now(), &err)
	if err := s.State(); errors.Is(err, ErrAway) || errors.Is(err, ErrAnswer) {
		return err
	}
	if s.late.Load() {
		return fmt.Errorf("%w: it is slow", ErrAway)
	}
	ctx, cancel := context.WithTimeout(context.Background(), ticketTimeout)
	defer cancel()
	if err := s.client.Set(ctx, s.ticketKey(ticket), hex.EncodeToString(owner[:]), life).Err(); err != nil {
		s.late.Store(true) // the next ones shall not wait
		return away(err)
	}
	return nil
}

// Take reports whether a ticket was kept for owner, and forgets it. It blocks for a second at most. The errors are
// [ErrAway] and [ErrAnswer]; the ticket may be forgotten then.
func (s *Store) Take(ticket, owner [32]byte) (good bool, err error) {
	defer s.observe("redeem", time.Now(), &err)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	reply, err := takeScript.Run(ctx, s.client, []string{s.ticketKey(ticket)}).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return false, nil
	case err != nil:
		return false, away(err)
	}
	kept, ok := reply.(string)
	if !ok || len(kept) != hex.EncodedLen(len(owner)) {
		return false, ErrAnswer
	}
	return subtle.ConstantTimeCompare([]byte(kept), []byte(hex.EncodeToString(owner[:]))) == 1, nil
}

func (s *Store) ticketKey(ticket [32]byte) string {
	return s.key("ticket:" + hex.EncodeToString(ticket[:]))
}
