package main

import (
	"cmp"
	"context"
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
	"gatehouse.im/gatehouse/internal/logging"
	"gatehouse.im/gatehouse/internal/ticket"
	"gatehouse.im/gatehouse/server"
)

// daemonOptions are what a caller may want otherwise than the config has it.
type daemonOptions struct {
	// Loopback listens on free ports of 127.0.0.1 instead of the config's.
	Loopback bool
	// DataDir is used instead of the config's, if not empty.
	DataDir string
	// Logger is used instead of one made as the config wants it.
	Logger *slog.Logger
	// LogFormat is used instead of the config's, if not empty.
	LogFormat string
}

// A daemon is a running server with all that it needs. Start, reload and stop
// are the work of one goroutine, the one that started it.
type daemon struct {
	path    string // of the config; absolute, for the working directory may move away
	options daemonOptions
	started time.Time

	log     *logging.Log // nil if the caller has a logger of its own
	logger  *slog.Logger
	metrics *admin.Metrics
	builder *builder
	server  *server.Server
	web     *web
	minting *minting // on the admin listeners
	ports   *ports
	admin   *adminPorts
	watcher *config.Watcher
	sockets inheritedSockets

	parts    atomic.Pointer[parts]       // in use
	reloaded atomic.Pointer[configState] // what became of the config file
	ready    atomic.Bool                 // clients can come
	retiring sync.WaitGroup              // scripts of hosts that are gone
	lasting  context.Context             // ends when these must be gone at once
	cutOff   context.CancelFunc

	busySince atomic.Int64 // when a reload began that is not over, in Unix nanoseconds; or 0
	tried     time.Time    // when the last reload ended; for the goroutine in supervise
	requests  chan func()  // for the same
	stopped   chan struct{}
}

// startDaemon loads a config and serves it. It returns once every port is
// open. The daemon runs until Stop is called; it reloads while supervise runs.
func startDaemon(ctx context.Context, configPath string, opts daemonOptions) (_ *daemon, err error) {
	if configPath, err = filepath.Abs(configPath); err != nil {
		return nil, exit(exitConfig, "%w", err)
	}
	d := &daemon{
		path:     configPath,
		options:  opts,
		started:  time.Now(),
		logger:   opts.Logger,
		metrics:  admin.NewMetrics(version()),
		requests: make(chan func()),
		stopped:  make(chan struct{}),
	}
	d.lasting, d.cutOff = context.WithCancel(context.Background())
	if d.sockets, err = inherited(); err != nil {
		return nil, err
	}
	if d.logger == nil {
		d.log = logging.New(os.Stderr)
		d.logger = d.log.Logger()
	}
	d.watcher = config.NewWatcher(d.logger)
	defer func() {
		if err != nil {
			d.watcher.Close()
			d.sockets.closeRest(slog.New(slog.DiscardHandler))
		}
	}()
	cfg, warnings, err := d.load()
	if err != nil {
		return nil, err
	}
	d.setLog(cfg)
	for _, w := range warnings {
		d.logger.Warn("config", "warning", w)
	}
	watchman := guard.New(guardSettings(cfg.Guard))
	used := &memory{dir: cfg.DataDir, logger: d.logger, metrics: d.metrics, guard: watchman}
	d.builder = &builder{
		logger:    d.logger,
		metrics:   d.metrics,
		memory:    used,
		tickets:   ticket.New(used),
		admission: newAdmission(d.logger, d.metrics),
		guard:     watchman,
		guardFile: openGuardFile(watchman, cfg.DataDir, d.logger),
	}
	built, err := d.builder.build(ctx, cfg, nil)
	if err != nil {
		return nil, err
	}
	d.server = server.New(built.server)
	d.web = newWeb(d)
	d.ports = &ports{server: d.server, web: d.web, logger: d.logger}
	d.minting = newMinting(config.CredentialsAdmin, nil, d.logger)
	d.admin = newAdminPorts(d, cfg.DataDir)
	d.ports.beside = d.admin.listeners
	opened, err := d.ports.prepare(ctx, d.listeners(cfg), d.sockets)
	if err == nil {
		var consoles *adminChange
		if consoles, err = d.admin.prepare(ctx, cfg, d.sockets, opened.yield); err == nil {
			built.apply()
			d.parts.Store(built)
			d.reloaded.Store(&configState{loadedAt: d.started, changed: "start"})
			d.ports.proxies.Store(&cfg.ProxyProtocolFrom)
			d.builder.admission.SetLimits(admissionLimits(cfg))
			d.web.configure(cfg)
			d.minting.configure(cfg)
			opened.apply()
			consoles.apply()
		} else {
			opened.discard()
		}
	}
	if err != nil {
		built.discard(ctx)
		return nil, errors.Join(err, d.builder.memory.close())
	}
	d.sockets.closeRest(d.logger)
	go d.builder.guardFile.run()
	d.ready.Store(true)
	d.logger.Info("ready", "hosts", len(cfg.Hosts), "version", version())
	return d, nil
}

// load reads the config, and has what it was made of watched from then on.
func (d *daemon) load() (*config.Config, []config.Problem, error) {
	cfg, warnings, err := config.Load(d.path)
	if err != nil {
		var failed *config.Error
		if errors.As(err, &failed) {
			d.watcher.Watch(failed.Sources)
		}
		return nil, nil, exit(exitConfig, "%w", err)
	}
	d.watcher.Watch(cfg.Sources)
	if len(cfg.Hosts) == 0 {
		return nil, nil, exit(exitConfig, "%s: there is nothing to serve: no VirtualHost has authentication = \"external\" or \"token\"", cfg.Path)
	}
	if d.options.DataDir != "" {
		copied := *cfg
		copied.DataDir = d.options.DataDir
		cfg = &copied
	}
	return cfg, warnings, nil
}

// setLog makes the log as the config wants it.
func (d *daemon) setLog(cfg *config.Config) {
	if d.log != nil {
		d.warnOfLog(d.log.Set(logConfig(cfg, d.options.LogFormat)))
	}
}

func (d *daemon) warnOfLog(warnings []error) {
	for _, w := range warnings {
		d.logger.Warn("log", "warning", w)
	}
}

// listeners are the client ports that the daemon should have.
func (d *daemon) listeners(cfg *config.Config) []config.Listener {
	if !d.options.Loopback {
		return cfg.Listeners
	}
	return []config.Listener{
		{Network: "tcp4", Addr: "127.0.0.1:0"},
		{Network: "tcp4", Addr: "127.0.0.1:0", DirectTLS: true},
	}
}

// Addr returns the address of a client port, the first of its kind.
func (d *daemon) Addr(direct bool) string { return d.ports.addr(direct) }

// Fingerprint returns the SHA-256, in hex, of a host's first certificate.
func (d *daemon) Fingerprint(host string) string {
	if certs := d.parts.Load().certificates[host]; len(certs) > 0 {
		return fingerprint(certs[0])
	}
	return ""
}

// Config returns what the daemon serves.
func (d *daemon) Config() *config.Config { return d.parts.Load().config }

// Stop ends the daemon: no new clients, system-shutdown for those that are
// there, queries in flight are answered; what is left when ctx ends is cut
// off. Scripts are ended last.
func (d *daemon) Stop(ctx context.Context) error {
	d.ready.Store(false)
	close(d.stopped)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		d.watcher.Close()
	}()
	// WebSockets are clients of the server, which has a last word for those that
	// ctx cuts off.
	web, cutWeb := context.WithCancel(context.WithoutCancel(ctx))
	defer cutWeb()
	webEnded := make(chan error, 1)
	go func() { webEnded <- d.web.Shutdown(web) }()
	err := d.server.Shutdown(ctx)
	defer context.AfterFunc(ctx, cutWeb)()
	if err = cmp.Or(err, <-webEnded); err != nil {
		err = fmt.Errorf("clients: %w", err)
	}
	d.ports.leaving.Wait()
	d.ports.serving.Wait()
	errs := []error{err, d.parts.Load().retire(ctx, nil)}
	context.AfterFunc(ctx, d.cutOff)
	d.retiring.Wait()
	d.cutOff()
	errs = append(errs, d.builder.memory.close())
	d.builder.guardFile.close(ctx)
	d.admin.close(ctx)
	select {
	case <-watched:
	case <-ctx.Done(): // a file system that does not answer must not hold up the end
	}
	return errors.Join(errs...)
}
