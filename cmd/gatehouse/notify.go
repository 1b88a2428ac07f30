package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// A notifier tells the service manager how the daemon is, as sd_notify(3) has
// it. Without one (NOTIFY_SOCKET is not set) its methods do nothing. That the
// manager cannot be reached is logged and changes nothing else.
type notifier struct {
	logger *slog.Logger
}

// stopMargin is what the end of the process takes beyond its own deadline.
const stopMargin = 5 * time.Second

// Ready says that the daemon serves, after its start and after each Reloading.
// The status is one line for `systemctl status`.
func (n notifier) Ready(status string) { n.send(sd.SdNotifyReady, statusField(status)) }

// Reloading says that a new config is being tried; Ready must follow, whatever
// comes of it. With Type=notify-reload the manager wants to know since when.
func (n notifier) Reloading() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		n.logger.Warn("systemd is not told of the reload", "cause", err)
		return
	}
	n.send(sd.SdNotifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/int64(time.Microsecond)))
}

// Stopping says that the daemon ends, and that it may take this long: the
// manager then waits, even if its own timeout is shorter.
func (n notifier) Stopping(within time.Duration) {
	n.send(sd.SdNotifyStopping, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (within+stopMargin).Microseconds()))
}

// Status replaces the line for `systemctl status`.
func (n notifier) Status(text string) { n.send(statusField(text)) }

// Watch pings the manager's watchdog (WatchdogSec) at half its interval as long
// as alive says so; a daemon that does not answer any more is then killed and
// started again. The context given to alive ends with the interval. Watch
// returns when ctx ends, or at once if there is no watchdog.
func (n notifier) Watch(ctx context.Context, alive func(context.Context) bool) {
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		n.logger.Warn("systemd's watchdog is not served", "cause", err)
	}
	if interval == 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		asked, cancel := context.WithTimeout(ctx, interval/2)
		ok := alive(asked)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case ok:
			n.send(sd.SdNotifyWatchdog)
		default:
			n.logger.Error("the daemon does not answer itself; systemd is going to restart it", "within", interval)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (n notifier) send(fields ...string) {
	if _, err := sd.SdNotify(false, strings.Join(fields, "\n")); err != nil {
		n.logger.Warn("systemd cannot be told", "cause", err)
	}
}

// statusField makes one line of a text: a line feed would begin another field.
func statusField(text string) string {
	return "STATUS=" + strings.Join(strings.Fields(text), " ")
}
