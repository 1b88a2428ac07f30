package admin

import (
	"sync"
	"sync/atomic"
	"time"
)

// trouble is since when a host cannot decide logins of one mechanism. The zero value is none.
type trouble struct {
	any   atomic.Bool // whether since is set; spares the lock where all is well
	mu    sync.Mutex  // guards the fields below
	since time.Time
	last  time.Time
	cause string
}

// note takes a login into account. A refusal tells that somebody can decide only if it is about the credentials.
func (t *trouble) note(verdict int, l *Login) {
	switch {
	case verdict == undecided:
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.since.IsZero() {
			t.since = l.Time
		}
		t.last, t.cause = l.Time, clean(l.Cause, maxCause)
		t.any.Store(true)
	case t.any.Load() && (verdict == accepted || l.Condition == "not-authorized"):
		t.mu.Lock()
		defer t.mu.Unlock()
		t.since, t.last, t.cause = time.Time{}, time.Time{}, ""
		t.any.Store(false)
	}
}

// Trouble is a host that could not decide the last login of a mechanism.
type Trouble struct {
	Host      string    `json:"host"`
	Mechanism string    `json:"mechanism"`
	Since     time.Time `json:"since"`
	Last      time.Time `json:"last"` // when it could not the last time
	Cause     string    `json:"cause"`
}

// troubles returns those of the hosts that are served; it is never nil.
func (m *Metrics) troubles(hosts []Host) []Trouble {
	out := []Trouble{}
	series := *m.loginSeries.Load()
	for _, h := range hosts {
		for _, name := range h.Mechanisms {
			s := series[loginKey{h.Name, mechanism(name)}]
			if s == nil || !s.trouble.any.Load() {
				continue
			}
			s.trouble.mu.Lock()
			out = append(out, Trouble{Host: h.Name, Mechanism: name, Since: s.trouble.since, Last: s.trouble.last, Cause: s.trouble.cause})
			s.trouble.mu.Unlock()
		}
	}
	return out
}
