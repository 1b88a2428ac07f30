package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/server"
)

// behind is a server behind, whose side of each leg the test plays.
type behind struct {
	ln    net.Listener
	legs  chan *net.TCPConn
	fault error

	mu     sync.Mutex
	logins []server.UpstreamLogin
}

func newBehind(t *testing.T) *behind {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &behind{ln: ln, legs: make(chan *net.TCPConn, 100)}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b.legs <- c.(*net.TCPConn)
		}
	})
	t.Cleanup(func() { ln.Close(); done.Wait() })
	return b
}

func (b *behind) Open(ctx context.Context, l server.UpstreamLogin) (net.Conn, error) {
	b.mu.Lock()
	b.logins = append(b.logins, l)
	b.mu.Unlock()
	if b.fault != nil {
		return nil, b.fault
	}
	return new(net.Dialer).DialContext(ctx, "tcp", b.ln.Addr().String())
}

func (b *behind) leg(t *testing.T) *net.TCPConn {
	t.Helper()
	select {
	case c := <-b.legs:
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		return c
	case <-time.After(10 * time.Second):
		t.Fatal("nobody comes to the server behind")
		return nil
	}
}

func startRelay(t *testing.T, change ...func(*server.Config)) (*fixture, *behind) {
	b := newBehind(t)
	f := start(t, append(change, func(c *server.Config) { c.Hosts[host].Upstream = b })...)
	return f, b
}

// mustRead reads exactly what is wanted.
func mustRead(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

func mustWrite(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

// in logs in over TLS and returns the client's connection, whose stream is the
// server's behind from then on.
func (f *fixture) in(b *behind) (net.Conn, *net.TCPConn) {
	f.t.Helper()
	c := f.dial()
	must(c.Open(host))(f.t)
	if err := c.StartTLS(withName(f.client)); err != nil {
		f.t.Fatal(err)
	}
	must(c.Open(host))(f.t)
	if e := must(c.AuthPlain("alice", "secret"))(f.t); e.Name != "success" {
		f.t.Fatalf("got %s", e.Raw)
	}
	_ = c.Conn().SetDeadline(time.Now().Add(10 * time.Second))
	return c.Conn(), b.leg(f.t)
}

func TestRelay_copiesBothWays(t *testing.T) {
	f, b := startRelay(t)
	c, leg := f.in(b)
	for range 3 {
		mustWrite(t, c, "<from client>")
		mustRead(t, leg, "<from client>")
		mustWrite(t, leg, "<from server>")
		mustRead(t, c, "<from server>")
	}
	if n := f.server.Connections()[server.StateRelay]; n != 1 {
		t.Errorf("%d relayed", n)
	}
	l := b.logins[0]
	if l.User != "alice" || l.Host != host || l.Password != "secret" || l.Client.String() != c.LocalAddr().String() || l.Local.String() != f.addr {
		t.Errorf("%+v", l)
	}
}

// What a client sends before it has the answer is for the server behind.
func TestRelay_pipelinedBytes(t *testing.T) {
	for name, change := range map[string]func(*server.Config){"TLS": func(*server.Config) {}, "no TLS": clearText} {
		t.Run(name, func(t *testing.T) {
			f, b := startRelay(t, change)
			c := f.dial()
			must(c.Open(host))(t)
			if name == "TLS" {
				if err := c.StartTLS(withName(f.client)); err != nil {
					t.Fatal(err)
				}
				must(c.Open(host))(t)
			}
			early := "<?xml version='1.0'?><stream:stream to='" + host + "'><iq/>" + strings.Repeat("x", 3000)
			if err := c.Sendf("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>%s", plainText("alice", "secret"), early); err != nil {
				t.Fatal(err)
			}
			must(c.Expect("success"))(t)
			leg := b.leg(t)
			mustRead(t, leg, early)
			mustWrite(t, c.Conn(), "later")
			mustRead(t, leg, "later")
		})
	}
}

// A server behind that is not there is a failure that passes; one that refuses
// the user for good is a no. A later attempt on the same stream can succeed.
func TestRelay_upstreamFails(t *testing.T) {
	f, b := startRelay(t, clearText)
	c := f.dial()
	must(c.Open(host))(t)
	b.fault = errOutage
	if e := must(c.AuthPlain("alice", "secret"))(t); !strings.Contains(e.Raw, "<temporary-auth-failure/>") {
		t.Errorf("got %s", e.Raw)
	}
	b.fault = fmt.Errorf("%w: name", server.ErrRefused)
	if e := must(c.AuthPlain("alice", "secret"))(t); !strings.Contains(e.Raw, "<not-authorized/>") {
		t.Errorf("got %s", e.Raw)
	}
	if e := must(c.AuthPlain("alice", "wrong"))(t); !strings.Contains(e.Raw, "<not-authorized/>") || len(b.logins) != 2 {
		t.Errorf("got %s; the server behind heard of a wrong password", e.Raw)
	}
	b.fault = nil
	if e := must(c.AuthPlain("alice", "secret"))(t); e.Name != "success" {
		t.Errorf("got %s", e.Raw)
	}
	mustWrite(t, b.leg(t), "<stream:stream>")
	mustRead(t, c.Conn(), "<stream:stream>")
}

func TestRelay_passesTheEndOn(t *testing.T) {
	f, b := startRelay(t)
	t.Run("client ends", func(t *testing.T) {
		c, leg := f.in(b)
		mustWrite(t, c, "</stream:stream>")
		closeTLS(t, c)
		if got, err := io.ReadAll(leg); string(got) != "</stream:stream>" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		mustWrite(t, leg, "<last/></stream:stream>") // the other half is open still
		leg.Close()
		if got, err := io.ReadAll(c); string(got) != "<last/></stream:stream>" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		c.Close()
	})
	t.Run("client vanishes", func(t *testing.T) {
		c, leg := f.in(b)
		reset(t, c)
		if _, err := io.ReadAll(leg); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
	})
	for sent, more := range map[string]string{
		"<a/>":                     "</stream:stream>",
		"<a/></stream:stream>":     "",
		"<message><body>half a wo": "",
		"":                         "",
	} {
		t.Run("server ends after "+sent, func(t *testing.T) {
			c, leg := f.in(b)
			mustWrite(t, leg, sent)
			leg.Close()
			if got, err := io.ReadAll(c); string(got) != sent+more || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			c.Close()
		})
	}
	t.Run("server breaks off", func(t *testing.T) {
		c, leg := f.in(b)
		mustWrite(t, leg, "<a/>")
		mustRead(t, c, "<a/>")
		_ = leg.SetLinger(0)
		leg.Close()
		got, _ := io.ReadAll(c)
		if !strings.Contains(string(got), "<remote-connection-failed ") || !strings.HasSuffix(string(got), "</stream:stream>") {
			t.Errorf("%q", got)
		}
	})
	waitFor(t, func() bool { return f.server.Connections()[server.StateRelay] == 0 })
}

func TestRelay_endsWithTheHostAndTheServer(t *testing.T) {
	f, b := startRelay(t)
	ends := func(t *testing.T, c net.Conn, leg net.Conn, condition string) {
		t.Helper()
		got, _ := io.ReadAll(c)
		if !strings.Contains(string(got), "<"+condition+" ") || !strings.HasSuffix(string(got), "</stream:stream>") {
			t.Errorf("%q", got)
		}
		if _, err := io.ReadAll(leg); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the leg: %v", err)
		}
	}
	c, leg := f.in(b)
	mustWrite(t, leg, "<a/>")
	mustRead(t, c, "<a/>")
	f.reload(removeHost)
	ends(t, c, leg, "host-gone")
	f.reload(func(*server.Config, *server.Host) {})

	c, leg = f.in(b)
	mustWrite(t, leg, "<a/>")
	mustRead(t, c, "<a/>")
	done := make(chan error, 1)
	go func() { done <- f.server.Shutdown(context.Background()) }()
	ends(t, c, leg, "system-shutdown")
	c.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Much data goes both ways at a time, in pieces of all sizes, and arrives.
func TestRelay_keepsEveryByte(t *testing.T) {
	f, b := startRelay(t)
	c, leg := f.in(b)
	_ = leg.SetDeadline(time.Now().Add(time.Minute))
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	data := make([]byte, 6<<20)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	data[0] = '<' // white space before the header is left out
	want := sha256.Sum256(data)
	send := func(w io.Writer) error {
		rest := data
		for size := 1; len(rest) > 0; size = size*5/3 + 1 {
			if size > 100_000 {
				size = 1
			}
			n := min(size, len(rest))
			if _, err := w.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	}
	check := func(r io.Reader) error {
		got := sha256.New()
		if _, err := io.CopyN(got, r, int64(len(data))); err != nil {
			return err
		}
		if !bytes.Equal(got.Sum(nil), want[:]) {
			return errors.New("other bytes")
		}
		return nil
	}
	var wg sync.WaitGroup
	for name, f := range map[string]func() error{
		"client sends": func() error { return send(c) }, "server receives": func() error { return check(leg) },
		"server sends": func() error { return send(leg) }, "client receives": func() error { return check(c) },
	} {
		wg.Go(func() {
			if err := f(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
}

// A side that does not read holds the other up, and nothing piles up between.
func TestRelay_backPressure(t *testing.T) {
	f, b := startRelay(t)
	c, leg := f.in(b)
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	n, err := io.Copy(c, io.LimitReader(zeros{}, 256<<20))
	if err == nil {
		t.Fatalf("%d bytes were taken although nobody reads them", n)
	}
	_ = leg.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.Copy(io.Discard, io.LimitReader(leg, n/2)); err != nil || got < n/2 {
		t.Errorf("%d of %d bytes: %v", got, n, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func reset(t *testing.T, c net.Conn) {
	t.Helper()
	raw := c.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn)
	if err := raw.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	raw.Close()
}

// closeTLS ends the client's half of the connection.
func closeTLS(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

var _ server.Upstream = (*behind)(nil)
