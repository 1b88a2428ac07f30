package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestOpen_faults: whatever an upstream does wrong ends the login with an error
// of the right kind, and nothing of the secret goes where it must not.
func TestOpen_faults(t *testing.T) {
	_, serverTLS, clientTLS := certificates(t)
	otherCA, _, _ := certificates(t)
	huge := strings.Repeat("<feature xmlns='urn:x'/>", 4000)
	const streamError = "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
	tests := []struct {
		name   string
		mode   Mode
		want   error
		says   string // in the error
		script func(*peer)
	}{
		{"closes at once", None, ErrDown, "closed the connection", func(p *peer) {}},
		{"says nothing", None, ErrSlow, "stream header", (*peer).hang},
		{"half a header", None, ErrSlow, "stream header", func(p *peer) { p.send(header[:40]); p.hang() }},
		{"garbage", None, ErrProtocol, "not-well-formed", func(p *peer) { p.send("220 mail.example.org ESMTP\r\n"); p.hang() }},
		{"another protocol's namespace", None, ErrProtocol, "no stream header", func(p *peer) {
			p.send("<stream:stream xmlns='jabber:client' xmlns:stream='urn:x' version='1.0'>")
			p.hang()
		}},
		{"a server's stream", None, ErrProtocol, "not a client's", func(p *peer) {
			p.send(strings.Replace(header, "jabber:client", "jabber:server", 1) + offer)
			p.hang()
		}},
		{"before XMPP 1.0", None, ErrProtocol, "version", func(p *peer) {
			p.send(strings.Replace(header, "version='1.0' xml:lang", "xml:lang", 1) + offer)
			p.hang()
		}},
		{"another host", None, ErrProtocol, "another host", func(p *peer) {
			p.send(strings.Replace(header, "from='example.org'", "from='example.com'", 1) + offer)
			p.hang()
		}},
		{"no features", None, ErrSlow, "features", func(p *peer) { p.send(header); p.hang() }},
		{"hangs in the features", None, ErrSlow, "features", func(p *peer) { p.send(header + offer[:50]); p.hang() }},
		{"closes in the features", None, ErrDown, "features", func(p *peer) { p.expect("'>"); p.send(header + offer[:50]) }},
		{"huge features", None, ErrProtocol, "policy-violation", func(p *peer) {
			p.send(header + "<stream:features>" + huge + "</stream:features>")
			p.hang()
		}},
		{"features of another namespace", None, ErrProtocol, "features", func(p *peer) {
			p.send(header + "<features xmlns='urn:x'>" + mechanismList + "</features>")
			p.hang()
		}},
		{"host unknown", None, ErrDown, "host-unknown", func(p *peer) {
			p.send(header + strings.Replace(streamError, "system-shutdown", "host-unknown", 1))
			p.hang()
		}},
		{"stream error of its own", None, ErrDown, "no known condition", func(p *peer) {
			p.send(header + strings.Replace(streamError, "system-shutdown", "i-made-this-up", 1))
			p.hang()
		}},
		{"ends the stream", None, ErrDown, "ended the stream", func(p *peer) { p.send(header + "</stream:stream>"); p.hang() }},
		{"no mechanisms", None, ErrProtocol, "does not offer PLAIN", func(p *peer) { p.stream("<stream:features/>"); p.hang() }},
		{"wants STARTTLS", None, ErrProtocol, "but STARTTLS", func(p *peer) { p.stream(offerTLS); p.hang() }},
		{"mechanisms of another namespace", None, ErrProtocol, "does not offer PLAIN", func(p *peer) {
			p.stream(strings.Replace(offer, "xmpp-sasl", "xmpp-sasl2", 1))
			p.hang()
		}},

		{"says nothing to the login", None, ErrSlow, "login", func(p *peer) { p.stream(offer); p.message(Plain); p.hang() }},
		{"closes at the login", None, ErrDown, "login", func(p *peer) { p.stream(offer); p.message(Plain) }},
		{"refuses", None, ErrRefused, "not-authorized", func(p *peer) { p.stream(offer); p.message(Plain); p.send(refusal); p.hang() }},
		{"refuses early", None, ErrRefused, "not-authorized", func(p *peer) { p.stream(offer + refusal); p.hang() }},
		{"refuses without a reason", None, ErrRefused, "no known condition", func(p *peer) {
			p.stream(offer)
			p.message(Plain)
			p.send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
			p.hang()
		}},
		{"challenge", None, ErrProtocol, "neither", func(p *peer) {
			p.stream(offer)
			p.message(Plain)
			p.send("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
			p.hang()
		}},
		{"success of another namespace", None, ErrProtocol, "neither", func(p *peer) {
			p.stream(offer)
			p.message(Plain)
			p.send("<success xmlns='urn:xmpp:sasl:2'/>")
			p.hang()
		}},
		{"half a success", None, ErrSlow, "login", func(p *peer) { p.stream(offer); p.message(Plain); p.send(success[:20]); p.hang() }},
		{"bytes behind success", None, ErrProtocol, "behind <success/>", func(p *peer) {
			p.stream(offer)
			p.message(Plain)
			p.send(success + header)
			p.hang()
		}},
		{"stream error at the login", None, ErrDown, "system-shutdown", func(p *peer) {
			p.stream(offer)
			p.message(Plain)
			p.send(streamError)
			p.hang()
		}},

		{"no STARTTLS", StartTLS, ErrInsecure, "no STARTTLS", func(p *peer) { p.stream(offer); p.hang() }},
		{"STARTTLS refused", StartTLS, ErrProtocol, "no <proceed/>", func(p *peer) {
			p.stream(offerTLS)
			p.expect("<starttls")
			p.send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>")
			p.hang()
		}},
		{"STARTTLS hangs", StartTLS, ErrSlow, "STARTTLS", func(p *peer) { p.stream(offerTLS); p.hang() }},
		{"STARTTLS injection", StartTLS, ErrProtocol, "behind <proceed/>", func(p *peer) {
			p.stream(offerTLS)
			p.expect("<starttls")
			p.send(proceed + header + offer)
			p.hang()
		}},
		{"success instead of TLS", StartTLS, ErrProtocol, "no <proceed/>", func(p *peer) { p.stream(offerTLS + success); p.hang() }},
		{"no TLS behind proceed", StartTLS, ErrInsecure, "TLS handshake", func(p *peer) {
			p.stream(offerTLS)
			p.expect("<starttls")
			p.send(proceed)
			p.expect("\x16") // ClientHello
			p.send(header + offer)
			p.hang()
		}},
		{"TLS hangs", StartTLS, ErrSlow, "TLS handshake", func(p *peer) {
			p.stream(offerTLS)
			p.expect("<starttls")
			p.send(proceed)
			p.hang()
		}},
		{"TLS closes", DirectTLS, ErrDown, "TLS handshake", func(p *peer) { p.expect("\x16") }},
		{"no mechanisms in TLS", DirectTLS, ErrProtocol, "does not offer PLAIN", func(p *peer) {
			p.startTLS(serverTLS)
			p.stream("<stream:features/>")
			p.hang()
		}},
		{"hangs in TLS", DirectTLS, ErrSlow, "stream header", func(p *peer) { p.startTLS(serverTLS); p.hang() }},
		{"plain text where TLS belongs", DirectTLS, ErrInsecure, "TLS handshake", func(p *peer) { p.send(header + offer); p.hang() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := start(t, func(c *Config) {
				c.Mode, c.TLS = tt.mode, clientTLS
				if tt.want == ErrSlow {
					c.Timeout = 500 * time.Millisecond
				}
			}, serve(t, tt.script))
			_, err := open(t, u)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %v with %q", err, tt.want, tt.says)
			}
			for _, other := range []error{ErrDown, ErrSlow, ErrRefused, ErrProtocol, ErrInsecure} {
				if other != tt.want && errors.Is(err, other) {
					t.Errorf("%v is also %v", err, other)
				}
			}
			if s := u.Stats()[0]; s.Up != (tt.want == ErrRefused) || s.Opening != 0 || s.Logins != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
	t.Run("our certificate is missing", func(t *testing.T) {
		demanding := serverTLS.Clone()
		demanding.ClientAuth = tls.RequireAnyClientCert
		u := start(t, func(c *Config) { c.Mode, c.TLS = DirectTLS, clientTLS }, serve(t, func(p *peer) {
			if err := tls.Server(p.Conn, demanding).Handshake(); err == nil {
				t.Error("a handshake without a certificate")
			}
			p.hang()
		}))
		if _, err := open(t, u); !errors.Is(err, ErrInsecure) || !strings.Contains(err.Error(), "certificate") {
			t.Error(err)
		}
	})
	t.Run("certificate of a stranger", func(t *testing.T) {
		u := start(t, func(c *Config) {
			c.Mode, c.TLS = DirectTLS, &tls.Config{RootCAs: otherCA.Pool(), ServerName: "example.org"}
		}, serve(t, func(p *peer) { p.startTLS(serverTLS); t.Error("went on") }))
		if _, err := open(t, u); !errors.Is(err, ErrInsecure) {
			t.Error(err)
		}
	})
	t.Run("certificate of another name", func(t *testing.T) {
		other := clientTLS.Clone()
		other.ServerName = "example.com"
		u := start(t, func(c *Config) { c.Mode, c.TLS = DirectTLS, other },
			serve(t, func(p *peer) { p.startTLS(serverTLS); t.Error("went on") }))
		if _, err := open(t, u); !errors.Is(err, ErrInsecure) {
			t.Error(err)
		}
	})
}

func TestOpen_modes(t *testing.T) {
	_, serverTLS, clientTLS := certificates(t)
	for mode, script := range map[Mode]func(*peer){
		Auto: (*peer).login, // on this machine
		None: (*peer).login,
		StartTLS: func(p *peer) {
			p.stream(offerTLS)
			p.expect("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
			p.send(proceed)
			p.startTLS(serverTLS)
			p.login()
		},
		DirectTLS: func(p *peer) { p.startTLS(serverTLS); p.login() },
	} {
		t.Run("mode "+string(mode), func(t *testing.T) {
			u := start(t, func(c *Config) { c.Mode, c.TLS = mode, clientTLS }, serve(t, script))
			for range 2 {
				conn, err := open(t, u)
				if err != nil {
					t.Fatal(err)
				}
				switch conn.(type) {
				case *net.TCPConn, *tls.Conn:
				default:
					t.Errorf("connection is a %T", conn)
				}
				if _, encrypted := conn.(*tls.Conn); encrypted != (mode == StartTLS || mode == DirectTLS) {
					t.Errorf("connection is a %T", conn)
				}
				echoes(t, conn)
			}
			if s := u.Stats()[0]; !s.Up || s.Dials != 2 || s.Logins != 2 || s.Latency <= 0 || s.Opening != 0 || s.LastError != "" {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestOpen_unixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c2s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, ln, (*peer).login)
	u := start(t, nil, Address{"unix", path})
	conn, err := open(t, u)
	if err != nil {
		t.Fatal(err)
	}
	echoes(t, conn)
}

// TestOpen_deadlineCleared: the connection outlives the time for its login.
func TestOpen_deadlineCleared(t *testing.T) {
	u := start(t, func(c *Config) { c.Timeout = time.Second }, serve(t, (*peer).login))
	conn, err := open(t, u)
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(1100 * time.Millisecond)
	echoes(t, conn)
}

func TestOpen_token(t *testing.T) {
	u := start(t, func(c *Config) {
		c.Credentials = func(_ context.Context, user, host, password string) (Credential, error) {
			return Credential{Mechanism: XToken, Secret: user + "/" + host + "/" + password}, nil
		}
	}, serve(t, func(p *peer) {
		p.stream(offer)
		if m := p.message(XToken); m != "\x00alice\x00alice/example.org/"+secret {
			t.Errorf("message %q", m)
		}
		p.send(success)
		p.hang()
	}))
	if _, err := open(t, u); err != nil {
		t.Error(err)
	}
}

// TestOpen_external: each user shows their own certificate. Go resumes a session
// without a certificate, so with one there must be none: the server would take
// bob for alice.
func TestOpen_external(t *testing.T) {
	_, serverTLS, clientTLS := certificates(t)
	serverTLS.ClientAuth = tls.RequestClientCert
	_, alice, _ := certificates(t)
	_, bob, _ := certificates(t)
	theirs := map[string]*tls.Certificate{"alice": &alice.Certificates[0], "bob": &bob.Certificates[0]}
	u := start(t, func(c *Config) {
		c.Mode, c.TLS = DirectTLS, clientTLS
		c.Credentials = func(_ context.Context, user, _, _ string) (Credential, error) {
			return Credential{Mechanism: External, Certificate: theirs[user]}, nil
		}
	}, serve(t, func(p *peer) {
		p.startTLS(serverTLS)
		p.stream(offer)
		user, _ := strings.CutSuffix(p.message(External), "@example.org")
		state := p.Conn.(*tls.Conn).ConnectionState()
		if len(state.PeerCertificates) == 0 || state.DidResume ||
			string(state.PeerCertificates[0].Raw) != string(theirs[user].Certificate[0]) {
			t.Errorf("%s with %d certificates, resumed: %t", user, len(state.PeerCertificates), state.DidResume)
		}
		p.send(success)
		_, _ = io.Copy(p.Conn, p.Conn)
	}))
	for _, user := range []string{"alice", "bob", "alice"} {
		conn, err := u.Open(t.Context(), user, "example.org", "", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		echoes(t, conn)
		_ = conn.Close()
	}
}

// TestOpen_resumesTLS: without certificates of users a session is taken up again,
// which saves the server a signature for each login.
func TestOpen_resumesTLS(t *testing.T) {
	_, serverTLS, clientTLS := certificates(t)
	resumed := make(chan bool, 2)
	u := start(t, func(c *Config) { c.Mode, c.TLS = DirectTLS, clientTLS }, serve(t, func(p *peer) {
		p.startTLS(serverTLS)
		resumed <- p.Conn.(*tls.Conn).ConnectionState().DidResume
		p.login()
	}))
	for _, want := range []bool{false, true} {
		conn, err := open(t, u)
		if err != nil {
			t.Fatal(err)
		}
		echoes(t, conn)
		if got := <-resumed; got != want {
			t.Errorf("resumed: %t, want %t", got, want)
		}
	}
}

func TestOpen_externalNeedsTLS(t *testing.T) {
	u := start(t, func(c *Config) {
		c.Credentials = func(context.Context, string, string, string) (Credential, error) {
			return Credential{Mechanism: External, Certificate: new(tls.Certificate)}, nil
		}
	}, serve(t, func(p *peer) { p.stream(offer); p.expect("<auth"); t.Error("EXTERNAL without TLS") }))
	if _, err := open(t, u); !errors.Is(err, ErrInsecure) {
		t.Error(err)
	}
}

// TestOpen_context: a client that goes away ends the try at once, and the
// address is not blamed for it.
func TestOpen_context(t *testing.T) {
	there := make(chan struct{})
	u := start(t, nil, serve(t, func(p *peer) { p.stream(offer); p.message(Plain); close(there); p.hang() }))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-there; cancel() }()
	_, err := u.Open(ctx, "alice", "example.org", secret, nil, nil)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if s := u.Stats()[0]; !s.Up || s.Faults != 0 || s.Opening != 0 {
		t.Errorf("%+v", s)
	}
}

func TestOpen_contextDeadline(t *testing.T) {
	u := start(t, nil, serve(t, (*peer).hang))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := u.Open(ctx, "alice", "example.org", secret, nil, nil)
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrSlow) {
		t.Error(err)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
	if s := u.Stats()[0]; !s.Up {
		t.Errorf("blamed for our hurry: %+v", s)
	}
}

// TestOpen_leavesNothing: no goroutine outlives a leg, whether it works or not.
func TestOpen_leavesNothing(t *testing.T) {
	_, serverTLS, clientTLS := certificates(t)
	good := serve(t, func(p *peer) { p.startTLS(serverTLS); p.login() })
	bad := serve(t, func(p *peer) { p.startTLS(serverTLS); p.stream(offer) })
	u := start(t, func(c *Config) { c.Mode, c.TLS = DirectTLS, clientTLS }, good)
	v := start(t, func(c *Config) { c.Mode, c.TLS = DirectTLS, clientTLS }, bad)
	before := runtime.NumGoroutine()
	for range 20 {
		conn, err := open(t, u)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if _, err := open(t, v); err == nil {
			t.Fatal("a login")
		}
	}
	await(t, "all goroutines ended", func() bool { return runtime.NumGoroutine() <= before+1 })
}
