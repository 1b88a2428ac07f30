package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"
)

// ServeCmd runs the daemon until SIGINT or SIGTERM. SIGHUP reloads the config and
// opens the log files anew.
type ServeCmd struct {
	Config    string `help:"Prosody's config file; ${default} without this." short:"c" default:"/etc/prosody/prosody.cfg.lua" placeholder:"FILE"`
	LogFormat string `help:"Write the log as text, json or journald, instead of what gatehouse_log_format says." enum:",text,json,journald" default:"" placeholder:"FORMAT"`
}

// garbage is how much garbage may come together, in percent of what is in use,
// before the collector runs (GOGC). Many connections hold much, whoever they
// are, and twice as much is what memory must not be spent on.
const garbage = 20

// idleHeap is memory that is reserved and never touched, so it costs none. The
// collector counts it, and lets 16 MiB more of garbage come together: with a
// heap as small as ours it would otherwise run every few dozen logins, for a
// good part of what they cost.
const idleHeap = 80 << 20

// Run implements the command.
func (cmd *ServeCmd) Run(*globals) error {
	if err := noCoreDumps(); err != nil {
		return exit(exitUnavailable, "cannot switch core dumps off: %w", err)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	reserve := make([]byte, idleHeap)
	defer runtime.KeepAlive(reserve)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends at once, whatever keeps us
	// Before anything else, since a daemon is not to end because somebody wants
	// it to reload.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	d, err := startDaemon(ctx, cmd.Config, daemonOptions{LogFormat: cmd.LogFormat})
	if err != nil {
		return err
	}
	notify := notifier{d.logger}
	notify.Ready(d.summary())
	watchdog := make(chan struct{})
	go func() {
		defer close(watchdog)
		notify.Watch(ctx, d.alive)
	}()
	d.supervise(ctx, hup)
	<-watchdog

	within := d.Config().ShutdownTimeout
	notify.Stopping(within)
	d.logger.Info("shutting down", "within", within)
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := d.Stop(ctx); err != nil {
		d.logger.Warn("shutdown", "cause", err)
	}
	d.logger.Info("stopped")
	if d.log != nil {
		_ = d.log.Close() // it goes with the process
	}
	return nil
}

// noCoreDumps keeps what the memory holds, passwords of this moment among it, out
// of files. Scripts inherit it, and may raise it again.
func noCoreDumps() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return err
	}
	limit.Cur = 0
	return unix.Setrlimit(unix.RLIMIT_CORE, &limit)
}
