package integration

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// TestRelay_hostRemoved takes the host out of the config: who is in is told so, and nobody gets in any more.
func TestRelay_hostRemoved(t *testing.T) {
	t.Parallel()
	r := newRelay(t, "gatehouse")
	r.hosts = append(r.hosts, host{"other.localhost", options{
		"authentication": "external", "external_auth_command": r.script.path,
	}})
	r.begin(t)
	c := r.alice(t, "phone")
	relayed := r.hosts
	r.hosts = relayed[1:]
	r.reload(t)
	if err := c.ExpectError("host-gone"); err != nil {
		t.Error(err)
	}
	if got, err := authenticate(t, r.address, "localhost", "PLAIN", plain("alice", relayAccounts["alice"])); err == nil {
		t.Errorf("a login afterwards: %q", got)
	}
	r.hosts = relayed
	r.reload(t)
	r.expect(t, "with the host again", "alice", relayAccounts["alice"], "success")
}

// TestRelay_comesAndGoes puts a server behind a host that had none, and takes it away. Who is in stays where he is.
func TestRelay_comesAndGoes(t *testing.T) {
	t.Parallel()
	r := newRelay(t, "gatehouse")
	behind := r.hosts[0].options["gatehouse_upstream"]
	r.set("gatehouse_upstream", nil)
	r.begin(t)
	var sessions []*xmpptest.Client
	for n, test := range []struct {
		upstream any
		name     string // of the software that serves
	}{{nil, "gatehouse"}, {behind, "Prosody"}, {nil, "gatehouse"}} {
		r.set("gatehouse_upstream", test.upstream)
		if n > 0 {
			r.reload(t)
		}
		c := r.alice(t, fmt.Sprint("phone", n))
		sessions = append(sessions, c)
		version, err := c.IQ("get", "localhost", "<query xmlns='jabber:iq:version'/>")
		if err != nil {
			t.Fatal(err)
		}
		if name := version.Child("query").Child("name"); name == nil || name.Text != test.name {
			t.Errorf("login %d is served by %s, want %s", n, version.Raw, test.name)
		}
	}
	for n, c := range sessions {
		if err := c.Ping(); err != nil {
			t.Errorf("session %d: %v", n, err)
		}
	}
}

// TestRelay_upstreamChanges moves the server behind to and fro while fifty people a second log in. Nobody hears anything
// but the truth, and who is in stays in.
func TestRelay_upstreamChanges(t *testing.T) {
	t.Parallel()
	r := newRelay(t, "gatehouse")
	ways := []*tap{newTap(t, r.backend.address), newTap(t, r.backend.address)}
	r.set("gatehouse_upstream", ways[0].address)
	r.begin(t)
	stays := r.alice(t, "stays")

	const period, rate, workers, reloads = 8 * time.Second, 50, 12, 16
	tick := make(chan time.Time)
	var group sync.WaitGroup
	defer group.Wait()
	var count, wrong atomic.Int64
	for n := range workers {
		random := rand.New(rand.NewPCG(uint64(n), 1))
		group.Go(func() {
			for range tick {
				user := []string{"alice", "bob"}[random.IntN(2)]
				secret, right := relayAccounts[user], "success"
				switch random.IntN(4) {
				case 0:
					secret, right = "wrong", "not-authorized"
				case 1:
					secret, right = ticketShaped, "not-authorized"
				}
				count.Add(1)
				got, err := authenticate(t, r.address, "localhost", "PLAIN", plain(user, secret))
				if err != nil || got != right {
					wrong.Add(1)
					t.Errorf("%s: %q, %v; want %q", user, got, err, right)
				}
			}
		})
	}
	go func() {
		defer close(tick)
		ticker := time.NewTicker(time.Second / rate)
		defer ticker.Stop()
		for range rate * int(period/time.Second) {
			tick <- <-ticker.C
		}
	}()
	for n := range reloads {
		r.set("gatehouse_upstream", ways[(n+1)%2].address)
		before := count.Load()
		r.reload(t)
		until(t, "logins go on", patience, func() bool { return count.Load() >= before+rate*int64(period/time.Second)/reloads/2 })
	}
	group.Wait()
	if err := stays.Ping(); err != nil {
		t.Errorf("the session from before all reloads: %v", err)
	}
	for n, way := range ways {
		if way.sent.String() == "" {
			t.Errorf("nobody came by way %d", n)
		}
	}
	if n := count.Load(); n != rate*int64(period/time.Second) || wrong.Load() > 0 {
		t.Errorf("%d logins, %d of them wrong", n, wrong.Load())
	}
}
