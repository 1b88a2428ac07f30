package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/extauth"
	"gatehouse.im/gatehouse/internal/admin"
	"gatehouse.im/gatehouse/internal/authcache"
	"gatehouse.im/gatehouse/server"
)

// passwordCache stands before a host's pool. What is judged otherwise than by the
// script, tokens and tickets, which are good once, does not come this way.
type passwordCache = authcache.Cache[extauth.Info]

func newPasswordCache(pool *extauth.Pool, metrics *admin.Metrics) *passwordCache {
	return authcache.New(func(ctx context.Context, user, host, password string) (extauth.Info, bool, error) {
		ctx, info := withInfo(ctx)
		ok, err := pool.Auth(ctx, user, host, password)
		return *info, ok, count(metrics, host, info, err)
	})
}

// cacheSettings are all zero for a host that remembers nothing.
func cacheSettings(x *config.ExternalAuth) authcache.Settings {
	if x == nil || x.Cache == nil {
		return authcache.Settings{}
	}
	c := x.Cache
	return authcache.Settings{Yes: c.Yes, No: c.No, Outage: c.Outage, Entries: c.Entries}
}

// forget empties all caches at a reload: another script, or what an operator has
// changed elsewhere before he asked for it, may have other verdicts. Those on
// queries that are in flight are not remembered either.
func (p *parts) forget() {
	for _, cache := range p.caches {
		cache.Clear()
	}
}

// Authenticate implements server.Authenticator.
func (s script) Authenticate(ctx context.Context, user, host, password string) (bool, error) {
	a, err := s.cache.Authenticate(ctx, user, host, password)
	if errors.Is(err, server.ErrRefused) || err != nil && ctx.Err() != nil {
		return false, err // there is nothing to say about an answer
	}
	if a.From != authcache.FromCache {
		annotate(ctx, &a.Note)
	}
	switch a.From {
	case authcache.FromShared:
		server.Annotate(ctx, slog.Bool("shared", true))
	case authcache.FromCache, authcache.FromOutage:
		server.Annotate(ctx, slog.Duration("cached", a.Age.Round(10*time.Millisecond)))
	}
	if a.From == authcache.FromOutage {
		server.Annotate(ctx, slog.String("outage", a.Outage.Error()))
	}
	return a.Yes, err
}

// cacheStatus is what the metrics and the status have of it.
func cacheStatus(h *config.Host, stats authcache.Stats) *admin.Cache {
	return &admin.Cache{
		On:     h.External.Cache != nil,
		Script: stats.Answers[authcache.FromScript], Shared: stats.Answers[authcache.FromShared],
		Cache: stats.Answers[authcache.FromCache], Outage: stats.Answers[authcache.FromOutage],
		Yes: stats.Yes, No: stats.No, Waiting: stats.Waiting,
	}
}
