package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// manager is the service manager's side of NOTIFY_SOCKET.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return conn
}

// told returns the next message.
func told(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	message := make([]byte, 4096)
	n, err := conn.Read(message)
	if err != nil {
		t.Fatal(err)
	}
	return string(message[:n])
}

func testNotifier(t *testing.T) (notifier, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	return notifier{slog.New(slog.NewTextHandler(&log, nil))}, &log
}

func TestNotifier_messages(t *testing.T) {
	conn := manager(t)
	n, log := testNotifier(t)
	for _, tt := range []struct {
		name string
		tell func()
		want string // a regular expression
	}{
		{"ready", func() { n.Ready("serving 2 hosts") }, `READY=1\nSTATUS=serving 2 hosts`},
		{"reloading", n.Reloading, `RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]+`},
		{"status", func() { n.Status("reload refused") }, `STATUS=reload refused`},
		{"a status cannot forge a field", func() { n.Status("bad\nREADY=1\n") }, `STATUS=bad READY=1`},
		{"stopping", func() { n.Stopping(10 * time.Second) }, `STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000`},
	} {
		tt.tell()
		if got := told(t, conn); !regexp.MustCompile(`\A` + tt.want + `\z`).MatchString(got) {
			t.Errorf("%s: the manager was told %q, want %q", tt.name, got, tt.want)
		}
	}
	if log.Len() > 0 {
		t.Errorf("log: %s", log)
	}
}

func TestNotifier_reloadingTellsTheMonotonicClock(t *testing.T) {
	conn := manager(t)
	n, _ := testNotifier(t)
	stamp := func() int64 {
		n.Reloading()
		_, number, _ := strings.Cut(told(t, conn), "MONOTONIC_USEC=")
		usec, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return usec
	}
	start := time.Now()
	first := stamp()
	second := stamp()
	if passed := time.Duration(second-first) * time.Microsecond; passed < 0 || passed > time.Since(start) {
		t.Errorf("two stamps within %v are %v apart", time.Since(start), passed)
	}
	// /proc/uptime counts the time of a suspended machine as well, so it is never behind.
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	seconds, err := strconv.ParseFloat(strings.Fields(string(uptime))[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	if float64(second)/1e6 > seconds+1 {
		t.Errorf("stamp %d is in the future; the machine is up for %v s", second, seconds)
	}
}

func TestNotifier_withoutManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	n, log := testNotifier(t)
	n.Ready("x")
	n.Reloading()
	n.Status("x")
	n.Stopping(time.Second)
	n.Watch(t.Context(), func(context.Context) bool { t.Error("asked without a watchdog"); return false })
	if log.Len() > 0 {
		t.Errorf("log: %s", log)
	}
}

func TestNotifier_lostManagerIsLogged(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	n, log := testNotifier(t)
	n.Ready("x")
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") {
		t.Errorf("log = %q, want one warning", got)
	}
}

func TestNotifier_watchdog(t *testing.T) {
	conn := manager(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	n, _ := testNotifier(t)
	ctx, cancel := context.WithCancel(t.Context())
	var asked, lively atomic.Int32
	lively.Store(1)
	ended := make(chan struct{})
	hung := make(chan struct{}, 1)
	go func() {
		defer close(ended)
		n.Watch(ctx, func(ctx context.Context) bool {
			asked.Add(1)
			if lively.Load() == 0 {
				<-ctx.Done() // as a daemon that hangs
				select {
				case hung <- struct{}{}:
				default:
				}
				return false
			}
			return true
		})
	}()
	for range 3 {
		if got := told(t, conn); got != "WATCHDOG=1" {
			t.Fatalf("the manager was told %q", got)
		}
	}
	lively.Store(0)
	<-hung
	<-hung // from here on no ping is on its way but those that are waiting to be read
	before := asked.Load()
	drain(t, conn)
	for range 2 {
		<-hung
	}
	if got := drain(t, conn); got > 0 {
		t.Errorf("%d pings while the daemon hangs", got)
	}
	if asked.Load() <= before {
		t.Error("the daemon is not asked any more")
	}
	lively.Store(1)
	if got := told(t, conn); got != "WATCHDOG=1" {
		t.Fatalf("the manager was told %q", got)
	}
	cancel()
	<-ended
}

// drain reads what is waiting and returns how many messages there were.
func drain(t *testing.T, conn *net.UnixConn) (n int) {
	t.Helper()
	message := make([]byte, 4096)
	for {
		if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(message); err != nil {
			return n
		}
		n++
	}
}

func TestNotifier_watchdogOfAnotherProcess(t *testing.T) {
	manager(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", "1")
	n, _ := testNotifier(t)
	n.Watch(t.Context(), func(context.Context) bool { t.Error("asked"); return true })
}
