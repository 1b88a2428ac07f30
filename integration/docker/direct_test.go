package docker

import "testing"

// TestDirect: clients that connect to the server itself, which asks gatehouse about them as it does about tickets.
func TestDirect(t *testing.T) {
	for _, h := range byTicket {
		t.Run(h.name, func(t *testing.T) {
			h.answersAt(t, h.server, "alice", password("alice"), "success", soon)
			h.answersAt(t, h.server, "alice", "wrong", "not-authorized", 2*soon)
			h.answersAt(t, h.server, "nobody", password("nobody"), "not-authorized", 2*soon)
		})
	}
}

// TestDirect_scriptDown: Prosody can say that it cannot say. ejabberd cannot, but it lets nobody in, and does afterwards.
func TestDirect_scriptDown(t *testing.T) {
	want := map[string]string{"prosody": "temporary-auth-failure", "ejabberd": "not-authorized"}
	for _, h := range byTicket {
		t.Run(h.name, func(t *testing.T) {
			t.Run("down", func(t *testing.T) {
				scriptDown(t)
				for range 4 {
					h.answersAt(t, h.server, "alice", password("alice"), want[h.server], scriptTimeout+2*soon)
				}
			})
			h.recovers(t, "gatehouse")
			h.recovers(t, h.server)
		})
	}
}

// TestDirect_gatehouseDown: while gatehouse is away the servers let nobody in, and afterwards they need no help.
func TestDirect_gatehouseDown(t *testing.T) {
	id, err := servers.container("gatehouse")
	must(t, err)
	must(t, servers.docker("stop", id))
	t.Cleanup(func() {
		must(t, servers.docker("start", id))
		must(t, servers.healthy("gatehouse"))
		for _, h := range byTicket {
			h.recovers(t, h.server)
			h.recovers(t, "gatehouse")
		}
	})
	for _, h := range byTicket {
		for range 5 {
			if answer, _, err := h.tryAt(h.server, "alice", password("alice")); err == nil && answer == "success" {
				t.Errorf("%s lets people in", h.server)
			}
		}
	}
}
