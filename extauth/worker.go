package extauth

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

const (
	// quietTime: an answer without a line end, or from a script that is suspected of saying more than it is asked,
	// counts when nothing follows for this long.
	quietTime = 50 * time.Millisecond
	// readTick is how long a script has to read a query before it is suspected to be busy with something else.
	readTick = 5 * time.Millisecond
	// startTick is how often a worker that has not read its first query yet is looked at.
	startTick = 20 * time.Millisecond
	// bannerTime is what an answer is assumed to take if the script has said something unasked lately and this process
	// has not answered yet.
	bannerTime = 500 * time.Millisecond
	// exitWait is how long a query whose worker closed its output waits to learn how the process ended.
	exitWait = 200 * time.Millisecond
	// lastWords is how long output may still arrive after the process ended, from what it left behind.
	lastWords = 50 * time.Millisecond
)

// worker is one process and its streams. One query has it at a time; that query alone touches the fields without a
// guard. Its life in the pool (busy, live) is guarded by Pool.mu.
type worker struct {
	id   int
	pid  int
	pool *Pool
	gen  *generation
	proc *process
	io   *transport
	err  *stderrLog

	exited chan struct{} // closed when the process is reaped and status is set
	status string        // how the process ended; read after exited

	born    time.Time
	files   []stamp // what the process was started from
	started bool    // it has been seen to read a query: its start is over
	owes    owed
	buf     [256]byte
	out     [maxFrameBytes + 1]byte

	mu    sync.Mutex // guards the fields below, and the order of read deadlines
	gone  bool       // the process has ended; reads are bounded by lastWords
	armed time.Time  // the read deadline

	answers int       // under Pool.mu: queries answered
	busy    bool      // under Pool.mu: a query or its release holds it
	retired bool      // under Pool.mu: killed or ended, no longer part of the pool
	orphan  bool      // under Pool.mu: it ended by itself while a query held it, which knows whether it has answered
	taken   time.Time // under Pool.mu: when it became busy last
	suspect bool      // the script said something unasked not long before the worker was taken; the query reads it

	// For queries that come right behind an answer.
	freed   time.Time     // under Pool.mu: when it was given back
	rushed  bool          // it was taken again so soon that the script may not be through; the query reads it
	typical time.Duration // generation.typical when it was taken; the query reads it
	said    time.Time     // when its last answer came; only the query that has the worker uses it
	thought time.Duration // how long that took; only the query that has the worker uses it
}

// errGone: the worker ended before a byte of q was written. Another worker can be asked, whatever the query is.
var errGone = errors.New("worker is gone")

// The script said more than it was asked. The pool is suspicious of it for a while.
var (
	// errIntruded: bytes came between two queries. Nothing was written; another worker can be asked.
	errIntruded = fmt.Errorf("%w: the script wrote something although it was not asked", ErrBadReply)
	errEarly    = fmt.Errorf("%w: the script answered before it had read the query", ErrBadReply)
	// errNo is not a fault of the query, which it answers, but of the worker.
	errNo   = fmt.Errorf("%w: there is more behind the answer", ErrBadReply)
	errMany = fmt.Errorf("%w: there is more than one answer to one query", ErrBadReply)
)

// arm sets the read deadline, which is never later than lastWords after the end of the process.
func (w *worker) arm(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.gone {
		w.armed = at
		w.io.setReadDeadline(at)
	}
}

// armTick makes sure that reads end within tick from now, and in any case at at. If a deadline from an earlier query is
// due within that time it is left alone, since moving a timer costs more than the whole of a fast query otherwise;
// await finds out that it was early.
func (w *worker) armTick(now, at time.Time, tick time.Duration) {
	next := earliest(at, now.Add(tick))
	w.mu.Lock()
	keep := w.armed.After(now) && !w.armed.After(next)
	w.mu.Unlock()
	if !keep {
		w.arm(next)
	}
}

// ended bounds all reads from now on.
func (w *worker) ended() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = true
	w.io.setReadDeadline(time.Now().Add(lastWords))
}

func (w *worker) hasEnded() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gone
}

// ask writes q and reads its answer. Any error but errGone and errIntruded comes from a worker that may still answer
// q: it must be killed, and so must the other two. at is the deadline, hard the moment up to which the time of a
// process's start may move it.
func (w *worker) ask(q *query, at, hard time.Time) (bool, error) {
	if err := w.checkSilent(); err != nil {
		return false, err
	}
	if q.hasPassword {
		w.err.hide(q.password)
	}
	frame := w.gen.Protocol.appendQuery(w.out[:0], q)
	n, err := w.io.writeNow(frame)
	clear(frame)
	w.pool.traceQuery(w, *q)
	switch {
	case err == errWouldBlock, err == nil && n < len(frame):
		return false, fmt.Errorf("%w: the script does not read its queries", ErrBadReply)
	case err != nil:
		return false, errGone
	}
	return w.await(q, at, hard)
}

// checkSilent makes sure that nothing waits to be read: it would be taken for the answer to the query that is about to
// be written (defect D2). Only the line end of an answer that came without one is let through.
func (w *worker) checkSilent() error {
	n, err := w.io.readNow(w.buf[:])
	if err == errWouldBlock {
		return nil
	}
	if err != nil || n == 0 {
		return errGone
	}
	var rest []byte
	if rest, w.owes = w.owes.take(w.buf[:n]); len(rest) > 0 {
		w.pool.traceReceived(w, w.buf[:n], "")
		return errIntruded
	}
	return w.checkSilent()
}

// await reads the answer to q, which has just been written. Until the script has read the query, it looks every tick
// whether it has: a script that takes its time is still busy with something else, and what it writes next may belong
// to that.
func (w *worker) await(q *query, at, hard time.Time) (bool, error) {
	a := attempt{worker: w, wrote: time.Now(), at: at, hard: hard, tick: readTick}
	if !w.started {
		// What a new process says first may be a banner.
		a.tick, a.late, a.fresh = startTick, true, true
	}
	w.armTick(a.wrote, at, a.tick)
	n, state, yes := 0, replyMore, false
	for {
		m, err := w.io.out.Read(w.buf[n:])
		if err != nil && w.hasEnded() {
			m = w.lastBytes(w.buf[n:])
		}
		if m > 0 {
			w.pool.traceReceived(w, w.buf[n:n+m], q.password)
			n += m
			a.begun()
			body, _ := w.owes.take(w.buf[:n])
			state, yes = w.gen.Protocol.decode(body)
			a.came = time.Now()
		}
		ended := err != nil && (!errors.Is(err, os.ErrDeadlineExceeded) || w.hasEnded())
		switch {
		case state == replyMany:
			return false, errMany
		case state == replyNo:
			if _, err := a.accept(false, owesNothing); err != nil {
				return false, err
			}
			return false, errNo
		case state == replyBad, n == len(w.buf):
			return false, fmt.Errorf("%w: %s", ErrBadReply, describe(w.gen.Protocol))
		case ended:
			return a.lastAnswer(n, state, yes)
		case state == replyDone && (err != nil || !a.late && !w.suspect && !a.hasty()):
			return a.accept(yes, owesNothing)
		case state == replyQuiet && err != nil:
			return a.accept(yes, owesLineEnd)
		case state == replyDone, state == replyQuiet:
			w.arm(time.Now().Add(a.patience()))
		case err == nil:
			w.arm(a.at)
		default:
			if err := a.overdue(); err != nil {
				return false, err
			}
		}
	}
}

// attempt is what await knows about the query besides the answer.
type attempt struct {
	*worker
	wrote    time.Time
	at, hard time.Time // the deadline, and how far the start of the process may move it
	tick     time.Duration
	read     bool      // the script has read the query
	seen     bool      // it was seen to have read it and said nothing yet: what it says now is an answer to it
	came     time.Time // its answer, as far as there is one
	late     bool      // it had not done so when it was looked at first, or is new
	fresh    bool      // it is new
}

// hasty reports whether the answer came much sooner than the script's answers do, right behind the one before, from a
// script that was not seen to read the query. Such an answer may be a second one to the query before, with the true
// one still to come.
func (a *attempt) hasty() bool {
	return a.rushed && !a.seen && a.typical > 4*readTick && a.came.Sub(a.wrote) < a.typical/4
}

// patience is how long nothing must follow an answer that is in doubt. If it belongs to the query before, then the
// script turns to this query only now, and takes as long for it as it does for others: that many queries would get the
// verdict of the one before as stand in the queue. What it takes shows in its other answers, or in how long it has
// left this query unread.
func (a *attempt) patience() time.Duration {
	if a.seen {
		return quietTime
	}
	takes := a.typical
	switch {
	case a.fresh && a.suspect:
		// It may well be a banner, and how long the answers of a script take that begins with one is not known.
		takes = max(takes, bannerTime)
	case a.fresh:
	case a.late:
		takes = max(takes, a.came.Sub(a.wrote))
		if a.rushed {
			takes = max(takes, a.came.Sub(a.said))
		}
	}
	return max(quietTime, min(2*takes, time.Until(a.at)))
}

// begun notes that the script has read the query. The time that a new process needed to get there is not charged to
// the query.
func (a *attempt) begun() {
	if a.read {
		return
	}
	a.read = true
	if !a.started {
		a.started = true
		now := time.Now()
		a.at = earliest(a.at.Add(now.Sub(a.wrote)), a.hard)
		a.pool.warmedUp(a.gen, now)
	}
}

// overdue is called when a read deadline has passed without an answer. It arms the next one, or gives up.
func (a *attempt) overdue() error {
	now := time.Now()
	if !a.read && a.io.unread() <= 0 {
		a.seen = !a.io.readable()
		a.begun()
		if now.Before(a.at) {
			a.arm(a.at)
			return nil
		}
	}
	limit := a.at
	if !a.started {
		limit = a.hard
		if !a.read && changed(a.files) {
			// Whoever mended a script that hangs at its start is not to wait until it is given up.
			return fmt.Errorf("%w: its file was changed while it had not read its first query", ErrDied)
		}
	}
	if !a.read && now.Before(limit) {
		next := a.wrote.Add(a.tick)
		if !now.Before(next) {
			a.late = true
			next = now.Add(a.tick)
		}
		a.arm(earliest(next, limit))
		return nil
	}
	switch took := now.Sub(a.wrote).Round(time.Millisecond); {
	case !a.started:
		a.pool.warmedUp(a.gen, now)
		return fmt.Errorf("%w: the script was started %v ago and has not read its query; "+
			"see gatehouse_external_auth_start_timeout", ErrTimeout, now.Sub(a.born).Round(time.Millisecond))
	case !a.read:
		return fmt.Errorf("%w: the script has not read its query within %v", ErrTimeout, took)
	default:
		return fmt.Errorf("%w: no reply within %v; is the script's back end slow? see external_auth_timeout",
			ErrTimeout, took)
	}
}

// lastAnswer judges the n bytes that were read before the end of the stream, or of the process while something that it
// left behind holds its output open.
func (a *attempt) lastAnswer(n int, state reply, yes bool) (bool, error) {
	body, _ := a.owes.take(a.buf[:n])
	switch {
	case state == replyDone, state == replyQuiet:
		return a.accept(yes, owesNothing)
	case len(body) > 0:
		return false, fmt.Errorf("%w: the script ended in the middle of it%s", ErrBadReply, a.obituary())
	}
	return false, fmt.Errorf("%w%s", ErrDied, a.obituary())
}

// accept takes a complete answer, unless the script has not even read the query: then it is the answer to something
// else, a banner or the second answer to the query before.
func (a *attempt) accept(yes bool, owes owed) (bool, error) {
	if a.io.unread() > 0 {
		return false, errEarly
	}
	a.owes = owes
	a.said, a.thought = a.came, a.came.Sub(a.wrote)
	return yes, nil
}

// lastBytes reads what a process that has ended left in its output.
func (w *worker) lastBytes(b []byte) int {
	n, err := w.io.readNow(b)
	if err != nil {
		return 0
	}
	return n
}

// obituary waits a moment for the process to end, and says how it did and what it wrote to standard error.
func (w *worker) obituary() string {
	timer := time.NewTimer(exitWait)
	defer timer.Stop()
	select {
	case <-w.exited:
	case <-timer.C:
	}
	return " (" + w.ending() + ")" + w.err.suffix()
}

// diedIdle is the error of a process that ended although it was not asked to. It may be called once w has exited, or
// has closed its output.
func (w *worker) diedIdle() error {
	return fmt.Errorf("worker %d: %w (%s after %v)%s", w.id, ErrDied, w.ending(),
		time.Since(w.born).Round(time.Millisecond), w.err.suffix())
}

// ending says how the process ended.
func (w *worker) ending() string {
	select {
	case <-w.exited:
		return w.status
	default:
		return "it closed its output"
	}
}

func describe(p Protocol) string {
	if p == Ejabberd {
		return "it is neither 00 02 00 00 nor 00 02 00 01; does the script speak the ejabberd protocol?"
	}
	return `it is neither a line "0" nor a line "1"; print nothing else to standard output`
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// watch waits for the end of the process, drains what is left of its standard error and tells the pool. It is the
// worker's only goroutine besides the one that reads standard error, and waits for that one.
func (w *worker) watch() {
	defer w.pool.watchers.Done()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		w.err.drain(w.io.stderr)
	}()
	w.status = w.proc.wait()
	w.ended()
	// Something that left the process group may hold the pipe open for ever.
	_ = w.io.stderr.SetReadDeadline(time.Now().Add(lastWords))
	<-drained
	close(w.exited)
	w.pool.trace(w, Event{Kind: EventExited, Data: []byte(w.status)})
	w.pool.workerEnded(w)
}

// newWorker opens the streams and starts the process. See startProcess for the thread it has to run on.
func newWorker(p *Pool, gen *generation, id int) (*worker, error) {
	io, child, err := openTransport(gen.PTY)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStart, err)
	}
	defer child.close()
	files := stampFiles(&gen.Config)
	proc, err := startProcess(gen.settings, &child)
	if err != nil {
		io.close()
		return nil, err
	}
	w := &worker{
		id: id, pid: proc.pid, pool: p, gen: gen, proc: proc, io: io, files: files,
		exited: make(chan struct{}), born: time.Now(),
	}
	w.err = newStderrLog(w)
	p.trace(w, Event{Kind: EventStarted})
	return w, nil
}
