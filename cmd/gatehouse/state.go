package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/admin"
	"gatehouse.im/gatehouse/internal/guard"
	"gatehouse.im/gatehouse/internal/state"
	"gatehouse.im/gatehouse/internal/token"
)

// backend is one memory of used tokens: a file, one that could not be opened, or a
// Redis.
type backend struct {
	config *config.State // of the Redis; nil for a file
	redis  *state.Store
	file   *token.Replay
	err    error // of the file
}

// Use implements token.ReplayStore.
func (b *backend) Use(id token.ID, expires, now time.Time) (bool, error) {
	switch {
	case b.redis != nil:
		return b.redis.Use(id, expires, now)
	case b.err != nil:
		return false, b.err
	}
	return b.file.Use(id, expires, now)
}

// state is how many tokens a file holds, and why tokens are refused.
func (b *backend) state() (entries int, err error) {
	switch {
	case b.redis != nil:
		return 0, b.redis.State()
	case b.err != nil:
		return 0, b.err
	}
	return b.file.State()
}

func (b *backend) close() error {
	switch {
	case b.redis != nil:
		return b.redis.Close()
	case b.err != nil:
		return nil
	}
	return b.file.Close()
}

func stateConfig(s *config.State, logger *slog.Logger, metrics *admin.Metrics) state.Config {
	c := state.Config{
		Addresses: s.Addresses, Master: s.Master, Cluster: s.Cluster, DB: s.DB,
		Username: s.Username, Password: s.Password,
		SentinelUsername: s.SentinelUsername, SentinelPassword: s.SentinelPassword,
		Prefix: s.Prefix, Durable: s.Durable,
		Logger: logger, Observe: metrics.State,
	}
	if s.TLS {
		c.TLS = &tls.Config{RootCAs: s.Trust, MinVersion: tls.VersionTLS12}
	}
	return c
}

// shareGuard has the guard count in the Redis that is in use from now on, if it is
// one, and not in that of before any more.
func (m *memory) shareGuard(was, now *backend) {
	if was != nil && was.redis != nil {
		was.redis.Counters().Use(false)
	}
	if now.redis == nil {
		m.guard.Share(nil, [guard.KeySize]byte{})
		return
	}
	now.redis.Counters().Use(true)
	m.guard.Share(now.redis.Counters(), now.redis.GuardKey())
}

// guardShared says whether the guard's counts are those of all fronts; nil if they are
// not meant to be.
func (m *memory) guardShared() *bool {
	in := m.inUse.Load()
	if in == nil || in.now.redis == nil {
		return nil
	}
	shared := in.now.redis.Counters().State() == nil
	return &shared
}

// shared explains the Redis that fronts share, and asks it how it is if servers
// elsewhere are to be tried.
func (r *report) shared(cfg *config.Config) {
	s := cfg.State
	if s == nil {
		return
	}
	r.row("state", "%s%s: used tokens, tickets and the guard's counts, as %s:*", clean(s.String()), r.at(s.Pos), clean("{"+s.Prefix+"}"))
	if s.Durable {
		r.row("", "a restart of it forgets nothing, says durable: it needs appendonly yes and appendfsync always")
	}
	if s.TrustFile != "" {
		r.row("", "with a certificate from one of %s", r.short(s.TrustFile))
	}
	if !r.tryUpstream {
		return
	}
	store := state.Open(stateConfig(s, slog.New(slog.DiscardHandler), admin.NewMetrics(version())), token.Span)
	defer func() { _ = store.Close() }() // nothing was written that could be lost
	began := time.Now()
	if err := store.Ping(context.Background()); err != nil {
		r.unusable = append(r.unusable, clean(fmt.Sprintf("%s: %v", s, err)))
		r.row("  tried", "%s", r.bad(clean(err.Error())))
		return
	}
	r.row("  tried", "answers in %s", time.Since(began).Round(100*time.Microsecond))
}
