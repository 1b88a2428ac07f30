package httpserver

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener without a network, so that a server runs in a bubble with its own clock.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { close(p.closed); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// client is one end of a connection.
type client struct {
	net.Conn
	in *bufio.Reader
}

// bubble serves: /known is kept. connect returns a new client.
func bubble(t *testing.T, limits Limits, f func(t *testing.T, connect func() *client)) {
	synctest.Test(t, func(t *testing.T) {
		ln := pipes{make(chan net.Conn), make(chan struct{})}
		server := New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/known" {
				Keep(r.Context())
			}
			_, _ = io.WriteString(w, "ok")
		}), limits, slog.New(slog.DiscardHandler))
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(ln) }()
		f(t, func() *client {
			ours, theirs := net.Pipe()
			t.Cleanup(func() { ours.Close() })
			ln.conns <- theirs
			synctest.Wait() // until it has its place
			return &client{ours, bufio.NewReader(ours)}
		})
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// ask says whether a request is answered.
func (c *client) ask(path string) bool {
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return false
	}
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err == nil && res.StatusCode == http.StatusOK
}

// lives is how long the server leaves the connection open.
func (c *client) lives(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	_, err := c.in.ReadByte()
	if err != io.EOF {
		t.Errorf("it ends with %v", err)
	}
	return time.Since(began)
}

func TestNew_idle(t *testing.T) {
	limits := Limits{Conns: 10, Write: time.Minute, Idle: time.Hour, Stranger: 15 * time.Second}
	for _, test := range []struct {
		name   string
		limits Limits
		ask    []string
		want   time.Duration
	}{
		{"silent", limits, nil, 5 * time.Second},
		{"stranger", limits, []string{"/"}, 15 * time.Second},
		{"known", limits, []string{"/known"}, time.Hour},
		{"known once", limits, []string{"/", "/known", "/"}, time.Hour},
		{"all alike", Limits{Conns: 10, Write: time.Minute, Idle: time.Minute}, []string{"/"}, time.Minute},
		{"no bound", Limits{Write: time.Minute, Idle: time.Minute}, []string{"/known"}, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, test.limits, func(t *testing.T, connect func() *client) {
				c := connect()
				for _, path := range test.ask {
					if !c.ask(path) {
						t.Fatalf("%s is not answered", path)
					}
					time.Sleep(10 * time.Second) // which is between two requests, and begins anew with each
				}
				if len(test.ask) > 0 {
					test.want -= 10 * time.Second
				}
				if got := c.lives(t); got != test.want {
					t.Errorf("it lives for %v, want %v", got, test.want)
				}
			})
		})
	}
}

func TestNew_strangersMakeRoom(t *testing.T) {
	limits := Limits{Conns: 3, Write: time.Minute, Idle: time.Hour, Stranger: 15 * time.Second}
	bubble(t, limits, func(t *testing.T, connect func() *client) {
		known := connect()
		if !known.ask("/known") {
			t.Fatal("not answered")
		}
		silent, asked := connect(), connect()
		if !asked.ask("/") {
			t.Fatal("not answered")
		}
		third := connect()
		if _, err := silent.in.ReadByte(); err != io.EOF {
			t.Errorf("the oldest stranger is not closed: %v", err)
		}
		if !asked.ask("/") || !known.ask("/") {
			t.Error("somebody else is closed")
		}
		if !third.ask("/known") {
			t.Error("the new one is not answered")
		}
		last := connect()
		if asked.ask("/") {
			t.Error("the only stranger that is left stays")
		}
		if !last.ask("/known") {
			t.Error("the new one is not answered")
		}
		if c := connect(); c.ask("/known") {
			t.Error("there is no stranger, and yet room")
		}
		for _, c := range []*client{known, third, last} {
			if !c.ask("/") {
				t.Error("a known one is closed")
			}
		}
		_ = known.Close()
		synctest.Wait()
		if !connect().ask("/") {
			t.Error("no room after one has left")
		}
	})
}

func TestNew_refusesTheNewest(t *testing.T) {
	bubble(t, Limits{Conns: 2, Write: time.Minute, Idle: time.Hour}, func(t *testing.T, connect func() *client) {
		one, two := connect(), connect()
		if connect().ask("/") {
			t.Error("one too many is answered")
		}
		if !one.ask("/") || !two.ask("/") {
			t.Error("one that was there before is not")
		}
	})
}
