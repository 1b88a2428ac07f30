package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gatehouse.im/gatehouse/internal/webserver"
	"gatehouse.im/gatehouse/server"
)

// messages is a WebSocket of package webserver.
type messages struct{ *webserver.Conn }

func (m messages) LocalAddr() net.Addr  { return m.Local }
func (m messages) RemoteAddr() net.Addr { return m.Remote }
func (m messages) Close() error         { return m.Conn.Close(webserver.NormalClosure, "") }

// serveMessages opens a port for WebSockets and returns its URL. By is what the
// server is told of each.
func (f *fixture) serveMessages(by server.Secured) string {
	f.t.Helper()
	web := webserver.New(webserver.Config{
		Accept: func(c *webserver.Conn) { f.server.ServeMessages(messages{c}, by) },
		Logger: slog.New(slog.DiscardHandler),
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = web.Serve(ln, nil) })
	f.t.Cleanup(func() {
		// First the sessions, then what they run on: as the daemon does.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.server.Shutdown(ctx); err != nil {
			f.t.Errorf("Shutdown: %v", err)
		}
		if err := web.Shutdown(ctx); err != nil {
			f.t.Errorf("Shutdown of the web server: %v", err)
		}
		served.Wait()
	})
	return "ws://" + ln.Addr().String() + "/xmpp-websocket"
}

// A browser is a client of RFC 7395.
type browser struct {
	t  *testing.T
	ws *websocket.Conn
}

func browse(t *testing.T, url string) *browser {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: []string{"xmpp"}})
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	t.Cleanup(func() { _ = ws.CloseNow() })
	return &browser{t, ws}
}

func (b *browser) send(message string) {
	b.t.Helper()
	if err := b.ws.Write(b.t.Context(), websocket.MessageText, []byte(message)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) receive() string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	_, message, err := b.ws.Read(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(message)
}

// expect receives a message for each part, which must be in it.
func (b *browser) expect(parts ...string) {
	b.t.Helper()
	for _, part := range parts {
		if got := b.receive(); !strings.Contains(got, part) {
			b.t.Fatalf("got %q, want %q in it", got, part)
		}
	}
}

// ended receives the end of the WebSocket.
func (b *browser) ended() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	_, message, err := b.ws.Read(ctx)
	if websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		b.t.Fatalf("got %q, %v", message, err)
	}
}

const (
	openMessage  = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='" + host + "' version='1.0'/>"
	closeMessage = "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"
)

func authMessage(user, password string) string {
	return fmt.Sprintf("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>", plainText(user, password))
}

// in logs in and opens the second stream.
func (b *browser) in() {
	b.t.Helper()
	b.send(openMessage)
	b.expect("<open ", "<stream:features ")
	b.send(authMessage("alice", "secret"))
	b.expect("<success ")
	b.send(openMessage)
}

func TestMessages_session(t *testing.T) {
	f := start(t)
	b := browse(t, f.serveMessages(server.Secured{Encrypted: true}))
	b.send(openMessage)
	b.expect("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' ")
	features := b.receive()
	if strings.Contains(features, "starttls") || !strings.Contains(features, "<mechanism>PLAIN</mechanism>") {
		t.Errorf("features: %s", features)
	}
	b.send(authMessage("alice", "wrong"))
	b.expect("<not-authorized/>")
	b.send(authMessage("outage", "secret"))
	b.expect("<temporary-auth-failure/>")
	b.send(authMessage("alice", "secret"))
	b.expect("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'")
	b.send(openMessage)
	b.expect("<open ", "<bind ")
	b.send("<iq type='set' id='b' xmlns='jabber:client'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>web</resource></bind></iq>")
	b.expect("alice@" + host + "/web")
	b.send("<iq type='get' id='p' xmlns='jabber:client'><ping xmlns='urn:xmpp:ping'/></iq>")
	pong := b.receive()
	if !strings.HasPrefix(pong, "<iq ") || !strings.Contains(pong, `xmlns="jabber:client"`) && !strings.Contains(pong, `xmlns='jabber:client'`) {
		t.Errorf("pong: %s", pong)
	}
	b.send("<message to='alice@" + host + "/web' xmlns='jabber:client'><body>to myself</body></message>")
	b.expect("") // whatever the answer is: the stream goes on
	b.send(closeMessage)
	b.expect("<close ")
	b.ended()
}

// Nobody gives a password away without encryption, here as little as elsewhere.
func TestMessages_insecure(t *testing.T) {
	f := start(t)
	b := browse(t, f.serveMessages(server.Secured{}))
	b.send(openMessage)
	b.expect("<open ")
	if features := b.receive(); strings.Contains(features, "starttls") || strings.Contains(features, "PLAIN") {
		t.Errorf("features: %s", features)
	}
	b.send(authMessage("alice", "secret"))
	b.expect("<encryption-required/>")
	b.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	b.expect("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'", "<close ")
	b.ended()
	if asked := f.accounts.asked; len(asked) > 0 {
		t.Errorf("asked for %q", asked)
	}
}

func TestMessages_endsWithAnError(t *testing.T) {
	f := start(t)
	url := f.serveMessages(server.Secured{Encrypted: true})
	for message, condition := range map[string]string{
		"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.com' version='1.0'/>": "host-unknown",
		"<stream:stream to='example.org' xmlns='jabber:client' version='1.0'>":               "invalid-namespace",
		"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.org'><a/></open>":     "bad-format",
		"<!-- no -->":                        "restricted-xml",
		"<open to='example.org'/>":           "invalid-namespace",
		"</stream:stream>":                   "not-well-formed",
		"<iq xmlns='jabber:client' id='1'/>": "bad-format",
	} {
		t.Run(message, func(t *testing.T) {
			b := browse(t, url)
			b.send(message)
			b.expect("<open ", "<"+condition+" ", "<close ")
			b.ended()
		})
	}
}

func TestMessages_endWithTheServer(t *testing.T) {
	f := start(t)
	url := f.serveMessages(server.Secured{Encrypted: true})
	b := browse(t, url)
	b.in()
	b.expect("<open ", "<bind ")
	f.reload(removeHost)
	b.expect("<host-gone ", "<close ")
	b.ended()
	f.reload(func(*server.Config, *server.Host) {})
	b, silent := browse(t, url), browse(t, url)
	b.in()
	b.expect("<open ", "<bind ")
	done := make(chan error, 1)
	go func() { done <- f.server.Shutdown(context.Background()) }()
	b.expect("<system-shutdown ", "<close ")
	b.ended()
	silent.expect("<open ", "<system-shutdown ", "<close ")
	silent.ended()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestMessages_relay(t *testing.T) {
	f, up := startRelay(t)
	b := browse(t, f.serveMessages(server.Secured{Encrypted: true}))
	b.in()
	leg := up.leg(t)
	mustRead(t, leg, "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='"+host+"' version='1.0'>")
	mustWrite(t, leg, "<?xml version='1.0'?><stream:stream from='example.org' id='1' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
	b.expect("<open ")
	mustWrite(t, leg, "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features> <iq id='1'/>")
	b.expect("xmlns:stream='http://etherx.jabber.org/streams'", "<iq xmlns='jabber:client' id='1'/>")

	large := "<message><body>" + strings.Repeat("ä€ ", 1<<20) + "</body></message>"
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		b.send(large)
	}()
	got := make([]byte, len(large))
	if _, err := io.ReadFull(leg, got); err != nil || string(got) != large {
		t.Errorf("a large stanza arrives otherwise: %v", err)
	}
	<-sent
	go func() { _, _ = io.WriteString(leg, large) }()
	if tag, rest, _ := strings.Cut(b.receive(), ">"); !strings.HasPrefix(tag, "<message xmlns='jabber:client'") || "<message>"+rest != large {
		t.Errorf("a large stanza comes back otherwise: %s", tag)
	}

	b.send(closeMessage)
	mustRead(t, leg, "</stream:stream>")
	mustWrite(t, leg, "</stream:stream>")
	leg.Close()
	b.expect("<close ")
	b.ended()
}

func TestMessages_relayEnds(t *testing.T) {
	f, up := startRelay(t)
	url := f.serveMessages(server.Secured{Encrypted: true})
	const header = "<stream:stream from='example.org' id='1' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	in := func(t *testing.T) (*browser, *net.TCPConn) {
		b := browse(t, url)
		b.in()
		leg := up.leg(t)
		mustWrite(t, leg, header+"<a/>")
		b.expect("<open ", "<a ")
		return b, leg
	}
	t.Run("two elements", func(t *testing.T) {
		b, leg := in(t)
		b.send("<a/></stream:stream>")
		b.expect("<not-well-formed ", "<close ")
		b.ended()
		if got, _ := io.ReadAll(leg); !strings.HasSuffix(string(got), "<a/>") {
			t.Errorf("the server behind got %q", got)
		}
	})
	t.Run("client is gone", func(t *testing.T) {
		b, leg := in(t)
		_ = b.ws.CloseNow()
		if _, err := io.ReadAll(leg); err != nil {
			t.Error(err)
		}
	})
	t.Run("server is gone", func(t *testing.T) {
		b, leg := in(t)
		_ = leg.SetLinger(0)
		leg.Close()
		b.expect("<remote-connection-failed ", "<close ")
		b.ended()
	})
	t.Run("server is shut down", func(t *testing.T) {
		b, leg := in(t)
		if err := leg.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		b.expect("<close ")
		b.send(closeMessage)
		b.ended()
	})
	t.Run("server is shut down and client does not care", func(t *testing.T) {
		b, leg := in(t)
		if err := leg.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		b.expect("<close ")
		b.ended()
	})
	waitFor(t, func() bool { return f.server.Connections()[server.StateRelay] == 0 })
}
