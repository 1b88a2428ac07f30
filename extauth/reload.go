package extauth

import (
	"context"
	"fmt"
	"time"
)

// trialTime is how long the first worker of a new generation has to stay alive without being asked before queries are
// entrusted to it. A script that cannot do its work mostly ends at once: the interpreter finds a syntax error, or the
// script no database.
const trialTime = 150 * time.Millisecond

// Update is a change of a pool that was checked and has not happened yet. Whoever has it must call Apply or Discard;
// until then no other Update of the pool can be prepared.
type Update struct {
	pool     *Pool
	settings *settings
	gen      *generation // of the processes that take over, or nil if the present ones stay
	started  chan error  // has room for one: what came of the start of the trial worker

	over  bool    // under Pool.mu: applied or discarded
	trial *worker // under Pool.mu: the first worker of gen
}

// NewTriedPool is NewPool for a reload, where a script that cannot do its work shall not take the place of something
// else: it blocks until the first process has stayed alive for 150 ms, but not beyond the end of ctx. Without a pool
// nothing is left, and the error is as that of Prepare.
func NewTriedPool(ctx context.Context, cfg Config) (*Pool, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := newPool(cfg)
	go p.runStarter()
	// A generation of its own, so that the end of its process is no fault of the pool's.
	u := &Update{pool: p, settings: p.settings.Load(), gen: newGeneration(p.gen.n+1, p.settings.Load()), started: make(chan error, 1)}
	p.update <- struct{}{} // until the end of u
	if err := u.try(ctx); err != nil {
		u.Discard()
		_ = p.Close(ctx) // nobody was asked
		return nil, err
	}
	u.Apply()
	return p, nil
}

// Prepare checks cfg and makes the pool ready for it, while it works on unchanged. If cfg asks for other processes
// (command, directory, environment, protocol, terminal), or a file that the command names was written, replaced,
// removed or made since those of now were first started, one process of the new kind is started and must stay alive
// for 150 ms. Otherwise nothing is started.
//
// It blocks for that time, and before it while another Update is pending, but not beyond the end of ctx. Without an
// Update nothing has changed, and the error wraps ErrConfig, ErrStart or ErrDied (with what the script wrote last to
// standard error), ErrClosed, or ctx's error.
func (p *Pool) Prepare(ctx context.Context, cfg Config) (*Update, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	select {
	case p.update <- struct{}{}:
	case <-p.stop:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("another update is pending: %w", ctx.Err())
	}
	u := &Update{pool: p, settings: newSettings(cfg), started: make(chan error, 1)}
	p.mu.Lock()
	gen, closed := p.gen, p.closed
	p.mu.Unlock()
	switch {
	case closed:
		u.Discard()
		return nil, ErrClosed
	case gen.serves(u.settings):
		return u, nil
	}
	u.gen = newGeneration(gen.n+1, u.settings)
	if err := u.try(ctx); err != nil {
		u.Discard()
		return nil, err
	}
	return u, nil
}

// try has the trial worker started, and watches it for a while.
func (u *Update) try(ctx context.Context) error {
	p := u.pool
	select {
	case p.trials <- u:
	case <-p.stop:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("new auth script not started: %w", ctx.Err())
	}
	select {
	case err := <-u.started:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return fmt.Errorf("new auth script not started: %w", ctx.Err())
	}
	timer := time.NewTimer(trialTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-u.trial.exited:
	case <-p.stop:
	case <-ctx.Done():
		return fmt.Errorf("new auth script not tried for %v: %w", trialTime, ctx.Err())
	}
	if !u.trial.hasEnded() {
		return p.errIfClosed()
	}
	<-u.trial.exited // within lastWords
	if err := p.errIfClosed(); err != nil {
		return err // it was Close that ended it
	}
	return u.trial.diedIdle()
}

func (p *Pool) errIfClosed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	return nil
}

// startTrial is the starter's part of try. If nobody waits any more, the worker is ended at once.
func (p *Pool) startTrial(u *Update) {
	w, err := p.launch(u.gen)
	if err == nil {
		p.mu.Lock()
		u.trial = w
		if u.over || p.closed {
			p.retire(w)
		}
		p.mu.Unlock()
	}
	u.started <- err
}

// Restarts reports whether new processes take over when the update is applied.
func (u *Update) Restarts() bool { return u.gen != nil }

// Apply makes the change. It cannot fail and does not block: on a closed pool, or after Apply or Discard, it does
// nothing. What cfg says of time limits, queue, number of processes, name, logger and trace holds for every query that
// arrives from now on; those that are here keep their deadlines. Fewer processes end idle workers at once, and busy
// ones when they have answered.
//
// If new processes take over, every query that has no worker yet gets one of them, whatever the old ones do. Idle old
// workers are ended; a busy one answers its query, within that query's deadline, and is ended then. None of these ends
// is a restart or a fault. Until they are over there can be twice Config.Processes processes, or more if the next
// Update comes sooner than that.
func (u *Update) Apply() {
	p := u.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if u.over {
		return
	}
	if p.closed {
		u.end()
		return
	}
	p.settings.Store(u.settings)
	if u.gen != nil {
		p.gen = u.gen
		for len(p.idle) > 0 {
			p.retire(p.idle[0])
		}
		if u.trial.retired { // it has ended since it was tried
			p.gen.prestart = true
		} else {
			p.place(u.trial)
		}
	}
	for p.gen.live > u.settings.Processes && len(p.idle) > 0 {
		p.retire(p.idle[0])
	}
	p.wakeStarter()
	u.trial = nil // the pool's now
	u.end()
}

// Discard drops the update and ends the process that was tried; the pool is as it was. It does not block. After Apply
// or Discard it does nothing, so it can be deferred.
func (u *Update) Discard() {
	u.pool.mu.Lock()
	defer u.pool.mu.Unlock()
	if !u.over {
		u.end()
	}
}

// end lets the next Update come. The caller holds Pool.mu.
func (u *Update) end() {
	u.over = true
	if u.trial != nil {
		u.pool.retire(u.trial)
	}
	<-u.pool.update
}
