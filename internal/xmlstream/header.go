package xmlstream

import (
	"bytes"
	"strings"
)

// maxDeclared bounds the memory, in bytes, of the namespaces that a header
// declares and of its name. A Reader keeps them as long as it lives; a client
// needs some 120.
const maxDeclared = 1024

// declarationSize is what one of them takes besides its strings.
const declarationSize = 32

// Header reads the opening tag of a stream, with the XML declaration that may
// stand before it, and one byte order mark before that. It blocks until the
// tag is complete. White space before the tag is skipped. Before a declaration
// it is an error (XML 1.0 §2.8), but not in a header that restarts the stream:
// there it may still belong to the stream before.
//
// Its errors are those of [Reader.Next].
func (r *Reader) Header() (*Header, error) {
	restart := r.declared != nil
	r.tag, r.declared = "", nil
	room := r.limits.Header
	skipped, err := r.skip(atBeginning, room)
	if err != nil {
		return nil, err
	}
	item, what, err := r.next(true, room)
	if err == nil && what == FoundDeclaration {
		if skipped && !restart {
			return nil, r.end(notWellFormed("XML declaration that is not at the beginning"))
		}
		if err := CheckDeclaration(item); err != nil {
			return nil, r.end(err)
		}
		room -= len(item)
		if _, err := r.skip(beforeHeader, room); err != nil {
			return nil, err
		}
		item, what, err = r.next(true, room)
	}
	if err != nil {
		return nil, err
	}
	if what != FoundOpeningTag {
		return nil, r.end(notWellFormed("stream header expected"))
	}
	h, perr := r.parseHeader(item)
	if perr != nil {
		return nil, r.end(perr)
	}
	r.declared = h.Declared
	r.wipe(item)
	return h, nil
}

func (r *Reader) parseHeader(item []byte) (*Header, *Error) {
	p := newParser(item, r.limits, true)
	defer p.free()
	var e Element
	qname, empty, err := p.openTag(&e)
	switch {
	case err != nil:
		return nil, err
	case p.pos != len(p.b):
		return nil, notWellFormed("stream header expected")
	case empty:
		return nil, notWellFormed("stream header that ends the stream")
	}
	h := &Header{Name: e.Name, Attr: e.Attr, Declared: make(map[string]string, len(p.scope))}
	// What the Reader keeps must not keep a long header alive.
	own := func(s string) string { return s }
	if len(item) > maxDeclared {
		own = strings.Clone
	}
	size := len(qname)
	for _, d := range p.scope {
		if size += declarationSize + len(d.prefix) + len(d.uri); size > maxDeclared {
			return nil, tooBig("too many namespaces in the stream header")
		}
		h.Declared[own(d.prefix)] = own(d.uri)
	}
	if size > maxDeclared {
		return nil, tooBig("too long name in the stream header")
	}
	r.tag = own(p.keep(qname))
	return h, nil
}

// CheckDeclaration reads an XML declaration (XML 1.0 §2.8): version 1.0 and,
// where there is an encoding, UTF-8 (RFC 6120 §11.6). b is all of what a
// [Scanner] has found to be a declaration, and may be written on.
func CheckDeclaration(b []byte) *Error {
	switch string(b) {
	case "<?xml version='1.0'?>", `<?xml version="1.0"?>`:
		return nil // as nearly all clients send it
	}
	if !bytes.HasPrefix(b, []byte("<?xml")) {
		return restricted("processing instruction")
	}
	// Without its first character and with a slash for the question mark at
	// the end it has the grammar of a tag.
	b[1], b[len(b)-2] = '<', '/'
	p := newParser(b[1:], Limits{Attributes: 3, Elements: 3}, true)
	defer p.free()
	var e Element
	_, _, err := p.openTag(&e)
	if err != nil || p.pos != len(p.b) || e.Name != (Name{Local: "xml"}) || len(p.scope) > 0 {
		return notWellFormed("bad XML declaration")
	}
	for i, a := range e.Attr {
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
	if len(e.Attr) == 0 {
		return notWellFormed("XML declaration without a version")
	}
	return nil
}
