package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Exit codes of the program, as sysexits.h has them.
const (
	exitOK          = 0
	exitUsage       = 64
	exitUnavailable = 69
	exitRefused     = 77
	exitConfig      = 78
)

// patience bounds every wait for something that should happen at once. It is long because the machine may be busy.
const patience = 20 * time.Second

// maxShown is how much of the log of a failed test is shown, in bytes, with all its logins.
const maxShown = 256 << 10

var logins = regexp.MustCompile(`(?m)^.*("msg":"| info )login\b.*\n`)

// logBuffer keeps what a process writes and lets others wait for it.
type logBuffer struct {
	mu      sync.Mutex // guards the fields below
	text    strings.Builder
	changed chan struct{} // closed at the next write
}

func newLogBuffer() *logBuffer {
	return &logBuffer{changed: make(chan struct{})}
}

// Write never fails.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Write(p)
	close(b.changed)
	b.changed = make(chan struct{})
	return len(p), nil
}

// String returns all that was written.
func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) state() (string, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String(), b.changed
}

// daemon is a running `gatehouse serve`.
type daemon struct {
	cmd   *exec.Cmd
	log   *logBuffer
	ended chan struct{} // closed when the process is gone
	err   error         // of Wait; valid after ended
}

// launch starts `gatehouse serve` on a config file without waiting for anything. The process is killed when the test
// ends; if the test failed, its log is shown.
func launch(t testing.TB, config string, env ...string) *daemon {
	t.Helper()
	return launchLogging(t, "text", config, env...)
}

// launchLogging is launch with a log in another form; that of the config if it is empty.
func launchLogging(t testing.TB, format, config string, env ...string) *daemon {
	t.Helper()
	return launchProgram(t, gatehouse, format, config, env...)
}

// launchProgram is launchLogging with another build of gatehouse.
func launchProgram(t testing.TB, program, format, config string, env ...string) *daemon {
	t.Helper()
	args := []string{"serve", "--config", config}
	if format != "" {
		args = append(args, "--log-format", format)
	}
	d := &daemon{
		cmd:   exec.Command(program, args...),
		log:   newLogBuffer(),
		ended: make(chan struct{}),
	}
	d.cmd.Dir = filepath.Dir(config)
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.Stdout = d.log
	d.cmd.Stderr = d.log
	d.cmd.WaitDelay = time.Second
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.ended)
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.ended
		if t.Failed() {
			text := d.log.String()
			if len(text) > maxShown {
				text = "(without logins)\n" + logins.ReplaceAllString(text, "")
			}
			t.Logf("log of %s:\n%s", config, text)
		}
	})
	return d
}

// start launches the program and waits until it is ready.
func start(t testing.TB, config string, env ...string) *daemon {
	t.Helper()
	d := launch(t, config, env...)
	if err := d.ready(); err != nil {
		t.Fatal(err)
	}
	return d
}

// errEnded says that the process ended while something else was waited for.
var errEnded = errors.New("the program ended")

// ready waits for the line that says all ports are open.
func (d *daemon) ready() error {
	_, err := d.waitFor(regexp.MustCompile(`(?m)^\S+ info ready\b.*$`))
	return err
}

// waitFor waits until a line of the log matches and returns the first such line.
func (d *daemon) waitFor(pattern *regexp.Regexp) (string, error) {
	timeout := time.After(patience)
	for {
		text, changed := d.log.state()
		if line := pattern.FindString(text); line != "" {
			return line, nil
		}
		select {
		case <-changed:
		case <-d.ended:
			// The last lines may have come between the look and the end.
			if line := pattern.FindString(d.log.String()); line != "" {
				return line, nil
			}
			return "", fmt.Errorf("waiting for %q in the log: %w: %v", pattern, errEnded, d.err)
		case <-timeout:
			return "", fmt.Errorf("waiting for %q in the log: nothing in %v", pattern, patience)
		}
	}
}

var listening = regexp.MustCompile(`(?m)^\S+ info listening\b.*$`)

// addresses returns the addresses of one kind of port, "starttls" or "direct", in the order of the log.
func (d *daemon) addresses(kind string) []string {
	var found []string
	for _, line := range listening.FindAllString(d.log.String(), -1) {
		var address, tls string
		for _, field := range strings.Fields(line) {
			if v, ok := strings.CutPrefix(field, "address="); ok {
				address = strings.Trim(v, `"`)
			}
			if v, ok := strings.CutPrefix(field, "tls="); ok {
				tls = v
			}
		}
		if tls == kind {
			found = append(found, address)
		}
	}
	return found
}

// address returns the first port of a kind.
func (d *daemon) address(t testing.TB, kind string) string {
	t.Helper()
	found := d.addresses(kind)
	if len(found) == 0 {
		t.Fatalf("no %s port in the log", kind)
	}
	return found[0]
}

// wait waits for the end of the process and returns its exit code, or -1 if a signal ended it.
func (d *daemon) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-d.ended:
	case <-time.After(patience):
		t.Fatalf("the program did not end within %v", patience)
	}
	return d.cmd.ProcessState.ExitCode()
}

// signal sends a signal to the process.
func (d *daemon) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// stop ends the process with SIGTERM and checks that it ends well.
func (d *daemon) stop(t testing.TB) {
	t.Helper()
	d.signal(t, syscall.SIGTERM)
	if code := d.wait(t); code != exitOK {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

// until polls for something that has no event to wait for, such as a process that disappears.
func until(t testing.TB, what string, limit time.Duration, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, limit)
		}
		<-tick.C
	}
}
