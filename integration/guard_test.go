package integration

import (
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// guarded is a daemon whose clients come from where the test says, by the word of a load balancer or a web proxy.
type guarded struct {
	*daemon
	script  *script
	config  string
	address string
}

var guardAccounts = accounts("alice", "secret", "bob", "hunter2")

func startGuarded(t *testing.T, global options) *guarded {
	t.Helper()
	dir := t.TempDir()
	g := &guarded{script: installScript(t, dir, "auth", guardAccounts)}
	g.config = writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": g.script.path, "external_auth_processes": 4,
	}}}, baseOptions(dir), webPorts(0, 0), options{"gatehouse_proxy_protocol_from": "127.0.0.1"}, global)
	g.daemon = start(t, g.config)
	g.address = g.daemon.address(t, "starttls")
	return g
}

// dial opens a stream from an address.
func (g *guarded) dial(t *testing.T, from string) (*xmpptest.Client, error) {
	at := netip.AddrPortFrom(netip.MustParseAddr(from), 40000)
	to := netip.MustParseAddrPort("198.51.100.1:5222")
	if at.Addr().Is6() {
		to = netip.MustParseAddrPort("[2001:db8::1]:5222")
	}
	return dialProxied(t, g.address, proxyHeader2(at, to))
}

// login makes an attempt from an address on a connection of its own.
func (g *guarded) login(t *testing.T, from, user, password string) (outcome string, took time.Duration) {
	t.Helper()
	c, err := g.dial(t, from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	began := time.Now()
	outcome, err = attempt(c, "PLAIN", plain(user, password))
	if err != nil {
		t.Fatal(err)
	}
	return outcome, time.Since(began)
}

func (g *guarded) expect(t *testing.T, what, from, user, password, right string) {
	t.Helper()
	if got, _ := g.login(t, from, user, password); got != right {
		t.Errorf("%s: %q, want %q", what, got, right)
	}
}

// asked is how often the script was asked about a user.
func (g *guarded) asked(t *testing.T, user string) (n int) {
	t.Helper()
	for _, q := range g.script.queries(t) {
		if strings.HasPrefix(q, "auth:"+user+":") {
			n++
		}
	}
	return n
}

const guesserAt = "203.0.113.66"

// TestGuard_guesser: who guesses is slowed down, then turned away without the script being asked; all others come in.
func TestGuard_guesser(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, options{"gatehouse_guard_attempts": 6, "gatehouse_guard_delay": 1})
	g.expect(t, "at home", "198.51.100.7", "alice", "secret", "success")
	for i := range 12 {
		outcome, took := g.login(t, guesserAt, "alice", fmt.Sprint("guess", i))
		right := "not-authorized"
		if i >= 6 {
			right = temporary
		}
		if outcome != right {
			t.Errorf("guess %d: %q, want %q", i+1, outcome, right)
		}
		if i == 5 && took < 600*time.Millisecond {
			t.Errorf("guess %d took %v", i+1, took)
		}
	}
	if n := g.asked(t, "alice"); n != 7 {
		t.Errorf("the script was asked %d times", n)
	}
	g.expect(t, "the right password as a guess", guesserAt, "alice", "secret", temporary)
	g.expect(t, "a user who is none", guesserAt, "nobody", "x", "not-authorized")
	g.expect(t, "another user from there", guesserAt, "bob", "hunter2", "success")
	g.expect(t, "the user at home", "198.51.100.7", "alice", "secret", "success")
	g.expect(t, "the user elsewhere", "198.51.100.8", "alice", "secret", "success")
	for _, line := range []string{
		`info login host=localhost user=alice mechanism=PLAIN remote=203\.0\.113\.66:40000 tls="TLS 1\.3" verdict=refused condition=temporary-auth-failure cause="guard: too many wrong passwords for this user from this address"`,
		`info login host=localhost user=alice .*verdict=refused condition=not-authorized duration=\S+ delayed=\S+ worker=`,
	} {
		if _, err := g.waitFor(regexp.MustCompile(line)); err != nil {
			t.Error(err)
		}
	}

	// Who goes on on the same stream has to go.
	c, err := g.dial(t, guesserAt)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := attempt(c, "PLAIN", plain("alice", "more")); err != nil || got != temporary {
			t.Errorf("on one stream: %q, %v", got, err)
		}
	}
	if err := c.ExpectError("policy-violation"); err != nil {
		t.Error(err)
	}

	out, err := exec.Command(gatehouse, "guard", "forgive", "--config", g.config, "Alice@localhost", "2001:db8::1").CombinedOutput()
	if want := "Alice@localhost: forgiven\n2001:db8::1: nothing was counted\n"; err != nil || string(out) != want {
		t.Errorf("guard forgive: %v\n%s", err, out)
	}
	g.expect(t, "forgiven", guesserAt, "alice", "secret", "success")
	out, err = exec.Command(gatehouse, "guard", "forgive", "--config", g.config, "alice").CombinedOutput()
	if err == nil || !strings.Contains(string(out), `"alice" is neither an IP address nor user@host`) {
		t.Errorf("guard forgive of half a name: %v\n%s", err, out)
	}
}

// TestGuard_person types five wrong passwords and then the right one.
func TestGuard_person(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, nil)
	c, err := g.dial(t, "198.51.100.7")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for i := range 5 {
		if got, err := attempt(c, "PLAIN", plain("alice", fmt.Sprint("typo", i))); err != nil || got != "not-authorized" {
			t.Errorf("try %d: %q, %v", i+1, got, err)
		}
	}
	g.expect(t, "the right one", "198.51.100.7", "alice", "secret", "success")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if strings.Contains(g.log.String(), "delayed=") {
		t.Error("a person was delayed")
	}
}

// TestGuard_parallel: 200 connections at a time get no more guesses through than one.
func TestGuard_parallel(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, options{"gatehouse_guard_delay": 1})
	clients := make([]*xmpptest.Client, 200)
	for i := range clients {
		var err error
		if clients[i], err = g.dial(t, guesserAt); err != nil {
			t.Fatal(err)
		}
	}
	var (
		wg       sync.WaitGroup
		mu       sync.Mutex // guards outcomes
		outcomes = make(map[string]int)
	)
	for i, c := range clients {
		wg.Go(func() {
			outcome, err := attempt(c, "PLAIN", plain("alice", fmt.Sprint("guess", i)))
			if err != nil {
				outcome = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			outcomes[outcome]++
		})
	}
	wg.Wait()
	if n := g.asked(t, "alice"); n != 10 || outcomes["not-authorized"] != 10 || outcomes[temporary] != 190 {
		t.Errorf("the script was asked %d times; %v", n, outcomes)
	}
}

// TestGuard_botnet: many addresses guess at one user, who comes in from where he has been before.
func TestGuard_botnet(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, options{"gatehouse_guard_user_attempts": 12, "gatehouse_guard_delay": 0.2})
	g.expect(t, "before", "198.51.100.7", "alice", "secret", "success")
	for i := range 30 {
		right := "not-authorized"
		if i >= 12 {
			right = temporary
		}
		g.expect(t, fmt.Sprint("bot ", i+1), fmt.Sprintf("203.0.113.%d", i), "alice", fmt.Sprint("guess", i), right)
		if i%5 == 0 {
			g.expect(t, "at home all the while", "198.51.100.7", "alice", "secret", "success")
		}
	}
	g.expect(t, "on a journey", "198.51.100.99", "alice", "secret", temporary)
	g.expect(t, "somebody else", "203.0.113.5", "bob", "hunter2", "success")
	if n := g.asked(t, "alice"); n != 12+1+6 {
		t.Errorf("the script was asked %d times", n)
	}
}

// TestGuard_trueAddress: the client's own address counts, over IPv6 its /64, and behind a web proxy what that says.
func TestGuard_trueAddress(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, options{"gatehouse_guard_attempts": 3, "gatehouse_guard_delay": 0})
	for i := range 5 {
		right := "not-authorized"
		if i >= 3 {
			right = temporary
		}
		g.expect(t, "a /64", fmt.Sprintf("2001:db8:0:1:%x::%x", i, i+1), "alice", fmt.Sprint("guess", i), right)
	}
	g.expect(t, "the next /64", "2001:db8:0:2::1", "alice", "secret", "success")
	for _, way := range webWays(t, g.daemon) {
		web := func(what, from, password, right string) {
			t.Helper()
			o := way.dial
			o.header = map[string]string{"X-Forwarded-For": from, "X-Forwarded-Proto": "https"}
			got, err := webLogin(t, o, way.address, "localhost", "PLAIN", plain("alice", password))
			if err != nil || got != right {
				t.Errorf("%s, %s: %q, %v, want %q", way.name, what, got, err, right)
			}
		}
		from := map[string]string{"ws": "192.0.2.10", "wss": "192.0.2.11"}[way.name]
		for i := range 5 {
			right := "not-authorized"
			if i >= 3 {
				right = temporary
			}
			web("a guess", from, fmt.Sprint("guess", i), right)
		}
		web("from elsewhere", "192.0.2.12", "secret", "success")
		g.expect(t, "the same address over TCP", from, "alice", "secret", temporary)
	}
}

// TestGuard_off: a host, or the whole, or an address may do without.
func TestGuard_off(t *testing.T) {
	t.Parallel()
	for name, global := range map[string]options{
		"off":       {"gatehouse_guard": false},
		"allowed":   {"gatehouse_guard_allow": []any{"203.0.113.0/24"}},
		"no limits": {"gatehouse_guard_attempts": 0, "gatehouse_guard_address_attempts": 0, "gatehouse_guard_user_attempts": 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startGuarded(t, global)
			for i := range 20 {
				g.expect(t, "guess", guesserAt, "alice", fmt.Sprint("guess", i), "not-authorized")
			}
			if n := g.asked(t, "alice"); n != 20 {
				t.Errorf("the script was asked %d times", n)
			}
		})
	}
}

// TestGuard_reload: a reload changes what is too much, and forgets nothing.
func TestGuard_reload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", guardAccounts)
	port := freePorts(t, 2)
	config := func(attempts int) string {
		return writeConfig(t, dir, []host{{"localhost", options{"authentication": "external", "external_auth_command": s.path}}},
			reloadOptions(dir, port[0], port[1]), options{
				"gatehouse_guard_allow": []any{}, "gatehouse_guard_attempts": attempts, "gatehouse_guard_delay": 0,
			})
	}
	r := startReloadable(t, config(10))
	guess := func(what, password, right string) {
		t.Helper()
		expectAuth(t, what, loopback(port[0]), "localhost", "PLAIN", plain("alice", password), right)
	}
	for i := range 4 {
		guess("guess", fmt.Sprint("guess", i), "not-authorized")
	}
	config(4)
	r.nextReload(t, "reloaded", "gatehouse_guard_attempts 10 -> 4")
	guess("with less allowed", "secret", temporary)
	if n := r.metric(t, `gatehouse_guard_attempts_total{reason="pair",result="refused"}`); n != 1 {
		t.Errorf("the metrics have %v refused attempts", n)
	}
	config(6)
	r.nextReload(t, "reloaded", "gatehouse_guard_attempts 4 -> 6")
	guess("with more allowed", "secret", "success")
}
