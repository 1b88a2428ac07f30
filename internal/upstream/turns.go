package upstream

import (
	"context"
	"fmt"
)

// maxOpening is how many legs of an Upstream are being opened at a time. Those
// beyond wait their turn: a server that is asked for a thousand at once serves
// each too late, and then it was all for nothing.
const maxOpening = 128

// turns has one element for each leg that is being opened.
type turns chan struct{}

func (t turns) end() { <-t }

// turn waits for one, in the order of coming. Who had to wait is not let in where
// all addresses have gone to rest meanwhile: the end of the time would come for
// one after the other.
func (u *Upstream) turn(ctx context.Context) error {
	select {
	case u.turns <- struct{}{}:
		return nil
	default:
	}
	select {
	case u.turns <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%w: %d logins before this one: %w", ErrSlow, maxOpening, ctx.Err())
	}
	if last := u.resting(); last != "" {
		u.turns.end()
		return fmt.Errorf("%w: it went while this login waited for its turn: %s", ErrDown, last)
	}
	return nil
}

// resting returns the last error if all addresses rest.
func (u *Upstream) resting() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	last := ""
	for i := range u.addresses {
		if u.addresses[i].Up {
			return ""
		}
		last = u.addresses[i].LastError
	}
	return last
}
