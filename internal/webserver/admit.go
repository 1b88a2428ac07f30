package webserver

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"

	"gatehouse.im/gatehouse/internal/admission"
)

// A listener closes connections for which there is no place, before TLS.
type listener struct {
	net.Listener
	server *Server
	secure bool
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
		c := &counted{Conn: nc, place: place}
		if l.secure {
			c.shake.Store(l.server.admission.Handshake())
		}
		return c, nil
	}
}

// placeFor is nil if there is none. Whom a trusted proxy speaks for is known with the request.
func (s *Server) placeFor(nc net.Conn) *admission.Place {
	if _, later := nc.(admission.Later); !later {
		if tcp, ok := nc.RemoteAddr().(*net.TCPAddr); ok && s.settings.Load().trusts(tcp.AddrPort().Addr().Unmap()) {
			return s.admission.AcceptUncounted()
		}
	}
	return s.admission.Accept(nc)
}

// counted is a connection that has a place until it is closed.
type counted struct {
	net.Conn
	place *admission.Place
	shake atomic.Pointer[admission.Handshake] // nil but before the first request of a connection with TLS
}

// Read implements net.Conn.
func (c *counted) Read(p []byte) (int, error) {
	if h := c.shake.Load(); h != nil {
		return h.Read(c.Conn, p)
	}
	return c.Conn.Read(p)
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

// CloseWrite ends our half of the connection.
func (c *counted) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// begun says that the handshake is over.
func (c *counted) begun() {
	if h := c.shake.Swap(nil); h != nil {
		h.Done()
	}
}

// countedOf finds what is below TLS; nil if that came from no listener of ours.
func countedOf(nc net.Conn) *counted {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	c, _ := nc.(*counted)
	return c
}

type placeKey struct{}

// withPlace lets requests of a connection find its place.
func withPlace(ctx context.Context, nc net.Conn) context.Context {
	if c := countedOf(nc); c != nil {
		return context.WithValue(ctx, placeKey{}, c.place)
	}
	return ctx
}

// placeOf is nil for a request that came through no listener of ours.
func placeOf(r *http.Request) *admission.Place {
	place, _ := r.Context().Value(placeKey{}).(*admission.Place)
	return place
}
