package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse.im/gatehouse/server"
)

// fill writes to c until nobody takes any more.
func fill(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	if n, err := io.Copy(c, io.LimitReader(zeros{}, 256<<20)); err == nil {
		t.Fatalf("%d bytes were taken although nobody reads them", n)
	}
}

// A server behind that has stopped reading must not keep us from ending.
func TestRelay_endsThoughTheServerBehindHangs(t *testing.T) {
	for name, wait := range map[string]time.Duration{"at leisure": 30 * time.Second, "at once": 0} {
		t.Run(name, func(t *testing.T) {
			f, b := startRelay(t)
			c, _ := f.in(b)
			fill(t, c)
			ctx, cancel := context.WithTimeout(context.Background(), wait)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- f.server.Shutdown(ctx) }()
			select {
			case err := <-done:
				if want := ctx.Err(); !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
			case <-time.After(15 * time.Second):
				t.Error("the shutdown hangs")
			}
		})
	}
}

// A client that has gone must not be waited for because the server behind hangs.
func TestRelay_clientIsGoneWhileTheServerBehindHangs(t *testing.T) {
	f, b := startRelay(t)
	c, leg := f.in(b)
	fill(t, c)
	reset(t, c)
	mustWrite(t, leg, strings.Repeat("x", 1<<20))
	waitFor(t, func() bool { return f.server.Connections()[server.StateRelay] == 0 })
}

// What a client has sent arrives, though it doesn't wait for what is sent to it.
func TestRelay_lastWordsOfAClientThatDoesNotListen(t *testing.T) {
	f, b := startRelay(t, clearText)
	text := strings.Repeat("<message/>", 300_000)
	c := f.dial()
	must(c.Open(host))(t)
	must(c.AuthPlain("alice", "secret"))(t)
	leg := b.leg(t)
	mustWrite(t, leg, "<presence/>") // which it never reads
	_ = c.Conn().SetDeadline(time.Now().Add(10 * time.Second))
	n, _ := c.Conn().Write([]byte(text[:smallEnough]))
	waitFor(t, func() bool { return unsent(t, c.Conn()) == 0 })
	c.Conn().Close() // a reset
	got := 0
	buf := make([]byte, 4<<10)
	for {
		_, _ = io.WriteString(leg, "<presence/>")
		m, err := leg.Read(buf)
		got += m
		if err != nil {
			break
		}
	}
	if got != n {
		t.Errorf("%d of %d bytes arrived", got, n)
	}
}

// What the server behind has sent arrives, though it does not wait for what is
// sent to it.
func TestRelay_lastWordsOfAServerThatDoesNotListen(t *testing.T) {
	f, b := startRelay(t, clearText)
	text := strings.Repeat("<message/>", 300_000)
	c := f.dial()
	must(c.Open(host))(t)
	must(c.AuthPlain("alice", "secret"))(t)
	leg := b.leg(t)
	_ = c.Conn().SetDeadline(time.Now().Add(10 * time.Second))
	n, _ := leg.Write([]byte(text[:smallEnough]))
	waitFor(t, func() bool { return unsent(t, leg) == 0 })
	mustWrite(t, c.Conn(), "<presence/>") // which it never reads
	waitFor(t, func() bool { return unread(t, leg) > 0 })
	leg.Close() // a reset
	for range 100 {
		_, _ = io.WriteString(c.Conn(), "<presence/>")
	}
	got, err := io.ReadAll(c.Conn())
	if len(got) < n || string(got[:n]) != text[:n] {
		t.Errorf("%d of %d bytes arrived: %v", len(got), n, err)
	}
}

// smallEnough is less than what we and the system hold for a server behind that
// does not read, and more than the system does on one side.
const smallEnough = 2 << 20

// unsent returns how many bytes the system of the other side has not got yet.
func unsent(t *testing.T, c net.Conn) int { return queued(t, c, unix.SIOCOUTQ) }

// unread returns how many bytes have come that nobody has read.
func unread(t *testing.T, c net.Conn) int { return queued(t, c, unix.SIOCINQ) }

func queued(t *testing.T, c net.Conn, queue uint) (n int) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var fault error
	if err := raw.Control(func(fd uintptr) { n, fault = unix.IoctlGetInt(int(fd), queue) }); err != nil || fault != nil {
		t.Fatal(err, fault)
	}
	return n
}
