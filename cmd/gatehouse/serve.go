package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

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
	if err := adoptOrphans(); err != nil {
		return exit(exitUnavailable, "cannot look after what scripts leave behind: %w", err)
	}
	ctx, hurry := untilSignals()
	// Before anything else, since a daemon is not to end because somebody wants
	// it to reload.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	d, err := startDaemon(ctx, cmd.Config, daemonOptions{LogFormat: cmd.LogFormat})
	if err != nil {
		_ = endOrphans(ctx) // of scripts that have begun already
		return err
	}
	notify := notifier{d.logger}
	notify.Ready(d.summary())
	watchdog := make(chan struct{})
	go func() {
		defer close(watchdog)
		notify.Watch(ctx, d.alive)
	}()
	served := make(chan struct{})
	go func() {
		defer close(served)
		d.supervise(ctx, hup)
		<-watchdog
	}()
	<-ctx.Done()
	d.end(hurry, served)
	return nil
}

// untilSignals returns two contexts. SIGINT or SIGTERM ends the first, another
// one the second. A third ends the process, whatever keeps it.
func untilSignals() (first, second context.Context) {
	first, end := context.WithCancel(context.Background())
	second, hurry := context.WithCancel(context.Background())
	asked := make(chan os.Signal, 2)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	go func() { // until the process ends
		<-asked
		end()
		<-asked
		signal.Stop(asked)
		hurry()
	}()
	return first, second
}

// lastResort is how much longer than it may the end of the daemon takes, until
// the process ends all the same.
const lastResort = 500 * time.Millisecond

var errLate = errors.New("not everything ended in time, and is left behind")

// end stops the daemon within the time that it may take, or at once when hurry
// ends. served is closed when nothing else works on it. What does not end then
// is left behind: a script that the kernel does not let go of must not keep the
// daemon from being started again.
func (d *daemon) end(hurry context.Context, served <-chan struct{}) {
	began, within := time.Now(), d.Config().ShutdownTimeout
	notifier{d.logger}.Stopping(within)
	d.logger.Info("shutting down", "within", within)
	ctx, cancel := context.WithTimeout(hurry, within)
	defer cancel()
	err := inTime(ctx, func() error {
		<-served
		return d.Stop(ctx)
	})
	err = errors.Join(err, endOrphans(ctx))
	level, attrs := slog.LevelInfo, []any{"took", time.Since(began).Round(time.Millisecond)}
	if err != nil {
		level, attrs = slog.LevelWarn, append(attrs, "cause", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	d.logger.Log(context.Background(), level, "stopped", attrs...)
	if d.log != nil {
		_ = inTime(ctx, d.log.Close) // it goes with the process; a reload may hang where it opens the files anew
	}
}

// inTime runs f, and returns what it returns, or errLate if that takes too long
// after the end of ctx; then f goes on.
func inTime(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(lastResort):
		return errLate
	}
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
