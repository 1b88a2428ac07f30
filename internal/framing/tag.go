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
	// maxHeld bounds, in bytes, what an Encoder holds. No start tag of a stream
	// may be longer.
	maxHeld = 16384
	// maxTag bounds the start tag of a message, which is a stranger's, perhaps.
	maxTag = 10240
	// minHeld is what a Decoder has for the beginning of a message at first. A
	// login's messages fit.
	minHeld = 2048
	// maxScope bounds the declarations of a stream header, in bytes.
	maxScope = 1024
)

// A buffer is lent to an Encoder for as long as something is held. An element's
// first part and the declarations that are put into it fit.
type buffer [maxHeld + maxScope]byte

var (
	buffers  = sync.Pool{New: func() any { return new(buffer) }}
	messages = sync.Pool{New: func() any { return new([minHeld]byte) }}
)

// release gives a buffer back, cleared of what it held in its first used bytes:
// a password, perhaps.
func release(b *buffer, used int) {
	clear(b[:used])
	buffers.Put(b)
}

// releaseMessage does the same for the beginning of a message. What is larger
// than usual is not kept.
func releaseMessage(b []byte, used int) {
	clear(b[:used])
	if len(b) == minHeld {
		messages.Put((*[minHeld]byte)(b))
	}
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

// A qname is a name with its prefix, which may be empty.
type qname struct{ whole, prefix, local []byte }

// newQname cuts a name at its colon (Namespaces in XML 1.0 §4). Of characters it
// refuses those at which a parser would cut the tag in other places.
func newQname(name []byte) (qname, *xmlstream.Error) {
	colon := -1
	for i, c := range name {
		switch c {
		case ' ', '\t', '\r', '\n', '\'', '"', '=', '/', '>':
			return qname{}, notWellFormed("bad name")
		case ':':
			if colon >= 0 {
				return qname{}, notWellFormed("bad name")
			}
			colon = i
		}
	}
	if colon == 0 || colon == len(name)-1 { // which is -1 if there is no name
		return qname{}, notWellFormed("bad name")
	}
	return qname{name, name[:max(colon, 0)], name[colon+1:]}, nil
}

// readTag returns the element's name, a tagReader of the attributes, and
// whether it is an empty tag.
func readTag(tag []byte) (name qname, attrs tagReader, empty bool, err *xmlstream.Error) {
	inner := tag[1 : len(tag)-1]
	if empty = inner[len(inner)-1] == '/'; empty {
		inner = inner[:len(inner)-1]
	}
	end := 0
	for end < len(inner) && !isSpace(inner[end]) {
		end++
	}
	name, err = newQname(inner[:end])
	return name, tagReader{inner[end:]}, empty, err
}

// next returns the next attribute, its value with the quotes; ok is false where
// there is none.
func (t *tagReader) next() (name qname, value []byte, ok bool, err *xmlstream.Error) {
	rest := trimLeft(t.rest)
	if len(rest) == 0 {
		return qname{}, nil, false, nil
	}
	if len(rest) == len(t.rest) {
		return qname{}, nil, false, notWellFormed("white space missing before an attribute")
	}
	written, rest, found := bytes.Cut(rest, []byte("="))
	if !found {
		return qname{}, nil, false, notWellFormed("attribute without a value")
	}
	if name, err = newQname(trimRight(written)); err != nil {
		return qname{}, nil, false, err
	}
	rest = trimLeft(rest)
	if len(rest) == 0 || rest[0] != '\'' && rest[0] != '"' {
		return qname{}, nil, false, notWellFormed("attribute value without quotes")
	}
	// Where names have no quotes, values end where they did for the Scanner.
	end := bytes.IndexByte(rest[1:], rest[0])
	value, t.rest = rest[:end+2], rest[end+2:]
	return name, value, true, nil
}

// declares reports whether an attribute is a namespace declaration, and for
// which prefix; for the default namespace it is empty.
func (n qname) declares() (prefix []byte, ok bool) {
	if string(n.whole) == "xmlns" {
		return nil, true
	}
	return n.local, string(n.prefix) == "xmlns"
}

// unquoted takes the quotes off an attribute's value. References stay as they
// are: a namespace that is written with them is none that we know.
func unquoted(value []byte) []byte { return value[1 : len(value)-1] }

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func trimLeft(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	return b
}

func trimRight(b []byte) []byte {
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// headerAttributes are those that <open/> and a stream header have in common
// (RFC 7395 §3.4, RFC 6120 §4.7).
type headerAttributes struct {
	from, to, id, version, lang []byte // with their quotes
}

// set keeps the attribute if it is one of them.
func (h *headerAttributes) set(name qname, value []byte) *xmlstream.Error {
	var field *[]byte
	switch string(name.whole) {
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
