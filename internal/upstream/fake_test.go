package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// What a good server says.
const (
	header        = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' from='example.org' version='1.0' xml:lang='en'>"
	mechanismList = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism><mechanism>X-TOKEN</mechanism><mechanism>EXTERNAL</mechanism></mechanisms>"
	offer         = "<stream:features>" + mechanismList + "</stream:features>"
	offerTLS      = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
	proceed       = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
	success       = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
	refusal       = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/><text>No.</text></failure>"

	secret = "tOp-sEcrEt-13579"
)

// A peer is the server's side of one connection. Its methods end the goroutine
// where the client has gone.
type peer struct {
	net.Conn
	t   *testing.T
	got bytes.Buffer
}

// expect reads until what came since the last expect contains part.
func (p *peer) expect(part string) string {
	var b [4096]byte
	for !strings.Contains(p.got.String(), part) {
		n, err := p.Read(b[:])
		p.got.Write(b[:n])
		if err != nil {
			runtime.Goexit()
		}
	}
	defer p.got.Reset()
	return p.got.String()
}

func (p *peer) send(s string) {
	if _, err := io.WriteString(p.Conn, s); err != nil {
		runtime.Goexit()
	}
}

// hang says nothing until the client hangs up.
func (p *peer) hang() {
	_, _ = io.Copy(io.Discard, p.Conn)
	runtime.Goexit()
}

func (p *peer) startTLS(config *tls.Config) {
	conn := tls.Server(p.Conn, config)
	if err := conn.Handshake(); err != nil {
		runtime.Goexit()
	}
	p.Conn = conn
}

// stream answers a stream header.
func (p *peer) stream(features string) {
	p.expect("to='example.org'>")
	p.send(header + features)
}

// message returns the initial response of an <auth/>.
func (p *peer) message(mechanism string) string {
	auth := p.expect("</auth>")
	_, b64, _ := strings.Cut(auth, "mechanism='"+mechanism+"'>")
	message, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(b64, "</auth>"))
	if err != nil || len(message) == 0 {
		p.t.Errorf("%s: bad <auth/>: %v: %s", mechanism, err, auth)
	}
	return string(message)
}

// login takes anybody's PLAIN, says success, and echoes what comes then.
func (p *peer) login() {
	p.stream(offer)
	if m := p.message(Plain); m != "\x00alice\x00"+secret {
		p.t.Errorf("PLAIN message %q", m)
	}
	p.send(success)
	_, _ = io.Copy(p.Conn, p.Conn)
}

// serve runs script for every connection to a new socket, one goroutine each.
func serve(t *testing.T, script func(*peer)) Address {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, ln, script)
	return Address{"tcp", ln.Addr().String()}
}

func serveOn(t *testing.T, ln net.Listener, script func(*peer)) {
	var all sync.WaitGroup
	var mu sync.Mutex // guards conns
	var conns []net.Conn
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			all.Go(func() {
				defer conn.Close()
				script(&peer{Conn: conn, t: t})
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
}

// nobody is an address where nothing listens.
func nobody(t *testing.T) Address {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return Address{"tcp", ln.Addr().String()}
}

// plain gives the secret as a password.
func plain(context.Context, string, string, string) (Credential, error) {
	return Credential{Mechanism: Plain, Secret: secret}, nil
}

// start returns an Upstream of addresses, with change made to a plain config.
func start(t *testing.T, change func(*Config), addresses ...Address) *Upstream {
	t.Helper()
	c := Config{Addresses: addresses, Timeout: 10 * time.Second, Credentials: plain}
	if change != nil {
		change(&c)
	}
	u := New(c)
	t.Cleanup(u.Close)
	return u
}

// open logs alice in.
func open(t *testing.T, u *Upstream) (net.Conn, error) {
	t.Helper()
	conn, err := u.Open(t.Context(), "alice", "example.org", secret, nil, nil)
	if (conn == nil) == (err == nil) {
		t.Fatalf("connection %v with error %v", conn, err)
	}
	if err != nil && strings.Contains(err.Error(), secret) {
		t.Errorf("the secret is in %q", err)
	}
	if conn != nil {
		t.Cleanup(func() { _ = conn.Close() })
	}
	return conn, err
}

// echoes checks that the connection is ready: what goes in comes back, and
// nothing was left in it.
func echoes(t *testing.T, conn net.Conn) {
	t.Helper()
	const line = "<stream:stream to='example.org'>"
	if _, err := io.WriteString(conn, line); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(line))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != line {
		t.Fatalf("%q, %v", got, err)
	}
}

// certificates makes a server's TLS settings, and a client's that trust them.
func certificates(t *testing.T) (*xmpptest.CA, *tls.Config, *tls.Config) {
	t.Helper()
	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(xmpptest.ECDSA, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	client := ca.ClientConfig()
	client.ServerName = "example.org"
	return ca, &tls.Config{Certificates: []tls.Certificate{pair.TLS}}, client
}

// await polls until it holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
