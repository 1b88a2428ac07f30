package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"gatehouse.im/gatehouse/internal/admission"
	"gatehouse.im/gatehouse/internal/framing"
)

// Messages is a connection that carries a stream in messages: a WebSocket (RFC
// 7395). One goroutine reads and another may write; all else may be called by
// any.
type Messages interface {
	// NextReader waits for a message, and returns io.EOF when no more come.
	NextReader() (io.Reader, error)
	NextWriter() (io.WriteCloser, error)
	// Hold begins to gather messages, which Release sends.
	Hold()
	Release() error
	// Deadlines are as in net.Conn. Those that have passed can be set anew, and
	// one for reading has no effect on what is written.
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	LocalAddr() net.Addr
	RemoteAddr() net.Addr // of the client, whoever stands between
	// LoggedIn is called once the client has.
	LoggedIn()
	// Close lets what was written arrive, within seconds. CloseNow does not.
	Close() error
	CloseNow()
}

// Secured says how a connection is encrypted that the server does not encrypt
// itself, and what place it has.
type Secured struct {
	Encrypted bool
	TLS       *tls.ConnectionState // nil if that is a proxy's doing
	Place     *admission.Place     // which the caller gives back; nil if nobody counts it
}

// ServeMessages serves one client until its connection is closed. Framing apart,
// everything is as on a port of [Server.Serve], but for STARTTLS, which is not
// offered (RFC 7395 §3.8).
func (s *Server) ServeMessages(m Messages, by Secured) {
	f := newFramed(m)
	c := newConn(s, s.config.Load(), f, false)
	c.framed, c.encrypted, c.place = true, by.Encrypted, by.Place
	switch {
	case by.TLS != nil:
		c.tlsVersion = tls.VersionName(by.TLS.Version)
	case by.Encrypted:
		c.tlsVersion = "proxy"
	}
	if s.add(c) {
		s.serve(c)
	}
}

// framed is a stream of bytes in messages.
type framed struct {
	Messages
	in     *framing.Decoder
	out    *framing.Encoder
	opened bool // a stream
}

func newFramed(m Messages) *framed {
	f := &framed{Messages: m, out: framing.NewEncoder(m.NextWriter)}
	f.in = framing.NewDecoder(f.next)
	return f
}

// next waits for a message. None comes after <close/> (RFC 7395 §3.6), but the
// connection stays open for our own.
func (f *framed) next() (io.Reader, error) {
	if f.opened && !f.in.Open() {
		return nil, io.EOF
	}
	f.opened = f.in.Open()
	return f.NextReader()
}

func (f *framed) Read(p []byte) (int, error) { return f.in.Read(p) }

// Write sends all messages that are complete with p at once.
func (f *framed) Write(p []byte) (int, error) {
	f.Hold()
	n, err := f.out.Write(p)
	return n, errors.Join(err, f.Release())
}

func (f *framed) SetDeadline(t time.Time) error {
	return errors.Join(f.SetReadDeadline(t), f.SetWriteDeadline(t))
}

// closeNow closes a connection without waiting for anything.
func closeNow(nc net.Conn) {
	if f, ok := nc.(*framed); ok {
		f.CloseNow()
		return
	}
	_ = nc.Close()
}
