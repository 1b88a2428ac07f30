package webserver_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gatehouse.im/gatehouse/internal/webserver"
)

// eachWay runs a test without and with TLS.
func eachWay(t *testing.T, test func(t *testing.T, secure bool)) {
	t.Run("plain", func(t *testing.T) { test(t, false) })
	t.Run("tls", func(t *testing.T) { test(t, true) })
}

func TestConn_echo(t *testing.T) {
	eachWay(t, func(t *testing.T, secure bool) {
		s := serve(t, secure, webserver.Config{Accept: echo})
		c := s.upgrade(t, "", frame(whole, "early")+frame(whole, "bird"))
		if got := c.expect(whole); got != "early" {
			t.Errorf("got %q", got)
		}
		if got := c.expect(whole); got != "bird" {
			t.Errorf("got %q", got)
		}
		for _, m := range []string{"", "<open/>", "grüße", strings.Repeat("x", 16<<10)} {
			isEcho(t, c, m)
		}
		// In pieces, with a ping between and characters cut in two.
		c.send(frame(text, "gr\xc3") + frame(ping, "?") + frame(0, "\xbc") + frame(0, "") + frame(fin, "n"))
		if got := c.expect(pong); got != "?" {
			t.Errorf("got a pong of %q", got)
		}
		if got := c.expect(whole); got != "grün" {
			t.Errorf("got %q", got)
		}
		c.send(frame(bye, "\x03\xe8"))
		if got := c.closed(); got != webserver.NormalClosure {
			t.Errorf("closed with %d", got)
		}
		if b, err := io.ReadAll(c.in); err != nil || len(b) > 0 {
			t.Errorf("then %q, %v", b, err)
		}
	})
}

// A message that is too long for one frame is the same at the other end.
func TestConn_longMessages(t *testing.T) {
	eachWay(t, func(t *testing.T, secure bool) {
		s := serve(t, secure, webserver.Config{Accept: echo})
		c := s.upgrade(t, "", "")
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(c, frame(whole, long))
			sent <- err
		}()
		var got strings.Builder
		first, payload := c.next()
		if first != text {
			t.Fatalf("the first frame is %#x", first)
		}
		for got.WriteString(payload); first&fin == 0; got.WriteString(payload) {
			if first, payload = c.next(); first&0xf != 0 {
				t.Fatalf("then a frame %#x", first)
			}
		}
		if got.String() != long {
			t.Errorf("got another message, of %d bytes", got.Len())
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		isEcho(t, c, "still here")
	})
}

// The library's own client agrees.
func TestConn_libraryClient(t *testing.T) {
	s := serve(t, false, webserver.Config{Accept: echo})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, resp, err := websocket.Dial(ctx, "ws://"+s.addr+"/ws", &websocket.DialOptions{
		Subprotocols: []string{"xmpp"}, CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if got := resp.Header.Get("Sec-Websocket-Extensions"); got != "" {
		t.Errorf("extensions: %s", got)
	}
	c.SetReadLimit(-1)
	for _, m := range []string{"<open/>", long} {
		if err := c.Write(ctx, websocket.MessageText, []byte(m)); err != nil {
			t.Fatal(err)
		}
		if typ, b, err := c.Read(ctx); err != nil || typ != websocket.MessageText || string(b) != m {
			t.Errorf("got %v, %d bytes, %v", typ, len(b), err)
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
}

func TestConn_readDeadline(t *testing.T) {
	eachWay(t, func(t *testing.T, secure bool) {
		s, conns := serveHeld(t, secure, webserver.Config{})
		c := s.upgrade(t, "", "")
		conn := <-conns
		blocked := make(chan error, 1)
		read := func() {
			_, err := conn.NextReader()
			blocked <- err
		}
		// It wakes a read that waits, as often as wanted, also when pings came in between.
		for range 3 {
			if err := conn.SetReadDeadline(time.Time{}); err != nil {
				t.Fatal(err)
			}
			go read()
			c.send(frame(ping, "x"))
			c.expect(pong)
			if err := conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
			var ne net.Error
			if err := <-blocked; !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
				t.Fatalf("got %v", err)
			}
		}
		// Nothing was lost: the message comes once the deadline is away.
		c.send(frame(whole, "hello"))
		if _, err := conn.NextReader(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if err := conn.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if m, err := message(conn); m != "hello" || err != nil {
			t.Errorf("got %q, %v", m, err)
		}
		// Between two frames of a message as well.
		c.send(frame(text, "a"))
		r, err := conn.NextReader()
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 8)
		if n, err := r.Read(p); n != 1 || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
		go func() {
			_, err := r.Read(p)
			blocked <- err
		}()
		if err := conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		if err := <-blocked; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if err := conn.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		c.send(frame(fin, "b"))
		if b, err := io.ReadAll(r); string(b) != "b" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
	})
}

// The last words reach a client that was in the middle of a frame, and so does the closing frame.
func TestConn_lastWordsAfterDeadline(t *testing.T) {
	tests := map[string]string{
		"between frames":      "",
		"in a header":         "\x81",
		"in a long header":    "\x81\xfe\x01",
		"in a payload":        frame(whole, "hello")[:8],
		"in a control frame":  frame(ping, "hello")[:8],
		"in a message":        frame(text, "hello"),
		"in a second frame":   frame(text, "hello") + frame(fin, "hello")[:8],
		"in a large payload":  frame(whole, long)[:7000],
		"behind a whole ping": frame(ping, "") + "\x81",
	}
	eachWay(t, func(t *testing.T, secure bool) {
		for name, sent := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s, conns := serveHeld(t, secure, webserver.Config{})
				c := s.upgrade(t, "", sent)
				conn := <-conns
				blocked := make(chan error, 1)
				read := func() {
					_, err := message(conn)
					blocked <- err
				}
				go read()
				select { // let it read what there is
				case err := <-blocked:
					t.Fatal(err)
				case <-time.After(50 * time.Millisecond):
				}
				if err := conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
					t.Fatal(err)
				}
				if err := <-blocked; !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("got %v", err)
				}
				if err := say(conn, "<stream:error/>"); err != nil {
					t.Error(err)
				}
				closed := make(chan error, 1)
				go func() { closed <- conn.Close(webserver.PolicyViolation, "enough") }()
				if got := c.expect(whole); got != "<stream:error/>" {
					t.Errorf("got %q", got)
				}
				if payload := c.expect(bye); payload != "\x03\xf0enough" {
					t.Errorf("got %q", payload)
				}
				// The rest of what it was at, and more, is thrown away.
				for range 20 {
					if _, err := io.WriteString(c, strings.Repeat("x", 8<<10)); err != nil {
						break // a protocol error between frames ends it sooner
					}
				}
				c.Close()
				select {
				case <-closed: // the client has not said goodbye: an error is right
				case <-time.After(patience):
					t.Error("Close hangs")
				}
				if _, err := conn.NextReader(); err == nil {
					t.Error("still reads")
				}
				if err := say(conn, "x"); err == nil {
					t.Error("still writes")
				}
			})
		}
	})
}

func TestConn_Close(t *testing.T) {
	eachWay(t, func(t *testing.T, secure bool) {
		s, conns := serveHeld(t, secure, webserver.Config{})
		c := s.upgrade(t, "", "")
		conn := <-conns
		blocked := make(chan error, 1)
		go func() { // somebody reads at the same time
			_, err := conn.NextReader()
			blocked <- err
		}()
		closed := make(chan error)
		go func() { closed <- conn.Close(webserver.NormalClosure, strings.Repeat("ü", 100)) }()
		if got, want := c.expect(bye), "\x03\xe8"+strings.Repeat("ü", 61); got != want {
			t.Errorf("got %q", got)
		}
		c.send(frame(whole, "what I still wanted to say") + frame(bye, "\x03\xe8"))
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
		<-blocked
		if err := conn.Close(webserver.NormalClosure, ""); err != nil {
			t.Errorf("once more: %v", err)
		}
		if b, err := io.ReadAll(c.in); err != nil || len(b) > 0 {
			t.Errorf("then %q, %v", b, err)
		}
	})
}

// A client that does not say goodbye, and one that reads nothing, cannot hold a connection.
func TestConn_CloseIsBounded(t *testing.T) {
	eachWay(t, func(t *testing.T, secure bool) {
		for _, deaf := range []bool{false, true} {
			t.Run(map[bool]string{false: "mute", true: "deaf"}[deaf], func(t *testing.T) {
				t.Parallel()
				s, conns := serveHeld(t, secure, webserver.Config{})
				c := s.upgrade(t, "", "")
				conn := <-conns
				stuck := make(chan error, 1)
				if deaf {
					go func() {
						for {
							if err := say(conn, long); err != nil {
								stuck <- err
								return
							}
						}
					}()
					select {
					case err := <-stuck:
						t.Fatal(err)
					case <-time.After(300 * time.Millisecond):
					}
				}
				begun := time.Now()
				_ = conn.SetReadDeadline(time.Time{})
				closed := make(chan struct{})
				go func() {
					defer close(closed)
					_ = conn.Close(webserver.NormalClosure, "")
				}()
				until(t, "close", func() bool {
					_ = conn.SetReadDeadline(time.Time{}) // has no effect any more
					_ = conn.SetWriteDeadline(time.Now().Add(time.Hour))
					select {
					case <-closed:
						return true
					default:
						return false
					}
				})
				took := time.Since(begun)
				t.Logf("took %v", took)
				if took < 2*time.Second || took > 6*time.Second {
					t.Errorf("took %v", took)
				}
				if deaf {
					if err := <-stuck; err == nil {
						t.Error("wrote on")
					}
				}
				_ = c
			})
		}
	})
}

func TestConn_writeDeadline(t *testing.T) {
	eachWay(t, func(t *testing.T, secure bool) {
		s, conns := serveHeld(t, secure, webserver.Config{})
		s.upgrade(t, "", "")
		conn := <-conns
		if err := conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil {
			err = say(conn, long)
		}
		var ne net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("got %v", err)
		}
		if again := say(conn, "x"); again == nil {
			t.Error("wrote on")
		}
	})
}

// What a client leaves behind when it goes without a word.
func TestConn_endOfClient(t *testing.T) {
	tests := map[string]struct {
		sent string
		want error
	}{
		"between messages": {frame(whole, "a"), io.EOF},
		"in a header":      {frame(whole, "a") + "\x81", io.ErrUnexpectedEOF},
		"in a payload":     {frame(whole, "a") + frame(whole, "hello")[:8], io.ErrUnexpectedEOF},
		"in a message":     {frame(whole, "a") + frame(text, "hello"), io.ErrUnexpectedEOF},
		"goodbye":          {frame(whole, "a") + frame(bye, ""), io.EOF},
		"goodbye too soon": {frame(whole, "a") + frame(text, "hello") + frame(bye, ""), io.ErrUnexpectedEOF},
	}
	eachWay(t, func(t *testing.T, secure bool) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				s, conns := serveHeld(t, secure, webserver.Config{})
				c := s.upgrade(t, "", test.sent)
				conn := <-conns
				if m, err := message(conn); m != "a" || err != nil {
					t.Fatalf("got %q, %v", m, err)
				}
				c.Close()
				if _, err := message(conn); !errors.Is(err, test.want) {
					t.Errorf("got %v", err)
				}
				if _, err := conn.NextReader(); !errors.Is(err, test.want) {
					t.Errorf("then %v", err)
				}
			})
		}
	})
}

// Messages that are not finished do not get mixed up with the next.
func TestConn_oneMessageAtATime(t *testing.T) {
	s, conns := serveHeld(t, false, webserver.Config{})
	s.upgrade(t, "", frame(whole, "hello")+frame(whole, "world"))
	conn := <-conns
	r, err := conn.NextReader()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.NextReader(); err == nil {
		t.Error("a second reader")
	}
	if b, err := io.ReadAll(r); string(b) != "hello" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	if m, err := message(conn); m != "world" || err != nil {
		t.Errorf("got %q, %v", m, err)
	}
	w, err := conn.NextWriter()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.NextWriter(); err == nil {
		t.Error("a second writer")
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("wrote to a closed message")
	}
	if err := w.Close(); err == nil {
		t.Error("closed twice")
	}
}

// Pongs, messages of ours and messages of the client's at the same time do not get mixed up.
func TestConn_bothWaysAtOnce(t *testing.T) {
	const count = 300
	body := strings.Repeat("0123456789abcdef", 2500) // three frames
	eachWay(t, func(t *testing.T, secure bool) {
		ended := make(chan error, 2)
		s := serve(t, secure, webserver.Config{Accept: func(c *webserver.Conn) {
			go func() {
				for range count {
					if err := say(c, body[:10], body[10:]); err != nil {
						ended <- err
						return
					}
				}
				ended <- nil
			}()
			for range count {
				if m, err := message(c); err != nil || m != "hello" {
					t.Errorf("got %q, %v", m, err)
					break
				}
			}
			ended <- nil
			_, _ = c.NextReader()
		}})
		c := s.upgrade(t, "", "")
		go func() {
			_, err := io.WriteString(c, strings.Repeat(frame(whole, "hello")+frame(ping, "?"), count))
			if err != nil {
				t.Error(err)
			}
		}()
		pongs, messages, part := 0, 0, ""
		for pongs < count || messages < count {
			switch first, payload := c.next(); first {
			case pong:
				pongs++
			case text, 0:
				part += payload
			case fin:
				if part+payload != body {
					t.Fatalf("got a message of %d bytes", len(part+payload))
				}
				messages, part = messages+1, ""
			default:
				t.Fatalf("got a frame %#x", first)
			}
		}
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}
