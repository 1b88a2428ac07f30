package integration

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// webCrowd logs in over WebSockets, with right and wrong passwords, until the returned function is called once or more. Nobody may get
// another verdict than he should, or none.
func webCrowd(t *testing.T, ways []webWay) (over func()) {
	end := make(chan struct{})
	var people sync.WaitGroup
	var counts [2]atomic.Int64
	var slowest atomic.Int64
	for n := range 4 {
		people.Go(func() {
			for k := n; ; k++ {
				select {
				case <-end:
					return
				default:
				}
				began := time.Now()
				password, right := "secret", "success"
				if k%3 == 0 {
					password, right = "wrong", "not-authorized"
				}
				way := ways[k%len(ways)]
				got, err := webLogin(t, way.dial, way.address, "localhost", "PLAIN", plain("alice", password))
				if err != nil || got != right {
					t.Errorf("login %d of %d by %s: %q, %v; want %q", k, n, way.name, got, err, right)
					return
				}
				counts[k%2].Add(1)
				if took := int64(time.Since(began)); took > slowest.Load() {
					slowest.Store(took)
				}
			}
		})
	}
	return sync.OnceFunc(func() {
		close(end)
		people.Wait()
		t.Logf("%d logins by ws and %d by wss meanwhile, the slowest in %v", counts[0].Load(), counts[1].Load(), time.Duration(slowest.Load()))
		if counts[0].Load() == 0 || counts[1].Load() == 0 {
			t.Error("nobody has logged in meanwhile")
		}
	})
}

// settled is what a daemon takes of the machine once nothing happens any more.
func settled(t *testing.T, r *reloadable) usage {
	t.Helper()
	last := r.usage(t)
	until(t, "it is quiet", 2*patience, func() bool {
		now := r.usage(t)
		quiet := now == last && r.metric(t, `gatehouse_connections{state="login"}`) == 0 && r.metric(t, `gatehouse_connections{state="session"}`) == 0
		last = now
		return quiet
	})
	return last
}

// webAttacks are each what one client does once it has a WebSocket; the server may end it at any time.
var webAttacks = map[string]func(t *testing.T, c *webClient) error{
	"a frame that is not masked": func(_ *testing.T, c *webClient) error { return c.raw("\x81\x05hello") },
	"a frame of 2^63 bytes": func(_ *testing.T, c *webClient) error {
		return c.raw("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xffabcd" + strings.Repeat("x", 4096))
	},
	"a frame of a gigabyte": func(_ *testing.T, c *webClient) error {
		if err := c.raw("\x81\xff\x00\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00<a>"); err != nil {
			return err
		}
		return c.flood(strings.Repeat("x", 1<<16), 1<<14)
	},
	"endless empty pieces": func(_ *testing.T, c *webClient) error {
		if err := c.ws.frame(false, frameText, []byte("<a>")); err != nil {
			return err
		}
		return c.flood(strings.Repeat("\x00\x80\x00\x00\x00\x00", 1000), 1<<20)
	},
	"endless pieces of a start tag": func(_ *testing.T, c *webClient) error {
		if err := c.ws.frame(false, frameText, []byte("<a b='")); err != nil {
			return err
		}
		return c.flood(strings.Repeat("\x00\x81\x00\x00\x00\x00a", 1000), 1<<20)
	},
	"endless empty messages": func(_ *testing.T, c *webClient) error {
		return c.flood(strings.Repeat("\x81\x80\x00\x00\x00\x00", 1000), 1<<20)
	},
	"endless pings, and no pong is read": func(_ *testing.T, c *webClient) error {
		return c.flood(strings.Repeat("\x89\xfd\x00\x00\x00\x00"+strings.Repeat("p", 125), 100), 1<<20)
	},
	"reserved bits": func(_ *testing.T, c *webClient) error { return c.raw("\xf1\x80\x00\x00\x00\x00") },
	"noise": func(_ *testing.T, c *webClient) error {
		b := make([]byte, 4096)
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		return c.raw(string(b))
	},
	"cut in a frame's head": func(_ *testing.T, c *webClient) error { return errors.Join(c.raw("\x81"), c.goes()) },
	"cut in a message": func(_ *testing.T, c *webClient) error {
		return errors.Join(c.ws.frame(false, 1, []byte("<a>")), c.goes())
	},
	"cut right away":         func(_ *testing.T, c *webClient) error { return c.goes() },
	"<close/> and then more": closeAndGoOn,
	"the closing frame twice": func(_ *testing.T, c *webClient) error {
		return c.raw(strings.Repeat("\x88\x82\x00\x00\x00\x00\x03\xe8", 100))
	},
	"a closing frame with a bad code": func(_ *testing.T, c *webClient) error {
		return c.raw("\x88\x82\x00\x00\x00\x00\x00\x01")
	},
	"half a closing frame, and silence": func(_ *testing.T, c *webClient) error { return c.raw("\x88\x82\x00\x00") },
	"a login and half a stanza": func(t *testing.T, c *webClient) error {
		if err := c.comeIn(); err != nil {
			return err
		}
		return errors.Join(c.ws.frame(false, 1, []byte("<message to='alice@localhost'><body>")), c.goes())
	},
	"a session that never reads": func(t *testing.T, c *webClient) error {
		if err := c.comeIn(); err != nil {
			return err
		}
		ping := "<iq type='get' id='" + strings.Repeat("i", 1000) + "'><ping xmlns='urn:xmpp:ping'/></iq>"
		for range 1 << 16 {
			if err := c.ws.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
				return err
			}
			if _, err := c.ws.Write([]byte(ping)); err != nil {
				return err // nobody takes it any more
			}
		}
		return errors.New("all was taken")
	},
}

// comeIn logs in and binds.
func (c *webClient) comeIn() error {
	if _, err := c.open("localhost"); err != nil {
		return err
	}
	if got, err := attempt(c.Client, "PLAIN", plain("alice", "secret")); err != nil || got != "success" {
		return fmt.Errorf("login: %q, %w", got, err)
	}
	if _, err := c.open("localhost"); err != nil {
		return err
	}
	_, err := c.Bind("")
	return err
}

func (c *webClient) raw(s string) error {
	_, err := io.WriteString(c.ws.Conn, s)
	return err
}

// flood sends something so often, or until the server has had enough.
func (c *webClient) flood(s string, times int) error {
	for range times {
		if err := c.ws.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
			return err
		}
		if err := c.raw(s); err != nil {
			return nil
		}
	}
	return errors.New("the server takes all of it")
}

func (c *webClient) goes() error {
	c.ws.cut()
	return nil
}

func closeAndGoOn(_ *testing.T, c *webClient) error {
	if err := c.comeIn(); err != nil {
		return err
	}
	if err := c.Send("<close xmlns='" + nsFraming + "'/>"); err != nil {
		return err
	}
	for range 1000 {
		if _, err := c.ws.Write([]byte("<iq type='get' id='x'><ping xmlns='urn:xmpp:ping'/></iq>")); err != nil {
			break
		}
	}
	for {
		e, err := c.ReadElement()
		if err != nil {
			return nil
		}
		if !e.Is(nsFraming, "close") {
			return fmt.Errorf("after <close/> was answered: %s", e.Raw)
		}
	}
}

// TestWebSocket_attacks lets everybody log in while others break the rules of WebSocket in every way. In the end nothing is
// left of them.
func TestWebSocket_attacks(t *testing.T) {
	t.Parallel()
	s, ports := newWebScene(t, options{"c2s_timeout": 4})
	ways := sceneWays(ports)
	before := settled(t, s.reloadable)
	memory := s.memory(t, "VmRSS")
	over := webCrowd(t, ways)
	defer over()
	var attackers sync.WaitGroup
	for range 3 {
		for name, attack := range webAttacks {
			for _, way := range ways {
				attackers.Go(func() {
					c, err := way.dial.client(t, way.address)
					if err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
					began := time.Now()
					err = attack(t, c)
					if strings.HasPrefix(name, "a session that") {
						if err == nil || strings.Contains(err.Error(), "all") {
							t.Errorf("%s: %v", name, err)
						}
					} else if err != nil {
						t.Errorf("%s, %s: %v", way.name, name, err)
					}
					// However it began, it ends.
					if err := c.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
						return // it has
					}
					if name != "a session that never reads" {
						if _, err := io.Copy(io.Discard, c.ws.Conn); errors.Is(err, os.ErrDeadlineExceeded) {
							t.Errorf("%s, %s: still connected after %v", way.name, name, time.Since(began))
						}
					}
					c.ws.cut()
				})
			}
		}
		attackers.Wait()
	}
	over()
	var after usage
	until(t, "everything is given back", 2*patience, func() bool {
		after = settled(t, s.reloadable)
		return after.goroutines <= before.goroutines && after.descriptors <= before.descriptors && after.children <= before.children
	})
	t.Logf("before %+v and %d KiB, after %+v and %d KiB, at most %d KiB", before, memory, after, s.memory(t, "VmRSS"), s.memory(t, "VmHWM"))
	if s.memory(t, "VmHWM") > memory+200<<10 {
		t.Error("strangers have made it take too much memory")
	}
	s.expect(t, "over TCP", "localhost", "secret", "success")
}

// TestWebSocket_halfOpen: two thousand who begin an upgrade and do not end it, or upgrade and say nothing, keep nobody out
// and are let go in time.
func TestWebSocket_halfOpen(t *testing.T) {
	t.Parallel()
	s, ports := newWebScene(t, options{"c2s_timeout": 4})
	ways := sceneWays(ports)
	before := settled(t, s.reloadable)
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	request := "GET /xmpp-websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: xmpp\r\n"
	began := time.Now()
	for n := range 2000 {
		conn, err := net.DialTimeout("tcp", ways[n%2].address, patience)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		text := []string{"", "G", request, request + "\r\n", request + "\r\n\x81"}[n/2%5]
		if n%2 == 1 {
			text = []string{"", "\x16", "\x16\x03\x01\x02\x00\x01"}[n/2%3]
		}
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("all are there after %v", time.Since(began))
	over := webCrowd(t, ways)
	defer over()
	for _, conn := range conns {
		if err := conn.SetReadDeadline(began.Add(2 * patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("still connected after %v", time.Since(began))
		}
	}
	took := time.Since(began)
	over()
	t.Logf("and let go after %v", took)
	until(t, "everything is given back", patience, func() bool {
		after := settled(t, s.reloadable)
		return after.goroutines <= before.goroutines && after.descriptors <= before.descriptors
	})
}

// TestWebSocket_reloads: a hundred reloads while people log in over WebSockets change no verdict and no session.
func TestWebSocket_reloads(t *testing.T) {
	t.Parallel()
	s, ports := newWebScene(t)
	ways := sceneWays(ports)
	more := freePorts(t, 1)[0]
	var guests []*webClient
	for _, way := range ways {
		guests = append(guests, webSession(t, way.dial, way.address, "localhost", "alice", "secret", way.name))
	}
	over := webCrowd(t, ways)
	defer over()
	for n := range 100 {
		says := ""
		switch n % 5 {
		case 0:
			s.global["c2s_timeout"] = 20 + n
		case 1:
			s.global["https_ports"] = []any{ports[1], more}
		case 2:
			s.global["https_ports"] = []any{ports[1]}
		case 3:
			s.global["gatehouse_websocket_origins"] = []any{fmt.Sprintf("https://page%d.example", n)}
		case 4:
			s.hosts[0].options["external_auth_timeout"] = 5 + n
		}
		s.change(t, says)
	}
	over()
	for n, c := range guests {
		if err := c.Ping(); err != nil {
			t.Errorf("%s: %v", ways[n].name, err)
		}
		if _, ok := c.ws.Conn.(*tls.Conn); ok != (ways[n].name == "wss") {
			t.Errorf("%s is not what it seems", ways[n].name)
		}
	}
}
