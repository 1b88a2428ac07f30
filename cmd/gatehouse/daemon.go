package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"

	"gatehouse.im/gatehouse/config"
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
}

// A daemon is a running server with all that it needs.
type daemon struct {
	config    *config.Config
	logger    *slog.Logger
	parts     *parts
	server    *server.Server
	listeners []listener
	serving   sync.WaitGroup // one for each listener
}

type listener struct {
	net.Listener
	direct bool
}

// startDaemon loads a config and serves it. It returns once every port is
// open. The daemon runs until Stop is called.
func startDaemon(ctx context.Context, configPath string, opts daemonOptions) (*daemon, error) {
	cfg, warnings, err := config.Load(configPath)
	if err != nil {
		return nil, exit(exitConfig, "%w", err)
	}
	d := &daemon{config: cfg, logger: opts.Logger}
	if d.logger == nil {
		d.logger = newLogger(cfg.LogLevel)
	}
	for _, w := range warnings {
		d.logger.Warn("config", "warning", w)
	}
	if opts.DataDir != "" {
		copied := *cfg
		copied.DataDir = opts.DataDir
		d.config = &copied
	}
	if len(cfg.Hosts) == 0 {
		return nil, exit(exitConfig, "%s: there is nothing to serve: no VirtualHost has authentication = \"external\" or \"token\"", cfg.Path)
	}
	if d.parts, err = build(d.config, d.logger); err != nil {
		return nil, err
	}
	wanted := d.config.Listeners
	if opts.Loopback {
		wanted = []config.Listener{
			{Network: "tcp4", Addr: "127.0.0.1:0"},
			{Network: "tcp4", Addr: "127.0.0.1:0", DirectTLS: true},
		}
	}
	if err := d.listen(ctx, wanted); err != nil {
		return nil, errors.Join(err, d.parts.close(ctx))
	}
	d.server = server.New(d.parts.server)
	for _, l := range d.listeners {
		d.serving.Add(1)
		go func() {
			defer d.serving.Done()
			if err := d.server.Serve(l, func() bool { return l.direct }); !errors.Is(err, server.ErrClosed) {
				d.logger.Error("a client port is lost", "address", l.Addr().String(), "cause", err)
			}
		}()
		d.logger.Info("listening", "address", l.Addr().String(), "tls", tlsKind(l.direct))
	}
	d.logger.Info("ready", "hosts", len(d.config.Hosts), "version", version())
	return d, nil
}

func tlsKind(direct bool) string {
	if direct {
		return "direct"
	}
	return "starttls"
}

// listen opens all ports, or none.
func (d *daemon) listen(ctx context.Context, wanted []config.Listener) error {
	lc := net.ListenConfig{KeepAlive: -1}
	if d.config.TCPKeepalives {
		lc.KeepAlive = 0 // Go's default interval
	}
	for _, w := range wanted {
		ln, err := lc.Listen(ctx, w.Network, w.Addr)
		if err != nil && (w.Optional || errors.Is(err, syscall.EAFNOSUPPORT)) {
			d.logger.Warn("not listening on an address that this machine cannot serve", "address", w.Addr, "cause", err)
			continue
		}
		if err != nil {
			for _, l := range d.listeners {
				l.Close()
			}
			return exit(exitUnavailable, "cannot listen on a client port: %w%s", err, listenHint(err, w.Option))
		}
		d.listeners = append(d.listeners, listener{ln, w.DirectTLS})
	}
	if len(d.listeners) == 0 {
		return exit(exitUnavailable, "no client port could be opened")
	}
	return nil
}

// listenHint says what to do about an error of bind(2).
func listenHint(err error, option string) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("\nIs another server (Prosody, ejabberd) using it? Set %s to another port, or stop the other.", option)
	case errors.Is(err, syscall.EACCES):
		return fmt.Sprintf("\nThis user may not open a port below 1024. Set %s to another port, or give gatehouse CAP_NET_BIND_SERVICE.", option)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "\nThis machine has no such address. Set interfaces to one that it has, or to \"*\" or \"::\"."
	}
	return ""
}

// Addr returns the address of a client port, the first of its kind.
func (d *daemon) Addr(direct bool) string {
	for _, l := range d.listeners {
		if l.direct == direct {
			return l.Listener.Addr().String()
		}
	}
	return ""
}

// Fingerprint returns the SHA-256, in hex, of a host's first certificate.
func (d *daemon) Fingerprint(host string) string {
	if certs := d.parts.certificates[host]; len(certs) > 0 {
		return fingerprint(certs[0])
	}
	return ""
}

// Config returns what the daemon serves.
func (d *daemon) Config() *config.Config { return d.config }

// Stop ends the daemon: no new clients, system-shutdown for those that are
// there, queries in flight are answered; what is left when ctx ends is cut
// off. Scripts are ended last.
func (d *daemon) Stop(ctx context.Context) error {
	err := d.server.Shutdown(ctx)
	d.serving.Wait()
	if err != nil {
		err = fmt.Errorf("clients had to be cut off: %w", err)
	}
	return errors.Join(err, d.parts.close(ctx))
}
