package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"gatehouse.im/gatehouse/internal/token"
)

// memory is the daemon's one memory of used tokens, for all hosts and through all
// reloads: each entry names its host. It is opened when the first host needs it.
// While it cannot be opened no token is let in, but passwords go on; the next
// reload tries again.
type memory struct {
	dir    string // gatehouse_data_dir
	logger *slog.Logger
	opened atomic.Pointer[opened]
}

// opened is the outcome of opening the memory: one of the two.
type opened struct {
	replay *token.Replay
	err    error
}

// open opens the memory, unless it is open. The goroutine that starts and reloads
// the daemon calls it.
func (m *memory) open() {
	before := m.opened.Load()
	if before != nil && before.err == nil {
		return
	}
	var now opened
	if now.err = makeDataDir(m.dir); now.err == nil {
		now.replay, now.err = token.OpenReplay(filepath.Join(m.dir, "replay.db"))
	}
	switch {
	case now.err != nil && (before == nil || before.err.Error() != now.err.Error()):
		m.logger.Error("tokens are refused until this is mended and gatehouse reloaded", "cause", now.err)
	case now.err == nil && before != nil:
		m.logger.Info("tokens are accepted again")
	}
	m.opened.Store(&now)
}

// retry opens the memory if that failed before.
func (m *memory) retry() {
	if o := m.opened.Load(); o != nil && o.err != nil {
		m.open()
	}
}

// Use implements token.ReplayStore. Without a file, whether a token was used
// before, nobody can say.
func (m *memory) Use(id token.ID, expires, now time.Time) (bool, error) {
	o := m.opened.Load()
	if o.err != nil {
		return false, o.err
	}
	return o.replay.Use(id, expires, now)
}

// close ends the memory.
func (m *memory) close() error {
	if o := m.opened.Load(); o != nil && o.replay != nil {
		return o.replay.Close()
	}
	return nil
}

func makeDataDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the data directory: %w; name one that can be written to by gatehouse_data_dir", err)
	}
	return nil
}
