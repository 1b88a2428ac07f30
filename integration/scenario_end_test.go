package integration

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// overtime is how much longer than gatehouse_shutdown_timeout the end may take.
const overtime = time.Second

// asking returns a connection whose login waits for the script.
func asking(t *testing.T, address, user string, s *script) *xmpptest.Client {
	t.Helper()
	c, err := dial(t, address, "starttls", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Sendf("<auth xmlns='%s' mechanism='PLAIN'>%s</auth>", xmpptest.NSSASL, base64.StdEncoding.EncodeToString([]byte(plain(user, "secret")))); err != nil {
		t.Fatal(err)
	}
	until(t, "a query about "+user, patience, func() bool {
		return slices.Contains(s.queries(t), "auth:"+user+":localhost:secret")
	})
	return c
}

// TestEnd_queryInFlight: who is being asked about when the end comes gets his answer, and then hears of the end.
func TestEnd_queryInFlight(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plan := accounts("slow", "secret")
	plan["rules"] = []any{map[string]any{"match": "auth:slow:", "do": []any{do("sleep", 2), do("answer", true)}}}
	s := installScript(t, dir, "auth", plan)
	d := start(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path,
	}}}, baseOptions(dir)))
	c := asking(t, d.address(t, "starttls"), "slow", s)
	d.signal(t, syscall.SIGTERM)
	if e, err := c.ReadElement(); err != nil || e.Name != "success" {
		t.Errorf("got %+v, %v", e, err)
	}
	if err := c.ExpectError("system-shutdown"); err != nil {
		t.Error(err)
	}
	if code := d.wait(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// TestEnd_tooLate: what does not end within gatehouse_shutdown_timeout, or before a second signal, is cut off: who waits
// for an answer is told that the system shuts down, and not let in.
func TestEnd_tooLate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		timeout int
		signals []syscall.Signal
		within  time.Duration
	}{
		"timeout":       {1, []syscall.Signal{syscall.SIGTERM}, time.Second},
		"second signal": {3600, []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			plan := accounts("hangs", "secret")
			plan["rules"] = []any{map[string]any{"match": "auth:hangs:", "do": []any{}}}
			s := installScript(t, dir, "auth", plan)
			d := start(t, writeConfig(t, dir, []host{{"localhost", options{
				"authentication": "external", "external_auth_command": s.path,
			}}}, baseOptions(dir), options{"gatehouse_shutdown_timeout": c.timeout, "external_auth_timeout": 3000}))
			client := asking(t, d.address(t, "starttls"), "hangs", s)
			began := time.Now()
			for _, signal := range c.signals {
				d.signal(t, signal)
				if _, err := d.waitFor(regexp.MustCompile(`info shutting down `)); err != nil {
					t.Fatal(err)
				}
			}
			if err := client.ExpectError("system-shutdown"); err != nil {
				t.Error(err)
			}
			if code := d.wait(t); code != exitOK {
				t.Errorf("exit code %d", code)
			}
			if took := time.Since(began); took < c.within || took > c.within+overtime {
				t.Errorf("took %v", took)
			}
			line := regexp.MustCompile(`(?m)^\S+ warn stopped took=\S+ cause="clients: 1 connections cut off: [^"\\]*; close pool: 1 queries cut off: .*$`)
			if !line.MatchString(d.log.String()) {
				t.Error("the last line does not say what was cut off")
			}
			for _, pid := range s.pids(t) {
				if alive(pid) {
					t.Errorf("script process %d is still there", pid)
				}
			}
		})
	}
}

// clinging is a script that does not want to end, has children, and sends some of them away as daemons.
const clinging = `#!/bin/sh
trap '' TERM HUP
cd "$(dirname "$0")"
sleep 1000 & echo child $! >>pids
setsid sleep 1000 & echo session $! >>pids
(setsid sh -c 'echo daemon $$ >>pids; exec sleep 1000 0<&- 1>&- 2>&-' &)
echo leader $$ >>pids
while read -r line; do echo 1; done
sleep 1000
`

// TestEnd_leavesNothing: scripts that ignore SIGTERM, or are stopped, and what they have sent away, end with the program,
// and so do its sockets.
func TestEnd_leavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "auth")
	if err := os.WriteFile(path, []byte(clinging), 0o700); err != nil {
		t.Fatal(err)
	}
	d := start(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": path,
	}}}, baseOptions(dir), options{"gatehouse_admin": filepath.Join(dir, "admin.sock")}))
	expectAuth(t, "login", d.address(t, "starttls"), "localhost", "PLAIN", plain("alice", "secret"), "success")
	pids := make(map[string]int)
	until(t, "all processes of the script", patience, func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "pids"))
		for line := range strings.Lines(string(text)) {
			if name, pid, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				pids[name], _ = strconv.Atoi(pid)
			}
		}
		return len(pids) == 4
	})
	if err := syscall.Kill(pids["leader"], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	d.stop(t)
	if took := time.Since(began); took > 10*time.Second+overtime {
		t.Errorf("took %v", took)
	}
	for name, pid := range pids {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			t.Errorf("the %s is still there", name)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	for _, name := range []string{"admin.sock", "data/gatehouse.sock"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
}

// TestEnd_zombies: what a script leaves behind when it ends is reaped by the program, which may be the only one who
// could: in a container it is process 1.
func TestEnd_zombies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plan := accounts("alice", "secret")
	plan["rules"] = []any{map[string]any{"match": "auth:dies:", "do": []any{do("fork", true), do("fork", true), do("exit", 1)}}}
	s := installScript(t, dir, "auth", plan)
	d := start(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path,
	}}}, baseOptions(dir)))
	address := d.address(t, "starttls")
	for range 3 {
		expectAuth(t, "dies", address, "localhost", "PLAIN", plain("dies", "x"), "temporary-auth-failure")
	}
	expectAuth(t, "alice", address, "localhost", "PLAIN", plain("alice", "secret"), "success")
	until(t, "one child", patience, func() bool { return len(children(t, d.cmd.Process.Pid)) == 1 })
	if n := len(s.pids(t)); n < 4 {
		t.Errorf("%d processes of the script, so that this proves little", n)
	}
	d.stop(t)
}

// TestEnd_zombiesOfTheirOwn: so is what a script detaches, with a session of its own like those of the scripts.
func TestEnd_zombiesOfTheirOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := filepath.Join(dir, "auth.sh")
	text := fmt.Sprintf(`#!/bin/sh
read -r query
detached=%s/$$.detached
setsid sh -c ": >$detached; sleep 0.3" &
until [ -e "$detached" ]; do sleep 0.01; done
echo 1
`, dir)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	d := start(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": script,
	}}}, baseOptions(dir)))
	for range 3 {
		expectAuth(t, "alice", d.address(t, "starttls"), "localhost", "PLAIN", plain("alice", "secret"), "success")
	}
	until(t, "one child", patience, func() bool { return len(children(t, d.cmd.Process.Pid)) == 1 })
	if got, _ := filepath.Glob(filepath.Join(dir, "*.detached")); len(got) != 3 {
		t.Errorf("%d processes were detached", len(got))
	}
	d.stop(t)
}
