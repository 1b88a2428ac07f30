package extauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// testTimeout is the Timeout of test pools: short, since many tests wait for it, but long enough for a test binary
// with the race detector to answer on a busy machine.
const testTimeout = 400 * time.Millisecond

var ctxBackground = context.Background()

// variant is one of the ways to talk to a script.
type variant struct {
	proto Protocol
	pty   bool
	size  int
}

func (v variant) String() string {
	t := "pipe"
	if v.pty {
		t = "pty"
	}
	return fmt.Sprintf("%v-%s-%d", v.proto, t, v.size)
}

var variants = []variant{
	{Generic, true, 1}, {Generic, false, 1}, {Ejabberd, false, 1},
	{Generic, true, 3}, {Generic, false, 3}, {Ejabberd, false, 3},
}

// eachVariant runs f for all protocols, transports and pool sizes.
func eachVariant(t *testing.T, f func(t *testing.T, v variant)) {
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) { f(t, v) })
	}
}

var marks atomic.Int64

// testConfig describes a pool of this binary in the given mode.
func testConfig(tb testing.TB, v variant, mode string) Config {
	tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	mark := fmt.Sprintf("%s=%d.%d.", markEnv, os.Getpid(), marks.Add(1))
	return Config{
		Name: "example.org", Command: []string{exe}, Protocol: v.proto, PTY: v.pty,
		Processes: v.size, Queue: 100, Timeout: testTimeout, StartTimeout: 10 * time.Second,
		Env: append(Environ(), scriptEnv+"="+mode, protoEnv+"="+v.proto.String(), mark,
			"GORACE=atexit_sleep_ms=0"), // the race detector's pause would look like a script that hangs
	}
}

// checkLeaks makes the end of the test fail if goroutines or descriptors are left that were not there before.
func checkLeaks(tb testing.TB) {
	tb.Helper()
	// The first pipe of a process opens the runtime's poller, which stays.
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	r.Close()
	w.Close()
	goroutines, fds := runtime.NumGoroutine(), openFiles(tb)
	tb.Cleanup(func() {
		if n := openFiles(tb); n > fds {
			tb.Errorf("%d files open, %d before the test", n, fds)
		}
		if n := zombies(tb); n > 0 {
			tb.Errorf("%d zombies", n)
		}
		eventually(tb, "goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines })
	})
}

// newTestPool starts a pool and, at the end of the test, closes it and checks that nothing of it is left.
func newTestPool(tb testing.TB, cfg Config) *Pool {
	tb.Helper()
	checkLeaks(tb)
	return newParallelPool(tb, cfg)
}

// newParallelPool is newTestPool for tests beside which others run: it looks at the pool's processes only.
func newParallelPool(tb testing.TB, cfg Config) *Pool {
	tb.Helper()
	p, err := NewPool(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(ctxBackground, 10*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			tb.Error(err)
		}
		if s := p.Stats(); s.Size != 0 || s.Busy != 0 || s.Queued != 0 {
			tb.Errorf("closed pool still has %+v", s)
		}
		// What a script left behind was killed, but it is init that reaps it.
		eventually(tb, "no process is left", func() bool { return len(marked(tb, cfg)) == 0 })
	})
	return p
}

// testPool is a pool whose script has answered once, so that no start is in the way of what a test measures.
func testPool(tb testing.TB, v variant, mode string) *Pool {
	tb.Helper()
	p := newTestPool(tb, testConfig(tb, v, mode))
	mustSay(tb, p, "warm", "right", true)
	return p
}

// openFiles counts this process's descriptors.
func openFiles(tb testing.TB) int {
	tb.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return len(d)
}

// marked lists the processes that were started for cfg, their children included.
func marked(tb testing.TB, cfg Config) []int {
	tb.Helper()
	mark := []byte{}
	for _, kv := range cfg.Env {
		if strings.HasPrefix(kv, markEnv+"=") {
			mark = []byte(kv)
		}
	}
	var pids []int
	if len(mark) == 0 {
		return nil // not this binary: checkLeaks counts zombies
	}
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range environs {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			tb.Fatal(err)
		}
		env, err := os.ReadFile(f)
		if err == nil && bytes.Contains(env, mark) && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// zombies counts the dead children of this process that nobody has reaped.
func zombies(tb testing.TB) int {
	tb.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		tb.Fatal(err)
	}
	n := 0
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it ended meanwhile
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(f) > 1 && f[0] == "Z" && f[1] == strconv.Itoa(os.Getpid()) {
			n++
		}
	}
	return n
}

// eventually waits for cond.
func eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			tb.Fatalf("not in 20 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond) // between two looks, not instead of one
	}
}

// mustSay fails the test unless the verdict is want.
func mustSay(tb testing.TB, p *Pool, user, password string, want bool) {
	tb.Helper()
	if yes, err := p.Auth(ctxBackground, user, "example.org", password); yes != want || err != nil {
		tb.Fatalf("auth of %s with %q: %v, %v; want %v", user, password, yes, err, want)
	}
}

// mustRecover checks that a pool that just met a fault refuses the wrong password and lets the right one in within 3 s.
func mustRecover(tb testing.TB, p *Pool) {
	tb.Helper()
	begun := time.Now()
	for {
		if yes, _ := p.Auth(ctxBackground, "bob", "example.org", "wrong"); yes {
			tb.Fatal("wrong password accepted")
		}
		yes, err := p.Auth(ctxBackground, "bob", "example.org", "right")
		if yes {
			break
		}
		if err == nil {
			tb.Fatal("right password refused")
		}
		if time.Since(begun) > 3*time.Second {
			tb.Fatalf("right password not accepted within 3 s: %v", err)
		}
	}
	mustSay(tb, p, "bob", "wrong", false)
	mustSay(tb, p, "bob", "right", true)
}

// mustFail checks for a cannot-say that wraps want.
func mustFail(tb testing.TB, p *Pool, user string, want error) error {
	tb.Helper()
	yes, err := p.Auth(ctxBackground, user, "example.org", "right")
	if yes || !errors.Is(err, want) {
		tb.Fatalf("auth of %s: %v, %v; want an error that wraps %q", user, yes, err, want)
	}
	return err
}

// queries returns what the scripts of cfg were asked, one line each: the process and the query.
func queries(tb testing.TB, cfg Config) []string {
	tb.Helper()
	for _, kv := range cfg.Env {
		if dir, ok := strings.CutPrefix(kv, dirEnv+"="); ok {
			b, err := os.ReadFile(dir + "/queries")
			if err != nil {
				tb.Fatal(err)
			}
			return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		}
	}
	tb.Fatal("no directory")
	return nil
}

// readable reports whether output of w waits to be read, and leaves it there.
func readable(tb testing.TB, w *worker) bool {
	tb.Helper()
	fds := []unix.PollFd{{Fd: int32(w.io.outFD), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	if err != nil && err != unix.EINTR {
		tb.Fatal(err)
	}
	return n > 0
}
