package state

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"
)

// maxReply bounds what a reply may make the library hold, in bytes, roughly. The largest that is asked for are lists of
// commands and of a Cluster's nodes.
const maxReply = 1 << 20

var errReply = errors.New("too large a reply")

// boundedConn is a connection to a Redis whose replies are bounded: the library makes room for what a reply announces before
// it has come, and whatever answers at the address of the Redis must not be able to end us by a few bytes.
//
// It looks at the first bytes of lines for the lengths of RESP, also inside of strings: those that we get have no line like it.
type boundedConn struct {
	net.Conn
	left   int  // of maxReply, since the last write
	inLine bool // something of the line is known
	sized  bool // the line begins with the mark of a length
	length int  // as far as it is known
}

// dial connects as go-redis does, with deadlines of ours.
func dial(config *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	d := &net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if config != nil {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			conn, err := (&tls.Dialer{NetDialer: d, Config: config}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &boundedConn{Conn: conn, left: maxReply}, nil
		}
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		b := &boundedConn{Conn: conn, left: maxReply}
		if raw, ok := conn.(syscall.Conn); ok {
			return plainConn{b, raw}, nil
		}
		return b, nil
	}
}

// plainConn lets the library see, before it asks, that the Redis has closed a connection that was idle for long.
type plainConn struct {
	*boundedConn
	syscall.Conn
}

func (c *boundedConn) Write(p []byte) (int, error) {
	c.left = maxReply
	return c.Conn.Write(p)
}

func (c *boundedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for _, b := range p[:n] {
		c.see(b)
	}
	if c.left < 0 {
		return 0, errReply
	}
	return n, err
}

// slot is what an element of a list takes.
const slot = 16

func (c *boundedConn) see(b byte) {
	c.left--
	switch {
	case b == '\n':
		c.left -= c.length * slot
		c.inLine, c.sized, c.length = false, false, 0
	case !c.inLine:
		c.inLine = true
		switch b {
		case '*', '$', '%', '~', '>', '=', '!', '|', '(':
			c.sized = true
		}
	case c.sized && '0' <= b && b <= '9':
		c.length = min(c.length*10+int(b-'0'), maxReply)
	}
}
