package framing

import (
	"bytes"
	"sync"

	"gatehouse.im/gatehouse/internal/xmlstream"
)

const (
	nsFraming = "urn:ietf:params:xml:ns:xmpp-framing"
	nsStream  = "http://etherx.jabber.org/streams"
)

const (
	// maxHeld bounds, in bytes, what an Encoder or Decoder holds. No start tag
	// of a message or stream may be longer.
	maxHeld = 16384
	// maxScope bounds the declarations of a stream header, in bytes.
	maxScope = 1024
)

// A buffer is lent for as long as something is held. An element's first part
// and the declarations that are put into it fit.
type buffer [maxHeld + maxScope]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// release gives a buffer back, cleared of what it held in its first used bytes:
// a password, perhaps.
func release(b *buffer, used int) {
	clear(b[:used])
	buffers.Put(b)
}

func notWellFormed(detail string) *xmlstream.Error {
	return &xmlstream.Error{Condition: "not-well-formed", Detail: detail}
}

func badFormat(detail string) *xmlstream.Error {
	return &xmlstream.Error{Condition: "bad-format", Detail: detail}
}

func tooBig() *xmlstream.Error {
	return &xmlstream.Error{Condition: "policy-violation", TooBig: true, Detail: "start tag over the size limit"}
}

// A tagReader reads a start tag that an [xmlstream.Scanner] has found complete,
// from '<' to '>'. All it returns are parts of the tag, as written.
type tagReader struct{ rest []byte }

// readTag returns the element's name, prefix and all, and a tagReader of the
// attributes.
func readTag(tag []byte) (name []byte, attrs tagReader, empty bool) {
	inner := tag[1 : len(tag)-1]
	if empty = inner[len(inner)-1] == '/'; empty {
		inner = inner[:len(inner)-1]
	}
	end := bytes.IndexFunc(inner, isSpace)
	if end < 0 {
		end = len(inner)
	}
	return inner[:end], tagReader{inner[end:]}, empty
}

// next returns the next attribute, its value with the quotes. The name is empty
// where there is none.
func (t *tagReader) next() (name, value []byte, err *xmlstream.Error) {
	rest := bytes.TrimLeftFunc(t.rest, isSpace)
	if len(rest) == 0 {
		return nil, nil, nil
	}
	if len(rest) == len(t.rest) {
		return nil, nil, notWellFormed("white space missing before an attribute")
	}
	name, rest, found := bytes.Cut(rest, []byte("="))
	name = bytes.TrimRightFunc(name, isSpace)
	rest = bytes.TrimLeftFunc(rest, isSpace)
	if !found || len(name) == 0 || bytes.ContainsAny(name, " \t\r\n'\"") {
		return nil, nil, notWellFormed("attribute without a value")
	}
	if len(rest) == 0 || rest[0] != '\'' && rest[0] != '"' {
		return nil, nil, notWellFormed("attribute value without quotes")
	}
	end := bytes.IndexByte(rest[1:], rest[0])
	if end < 0 {
		return nil, nil, notWellFormed("attribute value without an end")
	}
	value, t.rest = rest[:end+2], rest[end+2:]
	return name, value, nil
}

// split cuts a name at its colon.
func split(name []byte) (prefix, local []byte) {
	if before, after, ok := bytes.Cut(name, []byte(":")); ok {
		return before, after
	}
	return nil, name
}

// declares reports whether an attribute is a namespace declaration, and for
// which prefix; for the default namespace it is empty.
func declares(name []byte) (prefix []byte, ok bool) {
	if string(name) == "xmlns" {
		return nil, true
	}
	return bytes.CutPrefix(name, []byte("xmlns:"))
}

// unquoted takes the quotes off an attribute's value. References stay as they
// are: a namespace that is written with them is none that we know.
func unquoted(value []byte) []byte { return value[1 : len(value)-1] }

func isSpace(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' }

// headerAttributes are those that <open/> and a stream header have in common
// (RFC 7395 §3.4, RFC 6120 §4.7).
type headerAttributes struct {
	from, to, id, version, lang []byte // with their quotes
}

// set keeps the attribute if it is one of them.
func (h *headerAttributes) set(name, value []byte) *xmlstream.Error {
	var field *[]byte
	switch string(name) {
	case "from":
		field = &h.from
	case "to":
		field = &h.to
	case "id":
		field = &h.id
	case "version":
		field = &h.version
	case "xml:lang":
		field = &h.lang
	default:
		return nil
	}
	if *field != nil {
		return notWellFormed("attribute given twice")
	}
	*field = value
	return nil
}

// append writes them, with a space before each.
func (h *headerAttributes) append(b []byte) []byte {
	for _, a := range [...]struct {
		name  string
		value []byte
	}{{" from=", h.from}, {" to=", h.to}, {" id=", h.id}, {" version=", h.version}, {" xml:lang=", h.lang}} {
		if a.value != nil {
			b = append(append(b, a.name...), a.value...)
		}
	}
	return b
}
