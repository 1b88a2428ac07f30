package extauth

import (
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
		case u := <-p.trials:
			p.startTrial(u)
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
	gen := p.gen
	wanted := !p.closed && gen.live < p.settings.Load().Processes && len(p.idle) == 0 &&
		(p.waiters.Len() > 0 || gen.prestart && gen.live == 0)
	wait := time.Until(gen.notUntil)
	p.mu.Unlock()
	if !wanted {
		return false
	}
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.wake: // a reload may have made the wait pointless
		case u := <-p.trials:
			p.startTrial(u)
		case <-p.stop:
			return false
		}
		return true // look again: those who waited may have gone
	}
	w, err := p.launch(gen)
	if err != nil {
		again, unheard := p.startFailed(gen, err)
		if unheard {
			p.settings.Load().log.Warn("auth script cannot be started", "err", err)
		}
		return again
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	gen.prestart = false
	switch {
	case p.closed:
		p.retire(w)
		return false
	case !w.retired: // else it has ended already
		p.place(w)
	}
	return true
}

// launch starts a worker that is nobody's yet. Only the starter may call it.
func (p *Pool) launch(gen *generation) (*worker, error) {
	p.lastID++
	w, err := newWorker(p, gen, p.lastID)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.workers[w] = struct{}{}
	gen.live++
	p.mu.Unlock()
	p.watchers.Add(1)
	go w.watch()
	return w, nil
}

// startFailed tells the waiters, if no other worker can serve them, and reports whether it makes sense to look again,
// and whether nobody heard of it. There is no back-off: a failed start costs little, and when the file is back the
// next query must find it.
func (p *Pool) startFailed(gen *generation, err error) (again, unheard bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if gen != p.gen {
		return true, false // the script that could not be started is not asked any more
	}
	unheard = p.waiters.Len() == 0
	gen.prestart = false
	gen.lastErr = err
	if gen.live > 0 {
		return false, unheard
	}
	for at := p.waiters.Front(); at != nil; at = p.waiters.Front() {
		p.waiters.Remove(at).(*waiter).ch <- grant{err: err}
	}
	return false, unheard
}

// warmedUp notes that a worker reads, or failed to begin to: the grace for the first start of gen is over.
func (p *Pool) warmedUp(gen *generation, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if gen.warmAt.IsZero() {
		gen.warmAt = at
	}
}

// lose is retire for a worker that ended or misbehaved. The caller holds p.mu.
func (p *Pool) lose(w *worker) {
	p.retire(w)
	if w.gen == p.gen && !p.closed {
		p.restarts++
	}
}

// retire takes w out of the pool and sees to its end. The caller holds p.mu.
func (p *Pool) retire(w *worker) {
	if w.retired {
		return
	}
	w.retired = true
	w.gen.live--
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
		p.lose(w)
		if w.busy {
			w.orphan = true
		} else {
			fault = p.endedByItself(w)
		}
	}
	p.finish(w)
	inARow := w.gen.deaths
	p.mu.Unlock()
	if fault {
		p.settings.Load().log.Warn("auth script ended without an answer; run the command by hand to see why",
			"worker", w.id, "status", w.ending(), "in_a_row", inARow, "stderr", w.err.last())
	}
}

// endedByItself decides what the end of w, which nobody asked for, means for the next start, and reports whether it is
// a fault. A worker that has answered is a one-shot script, or one that its operator replaced: no fault, and the next
// one is started before it is needed. Nor is it a fault of the pool's if w is not of the present generation. The
// caller holds p.mu.
func (p *Pool) endedByItself(w *worker) bool {
	if p.closed {
		return false
	}
	p.wakeStarter()
	if w.answers > 0 {
		w.gen.prestart = true
		return false
	}
	w.gen.deaths++
	w.gen.notUntil = time.Now().Add(pause(w.gen.deaths))
	w.gen.lastErr = w.diedIdle()
	return w.gen == p.gen
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
