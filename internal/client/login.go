package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"gatehouse.im/gatehouse/internal/xmlstream"
)

// login is the state of one login and then of its session. It belongs to the
// caller's goroutine.
type login struct {
	Options

	conn      net.Conn
	tls       *tls.Conn // conn, once it is encrypted
	reader    *xmlstream.Reader
	mechanism string
}

func (l *login) trace(s Step) {
	if l.Trace != nil {
		l.Trace(s)
	}
}

// Login connects, authenticates and binds a resource. It blocks until that is
// done, the server refuses, or ctx ends; without a deadline in ctx a silent
// server blocks it for ever.
//
// The error is an *Error, or wraps ErrOptions if the options make no sense. The
// session is the caller's to close; after an error nothing is left open.
func Login(ctx context.Context, o Options) (*Session, error) {
	l := &login{Options: o}
	if err := l.check(); err != nil {
		return nil, err
	}
	s, stage, err := l.run(ctx)
	if err == nil {
		return s, nil
	}
	switch {
	case l.conn == nil:
	case ctx.Err() != nil:
		_ = l.conn.Close() // the caller has waited long enough
	default:
		_ = l.farewell() // the login has failed; how the stream ends changes nothing
	}
	return nil, l.failed(ctx, stage, err)
}

// failed makes any error one with a stage. What failed because ctx ended says so.
func (l *login) failed(ctx context.Context, stage Stage, err error) *Error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Err: err}
	}
	e.Stage, e.Mechanism = stage, l.mechanism
	return e
}

// run takes the steps, and returns at which one it stopped.
func (l *login) run(ctx context.Context) (*Session, Stage, error) {
	targets, err := l.find(ctx)
	if err != nil {
		return nil, StageFind, err
	}
	conn, target, err := l.connect(ctx, targets)
	if err != nil {
		return nil, StageConnect, err
	}
	l.conn = conn
	l.reader = xmlstream.NewReader(conn, limits)
	stop := endWith(ctx, conn)
	defer stop()
	return l.negotiate(ctx, target.DirectTLS)
}

// negotiate takes the steps on a connection that stands.
func (l *login) negotiate(ctx context.Context, direct bool) (*Session, Stage, error) {
	if direct {
		if err := l.handshake(ctx, true); err != nil {
			return nil, StageEncrypt, err
		}
	}
	f, err := l.open(false)
	if err != nil {
		return nil, StageOpen, err
	}
	if l.tls == nil && !l.Clear {
		if err := l.startTLS(ctx, f); err != nil {
			return nil, StageEncrypt, err
		}
		if f, err = l.open(false); err != nil {
			return nil, StageOpen, err
		}
	}
	if err := l.authenticate(f); err != nil {
		return nil, StageAuthenticate, err
	}
	if f, err = l.open(true); err != nil {
		return nil, StageOpen, err
	}
	s := &Session{login: l}
	if err := s.bind(f); err != nil {
		return nil, StageBind, err
	}
	return s, "", nil
}

// endWith makes reads and writes on conn fail once ctx ends. The deadline of ctx
// needs no timer of ours; the rest is for a cancellation.
func endWith(ctx context.Context, conn net.Conn) (stop func() bool) {
	deadline, _ := ctx.Deadline()
	// This fails on a closed connection only, and then reads say so too.
	_ = conn.SetDeadline(deadline)
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// errNoStartTLS says that the stream cannot be encrypted.
var errNoStartTLS = errors.New("the server does not offer STARTTLS")

// startTLS asks for encryption (RFC 6120 §5.4.2).
func (l *login) startTLS(ctx context.Context, f *features) error {
	if !f.startTLS {
		return errNoStartTLS
	}
	if err := l.send("<starttls xmlns='" + nsTLS + "'/>"); err != nil {
		return err
	}
	e, err := l.next()
	if err != nil {
		return err
	}
	if e.Name != (xmlstream.Name{Space: nsTLS, Local: "proceed"}) {
		return unexpected("proceed", e)
	}
	if n := l.reader.Buffered(); n > 0 {
		// Somebody on the way may have put it there (CVE-2011-0411).
		return fmt.Errorf("%d bytes of clear text followed the server's <proceed/>", n)
	}
	return l.handshake(ctx, false)
}
