package upstream

import (
	"time"
)

// How long an address rests that failed: the first time, and at most.
const (
	firstRest = time.Second
	longRest  = 30 * time.Second
)

// Stats is what is known of one address.
type Stats struct {
	Address Address
	// Up is false while the address rests after a fault.
	Up bool
	// LastError is the latest fault, empty before the first; it holds no secret.
	LastError   string
	LastErrorAt time.Time
	// Dials counts tries to log in, Logins those that succeeded, Refused those
	// that were answered by <failure/>, Faults all others but those that the
	// client gave up.
	Dials, Logins, Refused, Faults uint64
	// Opening is how many are under way.
	Opening int
	// Latency is how long a successful one takes from the dial on, smoothed.
	Latency time.Duration
}

// health is the state of one address. It is guarded by Upstream.mu.
type health struct {
	Stats
	// rest is the length of the latest rest, until its end.
	rest  time.Duration
	until time.Time
	// alive is when the server last answered as it should.
	alive time.Time
}

// fault notes that a try that began at began failed at now, and reports whether
// the address goes to rest with it.
func (h *health) fault(began, now time.Time, err error) bool {
	h.LastError, h.LastErrorAt = err.Error(), now
	if h.alive.After(began) {
		return false // others have got through since: the news is old
	}
	if !h.Up && now.Before(h.until) {
		return false // of the same fault
	}
	h.rest = min(max(2*h.rest, firstRest), longRest)
	h.until = now.Add(h.rest)
	fell := h.Up
	h.Up = false
	return fell
}

// answered notes that the server is there, and reports whether it was believed
// down. Only a login proves that all is well: until then the next rest is longer
// than the last.
func (h *health) answered(now time.Time, loggedIn bool) bool {
	h.alive = now
	if loggedIn {
		h.rest = 0
	}
	rose := !h.Up
	h.Up = true
	return rose
}

// took notes the duration of a login.
func (h *health) took(d time.Duration) {
	if h.Logins == 0 {
		h.Latency = d
	}
	h.Latency += (d - h.Latency) / 8
	h.Logins++
}
