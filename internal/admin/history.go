package admin

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// How much is remembered.
const (
	curveSeconds = 600
	maxFailures  = 50
	maxReloads   = 20
)

// history is what the status page shows of the time before one looked. The zero value is ready.
type history struct {
	mu       sync.Mutex // guards everything below
	seconds  [curveSeconds]second
	failures ring[Failure]
	reloads  ring[Reload]
	totals   [len(verdicts)]uint64
}

// second counts the logins of one second of Unix time.
type second struct {
	at     int64
	counts [len(verdicts)]uint32
}

// Failure is an attempt to log in that was not accepted. What a stranger chose in it is cut, and printable.
type Failure struct {
	Time      time.Time `json:"time"`
	Host      string    `json:"host"`
	User      string    `json:"user"`
	Mechanism string    `json:"mechanism"`
	Remote    string    `json:"remote"`
	Verdict   string    `json:"verdict"`
	Condition string    `json:"condition"`
	Cause     string    `json:"cause"`
}

// Reload is one reload that is over.
type Reload struct {
	Time    time.Time `json:"time"`
	Took    float64   `json:"took"` // seconds
	Result  string    `json:"result"`
	Changed string    `json:"changed,omitempty"`
	Error   string    `json:"error,omitempty"`
}

// Curve is the logins of each second; the last one is that of Until, in Unix time, which is over.
type Curve struct {
	Until     int64    `json:"until"`
	Accepted  []uint32 `json:"accepted"`
	Refused   []uint32 `json:"refused"`
	Undecided []uint32 `json:"undecided"`
}

// Totals count the logins since the start.
type Totals struct {
	Accepted  uint64 `json:"accepted"`
	Refused   uint64 `json:"refused"`
	Undecided uint64 `json:"undecided"`
}

func (h *history) login(verdict int, l *Login) {
	at := l.Time.Unix()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.totals[verdict]++
	s := &h.seconds[slot(at)]
	if s.at != at {
		*s = second{at: at}
	}
	s.counts[verdict]++
	if verdict == accepted {
		return
	}
	h.failures.add(maxFailures, Failure{
		Time:      l.Time,
		Host:      clean(l.Host, maxCause),
		User:      clean(l.User, maxName),
		Mechanism: clean(l.Mechanism, maxName),
		Remote:    clean(l.Remote, maxName),
		Verdict:   verdicts[verdict],
		Condition: clean(l.Condition, maxName),
		Cause:     clean(l.Cause, maxCause),
	})
}

// slot is where a second is kept. Clocks may stand before 1970.
func slot(at int64) int64 {
	return ((at % curveSeconds) + curveSeconds) % curveSeconds
}

func (h *history) reload(took time.Duration, err error, changed string, at time.Time) {
	r := Reload{Time: at, Took: took.Seconds(), Result: reloadChanged, Changed: clean(changed, maxCause)}
	if changed == "" {
		r.Result = reloadUnchanged
	}
	if err != nil {
		r.Result, r.Error = reloadRefused, strings.Join(lines(err.Error()), "\n")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reloads.add(maxReloads, r)
}

// fill copies what is remembered at a time; the lists begin with the newest.
func (h *history) fill(v *view, now time.Time) {
	until := now.Unix() - 1
	v.Curve = Curve{
		Until:     until,
		Accepted:  make([]uint32, curveSeconds),
		Refused:   make([]uint32, curveSeconds),
		Undecided: make([]uint32, curveSeconds),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range int64(curveSeconds) {
		at := until - curveSeconds + 1 + i
		if s := &h.seconds[slot(at)]; s.at == at {
			v.Curve.Accepted[i] = s.counts[accepted]
			v.Curve.Refused[i] = s.counts[refused]
			v.Curve.Undecided[i] = s.counts[undecided]
		}
	}
	v.Totals = Totals{h.totals[accepted], h.totals[refused], h.totals[undecided]}
	v.Failures = h.failures.newest()
	v.Reloads = h.reloads.newest()
}

// ring keeps the last values that were added.
type ring[T any] struct {
	values []T
	next   int // the oldest one, once the ring is full
}

func (r *ring[T]) add(limit int, v T) {
	if len(r.values) < limit {
		r.values = append(r.values, v)
		return
	}
	r.values[r.next] = v
	r.next = (r.next + 1) % limit
}

// newest returns a copy, the newest value first; it is never nil.
func (r *ring[T]) newest() []T {
	out := append(append(make([]T, 0, len(r.values)), r.values[r.next:]...), r.values[:r.next]...)
	slices.Reverse(out)
	return out
}
