package webserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"gatehouse.im/gatehouse/internal/admission"
)

// A listener closes connections for which there is no place, before TLS.
type listener struct {
	net.Listener
	server *Server
	config *tls.Config // nil without TLS
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		place := l.server.placeFor(nc)
		if place == nil {
			_ = nc.Close()
			continue
		}
		below := &counted{Conn: nc, place: place}
		if l.config == nil {
			return &front{Conn: below, below: below}, nil
		}
		below.shake.Store(l.server.admission.Handshake(place))
		below.records.Store(admission.NewRecords(nc, l.server.settings.Load().Element))
		_ = nc.SetWriteDeadline(time.Now().Add(writeLimit)) // until net/http has one of its own
		over := tls.Server(below, l.config)
		return &front{Conn: over, below: below, tls: over, server: l.server}, nil
	}
}

// placeFor is nil if there is none. Whom a trusted proxy speaks for is known with the request.
func (s *Server) placeFor(nc net.Conn) *admission.Place {
	if _, later := nc.(admission.Later); !later {
		if tcp, ok := nc.RemoteAddr().(*net.TCPAddr); ok && s.settings.Load().trusts(tcp.AddrPort().Addr().Unmap()) {
			return s.admission.AcceptUncounted(nc)
		}
	}
	return s.admission.Accept(nc)
}

// counted is a connection that has a place until it is closed.
type counted struct {
	net.Conn
	place   *admission.Place
	shake   atomic.Pointer[admission.Handshake] // nil but during a TLS handshake
	records atomic.Pointer[admission.Records]   // nil without TLS, and for whoever has logged in
}

// Read implements net.Conn.
func (c *counted) Read(p []byte) (int, error) {
	nc := c.Conn
	if r := c.records.Load(); r != nil {
		nc = r
	}
	if h := c.shake.Load(); h != nil {
		return h.Read(nc, p)
	}
	return nc.Read(p)
}

// Write implements net.Conn.
func (c *counted) Write(p []byte) (int, error) {
	if h := c.shake.Load(); h != nil {
		return h.Write(c.Conn, p)
	}
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *counted) Close() error {
	err := c.Conn.Close()
	c.begun()
	c.place.Leave()
	return err
}

// begun says that the handshake is over.
func (c *counted) begun() {
	if h := c.shake.Swap(nil); h != nil {
		h.Done()
	}
}

// A front is the connection that net/http has. It bounds the lines of a request's header, each of which costs many times its
// bytes. net/http bounds the bytes; but of TLS it knows no other connection than crypto/tls's own, so the handshake is done by
// the first read.
type front struct {
	net.Conn
	below  *counted
	server *Server      // nil without TLS
	tls    *tls.Conn    // the same
	shaken bool         // the handshake is over
	lines  atomic.Int32 // of the request that is to come; negative once it is there
}

const maxLines = 128

var errLines = errors.New("too many lines in the header of a request")

// Read implements net.Conn.
func (f *front) Read(p []byte) (int, error) {
	n, err := f.read(p)
	// #nosec G115 -- of one read
	if f.lines.Load() >= 0 && f.lines.Add(int32(bytes.Count(p[:n], []byte{'\n'}))) > maxLines {
		return 0, errLines
	}
	return n, err
}

// read does the handshake first, if there is one to do.
func (f *front) read(p []byte) (int, error) {
	r := f.below.records.Load()
	if r == nil {
		return f.Conn.Read(p)
	}
	if !f.shaken {
		began := time.Now()
		err := f.tls.Handshake()
		if tell := f.server.settings.Load().Handshake; tell != nil {
			tell(time.Since(began), err)
		}
		if err != nil {
			return 0, err
		}
		f.shaken = true
		f.below.begun()
		r.Shaken()
	}
	n, err := f.Conn.Read(p)
	if n > 0 {
		r.Took()
	}
	return n, err
}

// CloseWrite ends our half of the connection.
func (f *front) CloseWrite() error {
	nc := f.below.Conn
	if f.tls != nil {
		nc = f.tls
	}
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// follow is told by net/http what a connection is at.
func follow(nc net.Conn, state http.ConnState) {
	f, ok := nc.(*front)
	switch {
	case ok && state == http.StateActive:
		f.lines.Store(-1)
	case ok && state == http.StateIdle:
		f.lines.Store(0)
	}
}

type frontKey struct{}

// withFront lets requests find their connection.
func withFront(ctx context.Context, nc net.Conn) context.Context {
	return context.WithValue(ctx, frontKey{}, nc)
}

// frontOf is nil for a request that came through no listener of ours.
func frontOf(r *http.Request) *front {
	f, _ := r.Context().Value(frontKey{}).(*front)
	return f
}
