package token

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

var (
	// ErrClosed says that a store was used after Close.
	ErrClosed = errors.New("replay memory is closed")
	// ErrSlow says that the disk did not take a used token in time. It may take
	// it later; the token is used up then.
	ErrSlow = errors.New("the disk does not answer")
)

// maxCommitWait is how long a login waits for the disk.
const maxCommitWait = 5 * time.Second

// Replay is a ReplayStore in a file: a used token is on disk before Use says
// that it was fresh, so neither a restart nor a power cut lets it in again. All
// that the file holds is in memory as well, so that a token that was used before
// costs no disk. Logins that come while the disk is busy are written together.
//
// The file grows with the logins of five minutes, by about 100 bytes each, and
// what has expired in it is used again; with its bound of 1,048,576 tokens it
// stays below 200 MB.
type Replay struct {
	journal *journal
	wake    chan struct{} // says that there is a next commit; closed by Close
	stopped chan struct{} // closed when run has returned

	mu     sync.Mutex // guards the rest
	used   used
	next   *commit // is being filled; nil if there is nothing to write
	closed bool
	broken error // why nothing can be remembered ever again
	failed error // of the last commit
}

// A commit is a set of used tokens that are written together.
type commit struct {
	ids  map[int64][]ID // by expiry
	done chan struct{}  // closed when err is set
	err  error          // nil when all of it is on disk
}

// OpenReplay opens the file at path, or makes it with mode 0600 if there is
// none; its directory must exist and support hard links. One process can have
// the file open at a time: if another has it and does not let go within 2 s, the
// error is ErrLocked. ErrDamaged means that the file is there but cannot be
// trusted; it is left as it is, because a new one would have forgotten which
// tokens were used. Other errors are the operating system's. All of them name
// the file.
//
// The caller ends it with Close.
func OpenReplay(path string) (*Replay, error) {
	r := &Replay{wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	var err error
	if r.journal, err = openJournal(path, &r.used); err != nil {
		return nil, err
	}
	go r.run()
	return r, nil
}

// Use implements ReplayStore. It blocks until the disk has taken the token, for 5
// seconds at most. The errors, all of which name the file, are ErrClosed,
// ErrFull, ErrClockBack, ErrSlow, ErrDamaged if the file was found damaged while
// in use, and those of the operating system, a full disk above all. After the
// latter the store goes on, and the token is not used up.
func (r *Replay) Use(id ID, expires, now time.Time) (bool, error) {
	c, fresh, err := r.admit(id, expires, now)
	if err == nil {
		err = c.wait()
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", r.journal.path, err)
	}
	return fresh, nil
}

// admit finds the commit that holds id, or adds id to the next one.
func (r *Replay) admit(id ID, expires, now time.Time) (c *commit, fresh bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return nil, false, ErrClosed
	case r.broken != nil:
		return nil, false, r.broken
	}
	c, found, err := r.used.lookup(id, expires, now)
	if found || err != nil {
		return c, false, err
	}
	if r.next == nil {
		r.next = &commit{ids: make(map[int64][]ID), done: make(chan struct{})}
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	expiry := expiryOf(expires)
	r.next.ids[expiry] = append(r.next.ids[expiry], id)
	r.used.add(id, expiry, r.next)
	return r.next, true, nil
}

// wait returns once c is on disk. Whoever comes with a token whose first use is
// still being written waits for the same outcome: it is known to be used only
// when that has succeeded.
func (c *commit) wait() error {
	if c == nil {
		return nil // was in the file when it was opened
	}
	select {
	case <-c.done:
		return c.err
	default:
	}
	timer := time.NewTimer(maxCommitWait)
	defer timer.Stop()
	select {
	case <-c.done:
		return c.err
	case <-timer.C:
		return ErrSlow
	}
}

// run is the goroutine that owns the journal. It ends when wake is closed and
// the last commit has been written.
func (r *Replay) run() {
	defer close(r.stopped)
	for range r.wake {
		r.mu.Lock()
		c, forgotten := r.next, r.used.forgotten
		r.next = nil
		r.mu.Unlock()
		if c != nil {
			r.finish(c, r.journal.write(c.ids, forgotten))
		}
	}
}

func (r *Replay) finish(c *commit, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = err
	if err != nil {
		for expiry, ids := range c.ids {
			for _, id := range ids {
				r.used.remove(id, expiry, c)
			}
		}
		if errors.Is(err, ErrDamaged) {
			r.broken = err
		}
	}
	c.ids = nil
	c.err = err
	close(c.done)
}

// State returns how many tokens are remembered, and why the last that was used
// could not be; nil if it could.
func (r *Replay) State() (entries int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		err = fmt.Errorf("%s: %w", r.journal.path, r.failed)
	}
	return r.used.count, err
}

// Close writes what is waiting, ends the goroutine and closes the file. Use
// returns ErrClosed from then on. A second Close does nothing.
func (r *Replay) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	close(r.wake)
	r.mu.Unlock()
	<-r.stopped
	return r.journal.close()
}
