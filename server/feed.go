package server

import (
	"io"
	"net"
	"time"

	"gatehouse.im/gatehouse/internal/xmlstream"
)

// A feed is the net.Conn that a mellium Session reads one stanza from, and
// writes its answer to. The stanza has been checked by our own reader, so that
// nothing reaches encoding/xml but restricted, well-formed XML; around it stand
// a stream's header and end. It has ReadByte, which spares encoding/xml its own
// buffer.
type feed struct {
	conn *conn
	// pending is what mellium has yet to read, and rest what comes after it.
	// The stanza belongs to conn.in and is valid until that is asked again.
	pending []byte
	rest    [][]byte
	one     [1]byte
	err     error // of a write
}

var streamEnd = []byte("</stream:stream>")

// newFeed returns a feed of one stanza. The prefixes of the stream's header may
// be used in it, so mellium must know them.
func newFeed(c *conn, stanza []byte) *feed {
	b := append(make([]byte, 0, 128), "<stream:stream xmlns:stream='"+nsStream+"'"...)
	for prefix, space := range c.in.Declared() {
		if prefix == "stream" {
			continue
		}
		b = append(b, " xmlns"...)
		if prefix != "" {
			b = append(b, ':')
			b = append(b, prefix...)
		}
		b = append(b, "='"...)
		b = xmlstream.AppendEscaped(b, space)
		b = append(b, '\'')
	}
	return &feed{conn: c, pending: append(b, '>'), rest: [][]byte{stanza, streamEnd}}
}

func (f *feed) Read(p []byte) (int, error) {
	if len(f.pending) == 0 {
		if len(f.rest) == 0 {
			return 0, io.EOF
		}
		f.pending, f.rest = f.rest[0], f.rest[1:]
	}
	n := copy(p, f.pending)
	f.pending = f.pending[n:]
	return n, nil
}

// ReadByte implements io.ByteReader.
func (f *feed) ReadByte() (byte, error) {
	_, err := f.Read(f.one[:])
	return f.one[0], err
}

// Write sends to the client, which must read within writeTimeout. What mellium
// writes once it has begun to read the end that we put behind the stanza is its
// own good-bye; the client's stream goes on.
func (f *feed) Write(p []byte) (int, error) {
	if f.err != nil || len(f.rest) == 0 {
		return len(p), nil
	}
	_ = f.conn.raw.SetWriteDeadline(time.Now().Add(writeTimeout))
	n, err := f.conn.rw.Write(p)
	if err != nil {
		f.err = err
	}
	return n, err
}

// Close does nothing: the connection closes itself.
func (f *feed) Close() error { return nil }

func (f *feed) LocalAddr() net.Addr  { return f.conn.raw.LocalAddr() }
func (f *feed) RemoteAddr() net.Addr { return f.conn.raw.RemoteAddr() }

// The deadlines are the connection's own: mellium would set them from the end
// of a context, and then clear them.

func (f *feed) SetDeadline(time.Time) error      { return nil }
func (f *feed) SetReadDeadline(time.Time) error  { return nil }
func (f *feed) SetWriteDeadline(time.Time) error { return nil }
