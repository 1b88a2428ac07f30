package systemd

import (
	"fmt"
	"net"
	"sync"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// TestSockets: with gatehouse.socket, clients who come while the service restarts wait and are served.
func TestSockets(t *testing.T) {
	onEach(t, serving, func(t *testing.T, m *machine) {
		// It takes a while to start.
		m.setUp(t, simple, "ExecStartPre=/bin/sh -c 'while [ -e /run/hold ]; do sleep 0.1; done'\n")
		m.sh(t, "systemctl start gatehouse")
		m.sh(t, steps(t, "systemctl stop gatehouse\n"))
		defer m.sh(t, "systemctl disable --quiet gatehouse.socket")
		m.answers(t, host, "alice", "secret", "success")

		m.sh(t, "touch /run/hold; systemctl restart --no-block gatehouse")
		defer m.sh(t, "rm -f /run/hold")
		m.becomes(t, "SubState", "start-pre")
		var clients sync.WaitGroup
		for n := range 20 {
			conn, err := net.Dial("tcp", m.clients)
			if err != nil {
				t.Fatal(err)
			}
			clients.Go(func() {
				c := xmpptest.New(conn)
				defer c.Close()
				if _, err := c.Login(host, "bob", "secret", fmt.Sprint("phone-", n), trust); err != nil {
					t.Error(err)
				}
			})
		}
		if got := m.property(t, "SubState"); got != "start-pre" {
			t.Errorf("the service is %s before all clients have come", got)
		}
		m.sh(t, "rm /run/hold")
		clients.Wait()

		// Nor is anybody refused who comes when it does not run at all.
		m.sh(t, "systemctl stop gatehouse")
		m.answers(t, host, "alice", "secret", "success")

		// With a config that is wrong systemd tries a few times for the sake of a client, and gives up.
		m.write(t, configFile, "root:gatehouse", "640", "VirtualHost(")
		m.fails(t, "systemctl restart gatehouse")
		if conn, err := net.Dial("tcp", m.clients); err == nil {
			defer conn.Close()
		}
		m.sh(t, "timeout 60 sh -c 'until systemctl is-failed gatehouse.socket; do sleep 0.1; done'")
		m.write(t, configFile, "root:gatehouse", "640", simple)
		m.sh(t, steps(t, "systemctl reset-failed gatehouse.service gatehouse.socket\n"))
		m.sh(t, "systemctl is-active gatehouse.socket")
		m.answers(t, host, "alice", "secret", "success")
	})
}
