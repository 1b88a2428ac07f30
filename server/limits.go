package server

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/time/rate"

	"gatehouse.im/gatehouse/internal/admission"
	"gatehouse.im/gatehouse/internal/xmlstream"
)

// Rate is how fast a client may send. The zero value is no limit.
type Rate struct {
	Bytes int           // a second
	Burst time.Duration // for how long it may have saved up
}

// bucket is what one client may send at a moment; nil is any amount.
func (r Rate) bucket() *rate.Limiter {
	if r.Bytes <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(r.Bytes), max(1, int(float64(r.Bytes)*r.Burst.Seconds())))
}

// A paced reader reads no faster than a [Rate] allows, as Prosody's mod_limits has it: what has come is taken, and then
// the next read waits until the bucket would have held it. The client notices when its own buffers are full.
type paced struct {
	io.Reader
	conn   *conn
	bucket *rate.Limiter
	next   time.Time // when it may be read again
}

// Read implements io.Reader.
func (p *paced) Read(b []byte) (int, error) {
	if wait := time.Until(p.next); wait > 0 && !p.conn.sleep(wait, nil) {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := p.Reader.Read(b[:min(len(b), p.bucket.Burst())])
	now := time.Now()
	p.next = now.Add(p.bucket.ReserveN(now, n).DelayFrom(now))
	return n, err
}

// pace returns nc, read no faster than the config allows.
func (c *conn) pace(nc net.Conn) io.Reader {
	if c.bucket == nil {
		return nc
	}
	return &paced{Reader: nc, conn: c, bucket: c.bucket}
}

// unreadTime is how long a client in a relay may leave unread what it is sent.
// In this time it must take what one write has; Prosody's net_epoll is as patient
// (send_timeout). TCP keepalive does not notice such a client: its system answers.
const unreadTime = 3 * time.Minute

// A patient writer writes to the client of a relay, within unreadTime.
type patient struct {
	conn  *conn
	until time.Time
}

// Write implements io.Writer.
func (p *patient) Write(b []byte) (int, error) {
	if now := time.Now(); p.until.Sub(now) < unreadTime/2 {
		p.until = now.Add(unreadTime)
		p.conn.writeUntil(p.until)
	}
	return p.conn.rw.Write(b)
}

// writeUntil gives the client until t to read, unless it has less time already.
func (c *conn) writeUntil(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending == nil && !c.limited {
		_ = c.raw.SetWriteDeadline(t)
	}
}

// A Limit is something that a client was ended for.
type Limit string

// The limits. Those of package admission are told elsewhere.
const (
	LimitHandshake Limit = "tls_handshake" // time, bytes, turns
	LimitLogin     Limit = "login_time"
	LimitSize      Limit = "size"   // bytes, depth, elements, attributes
	LimitUnread    Limit = "unread" // the client does not read what it is sent
)

// hit tells the observer of a limit.
func (c *conn) hit(l Limit) {
	if o := c.config.Observer; o != nil {
		o.Limit(l)
	}
}

// hitBy tells the observer of the limit that an end is owed to, if it is.
func (c *conn) hitBy(err error) {
	var (
		xe *xmlstream.Error
		op *net.OpError
		he *handshakeError
	)
	switch timeout := errors.Is(err, os.ErrDeadlineExceeded); {
	case errors.As(err, &he):
		if errors.Is(he.cause, os.ErrDeadlineExceeded) || errors.Is(he.cause, admission.ErrHandshake) ||
			errors.Is(he.cause, admission.ErrTurn) {
			c.hit(LimitHandshake)
		}
	case errors.As(err, &xe) && xe.TooBig:
		c.hit(LimitSize)
	case timeout && errors.As(err, &op) && op.Op == "write":
		c.hit(LimitUnread)
	case timeout:
		c.hit(LimitLogin)
	}
}
