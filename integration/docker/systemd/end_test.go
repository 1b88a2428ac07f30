package systemd

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// processes are the service's, but for the daemon itself.
func (m *machine) scripts(t *testing.T) []string {
	t.Helper()
	all := strings.Fields(m.sh(t, "cat /sys/fs/cgroup/system.slice/gatehouse.service/cgroup.procs"))
	main := m.property(t, "MainPID")
	return slices.DeleteFunc(all, func(pid string) bool { return pid == main })
}

// TestEnd_crash: a daemon that hangs or crashes is started again, and nothing of the one before is left.
func TestEnd_crash(t *testing.T) {
	onEach(t, serving, func(t *testing.T, m *machine) {
		m.setUp(t, simple, "WatchdogSec=1\nRestartSec=100ms\n")
		m.sh(t, "systemctl start gatehouse")
		for _, fault := range []struct{ signal, restarts, said string }{
			{"STOP", "1", "gatehouse.service: Watchdog timeout"},
			{"SEGV", "2", "gatehouse.service: Main process exited"},
			{"KILL", "3", "gatehouse.service: Main process exited, code=killed, status=9/KILL"},
		} {
			since := m.cursor(t)
			m.answers(t, host, "alice", "secret", "success") // the script runs
			before := m.scripts(t)
			if len(before) == 0 {
				t.Fatal("no script runs")
			}
			m.sh(t, "kill -"+fault.signal+" "+m.property(t, "MainPID"))
			m.becomes(t, "NRestarts", fault.restarts)
			m.becomes(t, "ActiveState", "active")
			m.answers(t, host, "alice", "secret", "success")
			for _, pid := range m.scripts(t) {
				if slices.Contains(before, pid) {
					t.Errorf("after %s the script of before still runs", fault.signal)
				}
			}
			if log := m.journal(t, since); !strings.Contains(log, fault.said) {
				t.Errorf("after %s: not %q in\n%s", fault.signal, fault.said, log)
			}
		}
	})
}

// TestEnd_stop: `systemctl stop` tells clients, and leaves nothing behind, not even a script that does not want to end, or what
// it has started.
func TestEnd_stop(t *testing.T) {
	onEach(t, serving, func(t *testing.T, m *machine) {
		m.setUp(t, simple, "")
		m.write(t, scriptFile, "root", "755", "#!/bin/sh\ntrap '' TERM HUP INT\nsetsid sleep 1000 &\nwhile read -r query; do echo 1; done\nsleep 1000\n")
		m.sh(t, "systemctl start gatehouse")
		c, err := xmpptest.Dial(m.clients)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Login(host, "alice", "secret", "laptop", trust); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		m.sh(t, "systemctl stop gatehouse")
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
		if err := c.ExpectError("system-shutdown"); err != nil {
			t.Error(err)
		}
		for property, want := range map[string]string{"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"} {
			if got := m.property(t, property); got != want {
				t.Errorf("%s is %s, want %s", property, got, want)
			}
		}
		m.fails(t, "pgrep --list-full --euid gatehouse")
	})
}
