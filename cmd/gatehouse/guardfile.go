package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"gatehouse.im/gatehouse/internal/guard"
)

const (
	// guardSaves is how often the guard's file is written, at most. It is a hint: who
	// kills the daemon can lose what was counted for so long, and no more.
	guardSaves = time.Minute
	// guardLooks is after how long it is written that something was counted, if the
	// last time is long ago.
	guardLooks = 2 * time.Second
	// guardLast is what the last save may take though clients have used up the time for
	// the end of the daemon.
	guardLast = time.Second
)

// A guardFile keeps what the guard knows in the data directory, so that a restart
// forgets neither who guesses nor where users are at home. Nothing waits for it, and
// without it the guard goes on in memory.
type guardFile struct {
	guard  *guard.Guard
	dir    string
	path   string
	logger *slog.Logger

	failing atomic.Bool // the last save did; the log has why
	stop    chan struct{}
	stopped chan struct{} // closed when run has returned
}

// openGuardFile has the guard know what was saved. Nobody may use it before. Run must
// be called then.
func openGuardFile(g *guard.Guard, dir string, logger *slog.Logger) *guardFile {
	f := &guardFile{
		guard: g, dir: dir, path: filepath.Join(dir, "guard.state"), logger: logger,
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	if err := g.Load(f.path); err != nil {
		logger.Warn("guard: what was counted before the start is lost", "cause", err)
	}
	return f
}

// run saves now and then what has changed, until close.
func (f *guardFile) run() {
	defer close(f.stopped)
	tick := time.NewTicker(guardLooks)
	defer tick.Stop()
	last := time.Now().Add(-guardSaves)
	for ended := false; !ended; {
		select {
		case <-f.stop:
			ended = true
		case <-tick.C:
		}
		if f.guard.Changed() && (ended || time.Since(last) >= guardSaves) {
			f.save()
			last = time.Now()
		}
	}
}

func (f *guardFile) save() {
	err := makeDataDir(f.dir)
	if err == nil {
		err = f.guard.Save(f.path)
	}
	switch was := f.failing.Swap(err != nil); {
	case err != nil && !was:
		f.logger.Warn("guard: a restart will forget what is counted, since it cannot be saved", "cause", err)
	case err == nil && was:
		f.logger.Info("guard: what is counted is saved again")
	}
}

// close saves for the last time. It waits for that until ctx ends, and guardLast at
// least: a disk that does not answer must not hold up the end.
func (f *guardFile) close(ctx context.Context) {
	close(f.stop)
	least := time.After(guardLast)
	select {
	case <-f.stopped:
		return
	case <-ctx.Done():
	}
	select {
	case <-f.stopped:
	case <-least:
	}
}
