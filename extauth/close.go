package extauth

import (
	"context"
	"fmt"
)

// Close ends the pool: queries that wait get ErrClosed, those in flight are waited for until ctx ends, and then every
// worker is asked to end (SIGTERM) and, half a second later or when ctx ends, killed. When Close returns nil, no
// process, goroutine or descriptor of the pool is left. It returns an error that wraps ctx's if queries in flight
// had to be cut off; they get ErrClosed. A second call waits for the first, until its own ctx ends.
//
// Close cannot end before the kernel lets go of the processes: a script in an uninterruptible sleep (a dead NFS
// server) holds it up.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		select {
		case <-p.gone:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("close pool: %w", ctx.Err())
		}
	}
	p.closed = true
	close(p.stop)
	for at := p.waiters.Front(); at != nil; at = p.waiters.Front() {
		p.waiters.Remove(at).(*waiter).ch <- grant{err: ErrClosed}
	}
	if p.busy == 0 {
		close(p.drained)
	}
	p.mu.Unlock()

	var cut error
	select {
	case <-p.drained:
	case <-ctx.Done():
		p.mu.Lock()
		if p.busy > 0 {
			cut = fmt.Errorf("close pool: %d queries cut off: %w", p.busy, ctx.Err())
		}
		p.mu.Unlock()
	}
	p.mu.Lock()
	for w := range p.workers {
		p.retire(w)
	}
	p.mu.Unlock()
	stopKilling := context.AfterFunc(ctx, p.killAll)
	<-p.done
	<-p.drained // queries that were cut off let go of their workers, which closes the last files
	stopKilling()
	close(p.gone)
	return cut
}

func (p *Pool) killAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.workers {
		w.proc.kill()
	}
}
