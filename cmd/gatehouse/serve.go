package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// shutdownTimeout is how long a daemon that was told to end waits for clients
// and scripts.
const shutdownTimeout = 10 * time.Second

// ServeCmd runs the daemon until SIGINT or SIGTERM; SIGHUP changes nothing.
type ServeCmd struct {
	Config string `help:"Prosody's config file; ${default} without this." short:"c" default:"/etc/prosody/prosody.cfg.lua" placeholder:"FILE"`
}

// idleHeap is memory that is reserved and never touched, so it costs none. The
// collector counts it, and lets as much garbage more come together before it
// runs: with a heap as small as ours it would otherwise run every hundred
// logins, for a tenth of what they cost.
const idleHeap = 16 << 20

// Run implements the command.
func (cmd *ServeCmd) Run(*globals) error {
	reserve := make([]byte, idleHeap)
	defer runtime.KeepAlive(reserve)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d, err := startDaemon(ctx, cmd.Config, daemonOptions{})
	if err != nil {
		return err
	}
	// A daemon is not to end because somebody hopes that it reloads.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for ctx.Err() == nil {
		select {
		case <-hup:
			d.logger.Warn("SIGHUP: this version does not reload its config; restart it to apply a change")
		case <-ctx.Done():
		}
	}
	stop() // a second signal ends at once
	d.logger.Info("shutting down")
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := d.Stop(ctx); err != nil {
		d.logger.Warn("shutdown", "cause", err)
	}
	d.logger.Info("stopped")
	return nil
}

// newLogger writes to standard error, where systemd and terminals expect it.
func newLogger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
