package admin

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// serve runs a server until the test ends and returns its address.
func serve(t testing.TB, network, address string, access Access) string {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(Handler(NewMetrics("1.0"), shop(), access), slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return ln.Addr().String()
}

// healthy asks on a connection that is open already.
func healthy(c net.Conn, host string) (int, error) {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

func TestNewServer_boundsConnections(t *testing.T) {
	address := serve(t, "tcp", "127.0.0.1:0", ReadOnly)
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i := range maxConns {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		if code, err := healthy(c, "localhost"); code != 200 || err != nil {
			t.Fatalf("connection %d: %d, %v", i, code, err)
		}
	}
	ask := func() (int, error) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		return healthy(c, "localhost")
	}
	if code, err := ask(); err == nil {
		t.Errorf("one connection too many is answered with %d", code)
	}
	if code, err := healthy(conns[0], "localhost"); code != 200 || err != nil {
		t.Errorf("a connection that was there before: %d, %v", code, err)
	}
	conns[0].Close()
	// The server notices the end of a connection in its own time.
	deadline := time.Now().Add(10 * time.Second)
	for {
		code, err := ask()
		if code == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after one has ended: %d, %v", code, err)
		}
	}
}

// A socket is asked under any name, since no web page gets there.
func TestNewServer_unixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "gh") // t.TempDir may be too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := serve(t, "unix", filepath.Join(dir, "s"), ReadOnly)
	for _, host := range []string{"gatehouse", "localhost", "evil.example"} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if code, err := healthy(c, host); code != 200 || err != nil {
			t.Errorf("Host %s: %d, %v", host, code, err)
		}
		c.Close()
	}
}
