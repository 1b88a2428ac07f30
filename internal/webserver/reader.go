package webserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// NextReader waits for the client's next message and returns it: text, valid UTF-8, of any size. It must be read to its end
// before the next call. Nothing is held for a message before it comes.
//
// The error, here and from the message, is io.EOF from NextReader alone: the client has closed the WebSocket, or the
// connection between two messages. io.ErrUnexpectedEOF: it has closed in the middle. os.ErrDeadlineExceeded: see
// [Conn.SetReadDeadline]. ErrProtocol: it has broken the rules. ErrSilent, net.ErrClosed: we have closed. All but the deadline's last.
func (c *Conn) NextReader() (io.Reader, error) {
	m := &c.reader
	switch {
	case m.failed != nil:
		return nil, m.failed
	case m.from != nil:
		return nil, errors.New("the message before was not read to its end")
	case !c.startRead():
		return nil, net.ErrClosed
	}
	typ, r, err := c.ws.Reader(context.Background())
	if err != nil {
		return nil, m.fail(c, err, true)
	}
	if typ != websocket.MessageText {
		return nil, m.violate(c, websocket.StatusUnsupportedData, "only text is supported (RFC 7395, 3.2)")
	}
	m.conn, m.from, m.text = c, r, utf8Check{}
	return m, nil
}

// startRead notes where the reader is, unless the connection is being closed: then it is Close that reads.
func (c *Conn) startRead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closeBy.IsZero() {
		return false
	}
	c.sock.boundary()
	return true
}

// loseTrack notes that what comes now is not understood any more.
func (c *Conn) loseTrack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closeBy.IsZero() {
		c.sock.loseTrack()
	}
}

// A messageReader reads one message after the other.
type messageReader struct {
	conn   *Conn
	from   io.Reader // nil between messages
	text   utf8Check
	failed error // lasts
}

// Read implements io.Reader.
func (m *messageReader) Read(p []byte) (int, error) {
	switch {
	case m.failed != nil:
		return 0, m.failed
	case m.from == nil:
		return 0, io.EOF
	case !m.conn.startRead():
		return 0, net.ErrClosed
	}
	n, err := m.from.Read(p)
	if err == io.EOF {
		// The library says so, too, where the connection ends between two frames of a message.
		if below, _ := m.conn.sock.fault(); below != nil {
			return n, m.fail(m.conn, below, false)
		}
	} else if err != nil {
		return 0, m.fail(m.conn, err, false) // what it has read is still masked
	}
	if !m.text.add(p[:n]) || err == io.EOF && m.text.partial() {
		return 0, m.violate(m.conn, websocket.StatusInvalidFramePayloadData, "text is not UTF-8")
	}
	if err == io.EOF {
		m.from = nil
	}
	return n, err
}

// fail finds out what the library's error means.
func (m *messageReader) fail(c *Conn, err error, between bool) error {
	below, lost := c.sock.fault()
	closed := c.closed()
	switch {
	case closed != nil:
		m.failed = closed
	case websocket.CloseStatus(err) >= 0:
		m.failed = io.EOF
		if !between {
			m.failed = io.ErrUnexpectedEOF
		}
	case errors.Is(below, os.ErrDeadlineExceeded) && !lost:
		return below
	case below == errStranger:
		return m.violate(c, websocket.StatusPolicyViolation, below.Error())
	case below == io.EOF && (lost || !between):
		m.failed = io.ErrUnexpectedEOF
	case below != nil:
		m.failed = below
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, net.ErrClosed):
		// A control frame that came too slowly, a pong that could not be written, or CloseNow.
		m.failed = err
	default:
		c.loseTrack()
		return m.violate(c, websocket.StatusProtocolError, err.Error())
	}
	return m.failed
}

func (m *messageReader) violate(c *Conn, code Code, what string) error {
	c.fail(code, what)
	m.failed = fmt.Errorf("%w: %s", ErrProtocol, what)
	return m.failed
}

// A utf8Check looks at text that comes in pieces.
type utf8Check struct {
	start [utf8.UTFMax]byte // of a character whose rest is to come
	n     int
}

// add says whether the text can be valid so far.
func (u *utf8Check) add(p []byte) bool {
	for u.n > 0 && len(p) > 0 {
		u.start[u.n] = p[0]
		u.n++
		p = p[1:]
		if !utf8.FullRune(u.start[:u.n]) {
			continue
		}
		if !utf8.Valid(u.start[:u.n]) {
			return false
		}
		u.n = 0
	}
	for i := len(p) - 1; i >= max(0, len(p)-utf8.UTFMax+1); i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				u.n = copy(u.start[:], p[i:])
				p = p[:i]
			}
			break
		}
	}
	return utf8.Valid(p)
}

// partial says whether the last character is not whole.
func (u *utf8Check) partial() bool { return u.n > 0 }
