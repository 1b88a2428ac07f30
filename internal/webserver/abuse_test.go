package webserver_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gatehouse.im/gatehouse/internal/webserver"
)

// What breaks RFC 6455 or 7395 ends the connection with the right code, and nothing of it is handed on as a message.
func TestConn_violations(t *testing.T) {
	const (
		protocol = websocket.StatusProtocolError
		notText  = websocket.StatusUnsupportedData
		notUTF8  = websocket.StatusInvalidFramePayloadData
	)
	tests := []struct {
		name string
		sent string
		code webserver.Code
	}{
		{"unmasked", "\x81\x01x", protocol},
		{"unmasked ping", "\x89\x00", protocol},
		{"binary", frame(fin|bin, "x"), notText},
		{"binary in pieces", frame(bin, "x"), notText},
		{"reserved opcode", frame(fin|0x3, "x"), protocol},
		{"reserved control opcode", frame(fin|0xb, ""), protocol},
		{"reserved bit 1", frame(whole|0x40, "x"), protocol},
		{"reserved bit 2", frame(whole|0x20, "x"), protocol},
		{"reserved bit 3", frame(whole|0x10, "x"), protocol},
		{"reserved bit of a ping", frame(ping|0x40, ""), protocol},
		{"continuation of nothing", frame(fin, "x"), protocol},
		{"message in a message", frame(text, "x") + frame(whole, "y"), protocol},
		{"fragmented ping", frame(0x9, "x"), protocol},
		{"long ping", frame(ping, strings.Repeat("x", 126)), protocol},
		{"very long ping", frame(ping, long[:70000])[:7000], protocol},
		{"negative length", "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", protocol},
		{"close too short", frame(bye, "\x03"), protocol},
		{"close with a reserved code", frame(bye, "\x03\xed"), protocol},
		{"close with code 0", frame(bye, "\x00\x00"), protocol},
		{"fragmented close", frame(0x8, ""), protocol},
		{"not UTF-8", frame(whole, "a\xffb"), notUTF8},
		{"surrogate", frame(whole, "\xed\xa0\x80"), notUTF8},
		{"overlong", frame(whole, "\xc0\xaf"), notUTF8},
		{"too high", frame(whole, "\xf4\x90\x80\x80"), notUTF8},
		{"half a character", frame(whole, "ab\xc3"), notUTF8},
		{"half a character between frames", frame(text, "\xe2") + frame(0, "\x82") + frame(fin, "x"), notUTF8},
	}
	eachWay(t, func(t *testing.T, secure bool) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				ended := make(chan error, 1)
				s := serve(t, secure, webserver.Config{Accept: func(c *webserver.Conn) {
					m, err := message(c)
					if err == nil {
						t.Errorf("got the message %q", m)
					}
					if _, again := c.NextReader(); again == nil || again.Error() != err.Error() {
						t.Errorf("first %v, then %v", err, again)
					}
					ended <- err
				}})
				c := s.upgrade(t, "", test.sent)
				if err := <-ended; !errors.Is(err, webserver.ErrProtocol) {
					t.Errorf("got %v", err)
				}
				if got := c.closed(); got != test.code {
					t.Errorf("closed with %d", got)
				}
				c.send(frame(bye, "\x03\xe8"))
				c.Close()
				until(t, "the session is gone", func() bool { return s.Sessions() == 0 })
			})
		}
	})
}

// What does not make a message is not for nothing: a stranger has so many bytes, and somebody who has logged in has more.
func TestConn_strangerBytes(t *testing.T) {
	for name, flood := range map[string]string{
		"empty frames": frame(0x01, "<") + strings.Repeat(frame(0x00, ""), 100_000),
		"pongs":        strings.Repeat(frame(0x8a, ""), 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			s := serve(t, false, webserver.Config{Accept: func(c *webserver.Conn) {
				_, err := message(c)
				ended <- err
			}})
			c := s.upgrade(t, "", "")
			go func() { _, _ = io.WriteString(c, flood) }()
			if err := <-ended; !errors.Is(err, webserver.ErrProtocol) || !strings.Contains(err.Error(), "before the login") {
				t.Errorf("got %v", err)
			}
			if code := c.closed(); code != webserver.PolicyViolation {
				t.Errorf("closed with %d", code)
			}
		})
	}
	t.Run("after the login", func(t *testing.T) {
		s := serve(t, false, webserver.Config{Accept: echo})
		c := s.upgrade(t, "", "")
		go func() { _, _ = io.WriteString(c, strings.Repeat(frame(0x8a, ""), 100_000)+frame(0x81, "hello")) }()
		if got := c.expect(0x81); got != "hello" {
			t.Errorf("got %q", got)
		}
	})
}

// Of a frame that is cut off nothing is made a message of: the library gives what it has read without unmasking it.
func TestConn_cutInAFrame(t *testing.T) {
	got := make(chan string, 1)
	s := serve(t, false, webserver.Config{Accept: func(c *webserver.Conn) {
		m, err := message(c)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v", err)
		}
		got <- m
	}})
	c := s.upgrade(t, "", "")
	whole := frame(0x81, strings.Repeat("<message/>", 100))
	c.send(whole[:len(whole)-500])
	c.Close()
	if m := <-got; strings.Trim(m, "</mesag>") != "" {
		t.Errorf("got %q", m)
	}
}

// A length is believed only as far as bytes come: nothing is made ready for it.
func TestConn_hugeLength(t *testing.T) {
	got := make(chan string, 1)
	s := serve(t, false, webserver.Config{Accept: func(c *webserver.Conn) {
		r, err := c.NextReader()
		if err != nil {
			t.Error(err)
			return
		}
		p := make([]byte, 5)
		n, err := io.ReadFull(r, p)
		if err != nil {
			t.Error(err)
		}
		got <- string(p[:n])
		if err := c.Close(webserver.TooBig, "stanza too large"); err == nil {
			t.Error("the client said goodbye in the middle of a frame?")
		}
		close(got)
	}})
	c := s.upgrade(t, "", "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00hello")
	if m := <-got; m != "hello" {
		t.Errorf("got %q", m)
	}
	if code := c.closed(); code != webserver.TooBig {
		t.Errorf("closed with %d", code)
	}
	c.Close()
	<-got
}

// A control frame that trickles in ends the connection although nobody set a deadline.
func TestConn_slowControlFrame(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	s := serve(t, false, webserver.Config{Accept: func(c *webserver.Conn) {
		_, err := c.NextReader()
		ended <- err
	}})
	c := s.upgrade(t, "", frame(ping, "hello")[:8])
	select {
	case err := <-ended:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(patience):
		t.Error("still waits")
	}
	if _, err := io.ReadAll(c.in); err != nil {
		t.Log(err) // a reset is as good
	}
}

// Whatever comes, the reader gives valid text or an error, and the server goes on.
func FuzzConn_frames(f *testing.F) {
	for _, seed := range []string{
		"", frame(whole, "<open/>"), frame(text, "a") + frame(ping, "") + frame(fin, "b"), frame(bye, "\x03\xe8bye"),
		frame(fin|bin, "x"), "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00hello", "\x81\x01x", frame(whole|0x40, "x"),
		frame(text, "\xe2") + frame(0, "\x82") + frame(fin, "\xac"),
	} {
		f.Add([]byte(seed))
	}
	type result struct {
		messages []string
		err      error
	}
	results := make(chan result, 1)
	s := serve(f, false, webserver.Config{Accept: func(c *webserver.Conn) {
		var r result
		for r.err == nil {
			var m string
			if m, r.err = message(c); r.err == nil {
				r.messages = append(r.messages, m)
			}
		}
		c.CloseNow() // the client, which says nothing more, is not waited for
		results <- r
	}})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := s.upgrade(t, "", "")
		defer c.Close()
		_, _ = c.Write(b)
		if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
			_ = cw.CloseWrite()
		}
		r := <-results
		for _, m := range r.messages {
			if strings.ToValidUTF8(m, "") != m {
				t.Errorf("got %q", m)
			}
		}
	})
}
