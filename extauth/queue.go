package extauth

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// waiter is a query that waits for a worker.
type waiter struct {
	ch     chan grant // of room for one: the giver never blocks
	timing            // under Pool.mu
}

// grant is what a waiter gets: a worker that is now its own, or the reason why it gets none.
type grant struct {
	w   *worker
	err error
}

// suspicion is how long every answer is waited out for quietTime after the script has written more than it was
// asked. A second answer that comes while the next query is on its way looks like the answer to
// that; then the true one follows, and gives it away.
const suspicion = time.Minute

// coldTick is how often a query looks again whether the pool's first worker is up.
const coldTick = 20 * time.Millisecond

// acquire returns a worker that belongs to the caller until release or destroy. Among idle workers it takes the one
// that has been idle longest. Taking the one used last would keep its memory warmer, but a script that answers twice
// would get its next query just when the second answer is due; so it has the most time to be found out. If none is
// idle it waits; the earliest deadline is served first, which is first come first served where all have Timeout.
func (p *Pool) acquire(ctx context.Context, t *timing) (*worker, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	if len(p.idle) > 0 {
		w := p.idle[0]
		p.idle = slices.Delete(p.idle, 0, 1)
		p.take(w, t.arrived)
		p.mu.Unlock()
		return w, nil
	}
	gen := p.gen
	if gen.live == 0 && gen.notUntil.After(t.deadline) {
		err := fmt.Errorf("%w: the next start is %v away: %v", ErrDied,
			time.Until(gen.notUntil).Round(time.Millisecond), gen.lastErr)
		p.mu.Unlock()
		return nil, err
	}
	// A waiter for whom a process can be started is not one for whom there is no room.
	now := p.settings.Load()
	startable := max(0, now.Processes-gen.live)
	if p.waiters.Len() >= now.Queue+startable {
		p.mu.Unlock()
		return nil, fmt.Errorf("%w (%d waiting); more external_auth_processes or a faster script would help",
			ErrBusy, now.Queue)
	}
	me := &waiter{ch: make(chan grant, 1), timing: *t}
	at := p.enqueue(me)
	if startable > 0 {
		p.wakeStarter()
	}
	p.mu.Unlock()

	timer := time.NewTimer(time.Until(t.deadline))
	defer timer.Stop()
	for {
		select {
		case g := <-me.ch:
			t.deadline = me.deadline // nobody else knows me any more
			return g.w, g.err
		case <-ctx.Done():
		case <-timer.C:
			if d, ok := p.extend(me); ok {
				timer.Reset(d)
				continue
			}
		}
		p.mu.Lock()
		p.waiters.Remove(at) // does nothing if a grant came in between
		p.mu.Unlock()
		select {
		case g := <-me.ch:
			if g.w != nil {
				p.handBack(g.w)
			}
		default:
		}
		if err := ctx.Err(); err != nil && err != context.DeadlineExceeded {
			return nil, notSent(err)
		}
		return nil, p.noWorker(t)
	}
}

// enqueue puts a waiter behind those whose deadline is no later. Most come with Timeout and go to the end. The deadlines
// of those who wait for a first worker are moved (extend, credit), so that the order is not exact there. The caller holds
// p.mu.
func (p *Pool) enqueue(me *waiter) *list.Element {
	for at := p.waiters.Back(); at != nil; at = at.Prev() {
		if !at.Value.(*waiter).deadline.After(me.deadline) {
			return p.waiters.InsertAfter(me, at)
		}
	}
	return p.waiters.PushFront(me)
}

// extend is asked when the deadline of a waiter has come. Before the first worker of a generation is up, nothing is
// charged to those who wait for it, within StartTimeout; then they have Timeout, as if they had just come.
func (p *Pool) extend(me *waiter) (again time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.gen.warmAt.IsZero() && p.gen.live > 0 {
		me.deadline = me.capped(earliest(now.Add(coldTick), me.arrived.Add(me.settings.StartTimeout)))
	} else {
		p.credit(me)
	}
	return me.deadline.Sub(now), me.deadline.After(now)
}

// credit moves the deadline of a query that came before the generation's first worker was up. The caller holds p.mu.
func (p *Pool) credit(me *waiter) {
	if p.gen.warmAt.After(me.arrived) {
		me.deadline = me.capped(p.gen.warmAt.Add(me.settings.Timeout))
	}
}

func (p *Pool) noWorker(t *timing) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timeouts++
	waited := time.Since(t.arrived).Round(time.Millisecond)
	if p.gen.live == 0 && p.gen.lastErr != nil {
		return fmt.Errorf("%w: no worker within %v; the last one: %v", ErrTimeout, waited, p.gen.lastErr)
	}
	return fmt.Errorf("%w: no free worker within %v; more external_auth_processes or a faster script would help",
		ErrTimeout, waited)
}

// take marks w as somebody's. The caller holds p.mu.
func (p *Pool) take(w *worker, now time.Time) {
	w.busy, w.taken = true, now
	w.suspect = now.Before(w.gen.suspectUntil)
	w.typical = w.gen.typical
	w.rushed = now.Before(w.freed.Add(2*w.typical + quietTime))
	p.busy++
}

// place finds work for w, which is nobody's, or ends it if the pool has no room for it any more: it is of an earlier
// generation, or one too many. The caller holds p.mu.
func (p *Pool) place(w *worker) {
	if w.gen != p.gen || w.gen.live > p.settings.Load().Processes {
		p.retire(w)
	} else {
		p.give(w)
	}
}

// give hands w, which is nobody's, to the waiter with the earliest deadline, or puts it among the idle. A waiter whose
// time is nearly over gets an error instead: its query would time out, and cost the worker its life and everybody
// behind it a start. The caller holds p.mu.
func (p *Pool) give(w *worker) {
	now := time.Now()
	for at := p.waiters.Front(); at != nil; at = p.waiters.Front() {
		me := p.waiters.Remove(at).(*waiter)
		p.credit(me)
		if !p.gen.warmAt.IsZero() && me.deadline.Sub(now) < p.shortest() {
			p.timeouts++
			me.ch <- grant{err: fmt.Errorf("%w: a worker came free too late to answer in time; "+
				"more external_auth_processes or a faster script would help", ErrTimeout)}
			continue
		}
		p.take(w, now)
		me.ch <- grant{w: w}
		return
	}
	p.idle = append(p.idle, w)
}

// shortest is the time below which a query is not worth a worker: what the script takes on average, but never more
// than half the timeout.
func (p *Pool) shortest() time.Duration {
	timeout := p.settings.Load().Timeout
	return min(max(p.gen.typical, timeout/20), timeout/2)
}

// handBack returns a worker that was not asked anything.
func (p *Pool) handBack(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.putBack(w)
}

// release returns a worker that has answered.
func (p *Pool) release(w *worker) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	w.answers++
	w.freed = now
	w.gen.answered(w)
	p.putBack(w)
}

// putBack ends the caller's hold on w. The caller holds p.mu.
func (p *Pool) putBack(w *worker) {
	w.busy = false
	p.busy--
	if w.orphan {
		w.orphan = false
		p.endedByItself(w)
		w.gen.prestart = true // as in destroy
	}
	if w.retired {
		p.finish(w)
	} else {
		p.place(w)
	}
	if p.closed && p.busy == 0 {
		close(p.drained)
	}
}

// destroy ends the caller's hold on a worker that must not be asked again, kills it, and says whether the pool is
// closed. cause is why.
func (p *Pool) destroy(w *worker, cause error) (closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(cause, ErrTimeout) {
		p.timeouts++
	}
	if !w.retired {
		p.lose(w)
		if cause == errGone || errors.Is(cause, ErrDied) {
			p.endedByItself(w)
		} else {
			w.gen.lastErr = fmt.Errorf("worker %d: %w", w.id, cause)
		}
		// Whether it was the query or the script shows at once, and not with the next login.
		w.gen.prestart = true
		if cause == errIntruded || cause == errEarly || cause == errMany {
			w.gen.suspectUntil = time.Now().Add(suspicion)
		}
	}
	p.putBack(w)
	p.wakeStarter()
	return p.closed
}
