package server_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmlstream"
)

// memConn is a connection whose client has sent everything already, then
// closed its side, and keeps what it is sent. Nothing on it ever blocks.
type memConn struct {
	in    *bytes.Reader
	chunk int // bytes a read gives at most

	mu       sync.Mutex
	out      bytes.Buffer
	closed   bool
	deadline time.Time // for reads
}

func newMemConn(in []byte, chunk int) *memConn {
	return &memConn{in: bytes.NewReader(in), chunk: max(chunk, 1)}
}

func (c *memConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case !c.deadline.IsZero() && time.Now().After(c.deadline):
		return 0, os.ErrDeadlineExceeded
	}
	return c.in.Read(p[:min(len(p), c.chunk)])
}

func (c *memConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	return c.out.Write(p)
}

func (c *memConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

func (c *memConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return nil
}

func (c *memConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }
func (c *memConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *memConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// output returns what the server sent, and whether it closed the connection.
func (c *memConn) output() (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String(), c.closed
}

// A heard is what a client makes of a server's output.
type heard struct {
	elements []*xmlstream.Element
	headers  int
	ended    bool // by </stream:stream>
	tls      bool // the rest is TLS
}

// listen reads a server's whole output as a strict client would, and fails on
// anything that is not well-formed or not whole.
func listen(t *testing.T, out string) heard {
	t.Helper()
	limits := xmlstream.Limits{
		Header: 1 << 20, Stanza: 1 << 22, Depth: 1 << 10, Elements: 1 << 20, Attributes: 1 << 10,
	}
	r := xmlstream.NewReader(strings.NewReader(out), limits)
	var h heard
	header := true
	for out != "" {
		if header {
			if _, err := r.Header(); err != nil {
				if h.headers > 0 && nothingLeft(r, err) {
					return h // the server had no more to say
				}
				t.Fatalf("header %d: %v\nin %q", h.headers+1, err, out)
			}
			h.headers, header = h.headers+1, false
		}
		e, err := r.Next()
		switch {
		case err == io.EOF:
			h.ended = true
			if r.Buffered() > 0 {
				t.Fatalf("%d bytes after the end of the stream\nin %q", r.Buffered(), out)
			}
			return h
		case nothingLeft(r, err):
			return h
		case err != nil:
			t.Fatalf("after %d elements: %v\nin %q", len(h.elements), err, out)
		}
		h.elements = append(h.elements, e)
		switch e.Name {
		case xmlstream.Name{Space: "urn:ietf:params:xml:ns:xmpp-sasl", Local: "success"}:
			header = true
		case xmlstream.Name{Space: "urn:ietf:params:xml:ns:xmpp-tls", Local: "proceed"}:
			h.tls = true
			return h
		}
	}
	return h
}

// nothingLeft says whether a reader came to the end between two elements.
func nothingLeft(r *xmlstream.Reader, err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) && r.Buffered() == 0
}

// wellFormed reads a server's output with another parser. Each stream header
// begins a document of its own, that the next may cut off.
func wellFormed(out string) error {
	const declaration = "<?xml version='1.0'?>"
	for i, doc := range strings.Split(out, declaration) {
		if doc == "" {
			continue
		}
		dec := xml.NewDecoder(strings.NewReader(doc))
		for {
			_, err := dec.Token()
			if err == io.EOF || err != nil && strings.Contains(err.Error(), "unexpected EOF") {
				break
			}
			if err != nil {
				return fmt.Errorf("stream %d: %w", i, err)
			}
		}
	}
	return nil
}
