package systemd

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// scripts are the service's processes, but for the daemon itself.
func (m *machine) scripts(t *testing.T) []string {
	t.Helper()
	all := strings.Fields(m.sh(t, "cat /sys/fs/cgroup/system.slice/gatehouse.service/cgroup.procs"))
	main := m.property(t, "MainPID")
	return slices.DeleteFunc(all, func(pid string) bool { return pid == main })
}

// TestEnd_crash: a daemon that hangs or crashes is started again, and nothing of the one before is left.
func TestEnd_crash(t *testing.T) {
	onEach(t, serving, func(t *testing.T, m *machine) {
		m.setUp(t, simple, "WatchdogSec=3\nRestartSec=100ms\n")
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

// TestEnd_patience: systemd waits for queries in flight as long as gatehouse_shutdown_timeout says, though its own patience is
// shorter.
func TestEnd_patience(t *testing.T) {
	onEach(t, serving, func(t *testing.T, m *machine) {
		m.setUp(t, "gatehouse_shutdown_timeout = 30\n"+simple, "TimeoutStopSec=1\n")
		m.write(t, scriptFile, "root", "755", "#!/bin/sh\nwhile read -r query; do touch /var/lib/gatehouse/asked; sleep 3; echo 1; done\n")
		m.sh(t, "systemctl start gatehouse")
		type outcome struct {
			answer string
			err    error
		}
		answered := make(chan outcome, 1)
		go func() {
			answer, err := m.try(host, "alice", "secret")
			answered <- outcome{answer, err}
		}()
		m.sh(t, "timeout 60 sh -c 'until [ -e /var/lib/gatehouse/asked ]; do sleep 0.1; done'; systemctl stop gatehouse")
		if got := <-answered; got.err != nil || got.answer != "success" {
			t.Errorf("the query in flight: %s, %v", got.answer, got.err)
		}
		if got := m.property(t, "Result"); got != "success" {
			t.Errorf("the service ended with %s", got)
		}
	})
}
