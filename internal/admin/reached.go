package admin

import (
	"sync"
	"time"
)

// reachedMinutes is how far back the status page knows of limits.
const reachedMinutes = 10

// reached counts, by minute, how often limits were reached. The zero value is ready.
type reached struct {
	mu      sync.Mutex // guards minutes
	minutes [reachedMinutes]minute
}

// minute is one of Unix time.
type minute struct {
	at     int64
	counts map[string]uint64
}

func (r *reached) add(limit string, now time.Time) {
	at := now.Unix() / 60
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &r.minutes[uint64(at)%reachedMinutes] // #nosec G115 -- any slot will do before 1970
	if m.at != at || m.counts == nil {
		*m = minute{at, make(map[string]uint64, 1)}
	}
	m.counts[limit]++
}

// recent returns how often each limit was reached in the minute of now and the nine before; it is never nil.
func (r *reached) recent(now time.Time) map[string]uint64 {
	out := make(map[string]uint64)
	at := now.Unix() / 60
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.minutes {
		if m.at > at-reachedMinutes && m.at <= at {
			for limit, n := range m.counts {
				out[limit] += n
			}
		}
	}
	return out
}
