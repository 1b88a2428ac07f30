package framing

import (
	"io"

	"gatehouse.im/gatehouse/internal/xmlstream"
)

// A Decoder makes the bytes of a stream of messages; see the package's
// documentation. What a client sends by it is a stream header for each <open/>,
// an end tag for each <close/>, and one element for any other message.
type Decoder struct {
	next func() (io.Reader, error)
	scan xmlstream.Scanner
	err  error // what Read returns once pending is empty
	// open says that the last header was not followed by an end.
	open bool

	msg   io.Reader // nil between messages
	place place

	// buf holds the beginning of a message: buf[start:n], of which
	// buf[start:start+seen] was scanned. It is nil if nothing is held.
	buf            []byte
	start, seen, n int
	// head is what an <open> or <close> stands for. If it has an end tag, that
	// begins with endTag, and at tagEnd behind buf[start].
	head, endTag []byte
	tagEnd       int
	// pending is what Read returns next. It may be a part of buf.
	pending []byte
}

// place is where in a message a Decoder is.
type place uint8

const (
	beforeTag place = iota // white space and an XML declaration may come
	inTag
	inFraming // in what follows the tag of an <open> that is not empty
	inElement
	afterElement // only white space may come
)

// NewDecoder returns a Decoder. It calls next, which may block, for each
// message, and reads that up to its io.EOF before it calls next again.
func NewDecoder(next func() (io.Reader, error)) *Decoder { return &Decoder{next: next} }

// Read returns the next bytes of the stream. It blocks as next and the messages
// do, and returns their errors as they are, io.EOF from next among them; after
// one of them it can be called again and goes on where it was. An element is
// returned in pieces as it arrives, once its start tag is complete.
//
// A message that breaks the rules is an [*xmlstream.Error], with its condition
// in parentheses; what of it went before the fault is returned first. All later
// calls return the same error.
//
//   - half an element, two elements, text outside of the element, nothing at
//     all, an end tag, what an [xmlstream.Scanner] refuses (not-well-formed);
//   - comments, processing instructions, document types (restricted-xml);
//   - <stream:stream>, or <open/> and <close/> in another namespace than that of
//     RFC 7395 (invalid-namespace; §3.3.2 there);
//   - elements outside of a stream, <open/> that is not empty (bad-format);
//   - a start tag over 10 KiB (policy-violation).
//
// White space around the element is dropped, though a message must begin with
// '<' (§3.3.3), and so is an XML declaration, which is allowed.
func (d *Decoder) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if len(d.pending) > 0 {
			n := copy(p, d.pending)
			if d.pending = d.pending[n:]; len(d.pending) == 0 {
				d.done()
			}
			return n, nil
		}
		if d.err != nil {
			return 0, d.err
		}
		if d.msg == nil {
			msg, err := d.next()
			if err != nil {
				return 0, err
			}
			d.msg, d.place, d.scan = msg, beforeTag, xmlstream.Scanner{}
		}
		if d.place < inElement {
			if err := d.first(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := d.msg.Read(p)
		if n, err = d.took(p[:n], err); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, nil
}

// Open says whether the client has opened a stream, by what was read of its
// messages so far, and not closed it.
func (d *Decoder) Open() bool { return d.open }

// took judges bytes of a message behind its start tag, and the error of the
// read that they came with. It returns how many of them belong to the element,
// and what of the error is the caller's.
func (d *Decoder) took(b []byte, err error) (int, error) {
	n, fault := d.rest(b)
	switch {
	case fault != nil:
		d.fail(fault)
	case err == io.EOF:
		d.ended()
	default:
		return n, err
	}
	return n, nil
}

// rest returns how many bytes of b, which come behind the start tag, belong to
// the element.
func (d *Decoder) rest(b []byte) (n int, err *xmlstream.Error) {
	if d.place == inElement {
		var what xmlstream.Found
		if n, what, err = d.scan.Element(b); err != nil || what == xmlstream.FoundNothing {
			return n, err
		}
		d.place = afterElement
	}
	if len(trimLeft(b[n:])) > 0 {
		err = notWellFormed("more than one element in a message")
	}
	return n, err
}

// ended is for the end of a message.
func (d *Decoder) ended() {
	d.msg = nil
	if d.place != afterElement {
		d.fail(notWellFormed("message that is not a whole element"))
	}
}

func (d *Decoder) fail(err *xmlstream.Error) {
	d.err = err
	if len(d.pending) == 0 {
		d.done()
	}
}

// done gives the memory back.
func (d *Decoder) done() {
	if d.buf != nil {
		releaseMessage(d.buf, d.n)
	}
	d.buf, d.start, d.seen, d.n = nil, 0, 0, 0
	d.head, d.endTag, d.pending = nil, nil, nil
}
