package xmlstream

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

// Limits bounds what a [Reader] takes from the other side. Every field must
// be set.
type Limits struct {
	Header     int // bytes of the XML declaration and the header's opening tag
	Stanza     int // bytes of a top-level element
	Total      int // bytes of everything read; 0 is no limit
	Depth      int // nesting of elements in a stanza
	Elements   int // elements of a stanza; also attributes of a stanza in all
	Attributes int // attributes of an element; also namespaces in scope
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
	bound   Scanner

	tag      string // the header's name as written, for the end tag
	declared map[string]string
	// ended is what every later call returns: an *Error, or io.EOF.
	ended error
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
// What was held is dropped: ask [Reader.Buffered] before. What was read still
// counts towards Limits.Total.
func (r *Reader) Reset(src io.Reader) {
	r.release()
	*r = Reader{src: src, limits: r.limits, total: r.total, idle: r.idle}
}

// SetLimits replaces the limits; Total counts from the beginning all the same.
// idle says that from now on the other side may be silent for long, so that
// memory matters more than a second read.
func (r *Reader) SetLimits(l Limits, idle bool) { r.limits, r.idle = l, idle }

// Buffered returns how many bytes are held that no call has returned yet.
func (r *Reader) Buffered() int { return len(r.buf) - r.start }

// Rest returns the bytes that are held, and gives them up: whoever goes on with
// the source has to begin with them. The Reader must not be read any more.
func (r *Reader) Rest() []byte {
	rest := bytes.Clone(r.buf[r.start:])
	r.release()
	return rest
}

// SkipSpace drops white space that is held. It reads nothing.
func (r *Reader) SkipSpace() {
	for r.start < len(r.buf) && isSpace(r.buf[r.start]) {
		r.start++
	}
}

// Declared returns the namespaces that the current stream's header declared,
// by prefix. The map is the Reader's own.
func (r *Reader) Declared() map[string]string { return r.declared }

// Next reads one top-level element and returns it as a tree. Text between
// elements is skipped, as Prosody does, if it is ASCII. It blocks until the
// element is complete.
//
// It returns io.EOF where the other side ended the stream by </stream:stream>,
// io.ErrUnexpectedEOF where it just closed the connection, an [*Error] where it
// broke the rules, and the source's own errors as they are. After one of the
// last kind, a deadline perhaps, Next may be called again and goes on where it
// was; io.EOF and an *Error come again with every call.
//
// The strings of a tree share one piece of memory: clone what is kept long.
func (r *Reader) Next() (*Element, error) {
	item, e, err := r.read(true)
	r.wipe(item)
	return e, err
}

// NextRaw is like [Reader.Next], but returns the element's bytes, checked,
// and its opening tag alone. The bytes are valid until the next call.
func (r *Reader) NextRaw() ([]byte, *Element, error) {
	return r.read(false)
}

func (r *Reader) read(tree bool) ([]byte, *Element, error) {
	if _, err := r.skip(beforeElement, r.limits.Stanza); err != nil {
		return nil, nil, err
	}
	item, what, err := r.next(false, r.limits.Stanza)
	if err != nil {
		return nil, nil, err
	}
	p := newParser(item, r.limits, tree)
	defer p.free()
	p.header = r.declared
	if what == FoundStreamEnd {
		if err := p.endTag([]byte(r.tag)); err != nil {
			return nil, nil, r.end(err)
		}
		return nil, nil, r.end(io.EOF)
	}
	e, perr := p.element()
	if perr != nil {
		return nil, nil, r.end(perr)
	}
	return item, e, nil
}

const byteOrderMark = "\xef\xbb\xbf"

// place says what is expected next, and so what may stand before it.
type place uint8

const (
	beforeElement place = iota // text
	beforeHeader               // white space
	atBeginning                // one byte order mark, white space
)

// skip drops what stands before the '<' of the next item, and reports whether
// there was text or white space. What cannot be XML is refused without waiting
// for more.
func (r *Reader) skip(at place, limit int) (skipped bool, err error) {
	if r.ended != nil {
		return false, r.ended
	}
	for {
		if at == atBeginning && r.Buffered() > 0 {
			b := r.buf[r.start:]
			seen := b[:min(len(b), len(byteOrderMark))]
			switch {
			case !strings.HasPrefix(byteOrderMark, string(seen)):
				at = beforeHeader
			case len(seen) == len(byteOrderMark):
				r.start += len(byteOrderMark)
				at = beforeHeader
			}
		}
		if at != atBeginning {
			for _, c := range r.buf[r.start:] {
				switch {
				case c == '<':
					return skipped, nil
				case isSpace(c):
				case at == beforeHeader:
					return false, r.end(notWellFormed("stream header expected"))
				case c < ' ', c >= utf8.RuneSelf, c == '&':
					return false, r.end(notWellFormed("text between elements"))
				}
				r.start++
				skipped = true
			}
		}
		if err := r.fill(limit); err != nil {
			return false, err
		}
	}
}

// next returns the bytes of the next item, of which the '<' is held already.
// They are valid until the next call.
func (r *Reader) next(header bool, limit int) ([]byte, Found, error) {
	for {
		n, what, err := r.bound.scan(r.buf[r.start+r.scanned:], header)
		r.scanned += n
		switch {
		case r.scanned > limit, r.scanned == limit && what == FoundNothing:
			return nil, 0, r.end(tooBig("stanza over the size limit"))
		case err != nil:
			return nil, 0, r.end(err)
		case what != FoundNothing:
			item := r.buf[r.start : r.start+r.scanned]
			r.start, r.scanned, r.bound = r.start+r.scanned, 0, Scanner{}
			return item, what, nil
		}
		if err := r.fill(limit); err != nil {
			return nil, 0, err
		}
	}
}

// end makes err the answer to every later call.
func (r *Reader) end(err error) error {
	r.ended = err
	return err
}
