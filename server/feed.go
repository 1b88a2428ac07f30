package server

import (
	"errors"
	"io"
	"net"
	"time"

	strict "gatehouse.im/gatehouse/internal/xmlstream"
)

// A feed is the net.Conn that a mellium Session reads from and writes to. It
// gives it complete elements that our own reader has checked, so that nothing
// reaches encoding/xml but small, restricted, well-formed XML. It has ReadByte,
// which spares encoding/xml its 4 KB buffer.
type feed struct {
	conn *conn
	// pending is what mellium has yet to read. It belongs to conn.in and is
	// valid until that is asked again.
	pending []byte
	one     [1]byte
	// big says that a big stanza was read: encoding/xml keeps a buffer as long
	// as the longest text that it has seen. The feed ends before the next
	// one, and renewed says that another feed and Session go on from there.
	big, renewed bool
	// err is why the session ends, if not by its client's wish.
	err error
}

// bigStanza is the size in bytes from which on a stanza is big.
const bigStanza = 16 << 10

// newFeed returns a feed that begins with the header that c has read. Its
// prefixes may be used in every stanza, so mellium must know them.
func newFeed(c *conn) *feed {
	b := append(make([]byte, 0, 256), "<stream:stream xmlns:stream='"+nsStream+"'"...)
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
		b = strict.AppendEscaped(b, space)
		b = append(b, '\'')
	}
	return &feed{conn: c, pending: append(b, '>')}
}

func (f *feed) Read(p []byte) (int, error) {
	if len(f.pending) == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.pending)
	if f.pending = f.pending[n:]; len(f.pending) == 0 {
		f.pending = nil // or the stanza's memory is held while its client is idle
	}
	return n, nil
}

// ReadByte implements io.ByteReader.
func (f *feed) ReadByte() (byte, error) {
	_, err := f.Read(f.one[:])
	return f.one[0], err
}

// next waits for the next element of the client. Those that it sent before it
// was to end, but that were not looked at until then, do not count: a thief
// who is thrown out by a changed password must not change it back.
func (f *feed) next() error {
	if f.big {
		f.renewed = true
		f.pending = []byte("</stream:stream>")
		return nil
	}
	raw, e, err := f.conn.in.NextRaw()
	if why := f.conn.endingWith(); why != nil {
		return f.abort(why)
	}
	switch {
	case errors.Is(err, io.EOF):
		f.pending = []byte("</stream:stream>")
	case err != nil:
		return f.abort(err)
	case e.Name == errorElement:
		f.pending = []byte("</stream:stream>") // the client knows why
	case e.Name.Space == nsStream:
		// mellium would end the stream without a word.
		return f.abort(unsupportedStanza)
	default:
		f.pending = raw
		f.big = len(raw) > bigStanza
	}
	return nil
}

// abort ends the session with err, which conn.close then tells the client.
// mellium would try that itself, but leaves the error in its write buffer;
// what it writes from now on is dropped.
func (f *feed) abort(err error) error {
	f.err = err
	return err
}

// Write sends to the client, which must read within writeTimeout.
func (f *feed) Write(p []byte) (int, error) {
	if f.err != nil || f.renewed {
		return len(p), nil // mellium closes a stream that goes on, or is past hearing it
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
