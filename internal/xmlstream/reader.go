package xmlstream

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// Limits bounds what a [Reader] takes from the other side. Every field must
// be set.
type Limits struct {
	Header     int // bytes of the XML declaration and the header's opening tag
	Stanza     int // bytes of a top-level element
	Total      int // bytes of everything read; 0 is no limit
	Depth      int // nesting of elements in a stanza
	Elements   int // elements of a stanza
	Attributes int // attributes of an element
}

// Reader reads one stream, and those that follow it on the same connection.
//
// Between two calls it holds the bytes that the other side sent early. It
// takes a buffer only while it holds some: an idle stream costs the Reader
// itself.
type Reader struct {
	src    io.Reader
	limits Limits
	total  int

	buf     []byte // nil while nothing is held
	start   int    // buf[start:] is not yet consumed
	scanned int    // buf[start:start+scanned] has been seen by bound
	bound   boundary

	declared map[string]string
	// peek takes the first bytes while there is no buffer.
	peek [16]byte
	// idle says that the next bytes may be long in coming.
	idle bool
}

// NewReader returns a Reader of src. It never reads more from src than Read
// gives it, and leaves deadlines and closing to its owner.
func NewReader(src io.Reader, limits Limits) *Reader {
	return &Reader{src: src, limits: limits}
}

// Reset makes the Reader go on with another source, as after a TLS handshake.
// What was held is dropped: ask [Reader.Buffered] before.
func (r *Reader) Reset(src io.Reader) {
	r.release()
	r.src, r.start, r.scanned, r.bound, r.declared = src, 0, 0, boundary{}, nil
}

// SetLimits replaces the limits; Total counts from the beginning all the same.
// idle says that from now on the other side may be silent for long, so that
// memory matters more than a second read.
func (r *Reader) SetLimits(l Limits, idle bool) { r.limits, r.idle = l, idle }

// Buffered returns how many bytes are held that no call has returned yet.
func (r *Reader) Buffered() int { return len(r.buf) - r.start }

// Declared returns the namespaces that the current stream's header declared.
func (r *Reader) Declared() map[string]string { return r.declared }

// Header reads the opening tag of a stream, with the XML declaration that may
// stand before it. It blocks until the tag is complete. White space before the
// tag is skipped, but not before a declaration (XML 1.0 §2.8); one byte order
// mark is.
func (r *Reader) Header() (*Header, error) {
	r.declared = nil
	declaration := false
	for {
		item, what, err := r.next(true)
		if err != nil {
			return nil, err
		}
		if !declaration {
			item = bytes.TrimPrefix(item, []byte("\xef\xbb\xbf"))
		}
		trimmed := bytes.TrimLeft(item, " \t\r\n")
		if what == foundDeclaration {
			if declaration || len(trimmed) < len(item) {
				return nil, notWellFormed("XML declaration that is not at the beginning")
			}
			declaration = true
			if err := checkDeclaration(item); err != nil {
				return nil, err
			}
			continue
		}
		if what != foundOpeningTag {
			return nil, notWellFormed("stream header expected")
		}
		p := parser{b: trimmed, limits: r.limits}
		var h Header
		_, empty, perr := p.openTag(&h.Name, &h.Attr)
		switch {
		case perr != nil:
			return nil, perr
		case p.pos != len(p.b):
			return nil, notWellFormed("stream header expected")
		case empty:
			return nil, notWellFormed("stream header that ends the stream")
		}
		h.Declared = make(map[string]string, len(p.scope))
		for _, d := range p.scope {
			h.Declared[d.prefix] = d.uri
		}
		r.declared = h.Declared
		return &h, nil
	}
}

// Next reads one top-level element and returns it as a tree. Text between
// elements is skipped. It blocks until the element is complete, and returns
// io.EOF where the other side ended the stream by </stream:stream>, and
// io.ErrUnexpectedEOF where it just closed the connection.
func (r *Reader) Next() (*Element, error) {
	_, e, err := r.read(true)
	return e, err
}

// NextRaw is like [Reader.Next], but returns the element's bytes, checked,
// and its opening tag alone. The bytes are valid until the next call.
func (r *Reader) NextRaw() ([]byte, *Element, error) {
	return r.read(false)
}

func (r *Reader) read(tree bool) ([]byte, *Element, error) {
	item, what, err := r.next(false)
	if err != nil {
		return nil, nil, err
	}
	// Text between elements is not judged, as Prosody does not; it counts
	// towards the limits.
	item = item[bytes.IndexByte(item, '<'):]
	if what == foundStreamEnd {
		return nil, nil, io.EOF
	}
	p := parser{b: item, limits: r.limits, tree: tree, header: r.declared}
	e, perr := p.element()
	if perr != nil {
		return nil, nil, perr
	}
	return item, e, nil
}

// next returns the bytes of the next item, from where the last one ended. They
// are valid until the next call.
func (r *Reader) next(header bool) ([]byte, found, error) {
	limit := r.limits.Stanza
	if header {
		limit = r.limits.Header
	}
	r.bound = boundary{}
	for {
		n, what, err := r.bound.scan(r.buf[r.start+r.scanned:], header)
		r.scanned += n
		if err != nil {
			return nil, 0, err
		}
		if r.scanned > limit {
			return nil, 0, tooBig("stanza over the size limit")
		}
		if what != foundNothing {
			item := r.buf[r.start : r.start+r.scanned]
			r.start, r.scanned = r.start+r.scanned, 0
			return item, what, nil
		}
		if !header && r.bound.state == inText && r.bound.depth == 0 {
			// Nothing but text so far, white space to keep the
			// connection alive as a rule: drop it.
			r.start, r.scanned = len(r.buf), 0
		}
		if header && !headerMayFollow(r.buf[r.start:]) {
			return nil, 0, notWellFormed("stream header expected")
		}
		if err := r.fill(limit); err != nil {
			return nil, 0, err
		}
	}
}

// headerMayFollow tells a stranger that speaks another protocol apart early.
func headerMayFollow(b []byte) bool {
	const bom = "\xef\xbb\xbf"
	if len(b) < len(bom) && strings.HasPrefix(bom, string(b)) {
		return true
	}
	b = bytes.TrimLeft(bytes.TrimPrefix(b, []byte(bom)), " \t\r\n")
	return len(b) == 0 || b[0] == '<'
}

// minBuffer is what a read asks for at least. A login's messages fit.
const minBuffer = 2048

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, minBuffer); return &b }}

// fill reads once, blocking, and keeps at most limit+1 bytes unconsumed.
func (r *Reader) fill(limit int) error {
	if r.start == len(r.buf) && r.idle {
		r.release()
	}
	if r.buf == nil && r.idle {
		n, err := r.src.Read(r.peek[:])
		if n > 0 {
			r.take()
			r.buf = append(r.buf, r.peek[:n]...)
			clear(r.peek[:n])
		}
		return r.count(n, err)
	}
	if r.buf == nil {
		r.take()
	}
	if r.start > 0 {
		r.buf = r.buf[:copy(r.buf, r.buf[r.start:])]
		r.start = 0
	}
	if len(r.buf) == cap(r.buf) {
		bigger := make([]byte, len(r.buf), min(2*cap(r.buf), max(limit+1, minBuffer)))
		copy(bigger, r.buf)
		r.release()
		r.buf = bigger
	}
	n, err := r.src.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	return r.count(n, err)
}

func (r *Reader) count(n int, err error) error {
	r.total += n
	if r.limits.Total > 0 && r.total > r.limits.Total {
		return tooBig("too many bytes before the login")
	}
	switch {
	case n > 0:
		return nil // an error comes again with the next read
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

func (r *Reader) take() { r.buf = (*buffers.Get().(*[]byte))[:0] }

// release gives the buffer back, cleared: it may have held a password.
func (r *Reader) release() {
	if r.buf == nil {
		return
	}
	clear(r.buf[:cap(r.buf)])
	if cap(r.buf) == minBuffer {
		b := r.buf[:0]
		buffers.Put(&b)
	}
	r.buf, r.start = nil, 0
}

// Close gives back the buffer. The Reader must not be used after it.
func (r *Reader) Close() { r.release(); r.src = nil }

// checkDeclaration reads an XML declaration (XML 1.0 §2.8): version 1.0 and,
// where there is an encoding, UTF-8 (RFC 6120 §11.6).
func checkDeclaration(b []byte) *Error {
	// As a tag without its question marks it has the grammar of one.
	inner, ok := bytes.CutSuffix(b, []byte("?>"))
	inner, ok2 := bytes.CutPrefix(inner, []byte("<?"))
	if !ok || !ok2 {
		return notWellFormed("bad XML declaration")
	}
	p := parser{b: append(append([]byte("<"), inner...), "/>"...), limits: Limits{Attributes: 3}}
	var name Name
	var attrs []Attr
	_, _, err := p.openTag(&name, &attrs)
	if err != nil || p.pos != len(p.b) || name != (Name{Local: "xml"}) || len(p.scope) > 0 {
		return restricted("processing instruction, or bad XML declaration")
	}
	for i, a := range attrs {
		value := strings.ToLower(a.Value)
		switch {
		case a.Name.Local == "version" && i == 0 && value == "1.0":
		case a.Name.Local == "encoding" && i == 1 && value == "utf-8":
		case a.Name.Local == "encoding" && i == 1:
			return &Error{Condition: "unsupported-encoding", Detail: "encoding other than UTF-8"}
		case a.Name.Local == "standalone" && i > 0 && (value == "yes" || value == "no"):
		default:
			return notWellFormed("bad XML declaration")
		}
	}
	if len(attrs) == 0 {
		return notWellFormed("XML declaration without a version")
	}
	return nil
}
