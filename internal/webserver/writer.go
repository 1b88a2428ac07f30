package webserver

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/coder/websocket"
)

// pieceSize is what is gathered of a message before any of it is sent: a message that is no longer is one frame and one
// write, a longer one is sent in frames of that size (RFC 6455 §5.4). It is the size of a TLS record.
const pieceSize = 16 << 10

var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// NextWriter begins a text message, which what is written becomes and Close ends. It must be closed before the next one. A
// buffer is held until then. When writing has failed once, it fails for ever with that error.
func (c *Conn) NextWriter() (io.WriteCloser, error) {
	m := &c.writer
	switch {
	case m.failed != nil:
		return nil, m.failed
	case m.piece != nil:
		return nil, errors.New("the message before was not closed")
	}
	m.conn, m.piece, m.n = c, pieces.Get().(*[pieceSize]byte), 0
	return m, nil
}

// Hold begins to gather what is written. [Conn.Release] sends it, or the next write once there are 16 KiB. It is for whoever
// writes several messages in a row: each is else a TLS record and a packet of its own. The one who writes calls it, and
// Release right after the last message, whatever came of them: control frames wait as well.
func (c *Conn) Hold() { c.sock.hold() }

// Release sends what was gathered. An error is that of a write; nothing can be written after it.
func (c *Conn) Release() error { return c.sock.release() }

// A messageWriter writes one message after the other.
type messageWriter struct {
	conn   *Conn
	piece  *[pieceSize]byte // nil between messages
	n      int              // bytes in it
	frames io.WriteCloser   // the library's, once the message has become too long for one
	failed error            // lasts
}

// Write implements io.Writer.
func (m *messageWriter) Write(p []byte) (int, error) {
	if m.piece == nil {
		return 0, m.closed()
	}
	done := 0
	for {
		n := copy(m.piece[m.n:], p[done:])
		m.n, done = m.n+n, done+n
		if done == len(p) {
			return done, nil
		}
		if err := m.flush(); err != nil {
			return done, m.end(err)
		}
	}
}

// Close implements io.Closer.
func (m *messageWriter) Close() error {
	if m.piece == nil {
		return m.closed()
	}
	if m.frames == nil {
		return m.end(m.conn.ws.Write(context.Background(), websocket.MessageText, m.piece[:m.n]))
	}
	err := m.flush()
	if err == nil {
		err = m.frames.Close()
	}
	return m.end(err)
}

// flush sends what was gathered, as a frame that others follow.
func (m *messageWriter) flush() (err error) {
	if m.frames == nil {
		if m.frames, err = m.conn.ws.Writer(context.Background(), websocket.MessageText); err != nil {
			return err
		}
	}
	_, err = m.frames.Write(m.piece[:m.n])
	m.n = 0
	return err
}

// end gives the buffer back; no other message follows an error, which is that of the connection if it is one.
func (m *messageWriter) end(err error) error {
	var below net.Error
	if errors.As(err, &below) {
		err = below
	}
	pieces.Put(m.piece)
	m.piece, m.frames, m.failed = nil, nil, err
	return err
}

func (m *messageWriter) closed() error {
	if m.failed != nil {
		return m.failed
	}
	return errors.New("the message is closed")
}
