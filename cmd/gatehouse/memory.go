package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/admin"
	"gatehouse.im/gatehouse/internal/guard"
	"gatehouse.im/gatehouse/internal/state"
	"gatehouse.im/gatehouse/internal/token"
)

// memory is the daemon's memory of used tokens, for all hosts and through all
// reloads: a file, or a Redis that it shares with others (gatehouse_state), which
// keeps tickets too. While it cannot be used no token is let in, but passwords go
// on. A file that could not be opened is tried again at the next reload.
type memory struct {
	dir     string // gatehouse_data_dir
	logger  *slog.Logger
	metrics *admin.Metrics
	guard   *guard.Guard // counts there too, if it is a Redis

	mu sync.Mutex // held while inUse changes
	// inUse is nil before the first host needs it.
	inUse atomic.Pointer[memories]
}

// memories are asked about a token: the one that the config names, and those that
// it named a moment ago, which know the tokens of before the reload, and which
// other fronts may still be asking.
type memories struct {
	now  *backend
	past []past
}

type past struct {
	*backend
	left time.Time
}

// pastFor is how long a memory is asked that is in the config no more: the life of
// a token, and a while in which all fronts can be reloaded.
const pastFor = 5 * time.Minute

// use has the memory be what the config wants. needed says that there are hosts
// with tokens. The goroutine that starts and reloads the daemon calls it.
func (m *memory) use(cfg *config.State, needed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.inUse.Load()
	switch {
	case was == nil && cfg == nil && !needed:
		return
	case was == nil:
		first := m.open(cfg, nil)
		m.inUse.Store(&memories{now: first})
		m.shareGuard(nil, first)
		return
	case was.now.config.Equal(cfg):
		return
	}
	next := new(memories)
	for _, p := range was.past {
		if p.config.Equal(cfg) && next.now == nil {
			next.now = p.backend // it was asked all the time
		} else {
			next.past = append(next.past, p)
		}
	}
	if next.now == nil {
		next.now = m.open(cfg, nil)
	}
	next.past = append(next.past, past{was.now, time.Now()})
	m.inUse.Store(next)
	m.shareGuard(was.now, next.now)
	time.AfterFunc(pastFor, m.forget)
}

// forget closes what has not been in the config for long enough.
func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.inUse.Load()
	if was == nil {
		return // closed
	}
	next := &memories{now: was.now}
	for _, p := range was.past {
		if time.Since(p.left) < pastFor {
			next.past = append(next.past, p)
		} else if err := p.close(); err != nil {
			m.logger.Warn("shutdown", "cause", err)
		}
	}
	m.inUse.Store(next)
}

// retry opens a file again if that failed before.
func (m *memory) retry() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if was := m.inUse.Load(); was != nil && was.now.err != nil {
		m.inUse.Store(&memories{now: m.open(was.now.config, was.now.err), past: was.past})
	}
}

// open opens a memory; before is why that failed the last time.
func (m *memory) open(cfg *config.State, before error) *backend {
	if cfg != nil {
		return &backend{config: cfg, redis: state.Open(stateConfig(cfg, m.logger, m.metrics), token.Span)}
	}
	b := new(backend)
	if b.err = makeDataDir(m.dir); b.err == nil {
		b.file, b.err = token.OpenReplay(filepath.Join(m.dir, "replay.db"))
	}
	switch {
	case b.err != nil && (before == nil || before.Error() != b.err.Error()):
		m.logger.Error("tokens are refused until this is mended and gatehouse reloaded", "cause", b.err)
	case b.err == nil && before != nil:
		m.logger.Info("tokens are accepted again")
	}
	return b
}

// Use implements token.ReplayStore. Without its file, or without Redis, whether a
// token was used before, nobody can say. A memory of the past that cannot be asked
// matters for tokens that were good already in its time.
func (m *memory) Use(id token.ID, expires, now time.Time) (bool, error) {
	in := m.inUse.Load()
	if in == nil {
		return false, token.ErrClosed // the daemon ends
	}
	first := expires.Add(-token.Span - state.MaxSkew)
	for _, p := range in.past {
		fresh, err := p.Use(id, expires, now)
		switch {
		case err == nil && !fresh:
			return false, nil
		case err != nil && first.Before(p.left):
			return false, fmt.Errorf("the memory of before the reload: %w", err)
		}
	}
	return in.now.Use(id, expires, now)
}

// errAlone says that tickets are this process's own business.
var errAlone = errors.New("no memory is shared")

// Put implements ticket.Shared.
func (m *memory) Put(ticket, owner [32]byte, life time.Duration) error {
	in := m.inUse.Load()
	if in == nil || in.now.redis == nil {
		return errAlone
	}
	return in.now.redis.Put(ticket, owner, life)
}

// Take implements ticket.Shared.
func (m *memory) Take(ticket, owner [32]byte) (bool, error) {
	in := m.inUse.Load()
	if in == nil {
		return false, nil
	}
	var failed error
	for _, b := range append([]past{{backend: in.now}}, in.past...) {
		if b.redis == nil {
			continue
		}
		good, err := b.redis.Take(ticket, owner)
		if good {
			return true, nil
		}
		if err != nil {
			failed = err
		}
	}
	return false, failed
}

// status is the memory for the status page; nil if there is none.
func (m *memory) status() *admin.Replay {
	in := m.inUse.Load()
	if in == nil {
		return nil
	}
	r := new(admin.Replay)
	var err error
	if r.Entries, err = in.now.state(); err != nil {
		r.Err = err.Error()
	}
	r.OK = err == nil
	if in.now.config != nil {
		r.Shared = in.now.config.String()
	}
	return r
}

// close ends the memory.
func (m *memory) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	in := m.inUse.Swap(nil)
	if in == nil {
		return nil
	}
	errs := []error{in.now.close()}
	for _, p := range in.past {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

func makeDataDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the data directory: %w; name one that can be written to by gatehouse_data_dir", err)
	}
	return nil
}
