package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/extauth"
	"gatehouse.im/gatehouse/internal/admin"
	"gatehouse.im/gatehouse/internal/admission"
	"gatehouse.im/gatehouse/internal/guard"
	"gatehouse.im/gatehouse/internal/ticket"
	"gatehouse.im/gatehouse/internal/token"
	"gatehouse.im/gatehouse/server"
)

// parts are what a config becomes: values for package server, and what must be
// closed when it is not needed any more.
type parts struct {
	config *config.Config
	server *server.Config
	// certificates by host, for people who want to see what is served.
	certificates map[string][]tls.Certificate
	// tls is made of them, by host; fallback serves direct TLS connections that
	// name no host of ours.
	tls      map[string]*tls.Config
	fallback *tls.Config
	webTLS   *tls.Config               // of WebSocket ports
	pools    map[string]*extauth.Pool  // by host
	caches   map[string]*passwordCache // of the pools
	memory   *memory                   // of used tokens
	tokens   bool                      // that there are hosts with tokens
	behind   map[string]behind         // what opens the legs to the servers behind, by host

	// What must be done before the parts are in use, or undone.
	started []*extauth.Pool
	opened  []behind
	updates []poolUpdate
}

// poolUpdate is what a reload makes of a pool that goes on.
type poolUpdate struct {
	host string
	*extauth.Update
}

// A builder makes parts.
type builder struct {
	logger    *slog.Logger
	metrics   *admin.Metrics
	memory    *memory
	tickets   *ticket.Tickets
	admission *admission.Counter
	guard     *guard.Guard
	guardFile *guardFile
}

// build makes everything that can fail before the first client comes, or before
// it takes the place of old, which may be nil. What did not change is taken over
// from old. On an error nothing is left running and old is as it was; otherwise
// the caller calls apply or discard.
func (b *builder) build(ctx context.Context, cfg *config.Config, old *parts) (_ *parts, err error) {
	p := &parts{
		config:       cfg,
		certificates: make(map[string][]tls.Certificate),
		tls:          make(map[string]*tls.Config),
		pools:        make(map[string]*extauth.Pool),
		caches:       make(map[string]*passwordCache),
		behind:       make(map[string]behind),
		memory:       b.memory,
		server: &server.Config{
			Hosts:               make(map[string]*server.Host),
			LoginTimeout:        cfg.LoginTimeout,
			StanzaLimit:         cfg.StanzaLimit,
			UnauthedStanzaLimit: cfg.UnauthedStanzaLimit,
			TCPKeepalives:       cfg.TCPKeepalives,
			Version:             version(),
			Logger:              b.logger,
			Observer:            observer{b.metrics},
		},
	}
	b.limit(p.server, cfg)
	defer func() {
		if err != nil {
			p.discard(context.Background())
		}
	}()
	if old == nil {
		old = &parts{}
	}
	if err := p.buildTLS(cfg, old, b.logger); err != nil {
		return nil, err
	}
	if err := b.buildPools(ctx, p, old); err != nil {
		return nil, err
	}
	for _, h := range cfg.Hosts {
		host, err := b.buildHost(p, old, h)
		if err != nil {
			return nil, err
		}
		p.server.Hosts[h.Name] = host
	}
	return p, nil
}

// buildPools starts the scripts of hosts that are new, and makes those pools
// ready that go on, all at a time: a script may take a moment to fail.
func (b *builder) buildPools(ctx context.Context, p, old *parts) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex                           // guards the fields of p
		errs = make([]error, len(p.config.Hosts)) // in the order of the hosts, whoever fails first: see stillBroken
	)
	for i, h := range p.config.Hosts {
		if h.External == nil {
			continue
		}
		cfg := poolConfig(p.config, h, b.logger)
		pool := old.pools[h.Name]
		if pool == nil {
			wg.Go(func() {
				pool, err := b.newPool(ctx, cfg, old)
				if err != nil {
					errs[i] = fmt.Errorf("%s: host %s: %w", h.External.Pos, h.Name, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				p.pools[h.Name], p.caches[h.Name] = pool, newPasswordCache(pool, b.metrics)
				p.started = append(p.started, pool)
			})
			continue
		}
		mu.Lock()
		p.pools[h.Name], p.caches[h.Name] = pool, old.caches[h.Name]
		mu.Unlock()
		wg.Go(func() {
			update, err := pool.Prepare(ctx, cfg)
			if err != nil {
				errs[i] = fmt.Errorf("%s: host %s: the new script is not taken into use: %w", h.External.Pos, h.Name, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			p.updates = append(p.updates, poolUpdate{h.Name, update})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return exit(exitConfig, "%w", err)
	}
	return nil
}

// newPool makes the pool of a host that had none. In a reload the script is tried
// first: it may take the place of another way to log in. At the start it is not,
// since there is nothing that could go on without it.
func (b *builder) newPool(ctx context.Context, cfg extauth.Config, old *parts) (*extauth.Pool, error) {
	if old.config == nil {
		return extauth.NewPool(cfg)
	}
	pool, err := extauth.NewTriedPool(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("the new script is not taken into use: %w", err)
	}
	return pool, nil
}

// buildHost connects a host with its script and its keys.
func (b *builder) buildHost(p, old *parts, h *config.Host) (*server.Host, error) {
	host := &server.Host{
		Name:                  h.Name,
		TLS:                   p.tls[h.Name],
		RequireEncryption:     h.RequireEncryption,
		AllowUnencryptedPlain: h.AllowUnencryptedPlain,
		AllowRegistration:     h.AllowRegistration,
		Conflict:              server.Conflict(h.ConflictResolve),
	}
	var s *script
	if pool := p.pools[h.Name]; pool != nil {
		s = &script{pool, p.caches[h.Name], b.metrics}
	}
	if h.Upstream != nil {
		up, stays := old.behindOf(h)
		if !stays {
			up = newBehind(h, b.tickets, b.logger)
			p.opened = append(p.opened, up)
		}
		p.behind[h.Name] = up
		host.Upstream = up
	}
	host.Users = everybody{}
	if h.ScriptPasswords {
		host.Users, host.Passwords = s, s
		if h.OfferPlain {
			host.Password = s
			if h.Upstream != nil {
				host.Password = noTicket{s}
			}
		}
	}
	if h.Guard {
		host.Guard = b.guard
	}
	if h.Token == nil {
		return host, nil
	}
	p.tokens = true
	verifier, err := token.NewVerifier(token.Combine(h.Token.Secrets, h.Token.Seeds), b.memory)
	if err != nil {
		return nil, exit(exitConfig, "%s: host %s: %w", h.Pos, h.Name, err)
	}
	t := tokens{verifier: verifier}
	if h.Token.CheckUser && s != nil {
		t.users = s
	}
	if h.OfferToken {
		host.Token = t
	}
	if h.OfferPlain && h.Token.InPlain {
		host.Password = tokenOrPassword{tokens: t, password: host.Password}
	}
	return host, nil
}

// restarted names the hosts whose scripts apply starts anew.
func (p *parts) restarted() []string {
	var hosts []string
	for _, u := range p.updates {
		if u.Restarts() {
			hosts = append(hosts, u.host)
		}
	}
	slices.Sort(hosts)
	return hosts
}

// apply puts the pools to their new use. It cannot fail.
func (p *parts) apply() {
	for _, u := range p.updates {
		u.Apply()
	}
	for host, cache := range p.caches {
		cache.Set(cacheSettings(p.config.Host(host).External))
	}
	p.memory.use(p.config.State, p.tokens)
	p.started, p.opened, p.updates = nil, nil, nil
}

// discard undoes a build that is not wanted: pools that go on are as they were,
// those that were started are ended.
func (p *parts) discard(ctx context.Context) {
	for _, u := range p.updates {
		u.Discard()
	}
	for _, pool := range p.started {
		_ = pool.Close(ctx) // nobody was asked yet
	}
	for _, up := range p.opened {
		up.Close()
	}
}

// retire ends the pools that next does not have any more, and the probing of
// servers behind that it does not have. Queries in flight are waited for until ctx ends.
func (p *parts) retire(ctx context.Context, next *parts) error {
	for host, up := range p.behind {
		if next == nil || next.behind[host] != up {
			up.Close()
		}
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex // guards errs
		errs []error
	)
	for host, pool := range p.pools {
		if next != nil && next.pools[host] == pool {
			continue
		}
		wg.Go(func() { // a script may take its time to end
			err := pool.Close(ctx)
			p.caches[host].Close()
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func poolConfig(cfg *config.Config, h *config.Host, logger *slog.Logger) extauth.Config {
	protocol := extauth.Generic
	if h.External.Protocol == config.ProtocolEjabberd {
		protocol = extauth.Ejabberd
	}
	return extauth.Config{
		Name:         h.Name,
		Command:      h.External.Command,
		Files:        h.External.Scripts,
		Dir:          filepath.Dir(cfg.Path),
		Protocol:     protocol,
		Timeout:      h.External.Timeout,
		StartTimeout: h.External.StartTimeout,
		Processes:    h.External.Processes,
		Queue:        h.External.Queue,
		PTY:          h.External.PTY,
		Logger:       logger,
	}
}

// buildTLS finds each host's certificates, and makes those that are missing if
// the config allows it.
func (p *parts) buildTLS(cfg *config.Config, old *parts, logger *slog.Logger) error {
	if err := missingCertificates(cfg); err != nil {
		return err
	}
	for _, h := range cfg.Hosts {
		certs := certificates(h.Certificates)
		if len(certs) == 0 {
			if old.config != nil && old.config.Host(h.Name) != nil && len(old.config.Host(h.Name).Certificates) > 0 {
				return exit(exitConfig, "%s: host %s: its certificate is gone or cannot be read, and clients know that one; "+
					"restart gatehouse if it shall serve a self-signed one", h.Pos, h.Name)
			}
			if err := makeDataDir(cfg.DataDir); err != nil {
				return exit(exitUnavailable, "%w", err)
			}
			cert, err := selfSigned(cfg.DataDir, h.Name)
			if err != nil {
				return exit(exitUnavailable, "%w", err)
			}
			certs = []tls.Certificate{cert}
			if !sameCertificates(certs, old.certificates[h.Name]) {
				logger.Warn("serving a self-signed certificate; clients must be told to trust it",
					"host", h.Name, "sha256", fingerprint(cert))
			}
		}
		p.certificates[h.Name] = certs
		p.tls[h.Name] = hostTLS(certs, h.MinTLS, old.tls[h.Name])
	}
	p.fallback = p.tls[cfg.Hosts[0].Name]
	if certs := certificates(cfg.Certificates); len(certs) > 0 {
		p.fallback = hostTLS(certs, cfg.MinTLS, old.fallback)
	}
	if maps.Equal(p.tls, old.tls) && p.fallback == old.fallback {
		p.server.DirectTLS, p.webTLS = old.server.DirectTLS, old.webTLS
	} else {
		p.server.DirectTLS = directTLS(p.tls, p.fallback, alpnXMPP)
		p.webTLS = directTLS(p.tls, p.fallback, alpnHTTP)
	}
	return nil
}

// missingCertificates is an error that names every host that has no
// certificate and will not be given one, and where one was looked for.
func missingCertificates(cfg *config.Config) error {
	if cfg.SelfSigned {
		return nil
	}
	var lines []string
	var first string
	for _, h := range cfg.Hosts {
		if len(h.Certificates) > 0 {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: host %s has no certificate", h.Pos, h.Name))
		first = cmp.Or(first, h.Name)
	}
	if len(lines) == 0 {
		return nil
	}
	return exit(exitConfig, "%s\n"+
		"Its ssl and c2s_ssl tables name none. In %s, no valid certificate with a key beside it names it,\n"+
		"and there is no %[3]s.crt with %[3]s.key, %[3]s/fullchain.pem with %[3]s/privkey.pem, or %[3]s.pem with both.\n"+
		"For a test, gatehouse_self_signed = true makes one.", strings.Join(lines, "\n"), cfg.CertificatesDir, first)
}
