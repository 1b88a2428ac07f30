package logging

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
)

// toFile returns a log whose standard error is a file, with what was written to it so far.
func toFile(t testing.TB) (*Log, func() string) {
	t.Helper()
	dir := t.TempDir()
	f, err := os.OpenFile(filepath.Join(dir, "stderr"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	l := newLog(f, filepath.Join(dir, "no-journal"), filepath.Join(dir, "no-syslog"))
	return l, func() string { return read(t, f.Name()) }
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var stamp = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d) `)

// want compares text lines without their times.
func want(t *testing.T, what, got string, lines ...string) {
	t.Helper()
	wanted := ""
	for _, line := range lines {
		wanted += line + "\n"
	}
	if got = stamp.ReplaceAllString(got, ""); got != wanted {
		t.Errorf("%s:\n got %q\nwant %q", what, got, wanted)
	}
}

func set(t *testing.T, l *Log, cfg Config) {
	t.Helper()
	if warnings := l.Set(cfg); len(warnings) > 0 {
		t.Fatal(warnings)
	}
}

// TestLog_isHandler: slog's own conformance test. Groups become dotted keys.
func TestLog_isHandler(t *testing.T) {
	var l *Log
	var stderr func() string
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		l, stderr = toFile(t)
		return l.Logger().Handler()
	}, func(t *testing.T) map[string]any {
		var flat map[string]any
		if err := json.Unmarshal([]byte(stderr()), &flat); err != nil {
			t.Fatal(err)
		}
		nested := make(map[string]any)
		for key, v := range flat {
			at := nested
			parts := strings.Split(key, ".")
			for _, part := range parts[:len(parts)-1] {
				if at[part] == nil {
					at[part] = make(map[string]any)
				}
				at = at[part].(map[string]any)
			}
			at[parts[len(parts)-1]] = v
		}
		return nested
	})
}

func TestLog_levels(t *testing.T) {
	l, stderr := toFile(t)
	dir := t.TempDir()
	debug, some := filepath.Join(dir, "debug.log"), filepath.Join(dir, "some.log")
	set(t, l, Config{Format: Text, Sinks: []Sink{
		{To: File, File: debug, Levels: AtLeast(slog.LevelDebug)},
		{To: File, File: some, Levels: Info},
		{To: File, File: some, Levels: Info | Error},
		{To: Nowhere, Levels: AtLeast(slog.LevelDebug)},
		{To: Console, Levels: AtLeast(slog.LevelError)},
	}})
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		l.Logger().Log(context.Background(), level, "at", "level", level.String())
	}
	want(t, "all", read(t, debug), "debug at level=DEBUG", "info at level=INFO", "warn at level=WARN", "error at level=ERROR")
	want(t, "some", read(t, some), "info at level=INFO", "error at level=ERROR")
	want(t, "console", stderr(), "error at level=ERROR")
}

func TestLog_enabled(t *testing.T) {
	l, _ := toFile(t)
	cases := []struct {
		sinks []Sink
		want  Levels
	}{
		{nil, Info | Warn | Error},
		{[]Sink{{To: Console, Levels: Error}}, Error},
		{[]Sink{{To: Console, Levels: Error}, {To: Console, Levels: Debug}}, Debug | Error},
		{[]Sink{{To: Nowhere, Levels: AtLeast(slog.LevelDebug)}}, 0},
	}
	for _, c := range cases {
		set(t, l, Config{Sinks: c.sinks})
		var got Levels
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			if l.Logger().Enabled(context.Background(), level) {
				got |= only(level)
			}
		}
		if got != c.want {
			t.Errorf("%v: %b, want %b", c.sinks, got, c.want)
		}
	}
}

// TestLog_withSurvivesSet: loggers that were made before a Set write where it says, as it says.
func TestLog_withSurvivesSet(t *testing.T) {
	l, stderr := toFile(t)
	set(t, l, Config{Format: Text})
	with := l.Logger().With("host", "a").WithGroup("pool").With("size", 2)
	both := with.With("x", 1)
	with.Info("one", "busy", 1)
	file := filepath.Join(t.TempDir(), "log")
	set(t, l, Config{Format: JSON, Sinks: []Sink{{To: File, File: file, Levels: Warn}}})
	with.Info("not taken")
	with.Warn("two", "busy", 2, slog.Group("", "inline", true))
	both.Warn("three")
	want(t, "before", stderr(), "info one host=a pool.size=2 pool.busy=1")
	var got []string
	for line := range strings.Lines(read(t, file)) {
		_, line, _ = strings.Cut(line, `","level"`)
		got = append(got, line)
	}
	if !slices.Equal(got, []string{
		`:"warn","msg":"two","host":"a","pool.size":2,"pool.busy":2,"pool.inline":true}` + "\n",
		`:"warn","msg":"three","host":"a","pool.size":2,"pool.x":1}` + "\n",
	}) {
		t.Errorf("after: %q", got)
	}
}

type loud struct{ log *slog.Logger }

func (l loud) LogValue() slog.Value { l.log.Info("inner"); return slog.StringValue("v") }

// TestLog_valueThatLogs: a value may log while it is resolved, also while somebody waits to exchange the sinks.
func TestLog_valueThatLogs(t *testing.T) {
	l, stderr := toFile(t)
	set(t, l, Config{Format: Text})
	l.Logger().Info("outer", "k", loud{l.Logger()})
	want(t, "lines", stderr(), "info inner", "info outer k=v")
}

// TestLog_missingFile: lines for a file that cannot be opened are on standard error, until it can be.
func TestLog_missingFile(t *testing.T) {
	l, stderr := toFile(t)
	dir := filepath.Join(t.TempDir(), "later")
	file := filepath.Join(dir, "log")
	cfg := Config{Format: Text, Sinks: []Sink{{To: File, File: file, Levels: AtLeast(slog.LevelInfo)}}}
	warnings := l.Set(cfg)
	if len(warnings) != 1 || !strings.Contains(warnings[0].Error(), file+" go to standard error: open "+file+": no such file") {
		t.Fatalf("warnings: %v", warnings)
	}
	l.Logger().Info("one")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if warnings := l.Reopen(); len(warnings) > 0 {
		t.Fatal(warnings)
	}
	l.Logger().Info("two")
	want(t, "stderr", stderr(), "info one")
	want(t, "file", read(t, file), "info two")
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm()&^0o640 != 0 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

// TestLog_reopen: what logrotate does. A file that cannot be opened again is used as it is.
func TestLog_reopen(t *testing.T) {
	l, stderr := toFile(t)
	dir := filepath.Join(t.TempDir(), "logs")
	file := filepath.Join(dir, "log")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Format: Text, Sinks: []Sink{{To: File, File: file, Levels: Info}}}
	set(t, l, cfg)
	l.Logger().Info("one")
	rename(t, file, file+".1")
	l.Logger().Info("two")
	set(t, l, cfg) // changes nothing
	l.Logger().Info("three")
	if warnings := l.Reopen(); len(warnings) > 0 {
		t.Fatal(warnings)
	}
	l.Logger().Info("four")
	rename(t, dir, dir+".moved")
	if warnings := l.Reopen(); len(warnings) != 1 || !strings.Contains(warnings[0].Error(), "file that was open") {
		t.Fatalf("warnings: %v", warnings)
	}
	l.Logger().Info("five")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.Logger().Info("six")
	want(t, "old file", read(t, dir+".moved/log.1"), "info one", "info two", "info three")
	want(t, "new file", read(t, dir+".moved/log"), "info four", "info five")
	want(t, "stderr", stderr(), "info six")
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestLog_sharedFile: another program may append to the same file, and what it writes stays.
func TestLog_sharedFile(t *testing.T) {
	l, _ := toFile(t)
	file := filepath.Join(t.TempDir(), "log")
	set(t, l, Config{Sinks: []Sink{{To: File, File: file, Levels: Info}}})
	l.Logger().Info("one")
	other, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if _, err := other.WriteString("Nov 22 06:13:36 mod_posix\tinfo\tProsody is about to detach\n"); err != nil {
		t.Fatal(err)
	}
	l.Logger().Info("two")
	want(t, "file", read(t, file), "info one", "Nov 22 06:13:36 mod_posix\tinfo\tProsody is about to detach", "info two")
}

// TestLog_exchangeLosesNothing: goroutines log while sinks, formats and files change under them. Each line is in one
// place, once, whole.
func TestLog_exchangeLosesNothing(t *testing.T) {
	l, stderr := toFile(t)
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	set(t, l, Config{})
	const writers, lines = 8, 500
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			logger := l.Logger().With("writer", w)
			for n := range lines {
				logger.Info("line", "n", n)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	configs := []Config{
		{Sinks: []Sink{{To: File, File: a, Levels: Info}}},
		{Format: JSON, Sinks: []Sink{{To: File, File: b, Levels: Info}}},
		{Format: JSON, Sinks: []Sink{{To: Syslog, Levels: Info}}}, // there is none
		{Format: Text},
		{Format: Journald, Sinks: []Sink{{To: File, File: a, Levels: Info}, {To: File, File: b, Levels: Error}}}, // neither
	}
	rotated := 0
	for running := true; running; {
		for _, cfg := range configs {
			l.Set(cfg)
			rotated++
			_ = os.Rename(a, fmt.Sprintf("%s.%d", a, rotated))
			l.Reopen()
		}
		select {
		case <-done:
			running = false
		default:
		}
	}
	counts := make(map[string]int)
	count := func(text string) {
		for line := range strings.Lines(text) {
			var object struct{ Writer, N int }
			if i := strings.Index(line, " line writer="); i >= 0 {
				if _, err := fmt.Sscanf(line[i:], " line writer=%d n=%d\n", &object.Writer, &object.N); err != nil {
					t.Errorf("%q: %v", line, err)
				}
			} else if err := json.Unmarshal([]byte(line), &object); err != nil {
				t.Errorf("%q: %v", line, err)
			}
			counts[fmt.Sprint(object)]++
		}
	}
	count(stderr())
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		count(read(t, f))
	}
	if len(counts) != writers*lines {
		t.Errorf("%d lines of %d", len(counts), writers*lines)
	}
	for line, n := range counts {
		if n != 1 {
			t.Errorf("%s: %d times", line, n)
		}
	}
	if fds := openBelow(t, dir); len(fds) > 2 {
		t.Errorf("left open: %v", fds)
	}
}

// openBelow lists the open files below a directory.
func openBelow(t *testing.T, dir string) (open []string) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(name, dir) {
			open = append(open, name)
		}
	}
	return open
}

// pipeLog is a log whose standard error is a pipe.
func pipeLog(t *testing.T) (*Log, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	dir := t.TempDir()
	return newLog(w, dir+"/no-journal", dir+"/no-syslog"), r
}

// lines returns the lines that come out of a pipe, until one contains last.
func lines(t *testing.T, r io.Reader, last string) []string {
	t.Helper()
	var got []string
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		got = append(got, scan.Text())
		if bytes.Contains(scan.Bytes(), []byte(last)) {
			return got
		}
	}
	t.Fatalf("no line with %q: %v", last, scan.Err())
	return nil
}
