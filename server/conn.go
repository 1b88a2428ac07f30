package server

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"gatehouse.im/gatehouse/internal/admission"
	"gatehouse.im/gatehouse/internal/xmlstream"
	"gatehouse.im/gatehouse/saslmech"
)

// What a stranger may make us hold; together less than 64 KiB.
const (
	headerLimit  = 16 << 10 // clients exist that send long headers
	preLoginRead = 64 << 10 // bytes in all
)

// How long a client may take to read what is written to it.
const writeTimeout = 30 * time.Second

// How long it may take to read why its time is over.
const lastWords = 3 * time.Second

// longAgo as a deadline makes a blocked read return.
var longAgo = time.Unix(1, 0)

// A conn is one client connection. All of it belongs to the goroutine in run,
// but for what mu guards.
type conn struct {
	server *Server
	config *Config // as it was when the client last sent something
	state  State
	raw    net.Conn // the TCP connection
	rw     net.Conn // raw, or TLS on top of it
	wire   *wire    // below TLS
	up     net.Conn // the leg to the server behind, once the user is let in; set under mu
	direct bool     // TLS begins with the first byte
	framed bool     // the stream is in messages
	in     *xmlstream.Reader
	place  *admission.Place // nil if nobody counts it
	bucket *rate.Limiter    // of what it may send; nil without a limit

	encrypted  bool
	tlsVersion string // for the log

	deadline time.Time // for the login
	host     *Host     // known from the first stream header on; part of config
	unknown  string    // the host that was asked for and is not ours
	opened   bool      // our header of the current stream is written
	failures int       // failed attempts to log in
	guarded  int       // of these, those that the guard has turned away
	asked    time.Time // when the judge was asked last

	// mu guards what is below, and the read deadline and those of up.
	mu      sync.Mutex
	ending  *streamError
	wake    chan struct{} // closed when ending is set, if the goroutine waits in sleep
	name    string        // of the host, for SetConfig
	limited bool          // limit has set the deadlines
}

func newConn(s *Server, config *Config, nc net.Conn, direct bool) *conn {
	c := &conn{
		server:     s,
		config:     config,
		raw:        nc,
		rw:         nc,
		direct:     direct,
		bucket:     config.Rate.bucket(),
		tlsVersion: "none",
		deadline:   time.Now().Add(config.LoginTimeout),
		state:      StateLogin,
	}
	c.in = xmlstream.NewReader(c.pace(nc), xmlstream.Limits{
		Header:     headerLimit,
		Stanza:     config.UnauthedStanzaLimit,
		Total:      preLoginRead,
		Depth:      32,
		Elements:   100,
		Attributes: 32,
	})
	return c
}

func (c *conn) remote() string { return c.raw.RemoteAddr().String() }

// run is the life of a connection.
func (c *conn) run(ctx context.Context) {
	defer c.raw.Close()
	c.server.counts[c.state].Add(1)
	defer func() { c.server.counts[c.state].Add(-1) }()
	c.readUntil(c.deadline)
	_ = c.raw.SetWriteDeadline(c.deadline.Add(lastWords))
	if !c.place.From(c.raw.RemoteAddr()) {
		return
	}
	user, err := c.login(ctx)
	if err == nil {
		c.loggedIn()
	}
	if c.up != nil {
		defer c.up.Close()
	}
	switch {
	case err != nil:
	case c.up != nil:
		err = c.relay()
	default:
		err = c.session(user)
	}
	c.in.Close()
	c.close(err)
}

// login leads a stranger from the first byte to a user name, or to an error
// that ends the connection.
func (c *conn) login(ctx context.Context) (user string, err error) {
	if c.direct {
		if err := c.handshake(c.config.DirectTLS); err != nil {
			return "", err
		}
	}
	for {
		if err := c.openStream(c.loginFeatures); err != nil {
			return "", err
		}
		restart := false
		for !restart {
			e, err := c.in.Next()
			if err == nil {
				err = c.refresh()
			}
			if err != nil {
				return "", err
			}
			switch e.Name.Space {
			case nsTLS:
				restart, err = c.startTLS(e)
			case nsSASL:
				user, err = c.sasl(ctx, e)
				if user != "" && err == nil {
					return user, nil
				}
			default:
				err = c.stranger(ctx, e)
			}
			if err != nil {
				return "", err
			}
		}
	}
}

// loggedIn says that the client is no stranger any more.
func (c *conn) loggedIn() {
	if f, ok := c.raw.(*framed); ok {
		f.LoggedIn()
	}
	if c.wire != nil {
		c.wire.records = nil
	}
	c.place.LoggedIn()
}

// refresh takes over a configuration that is newer than what the connection
// goes by: what a reload changed holds for everything that the client sends
// from then on. The error is hostGone.
func (c *conn) refresh() error {
	c.config = c.server.config.Load()
	if c.host == nil {
		return nil
	}
	host := c.config.Hosts[c.host.Name]
	if host == nil {
		return hostGone
	}
	c.host = host
	return nil
}

// hostName returns the name of the host that the client asked for, or nothing.
// Any goroutine may call it.
func (c *conn) hostName() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name
}

// end makes the connection end with e as soon as its goroutine reads the next
// time. Any goroutine may call it; the first call counts.
func (c *conn) end(e *streamError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending == nil {
		c.ending = e
		if c.wake != nil {
			close(c.wake)
		}
	}
	_ = c.raw.SetReadDeadline(longAgo)
	if c.up != nil {
		_ = c.up.SetDeadline(longAgo) // it may be what the goroutine waits for
	}
}

// sleep waits for d. It says false, at once, when the connection is to end or
// done is closed.
func (c *conn) sleep(d time.Duration, done <-chan struct{}) bool {
	wake := make(chan struct{})
	c.mu.Lock()
	ending := c.ending != nil
	c.wake = wake
	c.mu.Unlock()
	if ending {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-wake:
	case <-done:
	}
	return false
}

// endingWith returns what end was called with, or nil.
func (c *conn) endingWith() *streamError {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending
}

// readUntil lets the client be silent until t, or for ever if t is zero, unless
// it is to end.
func (c *conn) readUntil(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending == nil {
		_ = c.raw.SetReadDeadline(t)
	}
}

// write sends b in one piece: a second write would wait for the
// acknowledgement of the first where the kernel delays small packets.
func (c *conn) write(b []byte) error {
	_, err := c.rw.Write(b)
	return err
}

// close tells the client why its stream ends, if it can still hear it, and
// closes the connection.
func (c *conn) close(err error) {
	_ = c.rw.SetDeadline(time.Now().Add(lastWords))
	if errors.Is(err, io.EOF) {
		if c.state == StateRelay {
			linger(c.rw, c.raw) // the client may have sent more, and not read all
			return
		}
		if c.opened {
			_ = c.write([]byte("</stream:stream>"))
		}
		_ = c.rw.Close()
		return
	}
	// In the middle of a handshake nobody would understand a stream error.
	var he *handshakeError
	mute := errors.As(err, &he)
	if e := c.endingWith(); e != nil {
		err = e
	}
	c.logEnd(err)
	c.hitBy(err)
	if mute {
		return
	}
	e := asStreamError(err)
	if e == nil {
		return
	}
	var b []byte
	if !c.opened {
		from := c.unknown
		if c.host != nil {
			from = c.host.Name
		}
		b = appendHeader(b, from, "")
	}
	b = appendStreamError(b, e)
	if c.write(append(b, "</stream:stream>"...)) == nil {
		linger(c.rw, c.raw)
	}
}

// mechanisms returns what the client may use as things are now.
func (c *conn) mechanisms() []string {
	if !c.encrypted && c.host.RequireEncryption {
		return nil
	}
	password := c.host.Password != nil && (c.encrypted || c.host.AllowUnencryptedPlain)
	return saslmech.Offered(password, c.host.Token != nil)
}
