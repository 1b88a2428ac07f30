package framing

import (
	"io"

	"gatehouse.im/gatehouse/internal/xmlstream"
)

// streamTag begins a stream header, which has no attribute yet.
const streamTag = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" + nsStream + "'"

// first reads once of the beginning of a message, up to its first tag, and
// makes what there is to return of it pending. Its error is the caller's.
func (d *Decoder) first() error {
	switch {
	case d.buf == nil:
		d.buf = messages.Get().(*[minHeld]byte)[:]
	case d.n == maxTag:
		d.fail(tooBig())
		return nil
	case d.n == len(d.buf):
		more := make([]byte, min(2*len(d.buf), maxTag))
		copy(more, d.buf)
		releaseMessage(d.buf, d.n)
		d.buf = more
	}
	n, err := d.msg.Read(d.buf[d.n:])
	d.n += n
	fault := d.begin()
	switch {
	case fault != nil:
		d.fail(fault)
	case err == io.EOF:
		d.ended()
	default:
		return err
	}
	return nil
}

// begin looks at what is new in buf.
func (d *Decoder) begin() *xmlstream.Error {
	for {
		b := d.buf[d.start:d.n]
		switch d.place {
		case beforeTag:
			tag := trimLeft(b)
			if d.start += len(b) - len(tag); len(tag) == 0 {
				return nil
			}
			if tag[0] != '<' {
				return notWellFormed("text outside of an element")
			}
			d.place = inTag
		case inTag:
			n, what, err := d.scan.Tag(b[d.seen:])
			d.seen += n
			switch what {
			case xmlstream.FoundNothing:
				return err
			case xmlstream.FoundOpeningTag:
				return d.opening(b[:d.seen], b[d.seen:])
			case xmlstream.FoundStreamEnd:
				return notWellFormed("end tag without an element")
			}
			if d.start > 0 {
				return notWellFormed("XML declaration that is not at the beginning")
			}
			if err := xmlstream.CheckDeclaration(b[:d.seen]); err != nil {
				return err
			}
			d.start, d.seen, d.place, d.scan = d.seen, 0, beforeTag, xmlstream.Scanner{}
		default: // inFraming
			n, what, err := d.scan.Element(b[d.seen:])
			if d.seen += n; what == xmlstream.FoundNothing {
				return err
			}
			end := b[d.tagEnd : d.seen-1]
			if string(trimRight(end)) != string(d.endTag) {
				return badFormat("<open/> or <close/> that is not empty")
			}
			return d.framed(b[d.seen:])
		}
	}
}

// opening reads the complete start tag of a message. rest is what is held
// behind it.
func (d *Decoder) opening(tag, rest []byte) *xmlstream.Error {
	var common headerAttributes
	var space []byte // the element's namespace, quoted, if the tag declares it
	name, attrs, empty, err := readTag(tag)
	if err != nil {
		return err
	}
	uses, has := string(name.prefix) == "stream", false // the prefix "stream"
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
		has = has || ok && string(declared) == "stream"
		if ok && string(declared) == string(name.prefix) {
			if space != nil {
				return notWellFormed("attribute given twice")
			}
			space = value
		}
		uses = uses || string(attr.prefix) == "stream"
	}
	framing := space != nil && string(unquoted(space)) == nsFraming
	switch string(name.local) {
	case "stream":
		return &xmlstream.Error{Condition: "invalid-namespace", Detail: "stream header in place of <open/>"}
	case "open", "close":
		if !framing {
			return &xmlstream.Error{Condition: "invalid-namespace", Detail: "<open/> or <close/> in another namespace"}
		}
		d.head = []byte("</stream:stream>")
		if string(name.local) == "open" {
			d.head = append(common.append([]byte(streamTag)), '>')
		} else if !d.open {
			return badFormat("<close/> outside of a stream")
		}
		d.open = string(name.local) == "open"
		if empty {
			return d.framed(rest)
		}
		d.scan.Enter()
		d.place, d.tagEnd, d.endTag = inFraming, d.seen, append([]byte("</"), name.whole...)
		return d.begin()
	}
	switch {
	case !d.open:
		return badFormat("element outside of a stream")
	case uses && !has:
		return notWellFormed("prefix without a namespace")
	}
	d.place = afterElement
	if !empty {
		d.scan.Enter()
		d.place = inElement
	}
	n, err := d.rest(rest)
	d.pending = d.buf[d.start : d.start+d.seen+n]
	return err
}

// framed makes what a complete <open/> or <close/> stands for pending. rest is
// what is held behind it.
func (d *Decoder) framed(rest []byte) *xmlstream.Error {
	d.place, d.pending = afterElement, d.head
	_, err := d.rest(rest)
	return err
}
