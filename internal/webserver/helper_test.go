package webserver_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gatehouse.im/gatehouse/internal/webserver"
	"gatehouse.im/gatehouse/internal/xmpptest"
)

const patience = 20 * time.Second

// loopback is whom tests trust as a proxy: themselves.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// A site is a server on a port of its own.
type site struct {
	*webserver.Server
	addr  string
	trust *tls.Config // of clients; nil without TLS
}

// serve starts a server and sees to it that nothing of it is left at the end of the test.
func serve(t testing.TB, secure bool, config webserver.Config) *site {
	t.Helper()
	before := runtime.NumGoroutine()
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{Server: webserver.New(config), addr: ln.Addr().String()}
	var front *tls.Config
	if secure {
		ca, err := xmpptest.NewCA()
		if err != nil {
			t.Fatal(err)
		}
		pair, err := ca.Issue(xmpptest.ECDSA, "chat.example")
		if err != nil {
			t.Fatal(err)
		}
		front = &tls.Config{Certificates: []tls.Certificate{pair.TLS}, MinVersion: tls.VersionTLS12}
		s.trust = ca.ClientConfig()
		s.trust.ServerName = "chat.example"
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln, front) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 0) // whoever is left is closed hard
		defer cancel()
		if err := s.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
		if n := s.Sessions(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
		if _, fuzz := t.(*testing.F); fuzz {
			return // which has goroutines that come and go
		}
		until(t, "goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
	})
	return s
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("waited in vain: %s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	}
}

// connect opens a connection to the server, with TLS if it has that.
func (s *site) connect(t testing.TB) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	if s.trust != nil {
		nc = tls.Client(nc, s.trust)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return nc
}

// A raw is a client that writes frames by hand.
type raw struct {
	net.Conn
	in *bufio.Reader
	t  testing.TB
}

const handshake = "GET /xmpp-websocket HTTP/1.1\r\nHost: chat.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: xmpp\r\n"

// upgrade sends a handshake with more headers and whatever comes behind it in the same write.
func (s *site) upgrade(t testing.TB, headers, behind string) *raw {
	t.Helper()
	c := &raw{Conn: s.connect(t), t: t}
	c.in = bufio.NewReader(c)
	c.send(handshake + headers + "\r\n" + behind)
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-Websocket-Protocol") != "xmpp" {
		t.Fatalf("got %v, %v", resp.Status, resp.Header)
	}
	if got := resp.Header.Get("Sec-Websocket-Extensions"); got != "" {
		t.Fatalf("got extensions: %s", got)
	}
	return c
}

func (c *raw) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// frame is one of a client with the mask 0; first is its first byte.
func frame(first byte, payload string) string {
	n := len(payload)
	head := []byte{first, 0x80 | byte(n)}
	switch {
	case n > 1<<16-1:
		head = []byte{first, 0x80 | 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	case n > 125:
		head = []byte{first, 0x80 | 126, byte(n >> 8), byte(n)}
	}
	return string(head) + "\x00\x00\x00\x00" + payload
}

// First bytes of frames.
const (
	fin   = 0x80
	text  = 0x1
	bin   = 0x2
	bye   = fin | 0x8
	ping  = fin | 0x9
	pong  = fin | 0xa
	whole = fin | text
)

// next reads a frame of the server's.
func (c *raw) next() (first byte, payload string) {
	c.t.Helper()
	first, payload, err := c.read()
	if err != nil {
		c.t.Fatal(err)
	}
	return first, payload
}

func (c *raw) read() (first byte, payload string, err error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(c.in, head); err != nil {
		return 0, "", err
	}
	n := uint64(head[1])
	if ext := map[uint64]int{126: 2, 127: 8}[n]; ext > 0 {
		length := make([]byte, 8)
		if _, err := io.ReadFull(c.in, length[8-ext:]); err != nil {
			return 0, "", err
		}
		n = binary.BigEndian.Uint64(length)
	}
	body := make([]byte, n)
	_, err = io.ReadFull(c.in, body)
	return head[0], string(body), err
}

// expect reads frames until one has that first byte, and returns its payload.
func (c *raw) expect(first byte) string {
	c.t.Helper()
	for {
		got, payload := c.next()
		if got == first {
			return payload
		}
		c.t.Logf("passed over %#x %q", got, payload)
	}
}

// closed reads the server's closing frame and says its code.
func (c *raw) closed() webserver.Code {
	c.t.Helper()
	payload := c.expect(bye)
	if len(payload) < 2 {
		return websocket.StatusNoStatusRcvd
	}
	return webserver.Code(payload[0])<<8 | webserver.Code(payload[1])
}

// message reads the whole next message of a connection.
func message(c *webserver.Conn) (string, error) {
	r, err := c.NextReader()
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), err
}

func say(c *webserver.Conn, pieces ...string) error {
	w, err := c.NextWriter()
	if err != nil {
		return err
	}
	for _, p := range pieces {
		if _, err := io.WriteString(w, p); err != nil {
			return err
		}
	}
	return w.Close()
}

// echo sends each message back and closes when the client does.
func echo(c *webserver.Conn) {
	c.LoggedIn() // and may send what it wants
	for {
		m, err := message(c)
		if err != nil || say(c, m) != nil {
			return
		}
	}
}

// serveHeld starts a server whose connections the test plays with: they come out of the channel and stay until it ends.
func serveHeld(t testing.TB, secure bool, config webserver.Config) (*site, chan *webserver.Conn) {
	conns := make(chan *webserver.Conn, 16)
	done := make(chan struct{})
	config.Accept = func(c *webserver.Conn) {
		conns <- c
		<-done
	}
	s := serve(t, secure, config)
	t.Cleanup(func() { close(done) })
	return s, conns
}

func isEcho(t testing.TB, c *raw, s string) {
	t.Helper()
	c.send(frame(whole, s))
	if got := c.expect(whole); got != s {
		t.Fatalf("got %q", got)
	}
}

var long = strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
