package extauth

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// logBuffer is where a test's logger writes.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestNewPool_brokenScriptIsInTheLogAtOnce(t *testing.T) {
	var log logBuffer
	cfg := testConfig(t, variant{Generic, true, 1}, "die-at-once")
	cfg.Logger = log.logger()
	p := newTestPool(t, cfg)
	eventually(t, "the log says so", func() bool {
		s := log.String()
		return strings.Contains(s, "exit status 3") && strings.Contains(s, `stderr="no database`) && strings.Contains(s, "example.org")
	})
	err := mustFail(t, p, "alice", ErrDied)
	if !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no database") {
		t.Error(err)
	}
}

func TestNewPool_startsOneWorkerBeforeTheFirstQuery(t *testing.T) {
	p := newTestPool(t, testConfig(t, variant{Generic, true, 3}, "plain"))
	eventually(t, "one worker", func() bool { return p.Stats().Size == 1 })
	mustSay(t, p, "alice", "right", true)
}

func TestPool_slowStartIsNotCharged(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		p := newTestPool(t, testConfig(t, v, "slow-start"))
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				if yes, err := p.Auth(ctxBackground, fmt.Sprintf("u%d", i), "example.org", "right"); !yes || err != nil {
					t.Error(yes, err)
				}
			})
		}
		wg.Wait()
		if s := p.Stats(); s.Restarts != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestPool_scriptThatReadsAndHangsGetsNoStartGrace(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		p := newTestPool(t, testConfig(t, v, "plain"))
		for range 2 { // each in a new process
			begun := time.Now()
			mustFail(t, p, "hang", ErrTimeout)
			if took := time.Since(begun); took > testTimeout*2 {
				t.Errorf("took %v", took)
			}
		}
		mustRecover(t, p)
	})
}

func TestPool_scriptThatNeverReadsIsGivenUpAfterStartTimeout(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		t.Parallel()
		cfg := testConfig(t, v, "never-reads")
		// A process may take a while to start on a busy machine.
		cfg.Timeout, cfg.StartTimeout = time.Second, 2*time.Second
		p := newParallelPool(t, cfg)
		begun := time.Now()
		err := mustFail(t, p, "alice", ErrTimeout)
		if took := time.Since(begun); took < 1500*time.Millisecond || took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if !strings.Contains(err.Error(), "start_timeout") {
			t.Error(err)
		}
	})
}

func TestPool_missingScript(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "auth")
	write := func(text string, mode os.FileMode) {
		if err := os.WriteFile(name+".new", []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
	var log logBuffer
	cfg := Config{Command: []string{name}, Processes: 1, Queue: 9, Timeout: time.Second, PTY: true, Logger: log.logger()}
	p := newTestPool(t, cfg)
	eventually(t, "the log says so", func() bool { return strings.Contains(log.String(), "cannot be started") })

	const good = "#!/bin/sh\nwhile IFS= read -r q; do case $q in *:right) echo 1;; *) echo 0;; esac; done\n"
	for _, bad := range []struct {
		text string
		mode os.FileMode
	}{{"", 0}, {good, 0o644}, {"no interpreter\n", 0o755}, {"#!/no/such/thing\n", 0o755}} {
		if bad.mode != 0 {
			write(bad.text, bad.mode)
		}
		begun := time.Now()
		err := mustFail(t, p, "alice", ErrStart)
		if took := time.Since(begun); took > 500*time.Millisecond {
			t.Errorf("%v took %v", err, took)
		}
		if !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), ";") {
			t.Errorf("not helpful: %v", err)
		}
	}
	write(good, 0o755)
	mustSay(t, p, "alice", "right", true)
	mustSay(t, p, "alice", "wrong", false)
}

func TestPool_recoversWithin3sAfterABackOff(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig(t, variant{Generic, true, 1}, "plain")
	cfg.Env = append(cfg.Env, dirEnv+"="+dir)
	cfg.Timeout = 5 * time.Second
	p := newTestPool(t, cfg)
	mustSay(t, p, "alice", "right", true)
	if err := os.WriteFile(dir+"/broken", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mustFail(t, p, "exit3", ErrDied)
	for p.deathsInARow() < 7 { // the longest pause
		mustFail(t, p, "alice", ErrDied)
	}
	if err := os.Remove(dir + "/broken"); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	mustSay(t, p, "alice", "right", true)
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("recovered after %v", took)
	}
	mustSay(t, p, "alice", "wrong", false)
}

func (p *Pool) deathsInARow() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gen.deaths
}

func TestPause(t *testing.T) {
	for n, want := range map[int]time.Duration{
		0: 0, 1: 0, 2: 100 * time.Millisecond, 3: 200 * time.Millisecond, 6: 1600 * time.Millisecond,
		7: 2 * time.Second, 1000: 2 * time.Second,
	} {
		if got := pause(n); got != want {
			t.Errorf("pause(%d) = %v, want %v", n, got, want)
		}
	}
}

func TestPool_deadScriptIsNotStartedInALoop(t *testing.T) {
	cfg := testConfig(t, variant{Generic, true, 3}, "die-at-once")
	p := newTestPool(t, cfg)
	begun := time.Now()
	for time.Since(begun) < time.Second {
		p.Auth(ctxBackground, "alice", "example.org", "right")
	}
	// 0, 0, 100, 200, 400 ms apart; a few more if several waited at once.
	if n := p.Stats().Restarts; n > 8 {
		t.Errorf("%d processes in a second", n)
	}
}

func TestPool_oneShotScript(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		p := newTestPool(t, testConfig(t, v, "once"))
		for range 10 {
			mustSay(t, p, "alice", "right", true)
			mustSay(t, p, "alice", "wrong", false)
		}
		if n := p.deathsInARow(); n != 0 {
			t.Errorf("%d faults", n)
		}
	})
}

func TestPool_realScripts(t *testing.T) {
	scripts := map[string][]string{
		"shell": {"/bin/sh", "-c", `while IFS=: read -r op user host password; do
			[ "$password" = right ] && echo 1 || echo 0; done`},
		"python without flush": {"python3", "-c", `
import sys
for line in sys.stdin:
    print(1 if line.rstrip("\n").split(":", 3)[3] == "right" else 0)`},
		"perl without flush": {"perl", "-ne", `chomp; my @f = split /:/, $_, 4; print $f[3] eq "right" ? "1\n" : "0\n"`},
		"python, one shot":   {"python3", "-c", `import sys; print(int(sys.stdin.readline().endswith(":right\n")))`},
		"shell, no line end": {"/bin/sh", "-c", `while IFS= read -r q; do case $q in *:right) printf 1;; *) printf 0;; esac; done`},
	}
	for name, command := range scripts {
		t.Run(name, func(t *testing.T) {
			path, err := exec.LookPath(command[0])
			if err != nil {
				t.Fatalf("%v; apt-get install %s", err, command[0])
			}
			p := newTestPool(t, Config{
				Command: append([]string{path}, command[1:]...), PTY: true,
				Processes: 1, Queue: 9, Timeout: 5 * time.Second,
			})
			for range 3 {
				mustSay(t, p, "alice", "wrong", false)
				mustSay(t, p, "alice", "right", true)
			}
		})
	}
}

func TestPool_scriptThatTurnsEchoOnIsCaught(t *testing.T) {
	p := newTestPool(t, Config{
		Command: []string{"/bin/sh", "-c", `stty echo; while read -r q; do echo 0; done`}, PTY: true,
		Processes: 1, Queue: 9, Timeout: 5 * time.Second,
	})
	eventually(t, "the echo is taken for what it is", func() bool {
		yes, err := p.Auth(ctxBackground, "alice", "example.org", "wrong")
		if yes {
			t.Fatal("let in")
		}
		return errors.Is(err, ErrBadReply)
	})
}

// TestPool_scriptInheritsNothing looks at a script's environment, directory, descriptors and terminal from inside.
func TestPool_scriptInheritsNothing(t *testing.T) {
	for _, name := range []string{"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC"} {
		t.Setenv(name, "secret")
	}
	t.Setenv("OPERATORS_OWN", "kept")
	inherited, err := unix.Open("/dev/null", unix.O_RDONLY, 0) // as if the daemon had been started with it
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	checkLeaks(t)
	mustSay(t, newParallelPool(t, testConfig(t, variant{Generic, true, 1}, "plain")), "alice", "right", true)
	for _, pty := range []bool{true, false} {
		dir := t.TempDir()
		p := newParallelPool(t, Config{
			Command: []string{"/bin/sh", "-c", `ls /proc/$$/fd > fds; env > env; tty > tty; stty -a >> tty 2>&1
				while read -r q; do echo 1; done`},
			Dir: dir, PTY: pty, Processes: 1, Timeout: 5 * time.Second,
		})
		mustSay(t, p, "alice", "right", true)
		read := func(name string) string {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		// The shell keeps its own copies of redirected descriptors from 10 on; "ls > fds" opens 1.
		for _, fd := range strings.Fields(read("fds")) {
			if !slices.Contains([]string{"0", "1", "2", "10"}, fd) {
				t.Errorf("pty %v: script has descriptor %s", pty, fd)
			}
		}
		if env := read("env"); strings.Contains(env, "secret") || !strings.Contains(env, "OPERATORS_OWN=kept") {
			t.Errorf("pty %v: environment\n%s", pty, env)
		}
		tty := read("tty")
		if pty != strings.Contains(tty, "/dev/pts/") {
			t.Errorf("pty %v: tty says %s", pty, tty)
		}
		for _, flag := range []string{"-echo ", "-icanon", "-isig", "-icrnl", "-opost"} {
			if pty && !strings.Contains(tty, flag) {
				t.Errorf("terminal is not raw: no %s in %s", flag, tty)
			}
		}
	}
}

// TestPool_daemonKilledLeavesNoScript kills a program that has a pool, and looks for its scripts.
func TestPool_daemonKilledLeavesNoScript(t *testing.T) {
	for _, pty := range []string{"", "1"} {
		cfg := testConfig(t, variant{Generic, pty != "", 1}, "daemon")
		cmd := exec.Command(cfg.Command[0])
		cmd.Env = append(cfg.Env, "EXTAUTH_TEST_PTY="+pty)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var yes string
		if _, err := fmt.Fscan(out, &yes); yes != "true" {
			t.Fatal(yes, err)
		}
		if n := len(marked(t, cfg)); n < 2 {
			t.Fatalf("%d processes, want the daemon and a script", n)
		}
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		eventually(t, "no script is left", func() bool { return len(marked(t, cfg)) == 0 })
	}
}

// A script that hangs at its start has the start's grace, but whoever mends its file is not to wait that long.
func TestPool_mendedFileEndsAHangingStart(t *testing.T) {
	checkLeaks(t)
	for _, pty := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "auth.sh")
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(path+".new", []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}
		write("#!/bin/sh\nexec sleep 1000\n")
		cfg := testConfig(t, variant{Generic, pty, 1}, "plain")
		cfg.Command, cfg.StartTimeout = []string{path}, 30*time.Second
		p := newParallelPool(t, cfg)
		first := make(chan error, 1)
		go func() {
			_, err := p.Auth(ctxBackground, "alice", "example.org", "right")
			first <- err
		}()
		eventually(t, "the script has the query", func() bool { return p.Stats().Busy == 1 })
		mended := time.Now()
		write("#!/bin/sh\nwhile read -r q; do echo 1; done\n")
		eventually(t, "the right password is in again", func() bool {
			yes, err := p.Auth(ctxBackground, "alice", "example.org", "right")
			return yes && err == nil
		})
		if took := time.Since(mended); took > 3*time.Second {
			t.Errorf("pty %v: in again after %v", pty, took)
		}
		<-first // yes, or cannot say: its deadline was running
	}
}

// A script that answers once and ends is no fault, even if its end is seen before its answer is.
func TestPool_oneShotIsNoFault(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		var log logBuffer
		cfg := testConfig(t, v, "plain")
		cfg.Logger = log.logger()
		p := newTestPool(t, cfg)
		for range 30 {
			mustSay(t, p, "once", "right", true)
		}
		if s := p.Stats(); s.Fault != nil {
			t.Errorf("fault: %v", s.Fault)
		}
		if err := p.Close(ctxBackground); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(log.String(), "without an answer") {
			t.Error(log.String())
		}
	})
}
