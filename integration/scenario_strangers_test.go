package integration

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// strangersDaemon serves localhost for tests of connections that never log in.
func strangersDaemon(t *testing.T, global ...options) *daemon {
	t.Helper()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	return start(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path,
	}}}, append([]options{baseOptions(dir)}, global...)...))
}

// TestStrangers_slowClients: whoever does not log in within c2s_timeout is disconnected, wherever he stopped and however
// busy he looks.
func TestStrangers_slowClients(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second
	d := strangersDaemon(t, options{"c2s_timeout": limit.Seconds()})
	cases := map[string]struct {
		kind string
		do   func(t *testing.T, c *xmpptest.Client)
	}{
		"silent":        {"starttls", func(*testing.T, *xmpptest.Client) {}},
		"silent direct": {"direct", func(*testing.T, *xmpptest.Client) {}},
		"after the header": {"starttls", func(t *testing.T, c *xmpptest.Client) {
			if _, err := c.Open("localhost"); err != nil {
				t.Fatal(err)
			}
		}},
		"before the handshake": {"starttls", func(t *testing.T, c *xmpptest.Client) {
			if _, err := c.Open("localhost"); err != nil {
				t.Fatal(err)
			}
			if err := c.Send("<starttls xmlns='" + xmpptest.NSTLS + "'/>"); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Expect("proceed"); err != nil {
				t.Fatal(err)
			}
		}},
		"inside TLS": {"starttls", func(t *testing.T, c *xmpptest.Client) {
			if _, err := c.Secure("localhost", insecureTLS("localhost")); err != nil {
				t.Fatal(err)
			}
		}},
		"after a failure": {"starttls", func(t *testing.T, c *xmpptest.Client) {
			if _, err := c.Secure("localhost", insecureTLS("localhost")); err != nil {
				t.Fatal(err)
			}
			if got, err := attempt(c, "PLAIN", plain("alice", "wrong")); err != nil || got != "not-authorized" {
				t.Fatal(got, err)
			}
		}},
		"a byte at a time": {"starttls", func(t *testing.T, c *xmpptest.Client) {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for _, b := range strings.Repeat(" ", 20) + xmpptest.Header("localhost") {
				<-tick.C
				if c.Send(string(b)) != nil {
					return // it has been disconnected, as it should
				}
			}
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			client, err := xmpptest.Dial(d.address(t, c.kind))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			c.do(t, client)
			drain(t, client)
			if took := time.Since(began); took < limit-200*time.Millisecond || took > limit+3*time.Second {
				t.Errorf("disconnected after %v, want %v", took, limit)
			}
		})
	}
}

// TestStrangers_defaultTimeout: without c2s_timeout it is 30 s.
func TestStrangers_defaultTimeout(t *testing.T) {
	t.Parallel()
	d := strangersDaemon(t)
	began := time.Now()
	client, err := xmpptest.Dial(d.address(t, "starttls"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	client.Timeout = time.Minute
	if _, err := client.Open("localhost"); err != nil {
		t.Fatal(err)
	}
	if err := client.ExpectError("connection-timeout"); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < 29*time.Second || took > 35*time.Second {
		t.Errorf("disconnected after %v, want 30 s", took)
	}
}

// drain reads whatever comes until the server closes the connection.
func drain(t *testing.T, c *xmpptest.Client) {
	t.Helper()
	_ = c.Conn().SetDeadline(time.Now().Add(patience))
	_, err := io.Copy(io.Discard, c.Conn())
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("still connected after %v", patience)
	}
}

// TestStrangers_tooMuch sends endless things of every kind: the stream ends with an error, long before a megabyte.
func TestStrangers_tooMuch(t *testing.T) {
	t.Parallel()
	d := strangersDaemon(t)
	const much = 1 << 20
	cases := map[string]string{
		"spaces before the header":     strings.Repeat(" ", much),
		"a tag without end":            "<" + strings.Repeat("a", much),
		"an attribute without end":     "<stream:stream to='" + strings.Repeat("a", much),
		"attributes without end":       "<stream:stream " + strings.Repeat("a='b' ", much/6),
		"text without end":             xmpptest.Header("localhost") + strings.Repeat("a", much),
		"an element without end":       xmpptest.Header("localhost") + "<auth xmlns='" + xmpptest.NSSASL + "'>" + strings.Repeat("A", much),
		"depth without end":            xmpptest.Header("localhost") + strings.Repeat("<a>", much/3),
		"children without end":         xmpptest.Header("localhost") + "<iq>" + strings.Repeat("<a/>", much/4),
		"elements without end":         xmpptest.Header("localhost") + strings.Repeat("<message to='a@localhost'/>", much/27),
		"entities":                     xmpptest.Header("localhost") + "<a>" + strings.Repeat("&amp;", much/5),
		"an unknown entity":            xmpptest.Header("localhost") + "<a>&lol;</a>",
		"declarations without end":     strings.Repeat("<?xml version='1.0'?>", much/21),
		"HTTP":                         "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"zeros":                        strings.Repeat("\x00", much),
		"bytes that are not UTF-8":     xmpptest.Header("localhost") + "<a>\xff\xfe</a>",
		"a document type":              "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]>" + xmpptest.Header("localhost"),
		"half a character without end": strings.Repeat("\xc3", much),
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := xmpptest.Dial(d.address(t, "starttls"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			written := make(chan struct{})
			go func() {
				defer close(written)
				// It fails when the server has had enough.
				_ = client.Conn().SetWriteDeadline(time.Now().Add(patience))
				_, _ = io.WriteString(client.Conn(), text)
			}()
			var answer strings.Builder
			_ = client.Conn().SetReadDeadline(time.Now().Add(patience))
			_, err = io.Copy(&answer, client.Conn())
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("still connected after %v; got %q", patience, answer.String())
			}
			<-written
			// A reset may overtake the error when much is still on its way; without one it has to be there.
			if err == nil && (!strings.Contains(answer.String(), "<stream:error>") ||
				!strings.HasSuffix(answer.String(), "</stream:stream>")) {
				t.Errorf("no stream error, but %q", answer.String())
			}
		})
	}
	// The port still serves.
	expectAuth(t, "afterwards", d.address(t, "starttls"), "localhost", "PLAIN", plain("alice", "secret"), "success")
}

// TestStrangers_memory: a connection before its login holds at most 64 KiB, whatever it sends.
func TestStrangers_memory(t *testing.T) {
	t.Parallel()
	d := strangersDaemon(t)
	const connections = 400
	expectAuth(t, "warm-up", d.address(t, "starttls"), "localhost", "PLAIN", plain("alice", "secret"), "success")
	before := residentBytes(t, d.cmd.Process.Pid)
	for range connections {
		c, err := xmpptest.Dial(d.address(t, "starttls"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := c.Open("localhost"); err != nil {
			t.Fatal(err)
		}
		// As much of an element as the limit allows, and it never ends.
		if err := c.Send("<auth xmlns='" + xmpptest.NSSASL + "' mechanism='PLAIN'>" + strings.Repeat("A", 9000)); err != nil {
			t.Fatal(err)
		}
	}
	held := residentBytes(t, d.cmd.Process.Pid) - before
	if each := held / connections; each > 64<<10 {
		t.Errorf("%d connections hold %d KiB each", connections, each>>10)
	}
}

// residentBytes is the resident memory of a process.
func residentBytes(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// TestStrangers_pipelinedBeforeTLS: bytes that come in the clear behind <starttls/> would be taken for encrypted ones by
// a careless server. They end the connection.
func TestStrangers_pipelinedBeforeTLS(t *testing.T) {
	t.Parallel()
	d := strangersDaemon(t)
	c, err := xmpptest.Dial(d.address(t, "starttls"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Open("localhost"); err != nil {
		t.Fatal(err)
	}
	if err := c.Send("<starttls xmlns='" + xmpptest.NSTLS + "'/><auth xmlns='" + xmpptest.NSSASL + "'/>"); err != nil {
		t.Fatal(err)
	}
	var answer strings.Builder
	_ = c.Conn().SetDeadline(time.Now().Add(patience))
	if _, err := io.Copy(&answer, c.Conn()); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("still connected; got %q", answer.String())
	}
	if strings.Contains(answer.String(), "<failure xmlns='"+xmpptest.NSSASL) {
		t.Errorf("the pipelined element was answered: %q", answer.String())
	}
}

// TestStrangers_lineEndBeforeTLS: a line end behind <starttls/> is no attack. go-sendxmpp sends one.
func TestStrangers_lineEndBeforeTLS(t *testing.T) {
	t.Parallel()
	d := strangersDaemon(t)
	c, err := xmpptest.Dial(d.address(t, "starttls"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Open("localhost"); err != nil {
		t.Fatal(err)
	}
	if err := c.Send("<starttls xmlns='" + xmpptest.NSTLS + "'/>\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Expect("proceed"); err != nil {
		t.Fatal(err)
	}
	if err := c.Handshake(insecureTLS("localhost")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Open("localhost"); err != nil {
		t.Error(err)
	}
}

// TestStrangers_fiveAttempts: a stream may fail five times; then it ends, at the latest when a sixth attempt comes, and
// be it one with the right password.
func TestStrangers_fiveAttempts(t *testing.T) {
	t.Parallel()
	d := strangersDaemon(t)
	c, err := dial(t, d.address(t, "starttls"), "starttls", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 5; n++ {
		if got, err := attempt(c, "PLAIN", plain("alice", "wrong")); err != nil || got != "not-authorized" {
			t.Fatalf("attempt %d: %q, %v", n, got, err)
		}
	}
	// The stream may have ended already; what counts is how.
	_ = c.Send("<auth xmlns='" + xmpptest.NSSASL + "' mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>")
	if err := c.ExpectError("policy-violation"); err != nil {
		t.Error(err)
	}
}
