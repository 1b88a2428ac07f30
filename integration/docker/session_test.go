package docker

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/integration/docker/engine"
	"gatehouse.im/gatehouse/internal/xmpptest"
)

// next reads until an element of that name, past presence and whatever else a server sends of itself.
func next(t *testing.T, c *xmpptest.Client, name string) *xmpptest.Element {
	t.Helper()
	for {
		e, err := c.ReadElement()
		must(t, err)
		if e.Name == name {
			return e
		}
	}
}

// TestSession_features: what the server offers after the login reaches the client, and works.
func TestSession_features(t *testing.T) {
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) {
			c := connect(t)
			_, err := c.Secure(h.name, trust)
			must(t, err)
			if e, err := c.AuthPlain("alice", password("alice")); err != nil || e.Name != "success" {
				t.Fatalf("login: %v, %v", e, err)
			}
			features, err := c.Open(h.name)
			must(t, err)
			for name, ns := range map[string]string{"bind": xmpptest.NSBind, "sm": "urn:xmpp:sm:3", "csi": "urn:xmpp:csi:0"} {
				if !strings.Contains(features.Raw, ns) {
					t.Errorf("the server's %s is missing in %s", name, features.Raw)
				}
			}
			if _, err := c.Bind("features"); err != nil {
				t.Fatal(err)
			}
			for _, query := range []struct{ kind, payload string }{
				{"get", "<query xmlns='jabber:iq:roster'/>"},
				{"set", "<enable xmlns='urn:xmpp:carbons:2'/>"},
				{"get", "<query xmlns='urn:xmpp:mam:2'/>"},
			} {
				e, err := c.IQ(query.kind, "", query.payload)
				if err != nil {
					t.Fatalf("%s: %v", query.payload, err)
				}
				if e.Attr("type") != "result" {
					t.Errorf("%s: %s", query.payload, e.Raw)
				}
			}
		})
	}
}

// TestSession_resumes: a session with stream management goes on after its connection was cut, with the message that came
// meanwhile.
func TestSession_resumes(t *testing.T) {
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) {
			first := h.login(t, "alice", "resumed")
			must(t, first.Send("<presence/><enable xmlns='urn:xmpp:sm:3' resume='true'/>"))
			previous := next(t, first, "enabled").Attr("id")
			must(t, first.Close())

			bob := h.login(t, "bob", "sender")
			must(t, bob.Sendf("<message to='alice@%s/resumed' type='chat'><body>meanwhile</body></message>", h.name))
			must(t, bob.Ping())

			second := connect(t)
			_, err := second.Secure(h.name, trust)
			must(t, err)
			if e, err := second.AuthPlain("alice", password("alice")); err != nil || e.Name != "success" {
				t.Fatalf("login: %v, %v", e, err)
			}
			_, err = second.Open(h.name)
			must(t, err)
			must(t, second.Sendf("<resume xmlns='urn:xmpp:sm:3' previd='%s' h='0'/>", previous))
			e, err := second.ReadElement()
			must(t, err)
			if e.Name != "resumed" {
				t.Fatalf("answer to <resume/>: %s", e.Raw)
			}
			if body := next(t, second, "message").Child("body"); body == nil || body.Text != "meanwhile" {
				t.Errorf("the message that came meanwhile is %v", body)
			}
		})
	}
}

// TestSession_offlineMessage: somebody who exists only in the script, and never logged in, gets a message kept for them;
// it is the server that asks gatehouse whether they exist. Nobody else does.
func TestSession_offlineMessage(t *testing.T) {
	for _, h := range byTicket {
		t.Run(h.name, func(t *testing.T) {
			alice := h.login(t, "alice", "offline")
			must(t, alice.Sendf("<message to='nobody@%s' type='chat' id='lost'><body>lost</body></message>", h.name))
			if e := next(t, alice, "message"); e.Attr("type") != "error" || e.Attr("id") != "lost" {
				t.Errorf("a message to nobody: %s", e.Raw)
			}
			must(t, alice.Sendf("<message to='dave@%s' type='chat'><body>kept</body></message>", h.name))
			must(t, alice.Ping())
			dave := h.login(t, "dave", "late")
			must(t, dave.Send("<presence/>"))
			if body := next(t, dave, "message").Child("body"); body == nil || body.Text != "kept" {
				t.Errorf("the message that was kept is %v", body)
			}
		})
	}
}

// TestSession_pipelined: what a client sends in one go with its login, without waiting for the answer, reaches the server.
// A line end behind </auth> belongs to the stream before, and an XML declaration may not come after it.
func TestSession_pipelined(t *testing.T) {
	const bind = "<iq type='set' id='bind'><bind xmlns='" + xmpptest.NSBind + "'><resource>eager</resource></bind></iq>"
	for _, h := range hosts {
		stream := xmpptest.Header(h.name) + bind
		for name, sent := range map[string]struct{ before, after string }{
			"all at once":             {before: stream},
			"line end, all at once":   {before: "\n" + stream},
			"line end, then the rest": {before: "\n", after: stream},
		} {
			t.Run(h.name+"/"+name, func(t *testing.T) {
				c := connect(t)
				_, err := c.Secure(h.name, trust)
				must(t, err)
				must(t, c.Send("<auth xmlns='"+xmpptest.NSSASL+"' mechanism='PLAIN'>"+plain("alice")+"</auth>"+sent.before))
				_, err = c.Expect("success")
				must(t, err)
				must(t, c.Send(sent.after))
				_, err = c.Expect("stream")
				must(t, err)
				_, err = c.Expect("features")
				must(t, err)
				if e := next(t, c, "iq"); e.Attr("id") != "bind" || e.Attr("type") != "result" {
					t.Errorf("bind: %s", e.Raw)
				}
			})
		}
	}
}

// TestSession_ends: when the client goes, with or without a word, nothing of it stays at the server.
func TestSession_ends(t *testing.T) {
	for _, h := range hosts {
		for name, leave := range map[string]func(*xmpptest.Client) error{
			"closed": func(c *xmpptest.Client) error { return c.Send("</stream:stream>") },
			"cut":    (*xmpptest.Client).Close,
		} {
			t.Run(h.name+"/"+name, func(t *testing.T) {
				c := h.login(t, "alice", "gone")
				must(t, established(true))
				must(t, leave(c))
				must(t, established(false))
			})
		}
	}
}

// serverPort matches a remote address with one of the ports 5222 to 5224, as /proc/net/tcp has it.
var serverPort = regexp.MustCompile(":146[678]$")

// established waits until gatehouse has a connection to a server behind, or has none.
func established(want bool) error {
	return engine.Poll(func() error {
		// The columns are: number, local address, remote address, state; 01 is ESTABLISHED.
		table, err := servers.exec("gatehouse", "cat", "/proc/net/tcp", "/proc/net/tcp6")
		if err != nil {
			return err
		}
		have := false
		for line := range strings.Lines(table) {
			f := strings.Fields(line)
			have = have || len(f) > 3 && f[3] == "01" && serverPort.MatchString(f[2])
		}
		if have != want {
			return fmt.Errorf("a connection to a server behind: %v, want %v", have, want)
		}
		return nil
	})
}
