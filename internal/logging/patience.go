package logging

import "time"

// patience is how long lines may wait for a place that does not take them, all of them together.
const patience = time.Second

// regained: it comes back in so many times the time. Who reads a little all the time, but less than there is, holds up
// logins for a tenth of the time at most.
const regained = 10

// An allowance is what is left of patience with one place. The zero value is all of it.
type allowance struct {
	spent time.Duration
	at    time.Time // when spent was right
}

// left returns how long a line may wait from now on.
func (a *allowance) left(now time.Time) time.Duration {
	a.spent = max(0, a.spent-now.Sub(a.at)/regained)
	a.at = now
	return patience - a.spent
}

// spend says that a line has waited.
func (a *allowance) spend(d time.Duration) { a.spent = min(patience, a.spent+d) }
