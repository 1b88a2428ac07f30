package extauth

import (
	"fmt"
	"runtime"
	"time"
)

const (
	// firstPause and longestPause bound the back-off after processes that ended without any answer. The first such
	// end costs no pause, so that a single death is repaired within the query that saw it.
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
	// termGrace is the time between SIGTERM and SIGKILL.
	termGrace = 500 * time.Millisecond
)

// pause is the back-off after n processes in a row without an answer.
func pause(n int) time.Duration {
	if n < 2 {
		return 0
	}
	return min(firstPause<<min(n-2, 10), longestPause)
}

// wakeStarter makes the starter look at the pool. It never blocks, and one pending wake is as good as many, since
// the starter acts on the state and not on the wake.
func (p *Pool) wakeStarter() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// runStarter is the goroutine that starts all processes of the pool. It keeps its thread to itself and alive until
// the last worker is reaped, because the kernel sends a child's death signal when the thread that forked it ends.
func (p *Pool) runStarter() {
	runtime.LockOSThread()
	defer close(p.done)
	for {
		select {
		case <-p.wake:
		case <-p.stop:
			p.watchers.Wait()
			return
		}
		for p.startOne() {
		}
	}
}

// startOne starts a process if one is needed now, after the back-off. It reports whether it makes sense to look again.
func (p *Pool) startOne() bool {
	p.mu.Lock()
	wanted := !p.closed && p.live < p.cfg.Processes && len(p.idle) == 0 &&
		(p.waiters.Len() > 0 || p.prestart && p.live == 0)
	wait := time.Until(p.notUntil)
	p.mu.Unlock()
	if !wanted {
		return false
	}
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
			return true // look again: those who waited may have gone
		case <-p.stop:
			return false
		}
	}
	p.lastID++
	w, err := newWorker(p, p.lastID)
	if err != nil {
		if p.startFailed(err) {
			p.log.Warn("auth script cannot be started", "err", err)
		}
		return false
	}
	p.watchers.Add(1)
	go w.watch()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.prestart = false
	p.workers[w] = struct{}{}
	p.live++
	if p.closed {
		p.retire(w)
		return false
	}
	p.give(w)
	return true
}

// startFailed tells the waiters, if no other worker can serve them, and reports whether nobody heard of it. There is
// no back-off: a failed start costs little, and when the file is back the next query must find it.
func (p *Pool) startFailed(err error) (unheard bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	unheard = p.waiters.Len() == 0
	p.prestart = false
	p.lastErr = err
	if p.live > 0 {
		return unheard
	}
	for at := p.waiters.Front(); at != nil; at = p.waiters.Front() {
		p.waiters.Remove(at).(*waiter).ch <- grant{err: err}
	}
	return unheard
}

// warmedUp notes that a worker reads, or failed to begin to: the grace for the pool's first start is over.
func (p *Pool) warmedUp(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.warmAt.IsZero() {
		p.warmAt = at
	}
}

// retire takes w out of the pool and sees to its end. The caller holds p.mu.
func (p *Pool) retire(w *worker) {
	if w.retired {
		return
	}
	w.retired = true
	p.live--
	if !p.closed {
		p.restarts++
	}
	for i, v := range p.idle {
		if v == w {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			break
		}
	}
	w.proc.terminate(termGrace)
}

// workerEnded is called once for each worker, after its process has been reaped.
func (p *Pool) workerEnded(w *worker) {
	p.mu.Lock()
	fault := false
	if !w.retired {
		p.retire(w)
		fault = p.endedByItself(w)
	}
	p.finish(w)
	inARow := p.deaths
	p.mu.Unlock()
	if fault {
		p.log.Warn("auth script ended without an answer; run the command by hand to see why",
			"worker", w.id, "status", w.ending(), "in_a_row", inARow, "stderr", w.err.last())
	}
}

// endedByItself decides what the end of w, which nobody asked for, means for the next start, and reports whether it is
// a fault. A worker that has answered is a one-shot script, or one that its operator replaced: no fault, and the next
// one is started before it is needed. The caller holds p.mu.
func (p *Pool) endedByItself(w *worker) bool {
	if p.closed {
		return false
	}
	p.wakeStarter()
	if w.answers > 0 {
		p.prestart = true
		return false
	}
	p.deaths++
	p.notUntil = time.Now().Add(pause(p.deaths))
	p.lastErr = fmt.Errorf("worker %d: %w (%s after %v)%s", w.id, ErrDied, w.ending(),
		time.Since(w.born).Round(time.Millisecond), w.err.suffix())
	return true
}

// finish forgets a retired worker that is reaped and that no query holds, and closes its files. The caller holds p.mu.
func (p *Pool) finish(w *worker) {
	if w.busy {
		return
	}
	select {
	case <-w.exited:
	default:
		return
	}
	if _, ok := p.workers[w]; !ok {
		return
	}
	delete(p.workers, w)
	w.io.close()
}
