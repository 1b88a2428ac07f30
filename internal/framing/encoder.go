package framing

import (
	"bytes"
	"io"

	"gatehouse.im/gatehouse/internal/xmlstream"
)

// An Encoder makes messages of the bytes of a stream; see the package's
// documentation for what they look like. After a stream header that restarts
// the stream it goes on with another <open/>.
type Encoder struct {
	next func() (io.WriteCloser, error)
	scan xmlstream.Scanner
	err  error // what every later Write returns

	// buf holds an item, or what of it is not written yet: buf[:n]. It is nil
	// between items.
	buf *buffer
	n   int
	// inside says that the start tag of an element was read. The next fields
	// are for the rest of the element.
	inside bool
	name   int            // where its name ends in buf
	msg    io.WriteCloser // nil as long as all of it is in buf

	declared bool // an XML declaration was read: a header must follow
	// header is the name of the stream's header, for its end tag. It is empty
	// while there is no stream.
	header []byte
	// scope is what the header declares. An element that stands alone must not
	// miss it.
	scope []declaration
}

// A declaration is one of a namespace by a stream header.
type declaration struct {
	prefix []byte // with the colon; empty for the default namespace
	text   []byte // " xmlns:prefix='…'"
	own    bool   // the element at hand has one of its own
}

// name is the prefix without the colon.
func (d declaration) name() []byte { return bytes.TrimSuffix(d.prefix, []byte(":")) }

// NewEncoder returns an Encoder. It calls next to begin a message, which Close
// ends; a message has ended before the next one begins.
func NewEncoder(next func() (io.WriteCloser, error)) *Encoder { return &Encoder{next: next} }

// Write takes the next bytes of the stream. All elements that are complete with
// them have been sent when it returns, each by a single Write, if it is not
// longer than 16 KiB, and a Close. Of an element that is not complete up to
// 16 KiB are kept back: a message is of no use to its receiver before its end.
// White space between elements is dropped.
//
// Bytes that are no stream are an [*xmlstream.Error]: anything else between
// elements, an element outside of a stream, a start tag over 16 KiB. Errors of
// next and of the message are returned as they are. After an error the message
// that was begun, if any, can not be completed: the connection must be closed.
// Every later call returns the same error.
func (e *Encoder) Write(p []byte) (int, error) {
	for used := 0; used < len(p) && e.err == nil; {
		n, err := e.write(p[used:])
		used += n
		if e.err = err; err != nil {
			e.done()
			return used, err
		}
	}
	if e.err != nil {
		return 0, e.err
	}
	return len(p), nil
}

// write takes bytes of one item, or white space before it.
func (e *Encoder) write(b []byte) (int, error) {
	if e.buf == nil {
		if isSpace(b[0]) {
			return 1, nil
		}
		if b[0] != '<' {
			return 0, notWellFormed("text between elements")
		}
		e.buf, e.scan = buffers.Get().(*buffer), xmlstream.Scanner{}
	}
	if !e.inside {
		return e.tag(b)
	}
	n, what, serr := e.scan.Element(b)
	if serr != nil {
		return n, serr
	}
	if err := e.add(b[:n]); err != nil || what == xmlstream.FoundNothing {
		return n, err
	}
	return n, e.send()
}

// tag takes bytes of an item's first tag.
func (e *Encoder) tag(b []byte) (int, error) {
	n, what, serr := e.scan.Tag(b)
	if serr != nil {
		return n, serr
	}
	if e.n+n > maxHeld {
		return 0, tooBig()
	}
	e.n += copy(e.buf[e.n:], b[:n])
	tag := e.buf[:e.n]
	switch what {
	case xmlstream.FoundDeclaration:
		if err := xmlstream.CheckDeclaration(tag); err != nil {
			return n, err
		}
		e.declared = true
		e.done()
	case xmlstream.FoundOpeningTag:
		if err := e.opening(tag); err != nil {
			return n, err
		}
	case xmlstream.FoundStreamEnd:
		if err := e.streamEnd(tag); err != nil {
			return n, err
		}
	}
	return n, nil
}

// opening reads a complete start tag at the level of the stream.
func (e *Encoder) opening(tag []byte) error {
	name, attrs, empty, err := readTag(tag)
	switch {
	case err != nil:
		return err
	case string(name.local) == "stream" && empty:
		return notWellFormed("stream header that ends the stream")
	case string(name.local) == "stream":
		return e.streamHeader(name, attrs)
	}
	if len(e.header) == 0 || e.declared {
		return badFormat("stream header expected")
	}
	for i := range e.scope {
		e.scope[i].own = false
	}
	for {
		attr, _, more, err := attrs.next()
		switch {
		case err != nil:
			return err
		case !more:
			e.inside, e.name = true, 1+len(name.whole)
			if empty {
				return e.send()
			}
			e.scan.Enter()
			return nil
		}
		prefix, ok := attr.declares()
		for i := range e.scope {
			d := &e.scope[i]
			d.own = d.own || ok && string(d.name()) == string(prefix)
		}
	}
}

// streamHeader makes <open/> of a stream header (RFC 7395 §3.4).
func (e *Encoder) streamHeader(name qname, attrs tagReader) error {
	var common headerAttributes
	ours, size := false, 0
	e.scope, e.declared = nil, false
	for {
		attr, value, more, err := attrs.next()
		if err == nil {
			err = common.set(attr, value)
		}
		if err != nil {
			return err
		}
		if !more {
			break
		}
		declared, ok := attr.declares()
		if !ok {
			continue
		}
		if string(declared) == string(name.prefix) && string(unquoted(value)) == nsStream {
			ours = true
		}
		for _, before := range e.scope {
			if string(before.name()) == string(declared) {
				return notWellFormed("attribute given twice")
			}
		}
		d := declaration{text: bytes.Join([][]byte{[]byte(" "), attr.whole, []byte("="), value}, nil)}
		if len(declared) > 0 {
			d.prefix = append(bytes.Clone(declared), ':')
		}
		if size += len(d.text); size > maxScope {
			return tooBig()
		}
		e.scope = append(e.scope, d)
	}
	if !ours {
		return &xmlstream.Error{Condition: "invalid-namespace", Detail: "stream header in another namespace"}
	}
	e.header = bytes.Clone(name.whole)
	open := common.append([]byte("<open xmlns='" + nsFraming + "'"))
	e.done() // common is in buf
	return e.whole(append(open, "/>"...))
}

// streamEnd makes <close/> of the end tag of a stream (RFC 7395 §3.6).
func (e *Encoder) streamEnd(tag []byte) error {
	name := trimRight(tag[2 : len(tag)-1])
	if e.declared || len(e.header) == 0 || string(name) != string(e.header) {
		return notWellFormed("end tag of another element")
	}
	e.header, e.scope = nil, nil
	e.done()
	return e.whole([]byte("<close xmlns='" + nsFraming + "'/>"))
}

// add takes bytes of an element behind its start tag.
func (e *Encoder) add(b []byte) error {
	for len(b) > 0 {
		if e.n == maxHeld {
			if err := e.flush(); err != nil {
				return err
			}
		}
		n := copy(e.buf[e.n:maxHeld], b)
		e.n, b = e.n+n, b[n:]
	}
	return nil
}

// send ends the element whose last bytes are in buf.
func (e *Encoder) send() error {
	if e.msg == nil {
		e.declare(false)
		err := e.whole(e.buf[:e.n])
		e.done()
		return err
	}
	_, err := e.msg.Write(e.buf[:e.n])
	if err == nil {
		err = e.msg.Close()
	}
	e.done()
	return err
}

// flush writes what there is of an element that does not fit in buf.
func (e *Encoder) flush() error {
	if e.msg == nil {
		e.declare(true)
		msg, err := e.next()
		if err != nil {
			return err
		}
		e.msg = msg
	}
	_, err := e.msg.Write(e.buf[:e.n])
	clear(e.buf[:e.n])
	e.n = 0
	return err
}

// declare puts into the start tag what it needs of the header's declarations:
// prefixes only where they are used, or where what follows may use them.
func (e *Encoder) declare(all bool) {
	var room [maxScope]byte
	text := room[:0]
	for _, d := range e.scope {
		if !d.own && (all || len(d.prefix) == 0 || bytes.Contains(e.buf[:e.n], d.prefix)) {
			text = append(text, d.text...)
		}
	}
	copy(e.buf[e.name+len(text):], e.buf[e.name:e.n])
	copy(e.buf[e.name:], text)
	e.n += len(text)
}

// whole sends b as a message.
func (e *Encoder) whole(b []byte) error {
	msg, err := e.next()
	if err != nil {
		return err
	}
	if _, err := msg.Write(b); err != nil {
		return err
	}
	return msg.Close()
}

// done ends an item and gives back its memory.
func (e *Encoder) done() {
	if e.buf != nil {
		release(e.buf, e.n)
	}
	e.buf, e.n, e.inside, e.msg = nil, 0, false, nil
}
