package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/extauth"
	"gatehouse.im/gatehouse/internal/admin"
	"gatehouse.im/gatehouse/saslmech"
	"gatehouse.im/gatehouse/server"
)

// observer tells the metrics what package server does.
type observer struct{ metrics *admin.Metrics }

func (o observer) Login(l server.Login) {
	o.metrics.Login(admin.Login{
		Time: l.Time, Host: l.Host, User: l.User, Mechanism: l.Mechanism, Remote: l.Remote, TLS: l.TLS,
		Verdict: string(l.Verdict), Condition: l.Condition, Cause: public(l.Cause), Duration: l.Duration,
	})
}

// public leaves out of an error what a script wrote to standard error. The log has
// it; the status page may be seen by everybody on the machine.
func public(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if before, _, found := strings.Cut(line, "; stderr: "); found {
			lines[i] = before + "; the log has what it wrote to standard error"
		}
	}
	return strings.Join(lines, "\n")
}

func (o observer) Handshake(took time.Duration, err error) { o.metrics.Handshake(took, err) }

// status shows the daemon to package admin.
type status struct{ *daemon }

// Status implements admin.Source.
func (d status) Status() admin.Status {
	p := d.parts.Load()
	machine, _ := os.Hostname() // for people, who can do without
	s := admin.Status{
		Version:     version(),
		Machine:     machine,
		Started:     d.started,
		Connections: make(map[string]int),
		Places:      placesStatus(d.builder.admission.Counts()),
		Guard:       guardStatus(d.builder),
		Config:      d.configStatus(p.config.Path),
	}
	for state, n := range d.server.Connections() {
		s.Connections[state.String()] = n
	}
	for _, h := range p.config.Hosts {
		host := admin.Host{Name: h.Name, Mechanisms: saslmech.Offered(h.OfferPlain, h.OfferToken)}
		if pool := p.pools[h.Name]; pool != nil {
			host.Pool = poolStatus(h, pool.Stats())
			host.Cache = cacheStatus(h, p.caches[h.Name].Stats())
		}
		s.Hosts = append(s.Hosts, host)
		s.Certificates = append(s.Certificates, certificateStatus(p, h)...)
	}
	if p.tokens {
		s.Replay = p.memory.status()
	}
	for _, port := range d.ports.list() {
		s.Listeners = append(s.Listeners, admin.Listener{Address: port.Addr().String(), Kind: port.kind()})
	}
	for _, address := range d.admin.addresses() {
		s.Listeners = append(s.Listeners, admin.Listener{Address: address, Kind: "admin"})
	}
	return s
}

func (d status) configStatus(path string) admin.Config {
	state := d.reloaded.Load()
	c := admin.Config{Path: path, LoadedAt: state.loadedAt, OK: state.broken == nil, LastChange: state.changed}
	if state.broken != nil {
		c.BrokenAt, c.Error = state.brokenAt, public(state.broken.Error())
	}
	return c
}

func poolStatus(h *config.Host, stats extauth.Stats) *admin.Pool {
	p := &admin.Pool{
		Script:    scriptName(h.External.Command),
		Processes: stats.Processes,
		Size:      stats.Size,
		Busy:      stats.Busy,
		Queued:    stats.Queued,
		Restarts:  stats.Restarts,
		Timeouts:  stats.Timeouts,
	}
	if err := dead(stats); err != nil {
		p.Fault = public(err.Error())
	}
	for _, w := range stats.Workers {
		p.Workers = append(p.Workers, admin.Worker{
			ID: w.ID, PID: w.PID, Busy: w.Busy, Since: w.Since, Started: w.Born, Answers: w.Answers, Old: w.Old,
		})
	}
	return p
}

// scriptName shows a command without what is no path: an argument may be a
// password.
func scriptName(command []string) string {
	shown := make([]string, len(command))
	for i, arg := range command {
		if shown[i] = arg; i > 0 && !filepath.IsAbs(arg) {
			shown[i] = "…"
		}
	}
	return strings.Join(shown, " ")
}

func certificateStatus(p *parts, h *config.Host) []admin.Certificate {
	var list []admin.Certificate
	for i, c := range p.certificates[h.Name] {
		leaf := c.Leaf
		entry := admin.Certificate{
			Host: h.Name, Names: leaf.DNSNames, NotAfter: leaf.NotAfter, Issuer: leaf.Issuer.String(),
			SelfSigned: bytes.Equal(leaf.RawIssuer, leaf.RawSubject),
		}
		if i < len(h.Certificates) {
			entry.File = h.Certificates[i].CertFile
		} else {
			entry.File = selfSignedPath(p.config.DataDir, h.Name)
		}
		list = append(list, entry)
	}
	return list
}

// dead returns why no process of a pool is alive, or nil if one is, or none was
// needed yet.
func dead(stats extauth.Stats) error {
	if stats.Size > 0 {
		return nil
	}
	return stats.Fault
}

// Ready implements admin.Source. The daemon is ready if anybody can log in
// anywhere: the broken script of one host is no reason to take the others away
// from their users.
func (d status) Ready() error {
	if !d.ready.Load() {
		return errors.New("the daemon is starting or shutting down")
	}
	p := d.parts.Load()
	var reasons []error
	for _, h := range p.config.Hosts {
		why := p.shut(h)
		if why == nil {
			return nil
		}
		reasons = append(reasons, fmt.Errorf("%s: %s", h.Name, public(why.Error())))
	}
	return errors.Join(reasons...)
}

// shut returns why nobody can log in at a host, or nil if somebody can. A script
// without a process is tried once more, since those who balance load may send no
// client before it is there.
func (p *parts) shut(h *config.Host) error {
	var script error
	if pool := p.pools[h.Name]; pool != nil {
		if script = dead(pool.Stats()); script != nil {
			pool.Revive()
		}
	}
	if h.ScriptPasswords && h.OfferPlain && script == nil {
		return nil
	}
	if !h.OfferToken && (h.Token == nil || !h.Token.InPlain || !h.OfferPlain) {
		return script
	}
	if m := p.memory.status(); m != nil && !m.OK {
		return cmp.Or(script, errors.New("the memory of used tokens does not work: "+m.Err))
	}
	if h.Token.CheckUser {
		return script
	}
	return nil
}

// Reload implements admin.Source.
func (d status) Reload(ctx context.Context) (string, error) {
	var (
		o      outcome
		failed error
	)
	if err := d.do(ctx, func() { o, failed = d.reload(context.WithoutCancel(ctx), byCommand) }); err != nil {
		return "", fmt.Errorf("%w: %w", admin.ErrNotAsked, err)
	}
	return o.String(), failed
}

// longestReload is how long a reload may take before the watchdog takes the
// daemon for stuck: there may be many scripts to try, or a slow file system.
const longestReload = 5 * time.Minute

// alive says whether the goroutine that reloads still listens, or has reason not
// to, for the watchdog.
func (d *daemon) alive(ctx context.Context) bool {
	if since := d.busySince.Load(); since != 0 && time.Since(time.Unix(0, since)) < longestReload {
		return true
	}
	return d.do(ctx, func() {}) == nil
}

// summary is the daemon in one line, for everybody on the machine.
func (d *daemon) summary() string {
	p := d.parts.Load()
	text := fmt.Sprintf("serving %d host(s) on %d port(s)", len(p.config.Hosts), len(d.ports.list()))
	if state := d.reloaded.Load(); state.broken != nil {
		text += "; the config file is broken: " + public(state.broken.Error())
	}
	return text
}
