package logging

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// journalOf turns datagrams into a journal, as journald would have them with a unit of that name. The export format
// that systemd-journal-remote reads is the same as the native protocol, with an empty line after each entry.
func journalOf(t *testing.T, datagrams []string) (path string) {
	t.Helper()
	dir := t.TempDir()
	var export strings.Builder
	for i, d := range datagrams {
		fmt.Fprintf(&export, "__REALTIME_TIMESTAMP=%d\n_BOOT_ID=11111111111111111111111111111111\n_HOSTNAME=myhost\n"+
			"_SYSTEMD_UNIT=gatehouse.service\n_PID=123\n%s\n", time.Now().UnixMicro()+int64(i), d)
	}
	path = filepath.Join(dir, "out.journal")
	source := filepath.Join(dir, "export")
	if err := os.WriteFile(source, []byte(export.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "/lib/systemd/systemd-journal-remote", "--output="+path, source)
	return path
}

// run runs a program that has to succeed, and returns the lines that it prints.
func run(t *testing.T, name string, args ...string) []string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd, err, out, &stderr)
	}
	return slices.DeleteFunc(strings.Split(string(out), "\n"), func(s string) bool { return s == "" })
}

// documented returns the commands of docs/log.md that begin so, without what is said about them.
func documented(t *testing.T, start string) (commands [][]string) {
	t.Helper()
	for line := range strings.Lines(read(t, "../../docs/log.md")) {
		if strings.HasPrefix(line, start) {
			command, _, _ := strings.Cut(line, "#")
			commands = append(commands, strings.Fields(command))
		}
	}
	if len(commands) == 0 {
		t.Fatalf("docs/log.md has no %q", start)
	}
	return commands
}

// TestJournal_answersQueries: what the log sends is read by journalctl as docs/log.md has it, and by fail2ban.
func TestJournal_answersQueries(t *testing.T) {
	stream, err := os.Create(filepath.Join(t.TempDir(), "stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(stream.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, st.Ino))
	socket := filepath.Join(t.TempDir(), "socket")
	daemon := listen(t, socket)
	logger := newLog(stream, socket, "").Logger()
	var datagrams []string
	login := func(level slog.Level, user, remote, verdict, condition string) {
		logger.Log(t.Context(), level, "login", "host", "example.org", "user", user, "mechanism", "PLAIN",
			"remote", remote, "tls", "TLS 1.3", "verdict", verdict, "condition", condition)
		datagrams = append(datagrams, datagram(t, daemon))
	}
	login(slog.LevelInfo, "alice", "192.0.2.7:50000", "refused", "not-authorized")
	login(slog.LevelWarn, "alice", "192.0.2.8:50000", "undecided", "temporary-auth-failure")
	login(slog.LevelInfo, "x\nMESSAGE=login user=alice\nGATEHOUSE_USER=alice", "[2001:db8::1]:50000", "refused", "not-authorized")
	login(slog.LevelInfo, "жанна\xff", "192.0.2.9:50000", "accepted", "")
	path := journalOf(t, datagrams)

	want := map[string]int{ // lines that a query prints, by what it asks for
		"GATEHOUSE_USER=alice": 2, "GATEHOUSE_VERDICT=refused": 2, "GATEHOUSE_VERDICT=undecided": 1,
		"GATEHOUSE_HOST=example.org": 1, "GATEHOUSE_REMOTE": 4,
	}
	for _, args := range documented(t, "journalctl") {
		n, found := 0, false
		for _, arg := range args {
			if lines, ok := want[arg]; ok {
				n, found = lines, true
			}
		}
		args = slices.DeleteFunc(args[1:], func(s string) bool { return s == "-f" }) // it would wait for more
		lines := run(t, "journalctl", append(args, "--file="+path, "--quiet")...)
		if !found || len(lines) != n {
			t.Errorf("%v: %d lines, want %d: %q", args, len(lines), n, lines)
		}
	}

	const filter = "../../contrib/fail2ban/filter.d/gatehouse.conf"
	read(t, filter) // so that Go runs the test again if it changes
	got := run(t, "fail2ban-regex", "--usedns=no", "--out=<ip>", "systemd-journal[journalfiles="+path+"]", filter)
	if !slices.Equal(got, []string{"192.0.2.7", "2001:db8::1"}) {
		t.Errorf("fail2ban: %q", got)
	}
}

// TestJSON_readByJQ: the command of docs/log.md works on a file in JSON.
func TestJSON_readByJQ(t *testing.T) {
	l, _ := toFile(t)
	file := filepath.Join(t.TempDir(), "gatehouse.log")
	set(t, l, Config{Format: JSON, Sinks: []Sink{{To: File, File: file, Levels: AtLeast(slog.LevelInfo)}}})
	l.Logger().Info("login", "host", "example.org", "verdict", "refused")
	l.Logger().Warn("login", "host", "example.org", "verdict", "undecided", "cause", `worker 3: "late"`)
	command := strings.Join(documented(t, "jq ")[0], " ")
	lines := run(t, "sh", "-c", strings.Replace(command, "gatehouse.log", file, 1))
	if len(lines) != 1 || !strings.HasSuffix(lines[0], "\texample.org\tworker 3: \"late\"") {
		t.Errorf("%q", lines)
	}
}
