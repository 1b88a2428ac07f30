package main

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/credentials"
	"gatehouse.im/gatehouse/internal/token"
)

// minting is where web applications get tokens for their users, on the listeners
// of one kind (gatehouse_credentials).
type minting struct {
	where   string
	handler *credentials.Handler
	remote  func(*http.Request) string
	on      atomic.Bool
}

// newMinting returns one that is off until configure. remote may be nil.
func newMinting(where string, remote func(*http.Request) string, logger *slog.Logger) *minting {
	return &minting{where: where, handler: credentials.New(credentials.Config{}, logger), remote: remote}
}

// configure makes requests to come go by cfg.
func (m *minting) configure(cfg *config.Config) {
	hosts := make(map[string]credentials.Host)
	for _, h := range cfg.Hosts {
		if h.Credentials == nil || h.Credentials.Where != m.where {
			continue
		}
		key := token.Combine(h.Token.Secrets, h.Token.Seeds)[0] // the newest
		hosts[h.Name] = credentials.Host{
			User:      h.Credentials.User,
			Password:  h.Credentials.Password,
			Bearer:    h.Credentials.Bearer,
			PerMinute: h.Credentials.Rate,
			Mint: func(user string) (string, error) {
				return token.Mint(key, user+"@"+h.Name, time.Now(), token.NewNonce())
			},
		}
	}
	m.handler.Set(credentials.Config{Hosts: hosts, Remote: m.remote})
	m.on.Store(len(hosts) > 0)
}

// before serves it at its path while it is on, and next elsewhere.
func (m *minting) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == credentials.Path && m.on.Load() {
			m.handler.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
