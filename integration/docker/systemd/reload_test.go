package systemd

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestReload_waits: `systemctl reload` returns when the new script answers, while others go on logging in. In between the
// service is reloading.
func TestReload_waits(t *testing.T) {
	onEach(t, serving, func(t *testing.T, m *machine) {
		m.setUp(t, simple, "")
		m.write(t, scriptFile, "root", "755", script("secret", "edition-0"))
		m.sh(t, "systemctl start gatehouse")
		since := m.cursor(t)

		done := make(chan struct{})
		var others sync.WaitGroup
		others.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					if n < 10 {
						t.Errorf("%d logins meanwhile", n)
					}
					return
				default:
					m.answers(t, host, "bob", "secret", "success")
				}
			}
		})
		seen := ""
		for n := range 4 {
			m.write(t, scriptFile, "root", "755", script("secret", fmt.Sprintf("edition-%d", n+1)))
			seen += m.sh(t, `
				while sleep 0.01; do systemctl show --property=ActiveState --value gatehouse; done >/tmp/states &
				watcher=$!
				systemctl reload gatehouse
				kill $watcher
				uniq /tmp/states`)
			m.answers(t, host, "alice", fmt.Sprintf("edition-%d", n+1), "success")
			m.answers(t, host, "alice", fmt.Sprintf("edition-%d", n), "not-authorized")
		}
		close(done)
		others.Wait()
		if !strings.Contains(seen, "reloading") {
			t.Errorf("the service was never reloading, but %q", seen)
		}
		// With notify-reload it is systemd itself that asks, and waits.
		log, asked := m.journal(t, since), map[string]int{"bookworm": 0, "trixie": 4}[m.release]
		if got := strings.Count(log, " by=SIGHUP "); got != asked {
			t.Errorf("systemd asked %d times, want %d:\n%s", got, asked, log)
		}
	})
}

// TestReload_refused: `systemctl reload` fails if the config is not right, and the journal says why; the service goes on with
// the one before, and says so in its status, until the file is mended.
func TestReload_refused(t *testing.T) {
	onEach(t, serving, func(t *testing.T, m *machine) {
		m.setUp(t, simple, "")
		m.sh(t, "systemctl start gatehouse")
		pid := m.property(t, "MainPID")
		since := m.cursor(t)
		why := configFile + ":2: gatehouse_external_auth_pty: want true or false, got \"?\""
		m.write(t, configFile, "root:gatehouse", "640", strings.Replace(simple, "VirtualHost", `gatehouse_external_auth_pty = "?" VirtualHost`, 1))
		m.fails(t, "systemctl reload gatehouse")
		m.answers(t, host, "alice", "secret", "success")
		if log := m.journal(t, since); !strings.Contains(log, why) || !strings.Contains(log, "The daemon keeps the config that it has.") {
			t.Errorf("the journal does not say %q:\n%s", why, log)
		}
		m.becomes(t, "StatusText", "serving 1 host(s) on 2 port(s); the config file is broken: "+why)
		m.write(t, configFile, "root:gatehouse", "640", simple)
		m.sh(t, "gatehouse reload --config "+configFile) // as root may
		m.becomes(t, "StatusText", "serving 1 host(s) on 2 port(s)")
		if state, now := m.property(t, "ActiveState"), m.property(t, "MainPID"); state != "active" || now != pid {
			t.Errorf("the service is %s as process %s, want active as %s", state, now, pid)
		}
	})
}
