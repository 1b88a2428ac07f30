package upstream

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tickets counts what it gives out.
func tickets(n *atomic.Int64) func(*Config) {
	return func(c *Config) {
		c.Credentials = func(context.Context, string, string, string) (Credential, error) {
			n.Add(1)
			return Credential{Mechanism: Plain, Secret: secret}, nil
		}
	}
}

// TestOpen_failsOver: the next address takes over, within the time, from one that
// is not there and from one that hangs, and is the first choice from then on.
func TestOpen_failsOver(t *testing.T) {
	for name, first := range map[string]func(*testing.T) Address{
		"nobody there": nobody,
		"hangs":        func(t *testing.T) Address { return serve(t, (*peer).hang) },
		"garbage":      func(t *testing.T) Address { return serve(t, func(p *peer) { p.send("what?") }) },
		"no PLAIN":     func(t *testing.T) Address { return serve(t, func(p *peer) { p.stream("<stream:features/>") }) },
	} {
		t.Run(name, func(t *testing.T) {
			u := start(t, func(c *Config) { c.Timeout = time.Second }, first(t), serve(t, (*peer).login))
			for n := range 3 {
				conn, err := open(t, u)
				if err != nil {
					t.Fatal(n, err)
				}
				echoes(t, conn)
			}
			s := u.Stats()
			if s[0].Up || s[0].Dials != 1 || s[0].LastError == "" || !s[1].Up || s[1].Logins != 3 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestOpen_credentialSentOnce: what may have been seen by one server is not tried
// at another, and a refusal is not either.
func TestOpen_credentialSentOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		want   error
		up     bool
		answer func(*peer)
	}{
		"refused": {ErrRefused, true, func(p *peer) { p.send(refusal) }},
		"closed":  {ErrDown, false, func(p *peer) {}},
		"hangs":   {ErrSlow, false, (*peer).hang},
	} {
		t.Run(name, func(t *testing.T) {
			var made atomic.Int64
			u := start(t, func(c *Config) {
				tickets(&made)(c)
				c.Timeout = time.Second
			}, serve(t, func(p *peer) { p.stream(offer); p.message(Plain); tt.answer(p) }),
				serve(t, func(p *peer) { t.Error("dialled"); p.hang() }))
			if _, err := open(t, u); !errors.Is(err, tt.want) {
				t.Error(err)
			}
			if made.Load() != 1 {
				t.Errorf("%d credentials", made.Load())
			}
			if s := u.Stats(); s[0].Up != tt.up {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestOpen_freshCredential: each try has one of its own, and a try that does not
// get so far needs none.
func TestOpen_freshCredential(t *testing.T) {
	_, serverTLS, clientTLS := certificates(t)
	var made atomic.Int64
	brokenTLS := serve(t, func(p *peer) { p.expect("\x16"); p.send("what?"); p.hang() })
	u := start(t, func(c *Config) {
		tickets(&made)(c)
		c.Mode, c.TLS = DirectTLS, clientTLS
	}, nobody(t), brokenTLS, serve(t, func(p *peer) { p.startTLS(serverTLS); p.login() }))
	if _, err := open(t, u); err != nil {
		t.Fatal(err)
	}
	if made.Load() != 2 {
		t.Errorf("%d credentials", made.Load())
	}
}

func TestOpen_noCredential(t *testing.T) {
	trouble := errors.New("too many tickets")
	for name, tt := range map[string]struct {
		cred Credential
		err  error
	}{
		"error":          {Credential{}, trouble},
		"no secret":      {Credential{Mechanism: Plain}, nil},
		"NUL":            {Credential{Mechanism: Plain, Secret: "a\x00b"}, nil},
		"no certificate": {Credential{Mechanism: External}, nil},
		"unknown":        {Credential{Mechanism: "LOGIN", Secret: "x"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			u := start(t, func(c *Config) {
				c.Credentials = func(context.Context, string, string, string) (Credential, error) { return tt.cred, tt.err }
			}, serve(t, func(p *peer) { p.stream(offer); p.expect("<auth"); t.Error("a login") }),
				serve(t, func(p *peer) { t.Error("dialled for nothing") }))
			_, err := open(t, u)
			if !errors.Is(err, ErrCredentials) || tt.err != nil && !errors.Is(err, tt.err) {
				t.Error(err)
			}
			if s := u.Stats()[0]; !s.Up || s.Opening != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestOpen_allDown: then all are tried, and the error has all their names.
func TestOpen_allDown(t *testing.T) {
	a, b := nobody(t), nobody(t)
	u := start(t, nil, a, b)
	for range 3 {
		_, err := open(t, u)
		if !errors.Is(err, ErrDown) || !strings.Contains(err.Error(), a.Addr) || !strings.Contains(err.Error(), b.Addr) {
			t.Error(err)
		}
	}
	if s := u.Stats(); s[0].Dials != 3 || s[1].Dials != 3 || s[0].Faults != 3 {
		t.Errorf("%+v", s)
	}
}

// logs is a place for log lines.
type logs struct {
	mu  sync.Mutex // guards b
	buf bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// TestWatch_findsOutByItself: an address that is back is noticed without a login,
// and both changes are told once.
func TestWatch_findsOutByItself(t *testing.T) {
	addr := nobody(t)
	var log logs
	u := start(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) }, addr)
	for range 3 {
		if _, err := open(t, u); !errors.Is(err, ErrDown) {
			t.Fatal(err)
		}
	}
	ln, err := net.Listen("tcp", addr.Addr)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{}, 1)
	serveOn(t, ln, func(p *peer) {
		p.stream(offer)
		if got := p.expect("</"); got != streamEnd {
			t.Errorf("a probe sent %q", got)
		}
		ended <- struct{}{}
	})
	await(t, "the address is up", func() bool { return u.Stats()[0].Up })
	<-ended
	if s := log.String(); strings.Count(s, "upstream down") != 1 || strings.Count(s, "upstream up") != 1 {
		t.Errorf("log:\n%s", s)
	}
	if s := u.Stats()[0]; s.Dials != 3 || s.Faults != 3 || s.LastError == "" {
		t.Errorf("%+v", s)
	}
}

// TestClose_endsAProbe that hangs, and lets logins go on.
func TestClose_endsAProbe(t *testing.T) {
	var probed atomic.Bool
	var first atomic.Bool
	u := New(Config{Timeout: time.Minute, Credentials: plain, Addresses: []Address{serve(t, func(p *peer) {
		switch {
		case first.CompareAndSwap(false, true): // a login
			p.send("what?")
		case probed.CompareAndSwap(false, true):
			p.hang()
		default:
			p.login()
		}
	})}})
	if _, err := open(t, u); !errors.Is(err, ErrProtocol) {
		t.Fatal(err)
	}
	await(t, "a probe", probed.Load)
	u.Close()
	conn, err := open(t, u)
	if err != nil {
		t.Fatal(err)
	}
	echoes(t, conn)
	u.Close()
}

// TestOpen_many logs in from many goroutines while an address dies.
func TestOpen_many(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	serveOn(t, ln, func(p *peer) {
		if n.Add(1) > 20 {
			_ = ln.Close()
			return // before it has seen a credential
		}
		p.login()
	})
	u := start(t, nil, Address{"tcp", ln.Addr().String()}, serve(t, (*peer).login))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				conn, err := u.Open(t.Context(), "alice", "example.org", secret, nil, nil)
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.Close()
			}
		})
	}
	all.Wait()
	s := u.Stats()
	if s[0].Logins+s[1].Logins != 80 || s[0].Opening+s[1].Opening != 0 || s[0].Up {
		t.Errorf("%+v", s)
	}
}

func TestHealth_restsLonger(t *testing.T) {
	now := time.Unix(1000, 0)
	h := health{Stats: Stats{Up: true}}
	if !h.fault(now, now, ErrDown) || h.Up || h.until != now.Add(time.Second) {
		t.Fatalf("%+v", h)
	}
	// Others that fail meanwhile change nothing.
	if h.fault(now, now.Add(time.Second-1), ErrDown) || h.rest != time.Second {
		t.Fatalf("%+v", h)
	}
	for _, want := range []time.Duration{2, 4, 8, 16, 30, 30} {
		now = h.until
		if h.fault(now, now, ErrDown) || h.until.Sub(now) != want*time.Second {
			t.Fatalf("rests %v, want %ds", h.until.Sub(now), want)
		}
	}
	// A probe that succeeds is believed, but the next rest is a long one.
	now = h.until
	if !h.answered(now, false) || !h.Up {
		t.Fatalf("%+v", h)
	}
	if h.fault(now.Add(-1), now.Add(1), ErrDown) || !h.Up {
		t.Fatalf("old news: %+v", h)
	}
	if !h.fault(now.Add(1), now.Add(2), ErrDown) || h.rest != longRest {
		t.Fatalf("%+v", h)
	}
	if !h.answered(now, true) || h.rest != 0 {
		t.Fatalf("%+v", h)
	}
}

func TestUpstream_order(t *testing.T) {
	u := &Upstream{addresses: make([]health, 4)}
	for _, tt := range []struct {
		preferred int
		up        string
		want      string
	}{
		{0, "++++", "0123"},
		{2, "++++", "2013"},
		{2, "+-++", "2031"},
		{2, "++-+", "0132"},
		{3, "----", "0123"},
		{0, "-+-+", "1302"},
	} {
		u.preferred = tt.preferred
		for i := range u.addresses {
			u.addresses[i].Up = tt.up[i] == '+'
		}
		got := ""
		for _, i := range u.order(nil) {
			got += string(rune('0' + i))
		}
		if got != tt.want {
			t.Errorf("%d %s: %s, want %s", tt.preferred, tt.up, got, tt.want)
		}
	}
}

// TestLook sees what a server offers, and sends nothing secret.
func TestLook(t *testing.T) {
	_, serverTLS, clientTLS := certificates(t)
	a := serve(t, func(p *peer) {
		p.startTLS(serverTLS)
		p.stream(offer)
		if got := p.expect("</"); got != streamEnd {
			t.Errorf("sent %q", got)
		}
	})
	c := Config{Mode: DirectTLS, TLS: clientTLS, Timeout: 10 * time.Second}
	seen, err := Look(t.Context(), c, a, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(seen.Mechanisms, " "); got != "SCRAM-SHA-1 PLAIN X-TOKEN EXTERNAL" || seen.TLS == nil {
		t.Errorf("%q, %v", got, seen.TLS)
	}
	if seen, err := Look(t.Context(), c, nobody(t), "example.org"); !errors.Is(err, ErrDown) || seen.Mechanisms != nil {
		t.Errorf("%+v, %v", seen, err)
	}
}
