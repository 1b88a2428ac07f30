package extauth

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Pool asks the script of one host. Its methods may be called from any number of goroutines.
type Pool struct {
	settings atomic.Pointer[settings] // the present ones; written under mu

	wake    chan struct{} // to the starter: look again whether a process is needed
	trials  chan *Update  // to the starter: start the first worker of a generation to come
	update  chan struct{} // holds one element while an Update is pending
	stop    chan struct{} // closed when Close begins
	gone    chan struct{} // closed when Close is through
	drained chan struct{} // closed when the pool is closed and no query is in flight
	lastID  int           // of the last worker; only the starter uses it
	done    chan struct{} // closed when the starter has ended, and so every process of a closed pool

	watchers sync.WaitGroup // the goroutines of the workers; only the starter adds to it and waits for it

	mu       sync.Mutex // guards everything below
	closed   bool
	gen      *generation          // what new queries are asked of
	workers  map[*worker]struct{} // of all generations, until they are reaped
	busy     int                  // workers of all generations that a query holds
	idle     []*worker            // of gen; the one that has been idle longest is in front
	waiters  *list.List           // of *waiter, the earliest deadline in front
	restarts int
	timeouts int
	revived  time.Time // when Revive had a worker started
}

// NewPool checks cfg and starts one worker in the background, so that a broken script is in the log before the first
// login needs it; further ones are started when queries wait for them. It does not block on the script. Every error is
// ErrConfig. The caller owns the pool and must Close it.
func NewPool(cfg Config) (*Pool, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := newPool(cfg)
	p.gen.prestart = true
	p.wakeStarter()
	go p.runStarter()
	return p, nil
}

// newPool makes a pool without processes, whose starter does not run yet.
func newPool(cfg Config) *Pool {
	p := &Pool{
		wake:    make(chan struct{}, 1),
		trials:  make(chan *Update),
		update:  make(chan struct{}, 1),
		stop:    make(chan struct{}),
		gone:    make(chan struct{}),
		drained: make(chan struct{}),
		done:    make(chan struct{}),
		workers: make(map[*worker]struct{}),
		waiters: list.New(),
	}
	first := newSettings(cfg)
	p.settings.Store(first)
	p.gen = newGeneration(1, first)
	return p
}

// Auth asks whether password is that of user at host. It blocks until the verdict, Config.Timeout or ctx's deadline,
// whichever comes first (but see the package comment for a process that is still starting). The end of ctx by
// cancellation takes the query out of the queue; once written, a query is seen through, since giving it up would cost
// the worker its life. If a worker dies before a byte of its answer, another one is asked once, within the same
// deadline.
//
// All three must be UTF-8 without control characters, user and host without a colon, none of them empty, and the
// whole query at most 1000 bytes. They are sent as given: preparing them (nodeprep, SASLprep) is the caller's work.
//
// Without a verdict the error wraps ErrTimeout, ErrBusy, ErrBadReply, ErrQuery, ErrDied, ErrStart, ErrClosed or, if
// ctx was cancelled, context.Canceled. No error holds the password.
func (p *Pool) Auth(ctx context.Context, user, host, password string) (bool, error) {
	return p.query(ctx, &query{verb: "auth", user: user, host: host, password: password, hasPassword: true}, true)
}

// IsUser asks whether user exists at host. Everything else is as for Auth.
func (p *Pool) IsUser(ctx context.Context, user, host string) (bool, error) {
	return p.query(ctx, &query{verb: "isuser", user: user, host: host}, true)
}

// SetPass asks to change user's password. It is as Auth, but never asked twice: after an error the script may have
// changed the password or not.
func (p *Pool) SetPass(ctx context.Context, user, host, password string) (bool, error) {
	return p.query(ctx, &query{verb: "setpass", user: user, host: host, password: password, hasPassword: true}, false)
}

// TryRegister asks to make a new account (ejabberd's tryregister). As SetPass, it is never asked twice.
func (p *Pool) TryRegister(ctx context.Context, user, host, password string) (bool, error) {
	return p.query(ctx, &query{verb: "tryregister", user: user, host: host, password: password, hasPassword: true}, false)
}

// RemoveUser asks to remove an account (ejabberd's removeuser). As SetPass, it is never asked twice.
func (p *Pool) RemoveUser(ctx context.Context, user, host string) (bool, error) {
	return p.query(ctx, &query{verb: "removeuser", user: user, host: host}, false)
}

// RemoveUser3 asks to remove an account if password is right (ejabberd's removeuser3). As SetPass, it is never asked
// twice.
func (p *Pool) RemoveUser3(ctx context.Context, user, host, password string) (bool, error) {
	return p.query(ctx, &query{verb: "removeuser3", user: user, host: host, password: password, hasPassword: true}, false)
}

// query runs q from its arrival to its verdict, in the caller's goroutine.
func (p *Pool) query(ctx context.Context, q *query, again bool) (bool, error) {
	if err := q.check(); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil {
		return false, notSent(err)
	}
	t := timing{arrived: time.Now(), settings: p.settings.Load()}
	t.deadline = t.arrived.Add(t.settings.Timeout)
	if d, ok := ctx.Deadline(); ok {
		t.limit = d
		t.deadline = earliest(t.deadline, d)
	}
	info, _ := ctx.Value(infoKey{}).(*Info)
	if info == nil {
		info = new(Info)
	} else {
		*info = Info{}
	}
	// Workers that were found dead or talking before anything was written do not count as a try, but they are
	// bounded: at worst each of the pool's workers is one, and then a fresh one as well.
	for unusable := 0; ; {
		w, err := p.acquire(ctx, &t)
		if err != nil {
			info.Queue += time.Since(t.arrived) - info.Script
			return false, err
		}
		begun := time.Now()
		info.Worker, info.PID = w.id, w.pid
		info.Queue = begun.Sub(t.arrived) - info.Script
		yes, err := w.ask(q, t.deadline, t.startLimit(w))
		took := time.Since(begun)
		info.Script += took
		info.Tries++
		p.trace(w, Event{Kind: EventVerdict, Yes: yes, Err: err, After: took})
		if err == nil {
			p.release(w)
			return yes, nil
		}
		died := err == errGone || errors.Is(err, ErrDied)
		closed := p.destroy(w, err)
		switch {
		case err == errNo:
			return false, nil
		case died && closed:
			return false, fmt.Errorf("worker %d: %w before it answered", w.id, ErrClosed)
		case (err == errGone || err == errIntruded) && unusable <= t.settings.Processes:
			unusable++
			info.Tries--
			continue
		case err == errGone:
			err = ErrDied
		case died && again:
			again = false
			continue
		}
		return false, fmt.Errorf("worker %d: %w", w.id, err)
	}
}

// notSent says that the context ended while nothing had been written. A deadline is a timeout, whoever set it.
func notSent(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: the caller's deadline passed before the query was sent", ErrTimeout)
	}
	return fmt.Errorf("query not sent: %w", err)
}

// timing is a query's absolute deadlines. A reload changes them for queries to come only.
type timing struct {
	settings *settings // the pool's when the query arrived
	arrived  time.Time
	deadline time.Time
	limit    time.Time // the context's deadline, or zero
}

// capped returns at, or the context's deadline if that is earlier.
func (t *timing) capped(at time.Time) time.Time {
	if t.limit.IsZero() {
		return at
	}
	return earliest(at, t.limit)
}

// startLimit is how far the deadline may move while w, a fresh process, has not read the query.
func (t *timing) startLimit(w *worker) time.Time {
	at := w.born.Add(t.settings.StartTimeout)
	if at.Before(t.deadline) {
		at = t.deadline
	}
	return t.capped(at)
}
