package webserver

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"gatehouse.im/gatehouse/internal/admission"
)

// A Code says in a closing frame why a WebSocket ends (RFC 6455 §7.4).
type Code = websocket.StatusCode

// Those that XMPP has a use for.
const (
	NormalClosure   Code = websocket.StatusNormalClosure
	GoingAway       Code = websocket.StatusGoingAway
	PolicyViolation Code = websocket.StatusPolicyViolation
	TooBig          Code = websocket.StatusMessageTooBig
	InternalError   Code = websocket.StatusInternalError
)

// ErrProtocol is wrapped by errors of [Conn.NextReader] and its readers that say what a client has done against RFC 6455 or
// RFC 7395. Nothing more can be read; [Conn.Close] tells the client the code that fits, whatever it is called with.
var ErrProtocol = errors.New("WebSocket protocol violation")

// ErrSilent is the error of reads when the client has not answered a ping in time. The connection is closed by then.
var ErrSilent = errors.New("the client does not answer pings")

// closeLimit bounds a closing handshake, from [Conn.Close] to the end of the connection.
const closeLimit = 3 * time.Second

// lingerLimit is how much of that is for a client whose goodbye we would not understand. It is read on for that long, since
// a close with bytes unread can take away from the client what was written to it last.
const lingerLimit = time.Second

// Conn is one WebSocket. One goroutine may read messages and another one write them; all else may be called by any, at any
// time.
type Conn struct {
	Remote net.Addr             // the client's, also behind trusted proxies; then with port 0 if they do not tell it
	Local  net.Addr             // of the listener
	TLS    *tls.ConnectionState // of the connection to us; nil if that is not encrypted
	Secure bool                 // encrypted all the way, by TLS here or by the word of those who may say so
	Host   string               // of the request, as the client wrote it: perhaps with a port, perhaps nonsense

	ws     *websocket.Conn
	sock   *socket
	place  *admission.Place
	reader messageReader
	writer messageWriter
	pings  *time.Timer

	// mu guards what is below, and setting deadlines.
	mu      sync.Mutex
	closeBy time.Time // not zero once Close was called
	code    Code      // what Close has to say instead, if not 0
	reason  string
	silent  bool // given up for that
}

// Place is that of the connection, which gives it back when it is closed.
func (c *Conn) Place() *admission.Place { return c.place }

// LoggedIn says that the client is no stranger any more (package admission).
func (c *Conn) LoggedIn() {
	c.sock.left.Store(-1)
	if f, ok := c.sock.Conn.(*front); ok {
		f.below.records.Store(nil)
	}
	c.place.LoggedIn()
}

// SetReadDeadline sets the deadline for reads, under way or to come, as net.Conn does; zero is none. A deadline that has
// passed makes reads fail with os.ErrDeadlineExceeded. Between two frames they can be tried again after the next call; a
// frame of which a part was read when the deadline passed makes that error last. Writing and closing are not affected.
// After Close a deadline can only come nearer.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sock.SetReadDeadline(c.limited(t))
}

// SetWriteDeadline does the same for writes. After one has failed, nothing can be written any more.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sock.SetWriteDeadline(c.limited(t))
}

// limited is t, or the end of closing. c.mu must be held.
func (c *Conn) limited(t time.Time) time.Time {
	if !c.closeBy.IsZero() && (t.IsZero() || t.After(c.closeBy)) {
		return c.closeBy
	}
	return t
}

// Close ends the WebSocket by the closing handshake (RFC 6455 §7.1): it sends code and reason, reads on until the client has
// said the same, throwing away what else it says, and closes the connection. It takes at most a few seconds, sets both
// deadlines anew for that, and wakes whoever reads or writes. A reason is cut after 123 bytes. The second call does nothing.
func (c *Conn) Close(code Code, reason string) error {
	c.mu.Lock()
	if !c.closeBy.IsZero() {
		c.mu.Unlock()
		return nil
	}
	c.closeBy = time.Now().Add(closeLimit)
	_ = c.sock.SetDeadline(c.closeBy)
	if _, lost := c.sock.fault(); lost {
		_ = c.sock.SetReadDeadline(time.Now().Add(lingerLimit))
	}
	if c.code != 0 {
		code, reason = c.code, c.reason
	}
	if c.pings != nil {
		c.pings.Stop()
	}
	c.mu.Unlock()

	const most = 123
	if len(reason) > most {
		cut := most
		for !utf8.RuneStart(reason[cut]) {
			cut--
		}
		reason = reason[:cut]
	}
	if err := c.ws.Close(code, reason); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil // the client was first
}

// CloseNow closes the connection at once and without a word; whoever reads or writes is woken. [Conn.Close] is still needed.
func (c *Conn) CloseNow() { c.sock.abort() }

// fail notes what the client is to be told by Close. The first call counts.
func (c *Conn) fail(code Code, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == 0 {
		c.code, c.reason = code, reason
	}
}

// closed is the error of reads if it was we who closed, or nil.
func (c *Conn) closed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.silent:
		return ErrSilent
	case !c.closeBy.IsZero():
		return net.ErrClosed
	}
	return nil
}

// startPings begins to look after a client that is silent. wait may be 0.
func (c *Conn) startPings(every, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pings = time.AfterFunc(every, func() { c.lookAfter(every, wait) })
}

// lookAfter runs in a goroutine of its own when the client may have been silent for as long as every. Silence only counts
// while somebody listens: where nobody reads, a pong would not be heard either.
func (c *Conn) lookAfter(every, wait time.Duration) {
	silent := c.silence()
	switch {
	case silent >= every+wait:
		c.mu.Lock()
		c.silent = true
		c.mu.Unlock()
		c.sock.abort()
		return
	case silent >= every && c.sock.writing.Load() == 0: // else the write is as good as a ping
		ctx, cancel := context.WithTimeout(context.Background(), every+wait-silent)
		_ = c.ws.Ping(ctx) // that something came is what counts
		cancel()
		silent = c.silence()
	}
	again := every - silent
	if again <= 0 {
		again = every + wait - silent
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closeBy.IsZero() {
		c.pings.Reset(max(again, time.Millisecond))
	}
}

// silence is for how long somebody has been waiting for the client to say something.
func (c *Conn) silence() time.Duration {
	since := c.sock.waiting.Load()
	if since == 0 {
		return 0
	}
	return time.Duration(clock() - since)
}
