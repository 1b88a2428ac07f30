package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/extauth"
	"gatehouse.im/gatehouse/internal/token"
	"gatehouse.im/gatehouse/server"
)

// parts are what a config becomes: values for package server, and what must be
// closed when they are not needed any more.
type parts struct {
	server *server.Config
	// certificates by host, for people who want to see what is served.
	certificates map[string][]tls.Certificate
	// tls is made of them, by host.
	tls   map[string]*tls.Config
	pools []*extauth.Pool
	// used remembers tokens; nil where no host has any. replay is the same,
	// where it could be opened.
	used   token.ReplayStore
	replay *token.Replay
}

// build makes everything that can fail before the first client comes. On an
// error nothing is left running.
func build(cfg *config.Config, logger *slog.Logger) (_ *parts, err error) {
	p := &parts{
		certificates: make(map[string][]tls.Certificate),
		tls:          make(map[string]*tls.Config),
		server: &server.Config{
			Hosts:               make(map[string]*server.Host),
			LoginTimeout:        cfg.LoginTimeout,
			StanzaLimit:         cfg.StanzaLimit,
			UnauthedStanzaLimit: cfg.UnauthedStanzaLimit,
			Version:             version(),
			Logger:              logger,
		},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close(context.Background()))
		}
	}()
	if err := p.buildTLS(cfg, logger); err != nil {
		return nil, err
	}
	for _, h := range cfg.Hosts {
		host, err := p.buildHost(cfg, h, logger)
		if err != nil {
			return nil, err
		}
		p.server.Hosts[h.Name] = host
	}
	return p, nil
}

// buildHost connects a host with its script and its keys.
func (p *parts) buildHost(cfg *config.Config, h *config.Host, logger *slog.Logger) (*server.Host, error) {
	host := &server.Host{
		Name:                  h.Name,
		TLS:                   p.tls[h.Name],
		RequireEncryption:     h.RequireEncryption,
		AllowUnencryptedPlain: h.AllowUnencryptedPlain,
		AllowRegistration:     h.AllowRegistration,
		Conflict:              server.Conflict(h.ConflictResolve),
	}
	var s *script
	if h.External != nil {
		pool, err := extauth.NewPool(poolConfig(cfg, h, logger))
		if err != nil {
			return nil, exit(exitConfig, "%s: host %s: %w", h.External.Pos, h.Name, err)
		}
		p.pools = append(p.pools, pool)
		s = &script{pool}
	}
	host.Users = everybody{}
	if h.ScriptPasswords {
		host.Users, host.Passwords = s, s
		if h.OfferPlain {
			host.Password = s
		}
	}
	if h.Token == nil {
		return host, nil
	}
	t, err := p.buildTokens(cfg, h, logger)
	if err != nil {
		return nil, err
	}
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

func poolConfig(cfg *config.Config, h *config.Host, logger *slog.Logger) extauth.Config {
	protocol := extauth.Generic
	if h.External.Protocol == config.ProtocolEjabberd {
		protocol = extauth.Ejabberd
	}
	return extauth.Config{
		Name:         h.Name,
		Command:      h.External.Command,
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

// buildTokens makes the judge of a host's tokens. All hosts share one memory of
// used tokens; each entry names its host. Without that memory no token is let
// in, but passwords go on.
func (p *parts) buildTokens(cfg *config.Config, h *config.Host, logger *slog.Logger) (tokens, error) {
	if p.used == nil {
		path := filepath.Join(cfg.DataDir, "replay.db")
		err := makeDataDir(cfg.DataDir)
		if err == nil {
			p.replay, err = token.OpenReplay(path)
		}
		p.used = p.replay
		if err != nil {
			logger.Error("tokens are refused until this is mended and gatehouse restarted", "cause", err)
			p.used = noMemory{err}
		}
	}
	verifier, err := token.NewVerifier(token.Combine(h.Token.Secrets, h.Token.Seeds), p.used)
	if err != nil {
		return tokens{}, exit(exitConfig, "%s: host %s: %w", h.Pos, h.Name, err)
	}
	return tokens{verifier: verifier}, nil
}

// noMemory stands for a memory of used tokens that could not be opened: whether
// a token was used before, nobody can say.
type noMemory struct{ cause error }

func (n noMemory) Use(token.ID, time.Time, time.Time) (bool, error) { return false, n.cause }

// buildTLS finds each host's certificates, and makes those that are missing if
// the config allows it.
func (p *parts) buildTLS(cfg *config.Config, logger *slog.Logger) error {
	if err := missingCertificates(cfg); err != nil {
		return err
	}
	for _, h := range cfg.Hosts {
		certs := certificates(h.Certificates)
		if len(certs) == 0 {
			if err := makeDataDir(cfg.DataDir); err != nil {
				return err
			}
			cert, err := selfSigned(cfg.DataDir, h.Name)
			if err != nil {
				return exit(exitUnavailable, "%w", err)
			}
			logger.Warn("serving a self-signed certificate; clients must be told to trust it",
				"host", h.Name, "sha256", fingerprint(cert))
			certs = []tls.Certificate{cert}
		}
		p.certificates[h.Name] = certs
		p.tls[h.Name] = hostTLS(certs, h.MinTLS)
	}
	fallback := p.tls[cfg.Hosts[0].Name]
	if certs := certificates(cfg.Certificates); len(certs) > 0 {
		fallback = hostTLS(certs, tls.VersionTLS12)
	}
	p.server.DirectTLS = directTLS(p.tls, fallback)
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

func makeDataDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return exit(exitUnavailable, "cannot make the data directory: %w\nName one that can be written to by gatehouse_data_dir.", err)
	}
	return nil
}

// close ends the scripts and the memory of used tokens. Queries in flight are
// waited for until ctx ends.
func (p *parts) close(ctx context.Context) error {
	var errs []error
	for _, pool := range p.pools {
		errs = append(errs, pool.Close(ctx))
	}
	if p.replay != nil {
		errs = append(errs, p.replay.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	return nil
}
