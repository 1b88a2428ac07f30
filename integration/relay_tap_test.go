package integration

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// tap stands between gatehouse and the server behind, and reads along. With no server it greets like one, offers PLAIN,
// and says no more.
type tap struct {
	address string
	sent    *logBuffer // all that gatehouse has sent
	ln      net.Listener

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

const deafGreeting = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' " +
	"id='1' from='localhost' version='1.0'><stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" +
	"<mechanism>PLAIN</mechanism></mechanisms></stream:features>"

func newTap(t testing.TB, server string) *tap {
	t.Helper()
	return newTapAt(t, "tcp", "127.0.0.1:0", server)
}

// newTapAt is newTap with an address of choice, or a unix socket.
func newTapAt(t testing.TB, network, at, server string) *tap {
	t.Helper()
	ln, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{address: ln.Addr().String(), sent: newLogBuffer(), ln: ln}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			p.keep(conn)
			running.Go(func() { p.serve(conn, server) })
		}
	})
	t.Cleanup(func() {
		p.close()
		running.Wait()
	})
	return p
}

func (p *tap) serve(conn net.Conn, server string) {
	defer func() { _ = conn.Close() }()
	if server == "" {
		_, _ = io.WriteString(conn, deafGreeting)
		_, _ = io.Copy(p.sent, conn)
		return
	}
	up, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	p.keep(up)
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(conn, up)
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	_, _ = io.Copy(up, io.TeeReader(conn, p.sent))
	_ = up.(*net.TCPConn).CloseWrite()
	<-back
	_ = up.Close()
}

func (p *tap) keep(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, conn)
}

// cut resets all connections that go through, at both ends.
func (p *tap) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // it may be closed already
		}
		_ = conn.Close()
	}
	p.conns = nil
}

// close makes the address refuse connections.
func (p *tap) close() {
	_ = p.ln.Close()
	p.cut()
}

var authMessage = regexp.MustCompile(`<auth [^>]*>([^<]+)</auth>`)

// secret is what the first user who came through has shown to the server behind.
func (p *tap) secret(t testing.TB) string {
	t.Helper()
	var found []string
	until(t, "somebody logs in at the server behind", patience, func() bool {
		found = authMessage.FindStringSubmatch(p.sent.String())
		return found != nil
	})
	message, err := base64.StdEncoding.DecodeString(found[1])
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(message), "\x00")
	if len(parts) != 3 {
		t.Fatalf("a message of %d parts went to the server behind", len(parts))
	}
	return parts[2]
}

func encoded(message string) string { return base64.StdEncoding.EncodeToString([]byte(message)) }

// fetch returns the status and the body of an answer over HTTP.
func fetch(t testing.TB, req *http.Request) string {
	t.Helper()
	resp, err := (&http.Client{Timeout: patience}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(resp.StatusCode, " ", string(body))
}
