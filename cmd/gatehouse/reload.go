package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"strings"
	"time"

	"gatehouse.im/gatehouse/config"
)

// retireTimeout is how long the script of a host that is gone may take to answer
// what it was asked.
const retireTimeout = time.Minute

// Times until a reload that was refused is tried again, although nobody asked and
// no file changed.
const (
	// retryPause is for what is not about the file and may pass: a port that another
	// program has, a script that does not start.
	retryPause = 10 * time.Second
	// retryFilePause is for an error in the file. It need not be about what the file
	// says: there may be no descriptor or no memory to read it at the moment.
	retryFilePause = time.Minute
)

// configState is what became of the config file when it was read last.
type configState struct {
	loadedAt  time.Time // when the config in use was read, or found to be the file's
	changed   string    // what the last reload changed
	changedAt time.Time // when
	brokenAt  time.Time // since when the file is refused
	broken    error     // why; nil if the config in use is that of the file
}

// retryAfter is the time until a file that is refused is tried again.
func (s *configState) retryAfter() time.Duration {
	var ofFile *config.Error
	if errors.As(s.broken, &ofFile) {
		return retryFilePause
	}
	return retryPause
}

// numbers are what differs each time that the same script fails: of the worker, how
// long it took, the time of day that it writes.
var numbers = regexp.MustCompile(`[0-9]+([.:,][0-9]+)*(µs|ms|s\b)?`)

// stillBroken says whether an error tells nothing that is not known.
func (s *configState) stillBroken(err error) bool {
	return s.broken != nil && numbers.ReplaceAllString(err.Error(), "0") == numbers.ReplaceAllString(s.broken.Error(), "0")
}

// outcome is what a reload did.
type outcome struct {
	changed      []string // options and files, by name
	needsRestart []string
	took         time.Duration
	before       string // what another reload changed a moment ago
}

// String says it to a person.
func (o outcome) String() string {
	var b strings.Builder
	switch {
	case len(o.changed) == 0 && o.before != "":
		// The watcher was faster than the person at the keyboard.
		fmt.Fprintf(&b, "nothing changed since %s", o.before)
	case len(o.changed) == 0:
		b.WriteString("nothing changed")
	default:
		fmt.Fprintf(&b, "reloaded in %s:\n  %s", o.took.Round(time.Millisecond), strings.Join(o.changed, "\n  "))
	}
	if len(o.needsRestart) > 0 {
		fmt.Fprintf(&b, "\na restart is needed for: %s", strings.Join(o.needsRestart, ", "))
	}
	return b.String()
}

// What asks for a reload.
const (
	byFile    = "file"
	bySignal  = "SIGHUP"
	byCommand = "command"
	byRetry   = "retry"
)

// byPerson says whether it was a person who did.
func byPerson(cause string) bool { return cause == bySignal || cause == byCommand }

// supervise reloads the config when it changes and when it is asked to, until
// ctx ends. hup is SIGHUP.
func (d *daemon) supervise(ctx context.Context, hup <-chan os.Signal) {
	notify := notifier{d.logger}
	for {
		var again <-chan time.Time
		if state := d.reloaded.Load(); state.broken != nil {
			// From the last try on: who asks for something else does not put it off.
			again = time.After(time.Until(d.tried.Add(state.retryAfter())))
		}
		select {
		case <-ctx.Done():
			return
		case <-again:
			_, _ = d.reload(ctx, byRetry)
		case <-d.watcher.Changed():
			_, _ = d.reload(ctx, byFile)
		case <-hup:
			notify.Reloading()
			_, _ = d.reload(ctx, bySignal)
			notify.Ready(d.summary())
		case f := <-d.requests:
			f()
		}
	}
}

// do has f run by the goroutine in supervise, and waits for it.
func (d *daemon) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case d.requests <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the daemon is busy: %w", ctx.Err())
	case <-d.stopped:
		return errors.New("the daemon is shutting down")
	}
}

// reload reads the config anew and makes the daemon serve it, or leaves
// everything as it was. Either way it writes one line to the log, whose files it
// opens anew if somebody asked for the reload: they may have been moved away.
func (d *daemon) reload(ctx context.Context, cause string) (outcome, error) {
	began := time.Now()
	d.busySince.Store(began.UnixNano())
	defer d.busySince.Store(0)
	if d.log != nil && byPerson(cause) {
		d.warnOfLog(d.log.Reopen())
	}
	o, err := d.replace(ctx, cause)
	d.tried = time.Now()
	o.took = d.tried.Sub(began)
	state := *d.reloaded.Load()
	// The log is written last: whoever waits for its line finds the rest done.
	level, text, attrs := slog.LevelInfo, "", []any{"by", cause, "took", o.took}
	shown := err
	switch {
	case err != nil && ctx.Err() != nil:
		return o, err // it is the end of the daemon that is in the way
	case err != nil && cause == byRetry && state.stillBroken(err):
		return o, err // as it is known
	case err != nil:
		level, text, attrs = slog.LevelError, "reload refused; the config in use stays", append(attrs, "cause", err)
		shown = errors.New(public(err.Error()))
		if state.broken == nil {
			state.brokenAt = began
		}
		state.broken = err
	case len(o.changed)+len(o.needsRestart) == 0:
		switch {
		case state.broken != nil:
			text = "reload: the file is good again, and nothing changed"
		case cause == byFile:
			level, text = slog.LevelDebug, "reload: nothing changed"
		default:
			text = "reload: nothing changed"
		}
		if ago := began.Sub(state.changedAt); ago < time.Minute {
			o.before = fmt.Sprintf("the reload %s ago: %s", ago.Round(100*time.Millisecond), state.changed)
		}
		state.loadedAt, state.broken = began, nil
	default:
		text, attrs = "reloaded", append(attrs, "changed", strings.Join(o.changed, "; "))
		if len(o.needsRestart) > 0 {
			attrs = append(attrs, "needs_restart", strings.Join(o.needsRestart, ", "))
		}
		state = configState{loadedAt: began, changed: strings.Join(o.changed, "; "), changedAt: time.Now()}
	}
	d.reloaded.Store(&state)
	d.metrics.Reload(o.took, shown, strings.Join(o.changed, "; "), began)
	notifier{d.logger}.Status(d.summary())
	d.logger.Log(ctx, level, text, attrs...)
	return o, err
}

// replace does the work of reload: everything new is made and checked, then it
// takes the place of the old, and then the old is ended.
func (d *daemon) replace(ctx context.Context, cause string) (o outcome, err error) {
	cfg, warnings, err := d.load()
	if err != nil {
		return o, err
	}
	old := d.parts.Load()
	cfg, o.needsRestart = keep(cfg, old.config)
	d.builder.memory.retry()
	next, err := d.builder.build(ctx, cfg, old)
	if err != nil {
		return o, err
	}
	opened, err := d.ports.prepare(ctx, d.listeners(cfg), d.sockets)
	if err != nil {
		next.discard(ctx)
		return o, err
	}
	consoles, err := d.admin.prepare(ctx, cfg, d.sockets, opened.yield)
	if err != nil {
		opened.discard()
		next.discard(ctx)
		return o, err
	}
	for _, c := range config.Diff(old.config, cfg) {
		if c.Option == "gatehouse_data_dir" {
			continue // see keep
		}
		o.changed = append(o.changed, c.String())
	}
	for _, host := range next.restarted() {
		o.changed = append(o.changed, host+": script started anew")
	}

	// From here on nothing fails.
	next.apply()
	d.parts.Store(next)
	d.server.SetConfig(next.server)
	if len(o.changed) > 0 || byPerson(cause) {
		old.forget() // those of hosts that go on are next's as well
	}
	d.ports.proxies.Store(&cfg.ProxyProtocolFrom)
	d.builder.admission.SetLimits(admissionLimits(cfg))
	d.web.configure(cfg)
	d.minting.configure(cfg)
	d.builder.guard.Set(guardSettings(cfg.Guard))
	opened.apply()
	consoles.apply()
	if !reflect.DeepEqual(cfg.Log, old.config.Log) || cfg.LogFormat != old.config.LogFormat {
		d.setLog(cfg)
	}
	d.retiring.Go(func() {
		ctx, cancel := context.WithTimeout(d.lasting, retireTimeout)
		defer cancel()
		if err := old.retire(ctx, next); err != nil {
			d.logger.Warn("the script of a host that is gone", "cause", err)
		}
	})
	if len(o.changed) > 0 {
		for _, w := range warnings {
			d.logger.Warn("config", "warning", w)
		}
	}
	return o, nil
}

// keep returns cfg with what only a restart can change as it is in old, and names
// that.
func keep(cfg, old *config.Config) (*config.Config, []string) {
	if cfg.DataDir == old.DataDir {
		return cfg, nil
	}
	// The tokens that were used are remembered there.
	kept := *cfg
	kept.DataDir = old.DataDir
	return &kept, []string{"gatehouse_data_dir"}
}
