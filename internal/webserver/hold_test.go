package webserver_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/webserver"
)

// TestConn_Hold: what is written between Hold and Release arrives together, in order, whatever its size; and nothing of it
// before, unless it does not fit.
func TestConn_Hold(t *testing.T) {
	for _, size := range []int{1, 1000, 5000, 16 << 10, 40_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			held, looked := make(chan struct{}), make(chan struct{})
			s := serve(t, true, webserver.Config{Accept: func(c *webserver.Conn) {
				c.Hold()
				for n := range 5 {
					if err := say(c, strings.Repeat(string(rune('a'+n)), size)); err != nil {
						t.Error(err)
					}
				}
				close(held)
				<-looked
				if err := c.Release(); err != nil {
					t.Error(err)
				}
				if err := say(c, "not held"); err != nil {
					t.Error(err)
				}
			}})
			client := s.upgrade(t, "", "")
			<-held
			if size < 3000 {
				_ = client.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if n, err := client.in.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("before Release: %x, %v", n, err)
				}
			}
			close(looked)
			_ = client.SetReadDeadline(time.Now().Add(patience))
			for n := range 5 {
				if got, want := inFrames(client), strings.Repeat(string(rune('a'+n)), size); got != want {
					t.Fatalf("message %d has %d bytes", n, len(got))
				}
			}
			if got := inFrames(client); got != "not held" {
				t.Errorf("then %q", got)
			}
		})
	}
}

// TestConn_ReleaseFails: Release says that nobody is there any more.
func TestConn_ReleaseFails(t *testing.T) {
	failed := make(chan error, 1)
	s := serve(t, false, webserver.Config{Accept: func(c *webserver.Conn) {
		c.Hold()
		_ = say(c, "held")
		c.CloseNow()
		failed <- c.Release()
	}})
	s.upgrade(t, "", "")
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Release: %v", err)
	}
}

// inFrames reads a text message in all its frames.
func inFrames(c *raw) string {
	c.t.Helper()
	var b strings.Builder
	for {
		first, payload := c.next()
		b.WriteString(payload)
		if first&0x80 != 0 {
			return b.String()
		}
	}
}
