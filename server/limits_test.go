package server_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
	"gatehouse.im/gatehouse/server"
)

// A piped client talks to a server through a pipe without any buffer, so that
// it can be slow, and in a synctest bubble, so that time costs nothing.
type piped struct {
	*xmpptest.Client
	raw  net.Conn
	done chan struct{} // closed when the server is done with the connection
}

func runPiped(s *server.Server) *piped {
	ours, theirs := net.Pipe()
	p := &piped{Client: xmpptest.New(ours), raw: ours, done: make(chan struct{})}
	p.Timeout = time.Hour
	go func() {
		defer close(p.done)
		s.Run(theirs)
	}()
	return p
}

// testTLS returns both sides' settings for the test host.
func testTLS(t *testing.T) (serverSide, clientSide *tls.Config) {
	t.Helper()
	ca := must(xmpptest.NewCA())(t)
	pair := must(ca.Issue(xmpptest.ECDSA, host))(t)
	clientSide = withName(ca.ClientConfig())
	now := time.Now() // a bubble has another time
	clientSide.Time = func() time.Time { return now }
	return &tls.Config{Certificates: []tls.Certificate{pair.TLS}}, clientSide
}

// Whatever a client does not do, it has 30 s until it is bound, and then hears
// why that is the end.
func TestLoginTimeout_inEachState(t *testing.T) {
	serverSide, clientSide := testTLS(t)
	login := func(c *xmpptest.Client, user string) error {
		if _, err := c.Open(host); err != nil {
			return err
		}
		return sendPlain(c, user, "secret")
	}
	tests := []struct {
		name  string
		reach func(c *xmpptest.Client) error
		hears []string // before the stream error
	}{
		{"before the header", func(*xmpptest.Client) error { return nil }, nil},
		{"in the header", func(c *xmpptest.Client) error { return c.Send("<stream:stream ") }, nil},
		{"after the header", func(c *xmpptest.Client) error { _, err := c.Open(host); return err }, nil},
		{"in an element", func(c *xmpptest.Client) error {
			if _, err := c.Open(host); err != nil {
				return err
			}
			return c.Send("<auth ")
		}, nil},
		{"while the judge thinks", func(c *xmpptest.Client) error { return login(c, "slow") }, []string{"failure"}},
		{"after a failure", func(c *xmpptest.Client) error { return login(c, "nobody") }, []string{"failure"}},
		{"after <success/>", func(c *xmpptest.Client) error { return login(c, "alice") }, []string{"success"}},
		{"before the bind", func(c *xmpptest.Client) error {
			if err := login(c, "alice"); err != nil {
				return err
			}
			if _, err := c.Expect("success"); err != nil {
				return err
			}
			_, err := c.Open(host)
			return err
		}, nil},
		{"in TLS, before the header", func(c *xmpptest.Client) error {
			if _, err := c.Open(host); err != nil {
				return err
			}
			return c.StartTLS(clientSide)
		}, nil},
		{"in TLS, while the judge thinks", func(c *xmpptest.Client) error {
			if _, err := c.Open(host); err != nil {
				return err
			}
			if err := c.StartTLS(clientSide); err != nil {
				return err
			}
			return login(c, "slow")
		}, []string{"failure"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &accounts{passwords: map[string]string{"alice": "secret", "slow": "secret"}}
				c := runPiped(server.New(clearConfig(a, func(config *server.Config) {
					config.Hosts[host].Password = impatient{a}
					config.Hosts[host].TLS = serverSide
				})))
				defer c.Close()
				began := time.Now()
				if err := test.reach(c.Client); err != nil {
					t.Fatal(err)
				}
				for _, name := range test.hears {
					if _, err := c.Expect(name); err != nil {
						t.Fatal(err)
					}
				}
				if err := c.ExpectError("connection-timeout"); err != nil {
					t.Error(err)
				}
				<-c.done
				if took := time.Since(began); took < 30*time.Second || took > 31*time.Second {
					t.Errorf("ended after %v", took)
				}
			})
		})
	}
}

// impatient is a judge who cannot say once the context has ended.
type impatient struct{ *accounts }

func (j impatient) Authenticate(ctx context.Context, user, at, secret string) (bool, error) {
	if user == "slow" {
		<-ctx.Done()
		return false, ctx.Err()
	}
	return j.accounts.Authenticate(ctx, user, at, secret)
}

// Where TLS is not up yet, there is nobody to tell.
func TestLoginTimeout_inTheHandshake(t *testing.T) {
	serverSide, _ := testTLS(t)
	synctest.Test(t, func(t *testing.T) {
		c := runPiped(server.New(clearConfig(new(accounts), func(config *server.Config) {
			config.Hosts[host].TLS = serverSide
		})))
		defer c.Close()
		must(c.Open(host))(t)
		if err := c.Send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"); err != nil {
			t.Fatal(err)
		}
		must(c.Expect("proceed"))(t)
		began := time.Now()
		if rest, err := io.ReadAll(c.raw); len(rest) > 0 || err != nil {
			t.Errorf("heard %q, %v", rest, err)
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("ended after %v", took)
		}
		<-c.done
	})
}

// A bound client may be silent for as long as it likes.
func TestSession_mayBeSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &accounts{passwords: map[string]string{"alice": "secret"}}
		c := runPiped(server.New(clearConfig(a, nil)))
		defer c.Close()
		loginPiped(t, c, "r")
		time.Sleep(100 * time.Hour)
		if err := c.Ping(); err != nil {
			t.Error(err)
		}
	})
}

func loginPiped(t *testing.T, c *piped, resource string) {
	t.Helper()
	must(c.Open(host))(t)
	if err := sendPlain(c.Client, "alice", "secret"); err != nil {
		t.Fatal(err)
	}
	must(c.Expect("success"))(t)
	must(c.Open(host))(t)
	if resource != "" {
		must(c.Bind(resource))(t)
	}
}

// A client that was refused its resource is not bound, and its time runs on.
func TestLoginTimeout_afterARefusedBind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &accounts{passwords: map[string]string{"alice": "secret"}}
		s := server.New(clearConfig(a, func(config *server.Config) { config.Hosts[host].Conflict = server.KickNew }))
		first, second := runPiped(s), runPiped(s)
		defer first.Close()
		defer second.Close()
		loginPiped(t, first, "r")
		loginPiped(t, second, "")
		if _, err := second.Bind("r"); err == nil || !strings.Contains(err.Error(), "conflict") {
			t.Fatalf("bound: %v", err)
		}
		if err := second.ExpectError("connection-timeout"); err != nil {
			t.Error(err)
		}
		<-second.done
		if err := first.Ping(); err != nil {
			t.Error(err)
		}
	})
}

// A logged-in client that does not read what it asks for holds its connection
// no longer than the write timeout.
func TestSession_slowReaderIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &accounts{passwords: map[string]string{"alice": "secret"}}
		c := runPiped(server.New(clearConfig(a, nil)))
		defer c.Close()
		loginPiped(t, c, "r")
		began := time.Now()
		if err := c.Send("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"); err != nil {
			t.Fatal(err)
		}
		<-c.done
		if took := time.Since(began); took > time.Minute {
			t.Errorf("ended after %v", took)
		}
	})
}

// endless is a client that sends the same byte for ever.
func TestLimits_endlessInput(t *testing.T) {
	const size = 1 << 20
	for name, in := range map[string]string{
		"tag":             "[hello]<" + strings.Repeat("a", size),
		"attribute":       "[hello]<iq id='" + strings.Repeat("a", size),
		"text":            "[hello]<message>" + strings.Repeat("a", size),
		"between":         "[hello]" + strings.Repeat("a", size),
		"white space":     "[hello]" + strings.Repeat(" ", size),
		"before a header": strings.Repeat(" ", size),
		"header":          "<stream:stream a='" + strings.Repeat("a", size),
		"declaration":     "<?xml version='1.0' " + strings.Repeat("a", size),
		"after the login": "[hello]" + plainAuth("", "alice", "secret") + strings.Repeat(" ", size),
	} {
		t.Run(name, func(t *testing.T) {
			a := &accounts{passwords: map[string]string{"alice": "secret"}}
			c := newMemConn([]byte(expand.Replace(in)), 1400)
			runBounded(t, server.New(clearConfig(a, nil)), c)
			out, closed := c.output()
			if !closed || !strings.Contains(out, "policy-violation") {
				t.Errorf("closed %v, heard %s", closed, normal(out))
			}
			// 64 KiB, and then what is read so that the error arrives.
			if read := int(c.in.Size()) - c.in.Len(); read > (64+128)<<10 {
				t.Errorf("%d bytes were read", read)
			}
		})
	}
}

// Nobody makes the server hold more than 64 KiB before the login, whether he
// sends without end or asks without listening.
func TestLimits_memoryBeforeTheLogin(t *testing.T) {
	const clients = 200
	quotes := strings.Repeat(`"`, 9900)
	for name, in := range map[string]string{
		"silent":                       "",
		"unfinished header":            "<stream:stream a='" + strings.Repeat("a", 16000),
		"header not listened to":       hello("to='xmpp.example' from='" + strings.Repeat(`"`, 16000) + "'"),
		"unknown host not listened to": hello("to='" + strings.Repeat(`"`, 16000) + "'"),
		"unfinished element":           "[hello]<message id='" + strings.Repeat("a", 9900),
		"bounce not listened to":       "[hello]<message id='" + quotes + "'/>",
		"addresses not listened to":    "[hello]<message to='" + quotes + "'/>",
		"many elements":                "[hello]<message id='" + strings.Repeat("a", 9000) + "'>" + strings.Repeat("<a b='c'/>", 49) + "</message>",
		"long credentials":             "[hello]" + plainAuth("", "slow", strings.Repeat("a", 1000)),
		"namespaces": "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' to='xmpp.example'" +
			" xmlns:a='" + strings.Repeat("a", 1900) + "' b='" + strings.Repeat("b", 14000) + "'><a:b",
	} {
		t.Run(name, func(t *testing.T) {
			a := &accounts{passwords: map[string]string{}, slow: make(chan struct{})}
			s := server.New(clearConfig(a, nil))
			in := expand.Replace(in)
			before := held()
			var running sync.WaitGroup
			conns := make([]*stuckConn, clients)
			for i := range conns {
				conns[i] = newStuckConn(in)
				running.Go(func() { s.Run(conns[i]) })
			}
			for _, c := range conns {
				waitFor(t, func() bool { return c.stuck() || name == "long credentials" && a.count() == clients })
			}
			perClient := (held() - before) / clients
			t.Logf("%d bytes for each connection", perClient)
			if perClient > 64<<10 {
				t.Errorf("%d bytes for each connection", perClient)
			}
			close(a.slow)
			for _, c := range conns {
				c.Close()
			}
			running.Wait()
		})
	}
}

// A big stanza costs memory while it is looked at, and no longer.
func TestLimits_memoryAfterABigStanza(t *testing.T) {
	const clients = 10
	a := &accounts{passwords: map[string]string{"alice": "secret"}}
	s := server.New(clearConfig(a, func(c *server.Config) { c.StanzaLimit = 262144 }))
	in := expand.Replace("[hello]" + plainAuth("", "alice", "secret") + "[hello]" + aBind("") +
		"<message to='bob@xmpp.example'><body>" + strings.Repeat("x", 250000) + "</body></message>")
	before := held()
	var running sync.WaitGroup
	conns := make([]*stuckConn, clients)
	for i := range conns {
		conns[i] = newStuckConn(in)
		conns[i].listens = true
		running.Go(func() { s.Run(conns[i]) })
	}
	for _, c := range conns {
		waitFor(t, c.stuck)
	}
	perClient := (held() - before) / clients
	t.Logf("%d bytes for each idle session", perClient)
	if perClient > 64<<10 {
		t.Errorf("%d bytes for each idle session", perClient)
	}
	for _, c := range conns {
		c.Close()
	}
	running.Wait()
}

func (a *accounts) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.asked)
}

// held returns how much memory is in use, stacks included.
func held() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// stuckConn gives what the client has sent, and then nothing; unless it
// listens, a write that is not the answer to the first header never ends.
type stuckConn struct {
	net.Conn // nil: what is not here must not be called
	in       *strings.Reader
	listens  bool // whether every write ends

	mu      sync.Mutex
	blocked bool
	written int
	closed  chan struct{}
}

func newStuckConn(in string) *stuckConn {
	return &stuckConn{in: strings.NewReader(in), closed: make(chan struct{})}
}

func (c *stuckConn) wait() (int, error) {
	c.mu.Lock()
	c.blocked = true
	c.mu.Unlock()
	<-c.closed
	return 0, net.ErrClosed
}

func (c *stuckConn) stuck() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blocked
}

func (c *stuckConn) Read(p []byte) (int, error) {
	if c.in.Len() == 0 {
		return c.wait()
	}
	return c.in.Read(p)
}

func (c *stuckConn) Write(p []byte) (int, error) {
	c.written++
	if !c.listens && (c.written > 1 || len(p) > 4096) {
		return c.wait()
	}
	return len(p), nil
}

func (c *stuckConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	return nil
}

func (c *stuckConn) SetDeadline(time.Time) error      { return nil }
func (c *stuckConn) SetReadDeadline(time.Time) error  { return nil }
func (c *stuckConn) SetWriteDeadline(time.Time) error { return nil }
func (c *stuckConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *stuckConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
