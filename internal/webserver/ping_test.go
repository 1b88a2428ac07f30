package webserver_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/webserver"
)

// A client that is silent is asked, and lives as long as it answers.
func TestConn_pings(t *testing.T) {
	eachWay(t, func(t *testing.T, secure bool) {
		s := serve(t, secure, webserver.Config{Accept: echo, PingEvery: 50 * time.Millisecond, PingWait: patience})
		c := s.upgrade(t, "", "")
		seen := make(map[string]bool)
		for range 3 {
			payload := c.expect(ping)
			if seen[payload] {
				t.Errorf("the same ping %q again", payload)
			}
			seen[payload] = true
			c.send(frame(pong, payload))
		}
		isEcho(t, c, "a")
	})
}

// One that is dead is given up, in time, whether it was dead all along or took pings once.
func TestConn_deadPeer(t *testing.T) {
	eachWay(t, func(t *testing.T, secure bool) {
		ended := make(chan error, 1)
		s := serve(t, secure, webserver.Config{PingEvery: 100 * time.Millisecond, PingWait: 200 * time.Millisecond, Accept: func(c *webserver.Conn) {
			_, err := message(c)
			ended <- err
		}})
		c := s.upgrade(t, "", "")
		c.send(frame(pong, c.expect(ping)))
		begun := time.Now()
		select {
		case err := <-ended:
			if !errors.Is(err, webserver.ErrSilent) {
				t.Errorf("got %v", err)
			}
		case <-time.After(patience):
			t.Fatal("still there")
		}
		if took := time.Since(begun); took < 200*time.Millisecond {
			t.Errorf("given up after %v already", took)
		}
		until(t, "the session is gone", func() bool { return s.Sessions() == 0 })
	})
}

// While nobody reads, a client's silence is not its fault.
func TestConn_noPingsWhileNobodyReads(t *testing.T) {
	s, conns := serveHeld(t, false, webserver.Config{PingEvery: 10 * time.Millisecond, PingWait: 10 * time.Millisecond})
	c := s.upgrade(t, "", frame(whole, "hello"))
	conn := <-conns
	if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if first, payload, err := c.read(); err == nil {
		t.Errorf("got %#x %q", first, payload)
	}
	if m, err := message(conn); m != "hello" || err != nil {
		t.Errorf("got %q, %v", m, err)
	}
}

// Shutdown gives up on sessions that stay when its time is over, and still waits for what they are at.
func TestServer_Shutdown(t *testing.T) {
	blocked, leave := make(chan error, 1), make(chan struct{})
	s := serve(t, false, webserver.Config{Accept: func(c *webserver.Conn) {
		_, err := c.NextReader()
		blocked <- err
		<-leave
	}})
	s.upgrade(t, "", "")
	until(t, "the session runs", func() bool { return s.Sessions() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(ctx) }()
	select {
	case err := <-blocked: // closed hard
		if err == nil || ctx.Err() == nil {
			t.Errorf("got %v, %v", err, ctx.Err())
		}
	case <-time.After(patience):
		t.Error("not closed")
	}
	select {
	case err := <-down:
		t.Errorf("did not wait for Accept: %v", err)
	default:
	}
	close(leave)
	if err := <-down; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// Sessions that end by themselves are all that Shutdown waits for.
func TestServer_ShutdownQuietly(t *testing.T) {
	stop := make(chan struct{})
	s := serve(t, false, webserver.Config{Accept: func(c *webserver.Conn) {
		<-stop
		_ = say(c, "<close/>")
		_ = c.Close(webserver.NormalClosure, "")
	}})
	c := s.upgrade(t, "", "")
	until(t, "the session runs", func() bool { return s.Sessions() == 1 })
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(t.Context()) }()
	until(t, "nobody is accepted", func() bool {
		resp, err := http.Get("http://" + s.addr + "/ws")
		if err == nil {
			resp.Body.Close()
		}
		return err != nil
	})
	close(stop)
	if got := c.expect(whole); got != "<close/>" {
		t.Errorf("got %q", got)
	}
	if code := c.closed(); code != webserver.NormalClosure {
		t.Errorf("closed with %d", code)
	}
	c.send(frame(bye, "\x03\xe8"))
	if err := <-down; err != nil {
		t.Errorf("shutdown: %v", err)
	}
}
