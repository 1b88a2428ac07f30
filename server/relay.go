package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"gatehouse.im/gatehouse/internal/xmlstream"
	"gatehouse.im/gatehouse/saslmech"
)

// Upstream opens the way to the server behind, for a user who is let in.
type Upstream interface {
	// Open returns a connection on which the user is logged in, and the next
	// thing is the header of the client's new stream; the caller closes it. It
	// blocks until ctx ends at the latest. An error that wraps [ErrRefused] is a
	// no to the user; any other means that the client should try again later.
	Open(ctx context.Context, l UpstreamLogin) (net.Conn, error)
}

// UpstreamLogin says who has logged in.
type UpstreamLogin struct {
	User, Host string // prepared
	// Password is what the client has shown, if the mechanism was PLAIN. It must
	// not be kept.
	Password      string
	Client, Local net.Addr // of the client's connection
}

// openUpstream opens the leg behind before the client is told of its success: a
// server that is down is then a failure that can pass, and no broken session.
func (c *conn) openUpstream(ctx context.Context, cred saslmech.Credentials) *saslmech.Failure {
	ctx, cancel := context.WithDeadline(ctx, c.deadline)
	defer cancel()
	l := UpstreamLogin{User: cred.Username, Host: c.host.Name, Client: c.raw.RemoteAddr(), Local: c.raw.LocalAddr()}
	if cred.Mechanism == saslmech.Plain.Name {
		l.Password = string(cred.Secret.Bytes())
	}
	up, err := c.host.Upstream.Open(ctx, l)
	switch {
	case errors.Is(err, ErrRefused):
		return &saslmech.Failure{Condition: saslmech.NotAuthorized, Cause: err, Text: textNotAuthorized}
	case err != nil:
		return &saslmech.Failure{Condition: saslmech.TemporaryAuthFailure, Cause: err, Text: textTemporary}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = up
	if c.ending != nil {
		_ = up.SetDeadline(longAgo)
	}
	return nil
}

// halfClosed is for how long the client may go on once the server behind has
// ended.
func (c *conn) halfClosed() time.Duration {
	if c.framed {
		return lastWords // to say <close/> as well: there is no half of a WebSocket
	}
	return halfClosed
}

// How long one side may go on once the other has said that it ends.
const halfClosed = time.Minute

// remoteFailed is what a client is told whose server behind breaks off.
var remoteFailed = &streamError{condition: "remote-connection-failed", text: "The server behind is gone"}

// relay copies bytes between the client and the server behind until both sides
// have ended. Nothing is parsed. io.EOF says that there is nothing to tell the
// client.
func (c *conn) relay() error {
	up := c.up
	c.enter(StateRelay)
	_ = c.raw.SetWriteDeadline(time.Time{})
	c.readUntil(time.Time{})
	forth := fromHeader{w: up}
	// What the client sent before it was told of its success.
	if rest := c.in.Rest(); len(rest) > 0 {
		if _, err := forth.Write(rest); err != nil {
			return remoteFailed
		}
	}
	back := tail{w: &patient{conn: c}}
	var lost error // of the server behind
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var failed error
		lost, failed = pump(&back, newSource(up, nil))
		switch {
		case lost != nil:
			c.limit(longAgo) // what the client sends gets nowhere
		case failed != nil:
			if errors.Is(failed, os.ErrDeadlineExceeded) && !c.isLimited() {
				c.hit(LimitUnread)
			}
			c.limit(time.Now().Add(lastWords)) // it may have sent something all the same
		default:
			if back.between() {
				_, _ = io.WriteString(&back, streamEndTag)
			}
			closeWrite(c.rw, c.raw)
			c.limit(time.Now().Add(c.halfClosed()))
		}
	}()
	gone, failed := pump(&forth, newSource(c.rw, c.wire))
	if gone == nil && failed == nil {
		c.limit(time.Now().Add(halfClosed))
	} else {
		c.limit(time.Now().Add(lastWords))
	}
	var violation *xmlstream.Error // of the framing
	if errors.As(gone, &violation) {
		_ = up.SetReadDeadline(longAgo) // the stream ends here, and not by what the server answers to its end
	}
	if failed == nil && !errors.Is(gone, os.ErrDeadlineExceeded) {
		// ejabberd takes no notice of TLS's close_notify alone.
		raw := up
		if t, ok := up.(*tls.Conn); ok {
			raw = t.NetConn()
		}
		closeWrite(up, raw)
	}
	<-ended
	// To close with bytes unread would be a reset, and what the client sent last
	// might be lost with it.
	_, _ = io.Copy(io.Discard, up)
	switch {
	case !back.between():
		// In the middle of an element, or behind the last, nothing can be said.
		return io.EOF
	case c.endingWith() != nil:
		return c.endingWith()
	case errors.As(gone, &violation):
		return gone
	case failed != nil, lost != nil && !errors.Is(lost, os.ErrDeadlineExceeded):
		return remoteFailed
	}
	return io.EOF
}

// limit gives both sides until t for what they are at, if nobody wants the
// connection to end sooner.
func (c *conn) limit(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending != nil {
		_ = c.raw.SetWriteDeadline(time.Now().Add(lastWords))
		return
	}
	c.limited = true
	_ = c.raw.SetDeadline(t)
	_ = c.up.SetDeadline(t)
}

// isLimited says whether the end of the relay has begun.
func (c *conn) isLimited() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limited || c.ending != nil
}

// A source is read without a buffer being held while there is nothing to read.
type source struct {
	io.Reader
	lazy *lazyReader // nil if only a read can wait
}

// newSource reads nc, which is a TLS connection over w if w is not nil.
func newSource(nc net.Conn, w *wire) source {
	if w == nil {
		w = newWire(nc)
		nc = w
	}
	if !w.beLazy() {
		return source{Reader: nc}
	}
	return source{nc, w.lazy}
}

// Buffers are held while something is being copied, but where the reader has to
// have one to wait.
const (
	chunk      = 16 << 10 // a TLS record
	smallChunk = 4 << 10
)

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// pump copies src to dst until src has ended, which is no error. The one error is
// of reading, the other of writing.
func pump(dst io.Writer, src source) (read, write error) {
	if src.lazy == nil {
		return pumpBlocking(dst, src.Reader)
	}
	for {
		buf := chunks.Get().(*[chunk]byte)
		n, err := src.Read(buf[:])
		if n > 0 {
			_, write = dst.Write(buf[:n])
		}
		chunks.Put(buf)
		switch {
		case write != nil:
			return nil, write
		case err == errNothing:
			if err := src.lazy.wait(); err != nil {
				return err, nil
			}
		case err == io.EOF:
			return nil, nil
		case err != nil:
			return err, nil
		}
	}
}

func pumpBlocking(dst io.Writer, src io.Reader) (read, write error) {
	buf := make([]byte, smallChunk)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return nil, err
			}
		}
		switch {
		case err == io.EOF:
			return nil, nil
		case err != nil:
			return err, nil
		}
	}
}

// fromHeader leaves out the white space before the client's new stream header.
// Clients exist that end their lines: what follows </auth> still belongs to the
// old stream, and a header that does not come first is no XML.
type fromHeader struct {
	w     io.Writer
	begun bool
}

func (f *fromHeader) Write(p []byte) (int, error) {
	if f.begun {
		return f.w.Write(p)
	}
	rest := bytes.TrimLeft(p, " \t\r\n")
	if len(rest) == 0 {
		return len(p), nil
	}
	f.begun = true
	n, err := f.w.Write(rest)
	return len(p) - len(rest) + n, err
}

// tail writes to the client, and remembers how that ended.
type tail struct {
	w    io.Writer
	last [len(streamEndTag)]byte
}

const streamEndTag = "</stream:stream>"

func (t *tail) Write(p []byte) (int, error) {
	if n := len(p); n >= len(t.last) {
		copy(t.last[:], p[n-len(t.last):])
	} else {
		copy(t.last[:], t.last[n:])
		copy(t.last[len(t.last)-n:], p)
	}
	return t.w.Write(p)
}

// between says whether the last that was written looks like the end of an
// element, and not like that of the stream.
func (t *tail) between() bool {
	return t.last[len(t.last)-1] == '>' && !bytes.HasSuffix(t.last[:], []byte(streamEndTag))
}

// closeWrite says to the other side that no more comes.
func closeWrite(rw, raw net.Conn) {
	if cw, ok := rw.(interface{ CloseWrite() error }); ok && rw != raw {
		_ = cw.CloseWrite() // TLS close_notify
	}
	if cw, ok := raw.(interface{ CloseWrite() error }); ok {
		_ = cw.CloseWrite()
	}
}
