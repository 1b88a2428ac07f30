package integration

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// TestReload_removedHostAtEachStep: whoever is at a host that is removed is told so, however far they have come and
// whatever way; and nothing of it is left when it comes back with another script.
func TestReload_removedHostAtEachStep(t *testing.T) {
	t.Parallel()
	const name = "other.example"
	server := newListener(t, tls.Certificate{})
	server.admits = true
	web := freePorts(t, 1)
	s := newScene(t, options{"gatehouse_websocket_ports": []any{web[0]}, "gatehouse_extauth_socket": "./extauth.sock"})
	plan := func(secret string) file {
		p := accounts("alice", secret, "slow", secret)
		p["rules"] = []any{map[string]any{"match": "auth:slow:", "do": []any{do("sleep", 0.7), do("answer", true)}}}
		return planFile(p)
	}
	other := s.newHost(t, name, plan("first"))
	far := s.newHost(t, "far.example", plan("first"))
	far.options["gatehouse_upstream"] = server.Addr().String()
	with := append(slices.Clone(s.hosts), other, far)
	without := s.hosts
	both := webDial{secure: true}
	secret := "first"

	secured := func(host string) *xmpptest.Client {
		c, err := dial(t, s.direct(), "direct", host)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	asks := func(user string) *xmpptest.Client {
		c := secured(name)
		if err := c.Sendf("<auth xmlns='%s' mechanism='PLAIN'>%s</auth>", xmpptest.NSSASL, encoded(plain(user, secret))); err != nil {
			t.Fatal(err)
		}
		return c
	}
	stays, _ := session(t, s.starttls(), "localhost", "alice", "secret", "desk")
	for round := range 4 {
		s.hosts = with
		s.change(t, "host "+name+" added")
		opened, err := xmpptest.Dial(s.starttls())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = opened.Close() }()
		if _, err := opened.Open(name); err != nil {
			t.Fatal(err)
		}
		in := secured(name)
		if got, err := attempt(in, "PLAIN", plain("alice", secret)); err != nil || got != letIn {
			t.Fatalf("round %d: %q, %v", round, got, err)
		}
		unbound := secured(name)
		if got, err := attempt(unbound, "PLAIN", plain("alice", secret)); err != nil || got != letIn {
			t.Fatal(got, err)
		}
		if _, err := unbound.Open(name); err != nil {
			t.Fatal(err)
		}
		bound, _ := session(t, s.starttls(), name, "alice", secret, "desk")
		relayed, err := dial(t, s.starttls(), "starttls", "far.example")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := attempt(relayed, "PLAIN", plain("alice", secret)); err != nil || got != letIn {
			t.Fatal(got, err)
		}
		if _, err := relayed.Open("far.example"); err != nil {
			t.Fatal(err)
		}
		both.host = name
		onWeb := webSession(t, both, loopback(web[0]), name, "alice", secret, "web")
		both.host = "far.example"
		relayedOnWeb, err := both.client(t, loopback(web[0]))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := relayedOnWeb.open("far.example"); err != nil {
			t.Fatal(err)
		}
		if got, err := attempt(relayedOnWeb.Client, "PLAIN", plain("alice", secret)); err != nil || got != letIn {
			t.Fatal(got, err)
		}
		if _, err := relayedOnWeb.open("far.example"); err != nil {
			t.Fatal(err)
		}
		asked, queued := asks("slow"), asks("slow")

		s.hosts = without
		s.change(t, "host "+name+" removed")
		for what, c := range map[string]*xmpptest.Client{
			"before TLS": opened, "let in, without a stream": in, "unbound": unbound, "bound": bound, "relayed": relayed,
			"while the script is asked": asked, "waiting for the script": queued,
		} {
			c.Timeout = 2 * time.Second
			if err := c.ExpectError("host-gone"); err != nil {
				t.Errorf("round %d, %s: %v", round, what, err)
			}
		}
		for what, c := range map[string]*webClient{"WebSocket": onWeb, "relayed WebSocket": relayedOnWeb} {
			c.Timeout = 2 * time.Second
			if err := c.expectError("host-gone"); err != nil {
				t.Errorf("round %d, %s: %v", round, what, err)
			}
		}
		was := secret
		secret = fmt.Sprint("secret-of-round-", round)
		s.newHost(t, name, plan(secret))
		s.newHost(t, "far.example", plan(secret))
		s.hosts = with
		s.change(t, "host "+name+" added")
		s.expect(t, "by the script of before", name, was, "not-authorized")
		s.expect(t, "by the script of now", name, secret, letIn)
		s.hosts = without
		s.change(t, "host "+name+" removed")
	}
	if err := stays.Ping(); err != nil {
		t.Errorf("a session at the host that stays: %v", err)
	}
	until(t, "one script is left", patience, func() bool { return len(children(t, s.cmd.Process.Pid)) == 1 })
}

// TestReload_scriptsInASecond: twenty scripts within a second, one after the other, while people log in: whoever begins
// after a reload was reported is judged by no script of before it, nobody is lost, and one script is left.
func TestReload_scriptsInASecond(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.hosts[0].options["gatehouse_auth_cache"] = true
	s.hosts[0].options["gatehouse_auth_cache_no"] = 60
	s.hosts[0].options["external_auth_processes"] = 3
	install := func(n int) {
		if err := renameOver(s.script("localhost"), planFile(accounts("alice", fmt.Sprint("edition ", n)))); err != nil {
			t.Fatal(err)
		}
	}
	install(0)
	s.change(t, "gatehouse_auth_cache")
	var begun, settled atomic.Int64 // the newest edition on the disk, and the one that a reload has reported
	end := make(chan struct{})
	var people sync.WaitGroup
	counts := make([]int, 8)
	for who := range counts {
		people.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-end:
					return
				default:
				}
				first := settled.Load()
				edition := max(first-int64(n%2), 0)
				got, err := authenticate(t, s.starttls(), "localhost", "PLAIN", plain("alice", fmt.Sprint("edition ", edition)))
				last := begun.Load()
				switch {
				case err == nil && got == letIn && edition == first: // it was right when it began
				case err == nil && got == "not-authorized" && (edition < first || last > first):
				default:
					t.Errorf("edition %d, between %d and %d: %q, %v", edition, first, last, got, err)
					return
				}
				counts[who]++
			}
		})
	}
	n := 0
	for range 5 {
		// As fast as they can be written; the daemon may leave some out.
		for range 20 {
			n++
			begun.Store(int64(n))
			install(n)
			time.Sleep(10 * time.Millisecond) // it is the pause that is tested
		}
		code, answer, err := s.ask(http.MethodPost, "/reload")
		if err != nil || code != http.StatusOK {
			t.Errorf("%d, %v: %s", code, err, answer)
		}
		settled.Store(int64(n))
		time.Sleep(100 * time.Millisecond) // and logins by this one
	}
	close(end)
	people.Wait()
	t.Logf("%v logins", counts)
	s.expect(t, "the last", "localhost", fmt.Sprint("edition ", n), letIn)
	until(t, "no more scripts than may be", patience, func() bool { return len(children(t, s.cmd.Process.Pid)) <= 3 })
}

// TestReload_ticketOfRemovedHost: a TLS session that began at a host goes on neither once the host is gone, nor when it is
// back.
func TestReload_ticketOfRemovedHost(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	with := append(slices.Clone(s.hosts), s.newHost(t, "other.example", planFile(accounts("alice", "other"))))
	without := s.hosts
	s.hosts = with
	s.change(t, "host other.example added")
	for _, version := range tlsVersions {
		cache := &lastSession{}
		port := tlsPort{"direct", s.direct(), "xmpp-client", false}
		port.connect(t, "other.example", version, cache)
		if state := port.connect(t, "other.example", version, cache); !state.DidResume {
			t.Fatal("it is not resumed while the host is there")
		}
		s.hosts = without
		s.change(t, "host other.example removed")
		config := insecureTLS("other.example")
		config.MinVersion, config.MaxVersion, config.ClientSessionCache = version, version, &lastSession{session: cache.session}
		c, err := xmpptest.DialTLS(s.direct(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		state := c.Conn().(*tls.Conn).ConnectionState()
		if names := state.PeerCertificates[0].DNSNames; state.DidResume || !slices.Contains(names, "localhost") {
			t.Errorf("TLS %x, with the host gone: resumed %v, certificate of %v", version, state.DidResume, names)
		}
		s.hosts = with
		s.change(t, "host other.example added")
		if state := port.connect(t, "other.example", version, &lastSession{session: cache.session}); state.DidResume {
			t.Errorf("TLS %x, with the host back: resumed", version)
		}
	}
}

// TestReload_portChangesItsService: a port that was for STARTTLS is for WebSockets, and back, and nobody who connects is
// turned away in between; on both families where the machine has them.
func TestReload_portChangesItsService(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	more := freePorts(t, 1)
	s.global["c2s_ports"] = []any{s.ports[0], more[0]}
	s.global["interfaces"] = []any{"127.0.0.1"}
	addresses := []string{loopback(more[0])}
	if ln, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		_ = ln.Close()
		s.global["interfaces"] = []any{"127.0.0.1", "::1"}
		addresses = append(addresses, fmt.Sprintf("[::1]:%d", more[0]))
	}
	s.change(t, "c2s_ports")
	end := make(chan struct{})
	var callers sync.WaitGroup
	for _, address := range addresses {
		callers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-end:
					t.Logf("%s: %d connections", address, n)
					return
				default:
				}
				c, err := net.DialTimeout("tcp", address, patience)
				if err != nil {
					t.Errorf("%s, connection %d: %v", address, n, err)
					return
				}
				_ = c.Close()
				time.Sleep(200 * time.Microsecond)
			}
		})
	}
	for range 4 {
		s.global["c2s_ports"], s.global["gatehouse_websocket_ports"] = []any{s.ports[0]}, []any{more[0]}
		s.change(t, "gatehouse_websocket_ports")
		for _, address := range addresses {
			if _, err := (webDial{secure: true}).client(t, address); err != nil {
				t.Errorf("WebSocket at %s: %v", address, err)
			}
		}
		s.global["c2s_ports"], s.global["gatehouse_websocket_ports"] = []any{s.ports[0], more[0]}, nil
		s.change(t, "gatehouse_websocket_ports")
		for _, address := range addresses {
			if err := knock(address); err != nil {
				t.Errorf("STARTTLS at %s: %v", address, err)
			}
		}
	}
	close(end)
	callers.Wait()
	if strings.Contains(s.log.String(), "a client port is lost") {
		t.Error("a client port is lost")
	}
}
