package integration

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/logging"
	"gatehouse.im/gatehouse/internal/xmpptest"
)

const fail2banFilter = "../contrib/fail2ban/filter.d/gatehouse.conf"

// fail2ban returns the addresses that the shipped filter finds in a log, in order, with repetitions.
func fail2ban(t *testing.T, log string, args ...string) []string {
	t.Helper()
	// Go runs a test again if a file has changed that the test has looked at.
	if _, err := os.ReadFile(fail2banFilter); err != nil {
		t.Fatal(err)
	}
	args = append(append([]string{"--usedns=no", "--out=<ip>"}, args...), log, fail2banFilter)
	cmd := exec.Command("fail2ban-regex", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	// Without any hit it exits with 1 and says nothing.
	if err != nil && (len(out) > 0 || stderr.Len() > 0) {
		t.Fatalf("%v: %v\n%s%s", cmd, err, out, &stderr)
	}
	return strings.Fields(string(out))
}

// guess is a login attempt from an address of its own.
type guess struct {
	from, mechanism, user, password string
	right                           string // what the client gets
	counts                          bool   // whether fail2ban has to count it
}

// guesses are right and wrong logins, and such as want another's address (192.0.2.1) in the log.
var guesses = []guess{
	{"127.0.0.2", "PLAIN", "alice", "secret", "success", false},
	{"127.0.0.3", "PLAIN", "alice", "wrong", "not-authorized", true},
	{"::1", "PLAIN", "alice", "wrong", "not-authorized", true},
	{"::1", "PLAIN", "alice", "secret", "success", false},
	{"127.0.0.4", "PLAIN", "nobody", "x", "not-authorized", true},
	{"127.0.0.3", "PLAIN", "alice", "wrong", "not-authorized", true},
	{"127.0.0.5", "PLAIN", `remote=192.0.2.1`, "x", "not-authorized", true},
	{"127.0.0.6", "PLAIN", `remote=192.0.2.1`, "secret", "success", false},
	{"127.0.0.7", "PLAIN", `condition=not-authorized`, "secret", "success", false},
	{"127.0.0.8", "PLAIN", `x\`, "x", "not-authorized", true},
	{"127.0.0.9", "PLAIN", `x\n{\u0022remote\u0022`, "x", "not-authorized", true},
	{"127.0.0.10", "PLAIN", "à" + strings.Repeat("é", 70), "x", "not-authorized", true},
	{"127.0.0.11", "PLAIN", "x\u3000y", "x", "malformed-request", false},
	{"127.0.0.12", `PLAIN remote=192.0.2.1:5 verdict=refused condition=not-authorized`, "x", "x", "invalid-mechanism", false},
	{"127.0.0.13", `" remote=192.0.2.1:5 tls=none verdict=refused condition=not-authorized`, "x", "x", "invalid-mechanism", false},
	{"127.0.0.14", `x","remote":"192.0.2.1:5","tls":"","verdict":"refused"`, "x", "x", "invalid-mechanism", false},
	{"127.0.0.15", "x\n", "x", "x", "invalid-mechanism", false},
	{"127.0.0.16", "PLAIN", "down", "x", "temporary-auth-failure", false},
}

// TestFail2ban_realLogins: in the log of a daemon, the shipped filter finds exactly the addresses of wrong logins.
func TestFail2ban_realLogins(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			plan := accounts("alice", "secret", "remote=192.0.2.1", "secret", "condition=not-authorized", "secret")
			plan["rules"] = []any{map[string]any{"match": "auth:down:", "do": []any{map[string]any{"exit": 1}}}}
			log := filepath.Join(dir, "gatehouse.log")
			listening, _ := serveLogging(t, log, writeConfig(t, dir, []host{{"localhost", options{
				"authentication": "external", "external_auth_command": installScript(t, dir, "auth", plan).path,
			}}}, baseOptions(dir), options{
				"interfaces":           []any{"127.0.0.1", "::1"},
				"gatehouse_log":        log,
				"gatehouse_log_format": format,
			}))
			var want []string
			for _, g := range guesses {
				g.try(t, listening)
				if g.counts {
					want = append(want, g.from)
				}
			}
			if got := fail2ban(t, log); !slices.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

// try makes the attempt and checks its outcome.
func (g guess) try(t *testing.T, listening map[string]string) {
	t.Helper()
	to := listening["127.0.0.1"]
	if g.from == "::1" {
		to = listening["::1"]
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(g.from)}, Timeout: patience}
	conn, err := dialer.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	c := xmpptest.New(conn)
	defer func() { _ = c.Close() }()
	if _, err := c.Secure("localhost", insecureTLS("localhost")); err != nil {
		t.Fatal(err)
	}
	if got, err := attempt(c, g.mechanism, plain(g.user, g.password)); err != nil || got != g.right {
		t.Fatalf("%+v: got %q, %v", g, got, err)
	}
}

// hostile are names that want to be something else in a log: another line, another attribute, another address, a time.
func hostile() []string {
	names := []string{
		"alice", "", " ", `"`, `\`, `\"`, `""`, `\\"`, "a b", "=", "remote=192.0.2.1:5", `x remote=192.0.2.1:5 tls=none verdict=refused`,
		`x" mechanism=PLAIN remote=192.0.2.1:5 tls=none verdict=refused condition=not-authorized`,
		`x\" mechanism=PLAIN remote=192.0.2.1:5 tls=none verdict=refused condition=not-authorized duration=1s user="`,
		`x","mechanism":"PLAIN","remote":"192.0.2.1:5","tls":"none","verdict":"refused","condition":"not-authorized"}`,
		`x\","mechanism":"PLAIN","remote":"192.0.2.1:5","tls":"none","verdict":"refused","condition":"not-authorized","a":"`,
		"2026-11-22T06:13:36.123Z", "Nov 22 06:13:36", "<HOST>", "192.0.2.1", "[2001:db8::bad]:5", "%(ip)s",
		"\xff\xfe", "\xc3", "\u202ex", "\u200b", "\x1b[2J", "\x00", "ünï à", "à", "\u00a0", "\u0085", "\u2028", "\U000e0001",
		strings.Repeat("x", 9000), strings.Repeat(`\`, 5000), strings.Repeat(`"`, 5000),
	}
	line := `2026-11-22T06:13:36.123+01:00 info login host=localhost user=x mechanism=PLAIN remote=192.0.2.1:5 tls=none verdict=refused condition=not-authorized`
	object := `{"time":"2026-11-22T06:13:36.123+01:00","level":"info","msg":"login","host":"h","user":"u","mechanism":"m","remote":"192.0.2.1:5","tls":"","verdict":"refused","condition":"not-authorized"}`
	journal := "2026-11-22T06:13:36+0100 host gatehouse[1]: " + strings.SplitN(line, " ", 3)[2]
	for _, end := range []string{"", "\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x1e", "\u0085", "\u2028", "\u2029", `\n`} {
		for _, forged := range []string{line, object, journal, strings.SplitN(line, " ", 3)[2]} {
			names = append(names, "x"+end+forged, end+forged+end)
		}
	}
	return names
}

// TestFail2ban_hostileNames: whatever name stands in whatever field, the filter counts the wrong logins, from their own
// addresses, and nothing else. The lines are those of the daemon's log, as a file, from the journal and by syslog.
func TestFail2ban_hostileNames(t *testing.T) {
	t.Parallel()
	var want []string
	dir := t.TempDir()
	text, object := filepath.Join(dir, "text"), filepath.Join(dir, "json")
	for file, format := range map[string]logging.Format{text: logging.Text, object: logging.JSON} {
		log := logging.New(os.Stderr)
		if warnings := log.Set(logging.Config{Format: format, Sinks: []logging.Sink{
			{To: logging.File, File: file, Levels: logging.AtLeast(slog.LevelDebug)},
		}}); len(warnings) > 0 {
			t.Fatal(warnings)
		}
		want = logHostile(log.Logger())
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	lines, err := os.ReadFile(text)
	if err != nil {
		t.Fatal(err)
	}
	// The journal and syslog have the same text behind a beginning of their own.
	start := regexp.MustCompile(`(?m)^\S+ \w+ `)
	forms := map[string][]byte{
		"journal":    start.ReplaceAll(lines, []byte("2026-11-22T06:13:36+0100 myhost gatehouse[123]: ")),
		"syslog":     start.ReplaceAll(lines, []byte("2026-11-22T06:13:36.123456+01:00 myhost gatehouse[123]: ")),
		"old syslog": start.ReplaceAll(lines, []byte("Nov 22 06:13:36 myhost gatehouse[123]: ")),
	}
	files := []string{text, object}
	for name, content := range forms {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	for _, file := range files {
		for _, encoding := range []string{"utf-8", "latin-1", "ascii"} {
			if got := fail2ban(t, file, "--encoding="+encoding); !slices.Equal(got, want) {
				t.Errorf("%s as %s: %d addresses, want %d%s", filepath.Base(file), encoding, len(got), len(want), firstDifference(got, want))
			}
		}
	}
}

// logHostile writes a line for each name in each field that a stranger fills, with each outcome, and others that are
// no logins. It returns the addresses that have to be found.
func logHostile(logger *slog.Logger) (want []string) {
	n := 0
	login := func(user, mechanism, verdict, condition string) string {
		n++
		ip := net.IPv4(10, byte(n>>16), byte(n>>8), byte(n)).String()
		if n%3 == 0 {
			ip = fmt.Sprintf("2001:db8::%x:1", n)
		}
		attrs := []slog.Attr{
			slog.String("host", "localhost"), slog.String("user", user), slog.String("mechanism", mechanism),
			slog.String("remote", net.JoinHostPort(ip, "50000")), slog.String("tls", "TLS 1.3"), slog.String("verdict", verdict),
		}
		if condition != "" {
			attrs = append(attrs, slog.String("condition", condition), slog.String("cause", user))
		}
		attrs = append(attrs, slog.Duration("duration", time.Millisecond), slog.String("script", user))
		logger.LogAttrs(context.Background(), slog.LevelInfo, "login", attrs...)
		return ip
	}
	for _, name := range hostile() {
		want = append(want, login(name, "PLAIN", "refused", "not-authorized"))
		if wrong := login("alice", name, "refused", "not-authorized"); name != "" {
			want = append(want, wrong) // without a mechanism it is a message out of turn
		}
		login(name, "PLAIN", "accepted", "")
		login(name, "PLAIN", "undecided", "temporary-auth-failure")
		login(name, name, "refused", "invalid-mechanism")
		login(name, name, "refused", "not-authorized-at-all")
		logger.Info("stream ended", "host", name, "remote", name, "cause", name)
		logger.Info("password change", "user", name, "verdict", "refused", "cause", name)
		logger.Debug("auth script stderr", "line", name)
		logger.Warn("login", "host", name, "user", name, "cause", name)
	}
	return want
}

// firstDifference tells where two lists part.
func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			return fmt.Sprintf("; they part at %d: %q, %q", i, got[min(i, len(got)):min(i+1, len(got))], want[min(i, len(want)):min(i+1, len(want))])
		}
	}
	return ""
}

// TestFail2ban_jail: fail2ban accepts the shipped files where they belong.
func TestFail2ban_jail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, from := range []string{"/etc/fail2ban", "../contrib/fail2ban"} {
		if out, err := exec.Command("cp", "-rT", from, dir).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	// Debian's own jails read files that this machine may not have.
	if err := os.Remove(filepath.Join(dir, "jail.d", "defaults-debian.conf")); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("fail2ban-client", "--conf", dir, "-d").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, line := range []string{
		"['add', 'gatehouse', 'systemd']",
		"['set', 'gatehouse', 'addjournalmatch', '_SYSTEMD_UNIT=gatehouse.service']",
		"['start', 'gatehouse']",
	} {
		if !strings.Contains(string(out), line) {
			t.Errorf("no %s in\n%s", line, out)
		}
	}
}
