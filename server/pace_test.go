package server_test

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.im/gatehouse/server"
)

// hit returns the limits that the watcher was told of.
func (w *watcher) hit() []server.Limit {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.limits)
}

func expectHit(t *testing.T, w *watcher, want ...server.Limit) {
	t.Helper()
	if got := w.hit(); !slices.Equal(got, want) {
		t.Errorf("the observer is told of %q, want %q", got, want)
	}
}

// A handshake has less time than a login, and what it leaves is the login's.
func TestHandshakeTimeout(t *testing.T) {
	serverSide, clientSide := testTLS(t)
	synctest.Test(t, func(t *testing.T) {
		w := new(watcher)
		s := server.New(clearConfig(new(accounts), func(config *server.Config) {
			config.Hosts[host].TLS = serverSide
			config.HandshakeTimeout = 10 * time.Second
			config.Observer = w
		}))
		c := runPiped(s)
		defer c.Close()
		began := time.Now()
		must(c.Open(host))(t)
		if err := c.Send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"); err != nil {
			t.Fatal(err)
		}
		must(c.Expect("proceed"))(t)
		<-c.done
		if took := time.Since(began); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("ended after %v", took)
		}
		expectHit(t, w, server.LimitHandshake)

		c = runPiped(s)
		defer c.Close()
		began = time.Now()
		must(c.Open(host))(t)
		if err := c.StartTLS(clientSide); err != nil {
			t.Fatal(err)
		}
		if err := c.ExpectError("connection-timeout"); err != nil {
			t.Error(err)
		}
		<-c.done
		if took := time.Since(began); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("with TLS, ended after %v", took)
		}
		expectHit(t, w, server.LimitHandshake, server.LimitLogin)
	})
}

func TestObserver_hearsOfSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(watcher)
		c := runPiped(server.New(clearConfig(new(accounts), func(config *server.Config) { config.Observer = w })))
		defer c.Close()
		must(c.Open(host))(t)
		go func() { _ = c.Send("<a>" + strings.Repeat("b", 60_000)) }()
		if err := c.ExpectError("policy-violation"); err != nil {
			t.Error(err)
		}
		<-c.done
		expectHit(t, w, server.LimitSize)
	})
}

// A client that sends faster than it may is read slowly, and nothing is lost.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &accounts{passwords: map[string]string{"alice": "secret"}}
		c := runPiped(server.New(clearConfig(a, func(config *server.Config) {
			config.Rate = server.Rate{Bytes: 1000, Burst: 2 * time.Second}
		})))
		defer func() { c.Close(); <-c.done }()
		flood := func(what string) {
			t.Helper()
			time.Sleep(time.Minute / 4) // for the bucket to be full
			began := time.Now()
			if err := c.Send(strings.Repeat(" ", 8000)); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < 4*time.Second || took > 8*time.Second {
				t.Errorf("%s: 8000 bytes in %v", what, took)
			}
		}
		must(c.Open(host))(t)
		flood("before the login")
		must(c.AuthPlain("alice", "secret"))(t)
		must(c.Open(host))(t)
		must(c.Bind("r"))(t)
		flood("in a session")
		if err := c.Ping(); err != nil {
			t.Error(err)
		}
	})
}

// Whoever waits to be read is not waited for.
func TestRate_doesNotHoldUpTheEnd(t *testing.T) {
	f := start(t, func(c *server.Config) { c.Rate = server.Rate{Bytes: 10, Burst: 30 * time.Second} })
	c := f.dial()
	must(c.Open(host))(t)
	for range 3 {
		if err := c.Send(strings.Repeat(" ", 300)); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { return unsent(t, c.Conn()) == 0 })
	ended := make(chan error, 1)
	go func() { ended <- f.server.Shutdown(context.Background()) }()
	if err := c.ExpectError("system-shutdown"); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the server waits for a client that is too fast")
	}
}

// pipeBehind is a server behind, at the other end of a pipe.
type pipeBehind struct{ legs chan net.Conn }

func (b pipeBehind) Open(context.Context, server.UpstreamLogin) (net.Conn, error) {
	ours, theirs := net.Pipe()
	b.legs <- theirs
	return ours, nil
}

// A client of a relay that does not read is not kept for ever, and one that reads slowly is.
func TestRelay_unread(t *testing.T) {
	for name, every := range map[string]time.Duration{"never": 0, "slowly": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := new(watcher)
				b := pipeBehind{make(chan net.Conn, 1)}
				a := &accounts{passwords: map[string]string{"alice": "secret"}}
				c := runPiped(server.New(clearConfig(a, func(config *server.Config) {
					config.Hosts[host].Upstream = b
					config.Observer = w
				})))
				defer func() { c.Close(); <-c.done }()
				must(c.Open(host))(t)
				must(c.AuthPlain("alice", "secret"))(t)
				leg := <-b.legs
				defer leg.Close()
				go func() { _, _ = io.Copy(leg, strings.NewReader(strings.Repeat("<message/>", 10_000))) }()
				began := time.Now()
				if every == 0 {
					<-c.done
					if took := time.Since(began); took < time.Minute || took > 4*time.Minute {
						t.Errorf("ended after %v", took)
					}
					expectHit(t, w, server.LimitUnread)
					return
				}
				for range 15 {
					time.Sleep(every)
					if _, err := io.ReadFull(c.raw, make([]byte, 4<<10)); err != nil {
						t.Fatalf("after %v: %v", time.Since(began), err)
					}
				}
				expectHit(t, w)
			})
		})
	}
}
