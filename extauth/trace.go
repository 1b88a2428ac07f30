package extauth

import (
	"bytes"
	"context"
	"time"
)

// Info tells which worker decided a query and where the time went, for the one log line of a login.
type Info struct {
	// Worker is the number of the worker that was asked last, counted from 1 through the life of the pool; 0 if
	// none was.
	Worker int
	// PID is that worker's process.
	PID int
	// Queue is how long the query waited for a worker, Script how long the script took.
	Queue, Script time.Duration
	// Tries is how many workers were asked: 2 after a worker died and another answered.
	Tries int
}

type infoKey struct{}

// WithInfo returns a context that makes a query fill info before it returns, whatever the outcome. One Info serves
// one query at a time.
func WithInfo(ctx context.Context, info *Info) context.Context {
	return context.WithValue(ctx, infoKey{}, info)
}

// EventKind says what happened in an Event.
type EventKind int

// The kinds of events, in the order in which a login sees them.
const (
	EventStarted  EventKind = iota // a process was started
	EventSent                      // Data went to the script, the password masked
	EventReceived                  // Data came from the script
	EventStderr                    // Data is a line that the script wrote to standard error
	EventVerdict                   // the query ended: Yes, or Err; After is how long the script took
	EventExited                    // the process ended; Data is how ("exit status 1")
)

// String returns one lower-case word.
func (k EventKind) String() string {
	return [...]string{"started", "sent", "received", "stderr", "verdict", "exited"}[k]
}

// Event is one step of an exchange with a script.
type Event struct {
	Kind   EventKind
	Time   time.Time
	Worker int
	PID    int
	Data   []byte // a copy; the receiver may keep it
	Yes    bool
	Err    error
	After  time.Duration
}

// mask is what a trace and a log show for a password.
const mask = "********"

func (p *Pool) trace(w *worker, e Event) {
	trace := p.settings.Load().Trace
	if trace == nil {
		return
	}
	e.Time, e.Worker, e.PID = time.Now(), w.id, w.pid
	trace(e)
}

// traceQuery shows q as it is framed, with the password masked. The frame's length is that of what is shown.
func (p *Pool) traceQuery(w *worker, q query) {
	if p.settings.Load().Trace == nil {
		return
	}
	if q.hasPassword {
		q.password = mask
	}
	p.trace(w, Event{Kind: EventSent, Data: w.gen.Protocol.appendQuery(nil, &q)})
}

// traceReceived shows b. A script may echo the query, so the password is masked here too, unless b is as short as
// an answer: "1" must not be hidden from somebody whose password is "1".
func (p *Pool) traceReceived(w *worker, b []byte, secret string) {
	if p.settings.Load().Trace == nil {
		return
	}
	data := bytes.Clone(b)
	if secret != "" && len(b) > len("1\r\n") {
		data = masked(data, []hidden{{text: secret}})
	}
	p.trace(w, Event{Kind: EventReceived, Data: data})
}
