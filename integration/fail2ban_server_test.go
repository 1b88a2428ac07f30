package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// banning is a running fail2ban-server with the shipped filter and jail, which bans into a file.
type banning struct {
	dir    string
	client []string // the command that asks it
}

// startBanning starts Debian's fail2ban-server with all its files in a directory of its own. more goes to the jail, run
// before each of its programs.
func startBanning(t *testing.T, more string, run ...string) *banning {
	t.Helper()
	dir := t.TempDir()
	b := &banning{dir: dir}
	for _, from := range []string{"/etc/fail2ban", "../contrib/fail2ban"} {
		if out, err := exec.Command("cp", "-rT", from, dir).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if err := os.Remove(filepath.Join(dir, "jail.d", "defaults-debian.conf")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"fail2ban.local":       fmt.Sprintf("[Definition]\nsocket = %[1]s/socket\npidfile = %[1]s/pid\ndbfile = None\nlogtarget = %[1]s/log\n", dir),
		"jail.d/here.local":    "[gatehouse]\nmaxretry = 3\nignoreself = false\nignoreip =\naction = tofile\n" + more + "\n",
		"action.d/tofile.conf": "[Definition]\nactionban = echo <ip> >>" + dir + "/banned\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.client = append(slices.Clone(run), "fail2ban-client", "--conf", dir)
	server := append(slices.Clone(run), "fail2ban-server", "-f", "--conf", dir)
	cmd := exec.Command(server[0], server[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("log of fail2ban-server:\n%s", text)
		}
	})
	until(t, "fail2ban-server", patience, func() bool { return b.failed(t) == 0 })
	return b
}

var totalFailed = regexp.MustCompile(`Total failed:\s*(\d+)`)

// failed is how many wrong logins it has counted, or -1 while it cannot be asked.
func (b *banning) failed(t *testing.T) int {
	t.Helper()
	out, err := exec.Command(b.client[0], append(b.client[1:], "status", "gatehouse")...).Output()
	m := totalFailed.FindStringSubmatch(string(out))
	if err != nil || m == nil {
		return -1
	}
	n := 0
	fmt.Sscan(m[1], &n)
	return n
}

// counted waits until it has counted so many in all.
func (b *banning) counted(t *testing.T, n int) {
	t.Helper()
	until(t, fmt.Sprint(n, " wrong logins counted"), patience, func() bool { return b.failed(t) >= n })
}

// banned waits until it has banned so many addresses, and returns those that it has.
func (b *banning) banned(t *testing.T, n int) []string {
	t.Helper()
	var ips []string
	until(t, fmt.Sprint(n, " bans"), patience, func() bool {
		text, _ := os.ReadFile(filepath.Join(b.dir, "banned"))
		ips = strings.Fields(string(text))
		return len(ips) >= n
	})
	return ips
}

// guessing makes attempts from an address: so many wrong ones, and as many right ones and such that nobody can decide.
func guessing(t *testing.T, listening map[string]string, from string, wrong, right int) {
	t.Helper()
	for range wrong {
		guess{from, "PLAIN", "alice", "wrong", "not-authorized", true}.try(t, listening)
	}
	for range right {
		guess{from, "PLAIN", "alice", "secret", "success", false}.try(t, listening)
		guess{from, "PLAIN", "down", "x", "temporary-auth-failure", false}.try(t, listening)
	}
}

// bannable writes a config with a script that knows alice, and cannot say anything about down.
func bannable(t *testing.T, dir string, more options) string {
	t.Helper()
	plan := accounts("alice", "secret")
	plan["rules"] = []any{map[string]any{"match": "auth:down:", "do": []any{map[string]any{"exit": 1}}}}
	return writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": installScript(t, dir, "auth", plan).path,
	}}}, baseOptions(dir), more)
}

// TestFail2ban_server: Debian's fail2ban, with the shipped filter, watches the log file that the daemon writes, and bans
// who guesses, across each kind of rotation and a restart of the daemon. Nobody else is banned.
func TestFail2ban_server(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			log := filepath.Join(dir, "gatehouse.log")
			config := bannable(t, dir, options{"gatehouse_log": log, "gatehouse_log_format": format})
			listening, pid := serveLogging(t, log, config)
			b := startBanning(t, "backend = polling\nlogpath = "+log)

			guessing(t, listening, "127.0.0.2", 3, 1)
			guessing(t, listening, "127.0.0.3", 2, 5)
			for _, from := range []string{"127.0.0.4", "127.0.0.5", "127.0.0.6"} {
				guessing(t, listening, from, 1, 0)
			}
			b.counted(t, 8)

			// Moved away, as logrotate does.
			if err := os.Rename(log, log+".1"); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			until(t, "a new log", patience, func() bool { _, err := os.Stat(log); return err == nil })
			guessing(t, listening, "127.0.0.4", 2, 0)
			b.counted(t, 10)

			// Copied and cut, as its copytruncate does.
			if err := os.Truncate(log, 0); err != nil {
				t.Fatal(err)
			}
			guessing(t, listening, "127.0.0.5", 2, 0)
			b.counted(t, 12)

			// Another daemon.
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			stopped := regexp.MustCompile(`info stopped |"msg":"stopped"`)
			until(t, "the end", patience, func() bool {
				text, _ := os.ReadFile(log)
				return stopped.Match(text)
			})
			if err := os.Rename(log, log+".2"); err != nil {
				t.Fatal(err)
			}
			listening, _ = serveLogging(t, log, config)
			guessing(t, listening, "127.0.0.6", 2, 0)
			guessing(t, listening, "127.0.0.3", 0, 1)

			got := b.banned(t, 4)
			if want := []string{"127.0.0.2", "127.0.0.4", "127.0.0.5", "127.0.0.6"}; !slices.Equal(got, want) || b.failed(t) != 14 {
				t.Errorf("banned %v, want %v; %d wrong logins counted, want 14", got, want, b.failed(t))
			}
		})
	}
}

// TestFail2ban_journal: the same by way of a systemd journal, which a journald of the test's own keeps in a mount
// namespace: gatehouse and fail2ban are started there.
func TestFail2ban_journal(t *testing.T) {
	t.Parallel()
	const journald = `set -e
mount --make-rprivate /
mount -t tmpfs none /run
mkdir -p /run/systemd/journal /run/log/journal
exec /lib/systemd/systemd-journald`
	cmd := exec.Command("unshare", "--mount", "sh", "-c", journald)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	run := []string{"nsenter", "--mount", "--target", fmt.Sprint(cmd.Process.Pid)}
	root := fmt.Sprintf("/proc/%d/root", cmd.Process.Pid)
	until(t, "journald", patience, func() bool {
		found, _ := filepath.Glob(root + "/run/log/journal/*/system.journal")
		return len(found) > 0
	})

	dir := t.TempDir()
	daemon := exec.Command(run[0], append(run[1:], gatehouse, "serve", "--config", bannable(t, dir, nil), "--log-format", "journald")...)
	var stderr bytes.Buffer
	daemon.Stderr = &stderr
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	var text string
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
		if t.Failed() {
			t.Logf("standard error:\n%s\nthe journal:\n%s", &stderr, text)
		}
	})
	until(t, "ready", patience, func() bool {
		out, _ := exec.Command(run[0], append(run[1:], "journalctl", "--output=cat")...).Output()
		text = string(out)
		return strings.Contains(text, "\nready ")
	})
	listening := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^listening address=((\S+):\d+) tls=starttls`).FindAllStringSubmatch(text, -1) {
		listening[m[2]] = m[1]
	}
	// The shipped filter goes by the unit, and there is none here; see TestJournal_answersQueries.
	b := startBanning(t, "backend = systemd\njournalmatch = SYSLOG_IDENTIFIER=gatehouse", run...)
	guessing(t, listening, "127.0.0.2", 3, 1)
	guessing(t, listening, "127.0.0.3", 2, 5)
	guessing(t, listening, "127.0.0.4", 3, 0)
	b.counted(t, 8)
	if got, want := b.banned(t, 2), []string{"127.0.0.2", "127.0.0.4"}; !slices.Equal(got, want) || b.failed(t) != 8 {
		t.Errorf("banned %v, want %v; %d wrong logins counted, want 8", got, want, b.failed(t))
	}
}
