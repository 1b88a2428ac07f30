package logging

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// TestLog_autoFormat: text for a person, JSON for a program.
func TestLog_autoFormat(t *testing.T) {
	l, r := pipeLog(t)
	l.Logger().Info("one", "k", "v")
	var object map[string]any
	if err := json.Unmarshal([]byte(lines(t, r, "one")[0]), &object); err != nil || object["k"] != "v" {
		t.Errorf("pipe: %v, %v", object, err)
	}
	set(t, l, Config{Format: Text})
	l.Logger().Info("two", "k", "v")
	want(t, "pipe, text", lines(t, r, "two")[0]+"\n", "info two k=v")

	for _, c := range []struct{ noColor, term, level string }{
		{"", "xterm", "\x1b[33mwarn\x1b[0m "},
		{"1", "xterm", "warn "},
		{"", "dumb", "warn "},
	} {
		t.Setenv("NO_COLOR", c.noColor)
		t.Setenv("TERM", c.term)
		master, slave, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = master.Close(); _ = slave.Close() }()
		l := New(slave)
		l.Logger().Warn("three", "user", "a b")
		if got := lines(t, master, "three")[0]; !strings.HasSuffix(got, " "+c.level+" three        user=\"a b\"") {
			t.Errorf("terminal, %v: %q", c, got)
		}
		set(t, l, Config{Format: JSON})
		l.Logger().Warn("four")
		if got := lines(t, master, "four")[0]; !strings.HasPrefix(got, `{"time":"`) {
			t.Errorf("terminal, JSON: %q", got)
		}
	}
}

// TestLog_stuckPipe: nobody reads standard error. That costs a second once, and when somebody reads again he is told
// what is missing.
func TestLog_stuckPipe(t *testing.T) {
	l, r := pipeLog(t)
	set(t, l, Config{Format: Text})
	long := strings.Repeat("x", 3000)
	began := time.Now()
	const written = 1000 // megabytes, and a pipe holds 64 KiB
	for n := range written {
		l.Logger().Info("line", "n", n, "long", long)
	}
	if took := time.Since(began); took < patience || took > 5*patience {
		t.Errorf("took %v", took)
	}
	// The pipe is emptied first, so that there is room for the next line.
	got := 0
	buf := make([]byte, 1<<20)
	for ready(t, r) {
		n, err := r.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got += strings.Count(string(buf[:n]), "info line n=")
	}
	l.Logger().Info("again")
	want(t, "afterwards", strings.Join(lines(t, r, "again"), "\n")+"\n",
		fmt.Sprintf("warn log lines are missing here lines=%d", written-got), "info again")
}

// ready tells whether something can be read at once.
func ready(t *testing.T, f *os.File) bool {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// TestLog_longLineThroughPipe: a line longer than a pipe takes at once arrives whole.
func TestLog_longLineThroughPipe(t *testing.T) {
	l, r := pipeLog(t)
	set(t, l, Config{Format: Text})
	long := strings.Repeat("x", maxValue)
	go l.Logger().Info("line", "a", long, "b", long, "c", long)
	want(t, "line", lines(t, r, "line")[0]+"\n", "info line a="+long+" b="+long+" c="+long)
}

// TestLog_closedPipe runs this test as a program of its own, whose standard error is closed at the other end: a write
// to descriptor 2 is then the end of a program that is not careful.
func TestLog_closedPipe(t *testing.T) {
	if file := os.Getenv("TEST_CLOSED_PIPE"); file != "" {
		l := New(os.Stderr)
		for range 10 {
			l.Logger().Error("to nobody")
		}
		l.Set(Config{Sinks: []Sink{{To: File, File: file, Levels: Error}}})
		l.Logger().Error("alive")
		os.Exit(3)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	defer func() { _ = w.Close() }()
	file := filepath.Join(t.TempDir(), "log")
	cmd := exec.Command(os.Args[0], "-test.run=^TestLog_closedPipe$")
	cmd.Env = append(os.Environ(), "TEST_CLOSED_PIPE="+file)
	cmd.Stderr = w
	_ = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("%v", cmd.ProcessState)
	}
	want(t, "file", read(t, file), "error alive")
}

// TestLog_fullDisk: /dev/full is a file system without room. Its lines are on standard error, once each, even those
// that go there anyway.
func TestLog_fullDisk(t *testing.T) {
	l, stderr := toFile(t)
	set(t, l, Config{Format: Text, Sinks: []Sink{
		{To: File, File: "/dev/full", Levels: Info | Warn}, {To: Console, Levels: Warn},
	}})
	l.Logger().Info("one")
	l.Logger().Warn("two")
	want(t, "stderr", stderr(),
		`error log cannot be written; its lines come here log=/dev/full cause="write: no space left on device"`,
		"info one", "warn two")
}

// TestDescriptor_tornLine: after a line that was written in part, the next one begins on a line of its own, and tells
// that there is a gap.
func TestDescriptor_tornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	d, err := openDescriptor(path)
	if err != nil {
		t.Fatal(err)
	}
	to := &target{name: path, encode: encodeBare, out: &tearing{descriptor: d, at: 3}}
	line := func(msg string) (bool, error) { return to.write(&record{msg: msg + "\n"}) }
	if news, err := line("torn"); err == nil || !news {
		t.Fatal(news, err)
	}
	if _, err := line("next"); err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, path), "\"to\nlog lines are missing here lines=1\"next\\n\""; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// tearing is a disk that is full after some bytes, once.
type tearing struct {
	*descriptor
	at int
}

func (f *tearing) write(line []byte) error {
	if f.at == 0 {
		return f.descriptor.write(line)
	}
	n, err := f.writeAll(line[:f.at])
	f.torn, f.at = n > 0, 0
	if err == nil {
		err = unix.ENOSPC
	}
	return err
}

// TestLog_pipeAsFile: a log file may be a named pipe. Without a reader it is a warning at once.
func TestLog_pipeAsFile(t *testing.T) {
	l, stderr := toFile(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Format: Text, Sinks: []Sink{{To: File, File: fifo, Levels: Info}}}
	if warnings := l.Set(cfg); len(warnings) != 1 {
		t.Fatalf("warnings: %v", warnings)
	}
	l.Logger().Info("one")
	r, err := os.OpenFile(fifo, os.O_RDWR, 0) // Linux lets both ends be one
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	set(t, l, cfg)
	l.Logger().Info("two")
	want(t, "fifo", lines(t, r, "two")[0]+"\n", "info two")
	want(t, "stderr", stderr(), "info one")
}

// listen plays a log daemon.
func listen(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func datagram(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 1<<16)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// TestLog_syslog: lines reach a syslog daemon, also one that has been restarted; without one they are on standard error.
func TestLog_syslog(t *testing.T) {
	l, stderr := toFile(t)
	cfg := Config{Format: Text, Sinks: []Sink{{To: Syslog, Levels: AtLeast(slog.LevelInfo)}}}
	if warnings := l.Set(cfg); len(warnings) != 1 {
		t.Fatalf("without a daemon: %v", warnings)
	}
	l.Logger().Info("one")
	daemon := listen(t, l.syslogPath)
	set(t, l, cfg)
	l.Logger().Warn("two", "user", "a\nb")
	if got := datagram(t, daemon); !strings.HasPrefix(got, "<28>") || !strings.HasSuffix(got, " gatehouse["+pid+`]: two user="a\nb"`) {
		t.Errorf("%q", got)
	}
	_ = daemon.Close()
	_ = os.Remove(l.syslogPath)
	l.Logger().Info("three")
	l.Logger().Info("four")
	daemon = listen(t, l.syslogPath)
	l.Logger().Info("five")
	if got := datagram(t, daemon); !strings.HasSuffix(got, "log lines are missing here lines=2") {
		t.Errorf("%q", got)
	}
	if got := datagram(t, daemon); !strings.HasSuffix(got, "]: five") {
		t.Errorf("%q", got)
	}
	text := stderr()
	cause := text[strings.Index(text, `cause=`):]
	cause = cause[:strings.IndexByte(cause, '\n')]
	want(t, "stderr", text, "info one",
		`error log cannot be written; its lines come here log="the syslog" `+cause, "info three", "info four")
}

// TestLog_syslogRestarted: a daemon that is restarted between two lines misses none.
func TestLog_syslogRestarted(t *testing.T) {
	l, stderr := toFile(t)
	daemon := listen(t, l.syslogPath)
	set(t, l, Config{Sinks: []Sink{{To: Syslog, Levels: Info}}})
	l.Logger().Info("one")
	_ = daemon.Close()
	_ = os.Remove(l.syslogPath)
	daemon = listen(t, l.syslogPath)
	l.Logger().Info("two")
	if got := datagram(t, daemon); !strings.HasSuffix(got, "]: two") {
		t.Errorf("%q", got)
	}
	if got := stderr(); got != "" {
		t.Errorf("stderr: %q", got)
	}
}

// TestLog_syslogHangs: a daemon that does not read costs a second, once.
func TestLog_syslogHangs(t *testing.T) {
	l, stderr := toFile(t)
	listen(t, l.syslogPath)
	set(t, l, Config{Format: Text, Sinks: []Sink{{To: Syslog, Levels: Info}}})
	const written = 1000
	began := time.Now()
	for n := range written {
		l.Logger().Info("line", "n", n)
	}
	if took := time.Since(began); took > 5*patience {
		t.Errorf("took %v", took)
	}
	if n := strings.Count(stderr(), "info line n="); n == 0 || n >= written {
		t.Errorf("%d lines on standard error", n)
	}
}

// TestLog_journal: where JOURNAL_STREAM names standard error, lines go to the journal's socket. If that fails they go
// to the stream, with their priority.
func TestLog_journal(t *testing.T) {
	dir := t.TempDir()
	stream, err := os.Create(filepath.Join(dir, "stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(stream.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "socket")
	daemon := listen(t, socket)

	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, st.Ino+1)) // another file
	newLog(stream, socket, "").Logger().Info("one")
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, st.Ino))
	l := newLog(stream, socket, "")
	l.Logger().Warn("two", "user", "alice")
	if got, want := datagram(t, daemon), "PRIORITY=4\nSYSLOG_IDENTIFIER=gatehouse\nMESSAGE=two user=alice\nGATEHOUSE_USER=alice\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	_ = daemon.Close()
	_ = os.Remove(socket)
	l.Logger().Warn("three", "user", "alice")
	text := strings.SplitAfterN(read(t, stream.Name()), "\n", 2)
	if !strings.HasPrefix(text[0], `{"time":`) {
		t.Errorf("another file: %q", text[0])
	}
	if text[1] != "<4>three user=alice\n" {
		t.Errorf("without its socket: %q", text[1])
	}
	if warnings := newLog(stream, socket, "").Set(Config{}); len(warnings) != 1 {
		t.Errorf("warnings: %v", warnings)
	}
	for _, odd := range []string{"", "x", "1", "1:", ":1", "-1:1"} {
		t.Setenv("JOURNAL_STREAM", odd)
		if isJournal(stream) {
			t.Errorf("JOURNAL_STREAM=%q", odd)
		}
	}
}
