package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// shutdownTimeout is how long a daemon that was told to end waits for clients
// and scripts.
const shutdownTimeout = 10 * time.Second

// ServeCmd runs the daemon until SIGINT or SIGTERM.
type ServeCmd struct {
	Config string `help:"Prosody's config file." short:"c" default:"/etc/prosody/prosody.cfg.lua" placeholder:"FILE"`
}

// Run implements the command.
func (cmd *ServeCmd) Run(*globals) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d, err := startDaemon(ctx, cmd.Config, daemonOptions{})
	if err != nil {
		return err
	}
	<-ctx.Done()
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
