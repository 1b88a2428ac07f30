package authapi

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(h, MaxConns, silent)
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return path
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

var date = regexp.MustCompile(`Date: [^\r\n]+\r\n`)

func TestServer_answersOnOneConnection(t *testing.T) {
	conn := dial(t, serve(t, Handler(&fakeJudge{}, Trusted(), silent)))
	in := bufio.NewReader(conn)
	for _, c := range []struct{ request, want string }{
		{get("/auth/user_exists?user=alice&server=example.com"), "true"},
		{get("/auth/user_exists?user=bob&server=example.com"), "false"},
		{post("/auth/register", "user=bob&server=example.com&pass=x"), "true"},
	} {
		if _, err := io.WriteString(conn, c.request); err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for !strings.HasSuffix(got.String(), "\r\n\r\n") {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			got.WriteString(line)
		}
		if _, err := io.CopyN(&got, in, int64(len(c.want))); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: %d\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\r\n%s",
			len(c.want), c.want)
		if text := date.ReplaceAllString(got.String(), ""); text != want {
			t.Errorf("got\n%s\nwant\n%s", text, want)
		}
		if in.Buffered() > 0 {
			t.Errorf("%d bytes behind the answer", in.Buffered())
		}
	}
}

// TestServer_strangersGiveWay: as many connections of strangers as there are places keep nobody out who has credentials, and
// take nothing from those who are there.
func TestServer_strangersGiveWay(t *testing.T) {
	path := serve(t, Handler(&fakeJudge{}, Basic("prosody", "secret"), silent))
	question := strings.Replace(get("/auth/user_exists?user=alice&server=example.com"), "\r\n",
		"\r\nAuthorization: Basic "+base64.StdEncoding.EncodeToString([]byte("prosody:secret"))+"\r\n", 1)
	ask := func(conn net.Conn, question, want string) {
		t.Helper()
		if _, err := io.WriteString(conn, question); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || !strings.HasPrefix(string(body), want) {
			t.Fatalf("got %s with %q, %v; want %q", res.Status, body, err, want)
		}
	}
	there := dial(t, path)
	ask(there, question, "true")
	stranger := dial(t, path)
	ask(stranger, get("/auth/user_exists?user=alice&server=example.com"), "the name or the password is wrong")
	for range MaxConns - 2 {
		dial(t, path)
	}
	ask(dial(t, path), question, "true")
	if _, err := stranger.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the oldest stranger did not give way: %v", err)
	}
	ask(there, question, "true")
}

func TestServer_boundsConnections(t *testing.T) {
	path := serve(t, Handler(&fakeJudge{}, Trusted(), silent))
	conns := make([]net.Conn, MaxConns)
	for i := range conns {
		conns[i] = dial(t, path)
		if _, err := io.WriteString(conns[i], get("/auth/user_exists?user=alice&server=example.com")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conns[i], make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	one := dial(t, path)
	if _, err := io.ReadAll(one); err != nil {
		t.Fatalf("one too many is not closed: %v", err)
	}
	conns[0].Close()
	for deadline := time.Now().Add(10 * time.Second); ; {
		again := dial(t, path)
		_, _ = io.WriteString(again, get("/auth/user_exists?user=alice&server=example.com"))
		if _, err := io.ReadFull(again, make([]byte, 1)); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no place is free after one has left")
		}
	}
}

func TestServer_boundsHeaders(t *testing.T) {
	conn := dial(t, serve(t, Handler(&fakeJudge{}, Trusted(), silent)))
	go func() { _, _ = io.WriteString(conn, get("/auth/user_exists?user="+strings.Repeat("a", 64<<10))) }()
	status, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(status, "HTTP/1.1 431 ") {
		t.Errorf("got %q, %v", status, err)
	}
}
