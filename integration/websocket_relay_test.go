package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// newWebRelay is newRelay with a WebSocket port of each kind.
func newWebRelay(t testing.TB, authentication string) (*relay, []webWay) {
	t.Helper()
	r := newRelay(t, authentication)
	ports := freePorts(t, 2)
	for name, value := range webPorts(ports[0], ports[1]) {
		r.global[name] = value
	}
	return r, sceneWays(ports)
}

// next returns the next stanza of a kind and leaves out all else.
func next(t testing.TB, c *xmpptest.Client, name string) *xmpptest.Element {
	t.Helper()
	for {
		e, err := c.ReadElement()
		if err != nil {
			t.Fatalf("waiting for <%s/>: %v", name, err)
		}
		if e.Name == name {
			return e
		}
	}
}

// say sends a message and wants the other one to hear it.
func say(t testing.TB, what string, from, to *xmpptest.Client, address, body string) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		sent <- from.Sendf("<message to='%s' type='chat' id='%s'><body>%s</body></message>", address, what, xmpptest.Escape(body))
	}()
	got := next(t, to, "message")
	if text := got.Child("body").Text; got.Attr("id") != what || text != body {
		t.Errorf("%s: message %q of %d bytes, want %d: %.200s", what, got.Attr("id"), len(text), len(body), got.Raw)
	}
	if err := <-sent; err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// TestWebSocket_relay puts a Prosody behind WebSockets. It sees an ordinary client, and clients over TCP and over WebSocket
// talk to each other.
func TestWebSocket_relay(t *testing.T) {
	t.Parallel()
	r, ways := newWebRelay(t, "gatehouse")
	r.begin(t)
	bob, _ := session(t, r.address, "localhost", "bob", relayAccounts["bob"], "tcp")
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			for password, right := range map[string]string{relayAccounts["alice"]: "success", "wrong": "not-authorized"} {
				if got, err := webLogin(t, way.dial, way.address, "localhost", "PLAIN", plain("alice", password)); err != nil || got != right {
					t.Errorf("%s: %q, %v", right, got, err)
				}
			}
			if got, err := webLogin(t, way.dial, way.address, "localhost", "PLAIN", plain("down", "x")); err != nil || got != temporary {
				t.Errorf("the script dies: %q, %v", got, err)
			}
			alice := webSession(t, way.dial, way.address, "localhost", "alice", relayAccounts["alice"], way.name)
			roster, err := alice.IQ("get", "", "<query xmlns='jabber:iq:roster'/>")
			if err != nil || roster.Attr("type") != "result" || !roster.Child("query").Is("jabber:iq:roster", "query") {
				t.Fatalf("roster: %v, %v", roster, err)
			}
			if err := alice.Send("<presence xmlns='jabber:client'/>"); err != nil {
				t.Fatal(err)
			}
			next(t, alice.Client, "presence")
			me := "alice@localhost/" + way.name
			for _, size := range []int{1, 125, 126, 1000, 4096, 16383, 16384, 16385, 65535, 65536, 200_000} {
				say(t, fmt.Sprint("to the WebSocket ", size), bob, alice.Client, me, strings.Repeat("a", size))
				say(t, fmt.Sprint("from the WebSocket ", size), alice.Client, bob, "bob@localhost/tcp", strings.Repeat("b", size))
			}
			const odd = "<&>\"' ☃ 😀 ]]> pässwörd"
			say(t, "odd characters to", bob, alice.Client, me, odd)
			say(t, "odd characters from", alice.Client, bob, "bob@localhost/tcp", odd)

			// In pieces, and without a namespace.
			big := "<message to='" + me + "' id='pieces'><body>" + strings.Repeat("☃", 50_000) + "</body></message>"
			for at := 0; at < len(big); at += 777 {
				end := min(at+777, len(big))
				kind := byte(frameMore)
				if at == 0 {
					kind = frameText
				}
				if err := alice.ws.frame(end == len(big), kind, []byte(big[at:end])); err != nil {
					t.Fatal(err)
				}
			}
			if got := next(t, alice.Client, "message"); got.Attr("id") != "pieces" || got.Child("body").Text != strings.Repeat("☃", 50_000) {
				t.Errorf("in pieces: %.200s", got.Raw)
			}

			if err := alice.Send("<close xmlns='" + nsFraming + "'/>"); err != nil {
				t.Fatal(err)
			}
			if err := alice.expectClose(); err != nil {
				t.Error(err)
			}
			if err := bob.Sendf("<iq type='get' id='%s' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>", way.name, me); err != nil {
				t.Fatal(err)
			}
			if answer := next(t, bob, "iq"); answer.Condition() != "service-unavailable" {
				t.Errorf("who has closed: %s", answer.Raw)
			}
		})
	}
}

// TestWebSocket_relayRules: what is no message of RFC 7395 is told the client, and does not get to Prosody as something else.
func TestWebSocket_relayRules(t *testing.T) {
	t.Parallel()
	r, ways := newWebRelay(t, "gatehouse")
	way := newTap(t, r.backend.address)
	r.set("gatehouse_upstream", way.address)
	r.begin(t)
	for n, c := range []struct{ name, message, condition string }{
		{"two stanzas", "<message to='bob@localhost/x' id='first'/><message to='bob@localhost/x' id='second'/>", "not-well-formed"},
		{"half a stanza", "<message to='bob@localhost/x' id='half'>", "not-well-formed"},
		{"a stream header", "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' id='smuggled'>", "invalid-namespace"},
		{"an end tag", "</stream:stream>", "not-well-formed"},
		{"a comment", "<!-- smuggled -->", "restricted-xml"},
		{"text", "smuggled", "not-well-formed"},
	} {
		w := ways[n%2]
		alice := webSession(t, w.dial, w.address, "localhost", "alice", relayAccounts["alice"], fmt.Sprint("rules", n))
		if err := alice.Send(c.message); err != nil {
			t.Fatal(err)
		}
		if err := alice.expectError(c.condition); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, text := range []string{"second", "smuggled"} {
		if strings.Contains(way.sent.String(), text) {
			t.Errorf("Prosody was sent %q", text)
		}
	}
}

// TestWebSocket_relayResumes cuts the WebSocket of a client with stream management (XEP-0198). It comes back by another
// one, resumes its session at Prosody, and gets what it has missed.
func TestWebSocket_relayResumes(t *testing.T) {
	t.Parallel()
	r, ways := newWebRelay(t, "gatehouse")
	r.begin(t)
	bob, _ := session(t, r.address, "localhost", "bob", relayAccounts["bob"], "phone")
	for n, way := range ways {
		for name, cut := range map[string]func(c *webClient){
			"cut":                      func(c *webClient) { c.ws.cut() },
			"the closing frame alone":  func(c *webClient) { _ = c.ws.frame(true, frameClose, []byte{3, 233}) },
			"in the middle of a frame": func(c *webClient) { _, _ = c.ws.Conn.Write([]byte{0x81, 0xfe}); c.ws.cut() },
			"in the middle of a message": func(c *webClient) {
				_ = c.ws.frame(false, frameText, []byte("<message to='bob@localhost'><body>half of "))
				c.ws.cut()
			},
		} {
			name := way.name + ", " + name
			c := webSession(t, way.dial, way.address, "localhost", "alice", relayAccounts["alice"], "web")
			enabled := exchange(t, c.Client, "<enable xmlns='"+nsSM+"' resume='true'/>", "enabled")
			if enabled.Attr("id") == "" {
				t.Fatalf("%s: no resumption: %s", name, enabled.Raw)
			}
			if _, err := c.IQ("get", "localhost", "<ping xmlns='urn:xmpp:ping'/>"); err != nil {
				t.Fatal(err)
			}
			lost := strings.Count(r.backend.log.String(), "hibernat")
			cut(c)
			until(t, name+": Prosody notices", patience, func() bool {
				return strings.Count(r.backend.log.String(), "hibernat") > lost
			})
			for k := range 3 {
				if err := bob.Sendf("<message to='alice@localhost/web' type='chat'><body>%s %d</body></message>", name, k); err != nil {
					t.Fatal(err)
				}
			}
			if err := bob.Ping(); err != nil {
				t.Fatal(err)
			}
			back := ways[(n+1)%2]
			again, err := back.dial.client(t, back.address)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := again.open("localhost"); err != nil {
				t.Fatal(err)
			}
			if got, err := attempt(again.Client, "PLAIN", plain("alice", relayAccounts["alice"])); err != nil || got != "success" {
				t.Fatalf("%s: %q, %v", name, got, err)
			}
			features, err := again.open("localhost")
			if err != nil || features.Child("sm") == nil {
				t.Fatalf("%s: features %v, %v", name, features, err)
			}
			resumed := exchange(t, again.Client, fmt.Sprintf("<resume xmlns='%s' h='1' previd='%s'/>", nsSM, xmpptest.Escape(enabled.Attr("id"))), "resumed")
			if resumed.Attr("h") != "1" {
				t.Errorf("%s: Prosody has seen %q stanzas, want 1", name, resumed.Attr("h"))
			}
			for k := range 3 {
				if got, want := next(t, again.Client, "message"), fmt.Sprintf("%s %d", name, k); got.Child("body").Text != want {
					t.Errorf("%s, want %q", got.Raw, want)
				}
			}
			_ = again.Send("<close xmlns='" + nsFraming + "'/>")
			_ = again.Close()
		}
	}
	if strings.Contains(r.backend.log.String(), "half of") {
		t.Error("half a message has come to Prosody as a whole one")
	}
}

// TestWebSocket_relayStopped stops Prosody in the middle of sessions: each is told and closed, nobody comes in until it is
// back, and then as before.
func TestWebSocket_relayStopped(t *testing.T) {
	t.Parallel()
	r, ways := newWebRelay(t, "gatehouse")
	r.begin(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		var sessions []*webClient
		for _, way := range ways {
			sessions = append(sessions, webSession(t, way.dial, way.address, "localhost", "alice", relayAccounts["alice"], way.name))
		}
		r.backend.signal(sig)
		for n, c := range sessions {
			var last *xmpptest.Element
			for {
				e, err := c.ReadElement()
				if err != nil {
					break
				}
				last = e
			}
			if !last.Is(nsFraming, "close") || c.ws.code != 1000 {
				t.Errorf("%v, %s: the last was %+v, closed with %d", sig, ways[n].name, last, c.ws.code)
			}
			if got, err := webLogin(t, ways[n].dial, ways[n].address, "localhost", "PLAIN", plain("alice", relayAccounts["alice"])); err != nil || got != temporary {
				t.Errorf("%v, %s: %q, %v", sig, ways[n].name, got, err)
			}
			if got, err := webLogin(t, ways[n].dial, ways[n].address, "localhost", "PLAIN", plain("alice", "wrong")); err != nil || got != "not-authorized" {
				t.Errorf("%v, %s, wrong password: %q, %v", sig, ways[n].name, got, err)
			}
		}
		r.backend.start(t)
		for _, way := range ways {
			c := webSession(t, way.dial, way.address, "localhost", "alice", relayAccounts["alice"], way.name)
			if err := c.Ping(); err != nil {
				t.Error(err)
			}
			c.ws.cut()
		}
	}
}

// TestWebSocket_relayEnds: what ends a relayed session from our side reaches a WebSocket as it should.
func TestWebSocket_relayEnds(t *testing.T) {
	t.Parallel()
	r, ways := newWebRelay(t, "gatehouse")
	r.begin(t)
	var sessions []*webClient
	for _, way := range ways {
		sessions = append(sessions, webSession(t, way.dial, way.address, "localhost", "alice", relayAccounts["alice"], way.name))
	}
	r.reloadable.signal(t, syscall.SIGTERM)
	for n, c := range sessions {
		if err := c.expectError("system-shutdown"); err != nil {
			t.Errorf("%s: %v", ways[n].name, err)
		}
	}
	if code := r.wait(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// TestWebSocket_relayEjabberd puts an ejabberd behind.
func TestWebSocket_relayEjabberd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket := filepath.Join(dir, "extauth.sock")
	e := startEjabberd(t, filepath.Join(dir, "ejabberd"), gatehouse+" extauth --socket "+socket)
	s := installScript(t, dir, "script", accounts("alice", "secret", "bob", "bob's"))
	d := start(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path, "gatehouse_upstream": e.address,
	}}}, baseOptions(dir), webPorts(0, 0), options{"gatehouse_extauth_socket": socket}))
	bob, _ := session(t, d.address(t, "starttls"), "localhost", "bob", "bob's", "tcp")
	for _, way := range webWays(t, d) {
		if got, err := webLogin(t, way.dial, way.address, "localhost", "PLAIN", plain("alice", "wrong")); err != nil || got != "not-authorized" {
			t.Errorf("%s: wrong password: %q, %v", way.name, got, err)
		}
		alice := webSession(t, way.dial, way.address, "localhost", "alice", "secret", way.name)
		roster, err := alice.IQ("get", "", "<query xmlns='jabber:iq:roster'/>")
		if err != nil || roster.Attr("type") != "result" {
			t.Fatalf("%s: roster: %v, %v", way.name, roster, err)
		}
		for _, size := range []int{1, 200, 16_384, 200_000} {
			say(t, fmt.Sprint("to ", size), bob, alice.Client, "alice@localhost/"+way.name, strings.Repeat("a", size))
			say(t, fmt.Sprint("from ", size), alice.Client, bob, "bob@localhost/tcp", strings.Repeat("b", size))
		}
		if err := alice.Send("<close xmlns='" + nsFraming + "'/>"); err != nil {
			t.Fatal(err)
		}
		if err := alice.expectClose(); err != nil {
			t.Errorf("%s: %v", way.name, err)
		}
	}
}
