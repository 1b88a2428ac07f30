package integration

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestWebSocket_verdicts: who may come in over a WebSocket, by password and by token, is as on the other ports.
func TestWebSocket_verdicts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", map[string]any{
		"protocol": "generic", "accounts": map[string]string{"alice": "secret", "björn": "pässwörd: ☃"},
		"rules": []any{map[string]any{"match": "auth:down:", "do": []any{do("exit", 1)}}},
	})
	d := start(t, tokenConfig(t, dir, s, webPorts(0, 0)))
	tcp := d.address(t, "starttls")
	token := func(change func(*tokenPlan)) string {
		plan := &tokenPlan{Nonce: randomDigits(t, 32), SignJID: "alice@localhost"}
		if change != nil {
			change(plan)
		}
		return plain("alice", plan.mint(t, hostKeys.secret, hostKeys.seed, time.Now()))
	}
	for _, way := range webWays(t, d) {
		t.Run(way.name, func(t *testing.T) {
			expect := func(what, mechanism, message, right string) {
				t.Helper()
				got, err := webLogin(t, way.dial, way.address, "localhost", mechanism, message)
				if err != nil || got != right {
					t.Errorf("%s: %q, %v; want %q", what, got, err, right)
				}
			}
			expect("right password", "PLAIN", plain("alice", "secret"), "success")
			expect("wrong password", "PLAIN", plain("alice", "wrong"), "not-authorized")
			expect("nobody", "PLAIN", plain("nobody", "secret"), "not-authorized")
			expect("beyond ASCII", "PLAIN", plain("björn", "pässwörd: ☃"), "success")
			expect("another authzid", "PLAIN", "bob@localhost\x00alice\x00secret", "invalid-authzid")
			expect("line feed in the user", "PLAIN", plain("alice\nauth:alice", "secret"), "malformed-request")
			expect("half a message", "PLAIN", "\x00alice", "malformed-request")
			expect("no such mechanism", "SCRAM-SHA-1", "n,,n=alice,r=x", "invalid-mechanism")
			expect("the script has died", "PLAIN", plain("down", "secret"), "temporary-auth-failure")
			expect("right password after that", "PLAIN", plain("alice", "secret"), "success")
			roomInWindow(5 * time.Second)
			good := token(nil)
			expect("token", "X-TOKEN", good, "success")
			expect("the same token again", "X-TOKEN", good, "not-authorized")
			expectAuth(t, "the same token over TCP", tcp, "localhost", "X-TOKEN", good, "not-authorized")
			overTCP := token(nil)
			expectAuth(t, "token over TCP", tcp, "localhost", "X-TOKEN", overTCP, "success")
			expect("that one again", "X-TOKEN", overTCP, "not-authorized")
			expect("expired token", "X-TOKEN", token(func(p *tokenPlan) { p.Window = -3 }), "not-authorized")
			expect("spoilt token", "X-TOKEN", token(func(p *tokenPlan) { p.Flip = 7 }), "not-authorized")
			expect("token of somebody else", "X-TOKEN", token(func(p *tokenPlan) { p.SignJID = "bob@localhost" }), "not-authorized")
			expect("another good token", "X-TOKEN", token(nil), "success")
		})
	}
	if strings.Contains(d.log.String(), "pässwörd") {
		t.Error("a password is in the log")
	}
}

// TestWebSocket_attempts: as many attempts as on the other ports.
func TestWebSocket_attempts(t *testing.T) {
	t.Parallel()
	way := webWays(t, webDaemon(t))[1]
	c, err := way.dial.client(t, way.address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.open("localhost"); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		if got, err := attempt(c.Client, "PLAIN", plain("alice", "wrong")); err != nil || got != "not-authorized" {
			t.Fatalf("attempt %d: %q, %v", n+1, got, err)
		}
	}
	if err := c.expectError("policy-violation"); err != nil {
		t.Error(err)
	}
}

// TestWebSocket_loginTimeout: who does not log in in time is told so and let go, whatever it is at.
func TestWebSocket_loginTimeout(t *testing.T) {
	t.Parallel()
	d := webDaemon(t, options{"c2s_timeout": 2})
	for _, way := range webWays(t, d) {
		for name, begin := range map[string]func(c *webClient) error{
			"silent": func(*webClient) error { return nil },
			"opened": func(c *webClient) error {
				_, err := c.open("localhost")
				return err
			},
		} {
			t.Run(way.name+" "+name, func(t *testing.T) {
				t.Parallel()
				c, err := way.dial.client(t, way.address)
				if err != nil {
					t.Fatal(err)
				}
				if err := begin(c); err != nil {
					t.Fatal(err)
				}
				if name == "silent" {
					if _, err := c.Expect("open"); err != nil {
						t.Fatal(err)
					}
				}
				if err := c.expectError("connection-timeout"); err != nil {
					t.Error(err)
				}
			})
		}
		t.Run(way.name+" in the middle of a message", func(t *testing.T) {
			t.Parallel()
			c, err := way.dial.client(t, way.address)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.ws.frame(false, frameText, []byte("<open ")); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Expect("open"); err != nil {
				t.Fatal(err)
			}
			if e, err := c.Expect("error"); err != nil || e.Condition() != "connection-timeout" {
				t.Fatalf("%v, %v", e, err)
			}
			if _, err := c.Expect("close"); err != nil {
				t.Fatal(err)
			}
			if e, err := c.ReadElement(); err == nil {
				t.Errorf("after <close/>: %s", e.Raw)
			}
		})
	}
}

// TestWebSocket_passwordChange: a changed password ends the user's other sessions, on a WebSocket or not, and works at once.
func TestWebSocket_passwordChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	d := start(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path,
	}}}, baseOptions(dir), webPorts(0, 0)))
	ways := webWays(t, d)
	password := "secret"
	for n, way := range ways {
		here := webSession(t, way.dial, way.address, "localhost", "alice", password, "here")
		other := webSession(t, ways[1-n].dial, ways[1-n].address, "localhost", "alice", password, "other")
		third, _ := session(t, d.address(t, "starttls"), "localhost", "alice", password, "third")
		next := fmt.Sprint("secret", n)
		answer, err := here.IQ("set", "localhost", "<query xmlns='jabber:iq:register'><username>alice</username><password>"+next+"</password></query>")
		if err != nil || answer.Attr("type") != "result" {
			t.Fatalf("%v, %v", answer, err)
		}
		if err := other.expectError("reset"); err != nil {
			t.Errorf("%s, the other WebSocket: %v", way.name, err)
		}
		if err := third.ExpectError("reset"); err != nil {
			t.Errorf("%s, the session over TCP: %v", way.name, err)
		}
		if err := here.Ping(); err != nil {
			t.Errorf("%s, the one that has changed it: %v", way.name, err)
		}
		for secret, right := range map[string]string{password: "not-authorized", next: "success"} {
			if got, err := webLogin(t, way.dial, way.address, "localhost", "PLAIN", plain("alice", secret)); err != nil || got != right {
				t.Errorf("%s: %s: %q, %v", way.name, secret, got, err)
			}
		}
		password = next
	}
}

// TestWebSocket_sameResource: a session that takes the resource of another one ends it, whatever the two come by.
func TestWebSocket_sameResource(t *testing.T) {
	t.Parallel()
	d := webDaemon(t)
	way := webWays(t, d)[1]
	first := webSession(t, way.dial, way.address, "localhost", "alice", "secret", "desk")
	second, _ := session(t, d.address(t, "starttls"), "localhost", "alice", "secret", "desk")
	if err := first.expectError("conflict"); err != nil {
		t.Error(err)
	}
	webSession(t, way.dial, way.address, "localhost", "alice", "secret", "desk")
	if err := second.ExpectError("conflict"); err != nil {
		t.Error(err)
	}
}

// TestWebSocket_reloadPorts: WebSocket ports open and close with the config, and sessions stay.
func TestWebSocket_reloadPorts(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	ports := freePorts(t, 3)
	closed := func(port int) {
		t.Helper()
		if ws, err := (webDial{}).to(t, loopback(port)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("port %d: %v, %v", port, ws, err)
		}
	}
	closed(ports[1])
	s.global["gatehouse_websocket_ports"] = []any{ports[1]}
	s.change(t, "gatehouse_websocket_ports")
	wss := webDial{secure: true}
	first := webSession(t, wss, loopback(ports[1]), "localhost", "alice", "secret", "one")

	s.global["gatehouse_websocket_ports"] = nil
	for name, value := range webPorts(ports[0], ports[2]) {
		s.global[name] = value
	}
	s.change(t, "http")
	closed(ports[1])
	ways := sceneWays([]int{ports[0], ports[2]})
	var more []*webClient
	for _, way := range ways {
		more = append(more, webSession(t, way.dial, way.address, "localhost", "alice", "secret", way.name))
	}
	// A port that changes its kind.
	s.global["http_ports"], s.global["https_ports"] = []any{ports[2]}, []any{ports[0]}
	s.change(t, "http")
	for _, way := range sceneWays([]int{ports[2], ports[0]}) {
		more = append(more, webSession(t, way.dial, way.address, "localhost", "alice", "secret", way.name+" later"))
	}
	s.global["modules_enabled"] = nil
	s.change(t, "https_ports served -> left to Prosody")
	closed(ports[0])
	closed(ports[2])
	for n, c := range append(more, first) {
		if err := c.Ping(); err != nil {
			t.Errorf("session %d: %v", n, err)
		}
	}
	s.expect(t, "over TCP", "localhost", "secret", "success")
}

// TestWebSocket_reloadOptions: what a reload changes of origins and proxies holds for those who come afterwards.
func TestWebSocket_reloadOptions(t *testing.T) {
	t.Parallel()
	s, ports := newWebScene(t)
	way := sceneWays(ports)[0]
	page := map[string]string{"X-Forwarded-Proto": "https", "Origin": "https://shop.example"}
	status := func() int {
		t.Helper()
		ws, err := webDial{header: page}.to(t, way.address)
		if err != nil {
			t.Fatal(err)
		}
		ws.cut()
		return ws.answer.StatusCode
	}
	if got := status(); got != 403 {
		t.Errorf("a page of another origin: %d", got)
	}
	s.global["gatehouse_websocket_origins"] = []any{"https://shop.example"}
	s.change(t, "gatehouse_websocket_origins")
	if got := status(); got != 101 {
		t.Errorf("a page that may: %d", got)
	}
	c, err := webDial{header: page}.client(t, way.address)
	if err != nil {
		t.Fatal(err)
	}
	s.global["trusted_proxies"], s.global["gatehouse_websocket_origins"] = []any{}, nil
	s.change(t, "trusted_proxies")
	if got := status(); got != 403 {
		t.Errorf("a page that may not any more: %d", got)
	}
	if got := offers(t, way.dial, way.address); got != "" {
		t.Errorf("a proxy that is not trusted any more: %q is on offer", got)
	}
	if features, err := c.open("localhost"); err != nil || features.Child("mechanisms") == nil {
		t.Errorf("who came before: %v, %v", features, err)
	}
}

// TestWebSocket_hostRemoved: those of a host that is not served any more are told so, at whatever they are.
func TestWebSocket_hostRemoved(t *testing.T) {
	t.Parallel()
	s, ports := newWebScene(t)
	s.hosts = append(s.hosts, s.newHost(t, "second.example", planFile(accounts("bob", "secret"))))
	s.change(t, "second.example")
	type guest struct {
		name string
		*webClient
	}
	var guests, stay []guest
	for _, way := range sceneWays(ports) {
		o := way.dial
		guests = append(guests, guest{way.name + " session", webSession(t, o, way.address, "second.example", "bob", "secret", way.name)})
		stay = append(stay, guest{way.name, webSession(t, o, way.address, "localhost", "alice", "secret", way.name)})
		c, err := o.client(t, way.address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.open("second.example"); err != nil {
			t.Fatal(err)
		}
		guests = append(guests, guest{way.name + " login", c})
	}
	s.hosts = s.hosts[:1]
	s.change(t, "second.example")
	for _, g := range guests {
		if err := g.expectError("host-gone"); err != nil {
			t.Errorf("%s: %v", g.name, err)
		}
	}
	for _, g := range stay {
		if err := g.Ping(); err != nil {
			t.Errorf("%s, which stays: %v", g.name, err)
		}
	}
}

// TestWebSocket_shutdown: everybody is told, by <close/> and a closing frame too, and nobody is waited for who does not
// answer; those who have only upgraded, or not even that, keep nothing open.
func TestWebSocket_shutdown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	d := start(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path,
	}}}, baseOptions(dir), webPorts(0, 0)))
	type guest struct {
		name   string
		opened bool
		*webClient
	}
	var guests []guest
	for _, way := range webWays(t, d) {
		guests = append(guests, guest{way.name + " session", true, webSession(t, way.dial, way.address, "localhost", "alice", "secret", way.name)})
		for name, opened := range map[string]bool{"opened": true, "upgraded": false} {
			c, err := way.dial.client(t, way.address)
			if err != nil {
				t.Fatal(err)
			}
			if opened {
				if _, err := c.open("localhost"); err != nil {
					t.Fatal(err)
				}
			}
			guests = append(guests, guest{way.name + " " + name, opened, c})
		}
		mute := webSession(t, way.dial, way.address, "localhost", "alice", "secret", way.name+" mute")
		mute.ws.silent = true
		guests = append(guests, guest{way.name + " mute", true, mute})
	}
	began := time.Now()
	d.signal(t, syscall.SIGTERM)
	for _, g := range guests {
		if !g.opened {
			if _, err := g.Expect("open"); err != nil {
				t.Errorf("%s: %v", g.name, err)
				continue
			}
		}
		if err := g.expectError("system-shutdown"); err != nil {
			t.Errorf("%s: %v", g.name, err)
		}
	}
	if code := d.wait(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("took %v", took)
	}
	for _, pid := range s.pids(t) {
		if alive(pid) {
			t.Errorf("script process %d is still there", pid)
		}
	}
}
