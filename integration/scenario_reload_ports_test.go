package integration

import (
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

func serialOf(c *xmpptest.Client) string {
	conn, ok := c.Conn().(*tls.Conn)
	if !ok {
		return "no TLS"
	}
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// TestReload_portStays: a port that stays is open at every moment while others are opened and closed around it.
func TestReload_portStays(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	more := freePorts(t, 2)
	over := s.besiege(t)
	for _, e := range []struct {
		option string
		value  any
	}{
		{"c2s_ports", []any{s.ports[0], more[0]}},
		{"c2s_direct_tls_ports", []any{more[1]}},
		{"c2s_ports", []any{more[0], s.ports[0]}},
		{"interfaces", []any{"127.0.0.1", "127.0.0.2"}},
		{"c2s_ports", []any{s.ports[0]}},
		{"interfaces", []any{"127.0.0.1"}},
		{"c2s_direct_tls_ports", []any{}},
		{"c2s_direct_tls_ports", []any{s.ports[1]}},
	} {
		s.global[e.option] = e.value
		s.change(t, e.option)
	}
	over()
	for _, closed := range more {
		if err := knock(loopback(closed)); err == nil || outcomeOf(err) != notOpen {
			t.Errorf("port %d, which is not wanted any more: %v", closed, err)
		}
	}
}

// TestReload_portOnMoreAddresses: a port that is served on all addresses instead of one, and on one again, turns away
// nobody who connects to that one meanwhile, and nobody is left who could come in by the others.
func TestReload_portOnMoreAddresses(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	other := fmt.Sprint("127.0.0.2:", s.ports[0])
	over := s.besiege(t)
	for range 5 {
		s.global["interfaces"] = []any{"*"}
		s.change(t, "interfaces")
		if err := knock(other); err != nil {
			t.Errorf("another address: %v", err)
		}
		s.global["interfaces"] = []any{"127.0.0.1"}
		s.change(t, "interfaces")
		until(t, "the other address is closed", patience, func() bool {
			err := knock(other)
			return err != nil && outcomeOf(err) == notOpen
		})
	}
	over()
}

// besiege connects to the STARTTLS port a thousand times a second, from several sides, until the returned function is
// called.
func (s *scene) besiege(t *testing.T) (over func()) {
	end := make(chan struct{})
	var callers sync.WaitGroup
	counts := make([]int, 3)
	for n := range counts {
		callers.Go(func() {
			tick := time.NewTicker(3 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-end:
					return
				case <-tick.C:
				}
				if err := knock(s.starttls()); err != nil {
					t.Errorf("connection %d of caller %d: %v", counts[n], n, err)
					return
				}
				counts[n]++
			}
		})
	}
	return func() {
		close(end)
		callers.Wait()
		t.Logf("%v connections", counts)
	}
}

// knock opens a stream to localhost and leaves.
func knock(address string) error {
	c, err := xmpptest.Dial(address)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	c.Timeout = patience
	_, err = c.Open("localhost")
	return err
}

// TestReload_portTaken: a port that somebody else has is an error, and nothing of the rest of the change happens.
func TestReload_portTaken(t *testing.T) {
	t.Parallel()
	other := newScene(t)
	s := newScene(t)
	s.global["c2s_ports"] = []any{s.ports[0], other.ports[0]}
	s.hosts[0].options["disable_sasl_mechanisms"] = []any{"PLAIN"}
	s.hosts[0].options["token_secret"], s.hosts[0].options["otp_seed"] = hostKeys.secret, hostKeys.seed
	s.skip()
	s.write(t)
	s.nextReload(t, refused, fmt.Sprint(other.ports[0]))
	s.expect(t, "by the config from before", "localhost", "secret", "success")
	s.global["c2s_ports"] = []any{s.ports[0]}
	s.change(t, "disable_sasl_mechanisms")
	s.expect(t, "by the new config", "localhost", "secret", "invalid-mechanism")
}

// TestReload_triesAgain: what was refused for something else than the file is taken over once that has passed, and until
// then the log does not say the same again.
func TestReload_triesAgain(t *testing.T) {
	t.Parallel()
	other := newScene(t)
	s := newScene(t)
	s.global["c2s_ports"] = []any{s.ports[0], other.ports[0]}
	s.skip()
	s.write(t)
	s.nextReload(t, refused, fmt.Sprint(other.ports[0]))
	other.stop(t)
	began := time.Now()
	l := s.next(t, "another try", func(l logLine) bool { return l.ofReload() })
	if l.Msg != reloaded || !strings.Contains(l.Changed, "c2s_ports") || time.Since(began) > 15*time.Second {
		t.Errorf("after %v: %+v", time.Since(began), l)
	}
	if err := knock(loopback(other.ports[0])); err != nil {
		t.Error(err)
	}
}

// TestReload_portKind: a port that changes its kind is of the new kind for those who come afterwards.
func TestReload_portKind(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	stays, _ := session(t, s.starttls(), "localhost", "alice", "secret", "desk")
	s.global["c2s_ports"], s.global["c2s_direct_tls_ports"] = []any{s.ports[1]}, []any{s.ports[0]}
	s.change(t, "c2s_ports")
	for kind, port := range map[string]int{"starttls": s.ports[1], "direct": s.ports[0]} {
		if _, err := dial(t, loopback(port), kind, "localhost"); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if err := stays.Ping(); err != nil {
		t.Errorf("a session from before: %v", err)
	}
}
