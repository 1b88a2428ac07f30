package xmpptest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// DefaultTimeout is how long a read or a write of a new Client may take.
const DefaultTimeout = 10 * time.Second

// ErrUnexpected is wrapped by every error that says the server answered, but not with what the step needs.
var ErrUnexpected = errors.New("unexpected answer")

// Client is one connection to a server's client port. Timeout bounds each read and write and may be changed between
// calls; it is DefaultTimeout at first. The zero value is not usable.
type Client struct {
	Timeout time.Duration

	conn net.Conn
	buf  []byte // read and not yet returned
	host string // of the last stream header
}

// Dial connects to a TCP address. The caller closes the client.
func Dial(addr string) (*Client, error) {
	conn, err := net.DialTimeout("tcp", addr, DefaultTimeout)
	if err != nil {
		return nil, err
	}
	return New(conn), nil
}

// DialTLS connects to a TCP address and does the TLS handshake at once, as on a port for direct TLS (XEP-0368). The
// caller closes the client.
func DialTLS(addr string, config *tls.Config) (*Client, error) {
	c, err := Dial(addr)
	if err != nil {
		return nil, err
	}
	if err := c.Handshake(config); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// New makes a client of a connection, which it then owns and closes.
func New(conn net.Conn) *Client {
	return &Client{Timeout: DefaultTimeout, conn: conn}
}

// Close drops the connection without a word.
func (c *Client) Close() error { return c.conn.Close() }

// Conn returns the connection, a *tls.Conn after a handshake. What the client has read ahead is missing there.
func (c *Client) Conn() net.Conn { return c.conn }

// Send writes s as it stands.
func (c *Client) Send(s string) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	_, err := io.WriteString(c.conn, s)
	return err
}

// Sendf formats and writes. Values are not escaped; see Escape.
func (c *Client) Sendf(format string, args ...any) error {
	return c.Send(fmt.Sprintf(format, args...))
}

// ReadElement returns the next top-level piece of the server's stream: its header, an element or its closing tag.
// It waits no longer than Timeout and then returns an error that is os.ErrDeadlineExceeded; calling it again goes on
// where it stopped. At the end of the connection it is io.EOF, or io.ErrUnexpectedEOF inside an element.
func (c *Client) ReadElement() (*Element, error) {
	return c.ReadElementIn(c.Timeout)
}

// ReadElementIn is ReadElement with a time limit of its own.
func (c *Client) ReadElementIn(timeout time.Duration) (*Element, error) {
	// This fails on a closed connection only, and then Read says so too.
	_ = c.conn.SetReadDeadline(time.Now().Add(timeout))
	chunk := make([]byte, 8192)
	for {
		kind, begin, end, err := split(c.buf)
		if err != nil {
			return nil, fmt.Errorf("%w: %q", err, c.buf)
		}
		if kind != pieceNone {
			raw := string(c.buf[begin:end])
			c.buf = c.buf[end:]
			return build(kind, raw)
		}
		n, err := c.conn.Read(chunk)
		c.buf = append(c.buf, chunk[:n]...)
		if n > 0 {
			continue
		}
		if errors.Is(err, io.EOF) && len(strings.TrimSpace(string(c.buf))) > 0 {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
}

func build(kind pieceKind, raw string) (*Element, error) {
	switch kind {
	case pieceHeader:
		e, err := parseHeader(raw)
		if err != nil {
			return nil, fmt.Errorf("xmpptest: stream header %q: %w", raw, err)
		}
		e.Header = true
		return e, nil
	case pieceFooter:
		return &Element{Name: "stream", NS: NSStream, Raw: raw, Footer: true}, nil
	}
	e, err := parseElement(raw)
	if err != nil {
		return nil, fmt.Errorf("xmpptest: element %q: %w", raw, err)
	}
	return e, nil
}

// Expect reads the next piece and returns it. If its local name is another one the error wraps ErrUnexpected and
// holds what came instead.
func (c *Client) Expect(name string) (*Element, error) {
	e, err := c.ReadElement()
	if err != nil {
		return nil, fmt.Errorf("waiting for <%s/>: %w", name, err)
	}
	if e.Name != name {
		return e, fmt.Errorf("waiting for <%s/>: %w: %s", name, ErrUnexpected, e.Raw)
	}
	return e, nil
}

// ExpectError reads a stream error with this condition, the closing tag, and the end of the connection.
func (c *Client) ExpectError(condition string) error {
	e, err := c.ReadElement()
	for err == nil && e.Header {
		e, err = c.ReadElement()
	}
	if err != nil {
		return fmt.Errorf("waiting for stream error %s: %w", condition, err)
	}
	if !e.Is(NSStream, "error") || e.Condition() != condition {
		return fmt.Errorf("waiting for stream error %s: %w: %s", condition, ErrUnexpected, e.Raw)
	}
	return c.ExpectEnd()
}

// ExpectEnd reads the stream's closing tag and then the end of the connection.
func (c *Client) ExpectEnd() error {
	e, err := c.ReadElement()
	if err != nil {
		return fmt.Errorf("waiting for the end of the stream: %w", err)
	}
	if !e.Footer {
		return fmt.Errorf("waiting for the end of the stream: %w: %s", ErrUnexpected, e.Raw)
	}
	return c.ExpectEOF()
}

// ExpectEOF waits for the server to close the connection. A reset counts as well: the server may close while bytes of
// ours are still unread.
func (c *Client) ExpectEOF() error {
	e, err := c.ReadElement()
	switch {
	case err == nil:
		return fmt.Errorf("waiting for the close: %w: %s", ErrUnexpected, e.Raw)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("waiting for the close: %w", err)
	}
	return nil
}
