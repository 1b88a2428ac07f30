package extauth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// with returns cfg with another value of an environment variable of the script.
func with(cfg Config, name, value string) Config {
	cfg.Env = slices.DeleteFunc(slices.Clone(cfg.Env), func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	cfg.Env = append(cfg.Env, name+"="+value)
	return cfg
}

// versioned returns cfg for version n of the script, which says yes to the user version-<n> and to no other version.
func versioned(cfg Config, n int) Config {
	return with(cfg, versionEnv, strconv.Itoa(n))
}

// mustApply makes p work as cfg says, and returns whether that took new processes.
func mustApply(tb testing.TB, p *Pool, cfg Config) (restarts bool) {
	tb.Helper()
	u, err := p.Prepare(ctxBackground, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	u.Apply()
	return u.Restarts()
}

// mustBeVersion checks that the script is version n.
func mustBeVersion(tb testing.TB, p *Pool, n int) {
	tb.Helper()
	mustSay(tb, p, fmt.Sprintf("version-%d", n), "right", true)
	mustSay(tb, p, fmt.Sprintf("version-%d", n-1), "right", false)
}

func TestPool_reloadFromEveryProtocolToEvery(t *testing.T) {
	checkLeaks(t)
	eachVariant(t, func(t *testing.T, from variant) {
		for _, to := range variants {
			t.Run("to "+to.String(), func(t *testing.T) {
				t.Parallel()
				cfg := testConfig(t, from, "plain")
				p := newParallelPool(t, versioned(cfg, 1))
				mustBeVersion(t, p, 1)
				next := with(cfg, protoEnv, to.proto.String())
				next.Protocol, next.PTY, next.Processes = to.proto, to.pty, to.size
				if !mustApply(t, p, versioned(next, 2)) {
					t.Error("no new process")
				}
				mustBeVersion(t, p, 2)
				mustSay(t, p, "alice", "right", true)
				mustSay(t, p, "alice", "wrong", false)
				if s := p.Stats(); s.Restarts != 0 || s.Processes != to.size || s.Fault != nil {
					t.Errorf("%+v", s)
				}
				eventually(t, "the old process has ended", func() bool { return len(marked(t, cfg)) == 1 })
			})
		}
	})
}

// TestPool_reloadUnderLoad asks without a pause while the pool is changed in every way. No answer may be wrong, none
// may be missing, and none may come from a script that was replaced before the query arrived.
func TestPool_reloadUnderLoad(t *testing.T) {
	cfg := testConfig(t, variant{Generic, true, 3}, "plain")
	cfg.Timeout = 10 * time.Second
	p := newTestPool(t, versioned(cfg, 0))
	var (
		begun, done atomic.Int64 // versions that Apply was called for, and has returned for
		wg          sync.WaitGroup
		asked       atomic.Int64
	)
	stop := make(chan struct{})
	for c := range 6 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				n := done.Load()
				user, password, want := fmt.Sprintf("version-%d", n), "right", true
				switch i % 4 {
				case 0:
					user = "alice"
				case 1:
					user, password, want = "alice", "wrong", false
				case 2:
					user, want = fmt.Sprintf("version-%d", n-1), false
				}
				if c == 0 && i%16 == 0 {
					user, password, want = "fifty", "right", true
				}
				yes, err := p.Auth(ctxBackground, user, "example.org", password)
				asked.Add(1)
				switch {
				case err != nil:
					t.Errorf("%s: %v", user, err)
				case yes && !want:
					t.Errorf("%s with %q was let in", user, password)
				case !yes && want && (!strings.HasPrefix(user, "version-") || begun.Load() == n):
					t.Errorf("%s with %q was refused", user, password)
				}
			}
		})
	}
	version := 0
	for i := range 50 {
		next := cfg
		next.Processes, next.Queue = 1+i%4, 50+i
		if v := variants[i%3]; i%2 == 1 {
			version++
			next = with(next, protoEnv, v.proto.String())
			next.Protocol, next.PTY = v.proto, v.pty
			cfg = next
		}
		u, err := p.Prepare(ctxBackground, versioned(next, version))
		if err != nil {
			t.Fatal(err)
		}
		if u.Restarts() != (i%2 == 1) {
			t.Errorf("change %d: new processes: %v", i, u.Restarts())
		}
		begun.Store(int64(version))
		u.Apply()
		u.Discard()
		done.Store(int64(version))
	}
	close(stop)
	wg.Wait()
	mustBeVersion(t, p, version)
	if s := p.Stats(); s.Restarts != 0 || s.Timeouts != 0 || s.Size > s.Processes {
		t.Errorf("%+v", s)
	}
	t.Logf("%d queries, 50 reloads", asked.Load())
}

// diesAtOnce is through sooner than this program would have started once more.
var diesAtOnce = []string{"/bin/sh", "-c", "echo no database >&2; exit 3"}

func TestPool_reloadOfABrokenScriptChangesNothing(t *testing.T) {
	dir := t.TempDir()
	notExecutable := filepath.Join(dir, "auth.sh")
	if err := os.WriteFile(notExecutable, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var log logBuffer
	cfg := testConfig(t, variant{Generic, true, 2}, "plain")
	cfg.Logger = log.logger()
	p := newTestPool(t, cfg)
	mustSay(t, p, "alice", "right", true)
	before := p.Stats()
	files := openFiles(t)
	for name, c := range map[string]struct {
		change func(*Config)
		err    error
		text   string
	}{
		"dies at once":   {func(c *Config) { c.Command = diesAtOnce }, ErrDied, "exit status 3"},
		"stderr":         {func(c *Config) { c.Command = diesAtOnce }, ErrDied, "no database"},
		"missing":        {func(c *Config) { c.Command = []string{"/no/such/script"} }, ErrStart, "does not exist"},
		"not executable": {func(c *Config) { c.Command = []string{notExecutable} }, ErrStart, "chmod"},
		"directory":      {func(c *Config) { c.Dir = "/no/such/directory" }, ErrStart, "directory"},
		"no command":     {func(c *Config) { c.Command = nil }, ErrConfig, "no command"},
		"no time":        {func(c *Config) { c.Timeout = 0 }, ErrConfig, "timeout"},
	} {
		next := cfg
		c.change(&next)
		next.Processes++
		_, err := p.Prepare(ctxBackground, next)
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.text) {
			t.Fatalf("%s: %v; want an error that wraps %q and holds %q", name, err, c.err, c.text)
		}
	}
	eventually(t, "one process", func() bool { return len(marked(t, cfg)) == 1 && openFiles(t) == files })
	after := p.Stats()
	if fmt.Sprintf("%+v", after) != fmt.Sprintf("%+v", before) {
		t.Errorf("%+v, before: %+v", after, before)
	}
	if s := log.String(); strings.Contains(s, "level=WARN") {
		t.Errorf("log: %s", s)
	}
	mustSay(t, p, "alice", "right", true)
}

// A script that hangs at its start cannot be told from one that waits. Queries then have the grace of a start, and the
// next reload mends it.
func TestPool_reloadOfAScriptThatHangs(t *testing.T) {
	cfg := testConfig(t, variant{Generic, true, 2}, "plain")
	p := newTestPool(t, cfg)
	mustSay(t, p, "alice", "right", true)
	hangs := with(cfg, scriptEnv, "never-reads")
	hangs.StartTimeout = testTimeout
	if !mustApply(t, p, hangs) {
		t.Error("no new process")
	}
	mustFail(t, p, "alice", ErrTimeout)
	if !mustApply(t, p, cfg) {
		t.Error("no new process")
	}
	mustSay(t, p, "alice", "right", true)
}

func TestPool_reloadLetsASlowQueryFinish(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		cfg := testConfig(t, v, "plain")
		p := newTestPool(t, versioned(cfg, 1))
		mustBeVersion(t, p, 1)
		next, err := p.Prepare(ctxBackground, versioned(cfg, 2))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { mustSay(t, p, "slowversion-1", "right", true) })
		eventually(t, "it is asked", func() bool { return p.Stats().Busy == 1 })
		next.Apply()
		mustBeVersion(t, p, 2)
		s := p.Stats()
		if len(s.Workers) != 2 || !s.Workers[0].Old || !s.Workers[0].Busy || s.Workers[1].Old || s.Size != 2 {
			t.Errorf("%+v", s)
		}
		wg.Wait()
		mustBeVersion(t, p, 2)
		if s := p.Stats(); s.Size != 1 || s.Restarts != 0 || s.Workers[0].Old {
			t.Errorf("%+v", s)
		}
		eventually(t, "the old process has ended", func() bool { return len(marked(t, cfg)) == 1 })
	})
}

// Queries that wait for an old worker get a new one, although the old one never comes free in time.
func TestPool_reloadServesThoseWhoWait(t *testing.T) {
	cfg := testConfig(t, variant{Generic, false, 1}, "plain")
	cfg.Timeout = 10 * time.Second
	p := newTestPool(t, versioned(cfg, 1))
	mustBeVersion(t, p, 1)
	next, err := p.Prepare(ctxBackground, versioned(cfg, 2))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(ctxBackground, 2*time.Second)
	defer cancel()
	wg.Go(func() {
		if yes, err := p.Auth(ctx, "hang", "example.org", "right"); yes || !errors.Is(err, ErrTimeout) {
			t.Error(yes, err)
		}
	})
	eventually(t, "the worker hangs", func() bool { return p.Stats().Busy == 1 })
	var served sync.WaitGroup
	for range 5 {
		served.Go(func() { mustSay(t, p, "version-2", "right", true) })
	}
	eventually(t, "all wait", func() bool { return p.Stats().Queued == 5 })
	next.Apply()
	served.Wait()
	if ctx.Err() != nil {
		t.Error("they waited for the old worker")
	}
	wg.Wait()
	if s := p.Stats(); s.Restarts != 0 || s.Timeouts != 1 || s.Size != 1 {
		t.Errorf("%+v", s)
	}
}

// A query whose old worker dies is asked again of a new one.
func TestPool_reloadAsksAgainOfTheNewScript(t *testing.T) {
	cfg := testConfig(t, variant{Generic, true, 1}, "plain")
	p := newTestPool(t, versioned(cfg, 1))
	mustBeVersion(t, p, 1)
	old := onlyWorker(t, p)
	next, err := p.Prepare(ctxBackground, versioned(cfg, 2))
	if err != nil {
		t.Fatal(err)
	}
	var info Info
	var wg sync.WaitGroup
	wg.Go(func() {
		yes, err := p.Auth(WithInfo(ctxBackground, &info), "slowversion-2", "example.org", "right")
		if !yes || err != nil {
			t.Error(yes, err)
		}
	})
	eventually(t, "it is asked", func() bool { return p.Stats().Busy == 1 })
	next.Apply()
	old.proc.kill()
	wg.Wait()
	if info.Tries != 2 || info.Worker == old.id {
		t.Errorf("%+v", info)
	}
	if s := p.Stats(); s.Restarts != 0 || s.Fault != nil {
		t.Errorf("%+v", s)
	}
}

func TestPool_reloadThatChangesNothingStartsNothing(t *testing.T) {
	cfg := testConfig(t, variant{Generic, true, 2}, "plain")
	p := newTestPool(t, cfg)
	mustSay(t, p, "alice", "right", true)
	pid := onlyWorker(t, p).pid
	for range 3 {
		if mustApply(t, p, cfg) {
			t.Error("new processes")
		}
	}
	mustSay(t, p, "alice", "right", true)
	if s := p.Stats(); len(s.Workers) != 1 || s.Workers[0].PID != pid || s.Workers[0].Answers != 2 || s.Workers[0].ID != 1 {
		t.Errorf("%+v", s)
	}
}

func TestPool_reloadChangesTimesInPlace(t *testing.T) {
	var log logBuffer
	cfg := testConfig(t, variant{Generic, true, 1}, "plain")
	cfg.Timeout = time.Minute
	p := newTestPool(t, cfg)
	mustSay(t, p, "alice", "right", true)
	pid := onlyWorker(t, p).pid
	var wg sync.WaitGroup
	wg.Go(func() { mustSay(t, p, "late", "right", true) }) // keeps the deadline that it came with
	eventually(t, "it is asked", func() bool { return p.Stats().Busy == 1 })
	events := new(atomic.Int64)
	next := cfg
	next.Timeout, next.Queue, next.Name, next.Logger = 100*time.Millisecond, 0, "example.net", log.logger()
	next.Trace = func(Event) { events.Add(1) }
	mustApply(t, p, next)
	mustFail(t, p, "bob", ErrBusy)
	wg.Wait()
	mustSay(t, p, "query", "right", true)
	if events.Load() == 0 {
		t.Error("no event")
	}
	eventually(t, "the new logger is used", func() bool { return strings.Contains(log.String(), "host=example.net") })
	if n := onlyWorker(t, p).pid; n != pid {
		t.Errorf("process %d, was %d", n, pid)
	}
	begun := time.Now()
	mustFail(t, p, "hang", ErrTimeout)
	if took := time.Since(begun); took > testTimeout {
		t.Errorf("gave up after %v", took)
	}
}

func TestPool_reloadResizes(t *testing.T) {
	cfg := testConfig(t, variant{Generic, true, 1}, "plain")
	cfg.Timeout = 10 * time.Second
	p := newTestPool(t, cfg)
	mustSay(t, p, "alice", "right", true)
	var wg sync.WaitGroup
	ask := func(n int) {
		for range n {
			wg.Go(func() { mustSay(t, p, "fifty", "right", true) })
		}
	}
	resize := func(n int) {
		t.Helper()
		next := cfg
		next.Processes = n
		if mustApply(t, p, next) {
			t.Error("new processes for a new size")
		}
	}
	ask(8)
	eventually(t, "seven wait", func() bool { return p.Stats().Queued == 7 })
	resize(4)
	eventually(t, "four work", func() bool { return p.Stats().Busy == 4 })
	wg.Wait()
	resize(2) // all are idle
	if s := p.Stats(); s.Size != 2 || s.Processes != 2 {
		t.Errorf("%+v", s)
	}
	resize(4)
	ask(12)
	eventually(t, "four work", func() bool { return p.Stats().Busy == 4 })
	resize(1) // all are busy, and others wait
	wg.Wait()
	if s := p.Stats(); s.Size != 1 || s.Restarts != 0 || s.Timeouts != 0 {
		t.Errorf("%+v", s)
	}
	eventually(t, "one process", func() bool { return len(marked(t, cfg)) == 1 })
}

func TestPool_reloadSeesThatAFileChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.sh")
	write := func(name, right string) {
		t.Helper()
		script := "#!/bin/sh\nwhile IFS= read -r q; do case $q in *:" + right + ") echo 1;; *) echo 0;; esac; done\n"
		if err := os.WriteFile(name, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	rename := func(right string) {
		t.Helper()
		write(path+".new", right)
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	cfg := testConfig(t, variant{Generic, true, 1}, "plain")
	cfg.Command = []string{path}
	p := newTestPool(t, cfg)
	mustFail(t, p, "alice", ErrStart)
	write(path, "first")
	if !mustApply(t, p, cfg) {
		t.Error("no new process for a new file")
	}
	mustSay(t, p, "alice", "first", true)
	rename("second")
	if !mustApply(t, p, cfg) {
		t.Error("no new process for a replaced file")
	}
	mustSay(t, p, "alice", "first", false)
	mustSay(t, p, "alice", "second", true)
	write(path, "another")
	if !mustApply(t, p, cfg) {
		t.Error("no new process for a written file")
	}
	mustSay(t, p, "alice", "another", true)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Prepare(ctxBackground, cfg); !errors.Is(err, ErrStart) {
		t.Errorf("removed file: %v", err)
	}
	mustSay(t, p, "alice", "another", true)
	write(path, "fourth")
	if !mustApply(t, p, cfg) {
		t.Error("no new process for a file that is back")
	}
	mustSay(t, p, "alice", "fourth", true)
	if mustApply(t, p, cfg) {
		t.Error("new process for nothing")
	}
}
