package docker

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

const (
	// upstreamTimeout is gatehouse_upstream_timeout of gatehouse/prosody.cfg.lua.
	upstreamTimeout = 3 * time.Second
	// quickly is how long the answer to a client may take when the server behind does not answer at all.
	quickly = upstreamTimeout + soon
)

// outage takes a server away and brings it back.
type outage struct {
	name string
	away func(id string) error
	back func(id, service string) error
}

var outages = []outage{
	{
		name: "paused",
		away: func(id string) error { return servers.docker("pause", id) },
		back: func(id, _ string) error { return servers.docker("unpause", id) },
	},
	{
		name: "stopped",
		away: func(id string) error { return servers.docker("stop", id) },
		back: func(id, _ string) error { return servers.docker("start", id) },
	},
	{
		name: "killed",
		away: func(id string) error { return servers.docker("kill", id) },
		back: func(id, _ string) error { return servers.docker("start", id) },
	},
	{
		name: "disconnected",
		away: func(id string) error { return servers.docker("network", "disconnect", network, id) },
		back: func(id, service string) error {
			return servers.docker("network", "connect", "--alias", service, network, id)
		},
	},
}

// each runs a test for each server and outage. It takes the server away when the test calls away, and has it back, healthy
// and taking logins, before the next one.
func each(t *testing.T, test func(t *testing.T, h host, o outage, away, back func())) {
	for _, h := range byTicket {
		for _, o := range outages {
			t.Run(h.server+"/"+o.name, func(t *testing.T) {
				id, err := servers.container(h.server)
				must(t, err)
				gone := false
				away := func() {
					t.Helper()
					must(t, o.away(id))
					gone = true
				}
				back := func() {
					t.Helper()
					if gone {
						gone = false
						must(t, o.back(id, h.server))
						must(t, servers.healthy(h.server))
					}
				}
				t.Cleanup(func() {
					back()
					h.recovers(t, "gatehouse")
				})
				test(t, h, o, away, back)
			})
		}
	}
}

// TestOutage_before: a server that is away when somebody logs in is a temporary failure, told quickly, and a wrong password
// is still a wrong password. With the server back, logins succeed by themselves.
func TestOutage_before(t *testing.T) {
	each(t, func(t *testing.T, h host, _ outage, away, back func()) {
		away()
		for range 2 {
			h.answers(t, "alice", password("alice"), "temporary-auth-failure", quickly)
		}
		h.answers(t, "alice", "wrong", "not-authorized", soon)
		back()
		h.recovers(t, "gatehouse")
	})
}

// TestOutage_restart: a restart ends the sessions, and the clients find the server again, by themselves and soon.
func TestOutage_restart(t *testing.T) {
	for _, h := range byTicket {
		t.Run(h.server, func(t *testing.T) {
			id, err := servers.container(h.server)
			must(t, err)
			c := h.login(t, "alice", "bereft")
			must(t, servers.docker("restart", id))
			h.ends(t, c)
			h.recovers(t, "gatehouse")
			must(t, servers.healthy(h.server))
			must(t, h.login(t, "alice", "again").Ping())
		})
	}
}

// ends waits until a client is told that its session is over.
func (h host) ends(t *testing.T, c *xmpptest.Client) {
	t.Helper()
	c.Timeout = quickly
	for {
		e, err := c.ReadElement()
		if os.IsTimeout(err) {
			t.Errorf("the client of %s was not told that the server is gone", h.name)
		}
		if err != nil {
			return
		}
		t.Logf("the client reads %s", e.Raw)
	}
}

// TestOutage_after: a session whose server goes away ends when the client can know it, or lives on if the server does.
func TestOutage_after(t *testing.T) {
	each(t, func(t *testing.T, h host, o outage, away, back func()) {
		c := h.login(t, "alice", "bereft")
		must(t, c.Ping())
		away()
		switch o.name {
		case "paused":
			back()
			if err := c.Ping(); err != nil {
				t.Errorf("after the pause: %v", err)
			}
		case "stopped", "killed":
			h.ends(t, c)
			must(t, established(false))
		case "disconnected":
			// Nobody can know of it yet. That the client goes must not take until they do.
			must(t, c.Close())
		}
	})
}

// TestOutage_during takes the server away when gatehouse has a connection to it and waits for its answer, which a pause
// sees to.
func TestOutage_during(t *testing.T) {
	type result struct {
		answer string
		took   time.Duration
		err    error
	}
	const no, yes = "temporary-auth-failure", "success"
	tests := []struct {
		name string
		then func(id string) error          // after the pause, which it ends
		undo func(id, service string) error // nil if the server is there
		want []string
	}{
		{
			name: "goes on",
			then: func(id string) error { return servers.docker("unpause", id) },
			want: []string{yes},
		},
		{
			// Whether it answers before it stops is its own business.
			name: "stopped",
			then: func(id string) error { return servers.docker("stop", id) },
			undo: outages[1].back,
			want: []string{no, yes},
		},
		{
			name: "restarted",
			then: func(id string) error { return servers.docker("restart", id) },
			want: []string{no, yes},
		},
		{
			name: "killed",
			then: func(id string) error { return servers.docker("kill", id) },
			undo: outages[2].back,
			want: []string{no},
		},
		{
			name: "disconnected",
			then: func(id string) error {
				if err := servers.docker("network", "disconnect", network, id); err != nil {
					return err
				}
				return servers.docker("unpause", id)
			},
			undo: outages[3].back,
			want: []string{no},
		},
	}
	for _, h := range byTicket {
		for _, test := range tests {
			t.Run(h.server+"/"+test.name, func(t *testing.T) {
				id, err := servers.container(h.server)
				must(t, err)
				must(t, established(false))
				must(t, servers.docker("pause", id))
				results := make(chan result, 1)
				go func() {
					answer, took, err := h.try("alice", password("alice"))
					results <- result{answer, took, err}
				}()
				err = established(true)
				if then := test.then(id); err == nil {
					err = then
				}
				r := <-results
				if test.undo != nil {
					must(t, test.undo(id, h.server))
				}
				must(t, errors.Join(err, r.err))
				if !slices.Contains(test.want, r.answer) || r.took > quickly {
					t.Errorf("%s after %v, want %s", r.answer, r.took, test.want)
				}
				must(t, servers.healthy(h.server))
				h.recovers(t, "gatehouse")
			})
		}
	}
}
