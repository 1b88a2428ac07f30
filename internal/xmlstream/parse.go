package xmlstream

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

const nsXML = "http://www.w3.org/XML/1998/namespace"
const nsXMLNS = "http://www.w3.org/2000/xmlns/"

// A parser reads one complete item strictly. It is made for one item and
// thrown away.
type parser struct {
	b   []byte
	pos int

	limits   Limits
	elements int
	// tree says whether children and texts are kept, or only checked.
	tree bool

	// scope holds the namespace declarations in force, innermost last.
	scope []binding
	// header is the outermost scope, that of the stream header.
	header map[string]string
}

type binding struct{ prefix, uri string }

// rawAttr is an attribute before its prefix is resolved.
type rawAttr struct{ prefix, local, value string }

// element reads one element and demands that nothing follows it.
func (p *parser) element() (*Element, *Error) {
	e := new(Element)
	if err := p.elementInto(e, 1); err != nil {
		return nil, err
	}
	if p.pos != len(p.b) {
		return nil, notWellFormed("text after an element")
	}
	return e, nil
}

func (p *parser) elementInto(e *Element, depth int) *Error {
	if depth > p.limits.Depth {
		return tooBig("elements nested too deeply")
	}
	if p.elements++; p.elements > p.limits.Elements {
		return tooBig("too many elements in one stanza")
	}
	outer := len(p.scope)
	qname, empty, err := p.openTag(&e.Name, &e.Attr)
	if err != nil {
		return err
	}
	if !empty {
		if err := p.content(e, depth, qname); err != nil {
			return err
		}
	}
	p.scope = p.scope[:outer]
	return nil
}

// content reads up to and with the end tag that closes the element qname.
func (p *parser) content(e *Element, depth int, qname []byte) *Error {
	var text strings.Builder
	for {
		if err := p.charData(&text); err != nil {
			return err
		}
		rest := p.b[p.pos:]
		switch {
		case len(rest) < 2:
			return notWellFormed("element without an end")
		case rest[1] == '/':
			p.pos += 2
			name, err := p.name()
			if err != nil {
				return err
			}
			p.space()
			if !bytes.Equal(name, qname) {
				return notWellFormed("end tag of another element")
			}
			if !p.byte('>') {
				return notWellFormed("bad end tag")
			}
			e.Text = text.String()
			return nil
		case rest[1] == '!':
			if err := p.cdata(&text); err != nil {
				return err
			}
		default:
			var child Element
			if err := p.elementInto(&child, depth+1); err != nil {
				return err
			}
			if p.tree {
				e.Children = append(e.Children, &child)
			}
		}
	}
}

// openTag reads "<name attr='…'>" or "<name attr='…'/>", puts its namespace
// declarations in scope and resolves its names. The name as written is
// returned for the comparison with the end tag.
func (p *parser) openTag(name *Name, attrs *[]Attr) (qname []byte, empty bool, err *Error) {
	if !p.byte('<') {
		return nil, false, notWellFormed("tag expected")
	}
	if qname, err = p.name(); err != nil {
		return nil, false, err
	}
	var raw []rawAttr
	own := len(p.scope)
	for n := 0; ; n++ {
		spaced := p.space()
		if p.byte('>') {
			break
		}
		if p.byte('/') {
			if !p.byte('>') {
				return nil, false, notWellFormed("'/' inside a tag")
			}
			empty = true
			break
		}
		if !spaced {
			return nil, false, notWellFormed("white space missing before an attribute")
		}
		if n == p.limits.Attributes {
			return nil, false, tooBig("too many attributes")
		}
		a, err := p.attribute()
		if err != nil {
			return nil, false, err
		}
		if a.prefix == "xmlns" || a.prefix == "" && a.local == "xmlns" {
			if err := p.declare(a, own); err != nil {
				return nil, false, err
			}
			continue
		}
		raw = append(raw, a)
	}
	prefix, local, err := split(qname)
	if err != nil {
		return nil, false, err
	}
	if name.Space, err = p.resolve(prefix); err != nil {
		return nil, false, err
	}
	name.Local = local
	*attrs, err = p.resolveAttrs(raw)
	return qname, empty, err
}

func (p *parser) resolveAttrs(raw []rawAttr) ([]Attr, *Error) {
	if len(raw) == 0 {
		return nil, nil
	}
	attrs := make([]Attr, len(raw))
	for i, r := range raw {
		a := Attr{Name: Name{Local: r.local}, Value: r.value}
		if r.prefix != "" { // no default namespace for attributes
			space, err := p.resolve(r.prefix)
			if err != nil {
				return nil, err
			}
			a.Name.Space = space
		}
		for _, before := range attrs[:i] {
			if before.Name == a.Name {
				return nil, notWellFormed("attribute given twice")
			}
		}
		attrs[i] = a
	}
	return attrs, nil
}

func (p *parser) attribute() (a rawAttr, err *Error) {
	qname, err := p.name()
	if err != nil {
		return a, err
	}
	if a.prefix, a.local, err = split(qname); err != nil {
		return a, err
	}
	p.space()
	if !p.byte('=') {
		return a, notWellFormed("attribute without a value")
	}
	p.space()
	if p.pos == len(p.b) {
		return a, notWellFormed("attribute without a value")
	}
	quote := p.b[p.pos]
	if quote != '\'' && quote != '"' {
		return a, notWellFormed("attribute value without quotes")
	}
	p.pos++
	end := bytes.IndexByte(p.b[p.pos:], quote)
	if end < 0 {
		return a, notWellFormed("attribute value without an end")
	}
	value := p.b[p.pos : p.pos+end]
	p.pos += end + 1
	if bytes.IndexByte(value, '<') >= 0 {
		return a, notWellFormed("'<' in an attribute value")
	}
	var text strings.Builder
	if err := appendText(&text, value, true); err != nil {
		return a, err
	}
	a.value = text.String()
	return a, nil
}

// declare puts a namespace declaration in scope (Namespaces in XML 1.0 §3).
// Those of the same element begin at p.scope[own].
func (p *parser) declare(a rawAttr, own int) *Error {
	prefix := a.local
	if a.prefix == "" {
		prefix = ""
	}
	switch {
	case prefix == "xmlns", a.value == nsXMLNS,
		(prefix == "xml") != (a.value == nsXML),
		prefix != "" && a.value == "":
		return notWellFormed("namespace declaration that XML does not allow")
	}
	for _, before := range p.scope[own:] {
		if before.prefix == prefix {
			return notWellFormed("attribute given twice")
		}
	}
	p.scope = append(p.scope, binding{prefix, a.value})
	return nil
}

func (p *parser) resolve(prefix string) (string, *Error) {
	for i := len(p.scope) - 1; i >= 0; i-- {
		if p.scope[i].prefix == prefix {
			return p.scope[i].uri, nil
		}
	}
	if uri, ok := p.header[prefix]; ok {
		return uri, nil
	}
	switch prefix {
	case "":
		return "", nil
	case "xml":
		return nsXML, nil
	}
	return "", notWellFormed("prefix without a namespace")
}

// charData reads text up to the next '<'.
func (p *parser) charData(text *strings.Builder) *Error {
	end := bytes.IndexByte(p.b[p.pos:], '<')
	if end < 0 {
		return notWellFormed("element without an end")
	}
	run := p.b[p.pos : p.pos+end]
	p.pos += end
	if bytes.Contains(run, []byte("]]>")) {
		return notWellFormed("']]>' in text")
	}
	return p.text(text, run)
}

func (p *parser) cdata(text *strings.Builder) *Error {
	const open = "<![CDATA["
	if !bytes.HasPrefix(p.b[p.pos:], []byte(open)) {
		return restricted("comment or document type")
	}
	p.pos += len(open)
	end := bytes.Index(p.b[p.pos:], []byte("]]>"))
	if end < 0 {
		return notWellFormed("CDATA section without an end")
	}
	run := p.b[p.pos : p.pos+end]
	p.pos += end + 3
	if err := checkChars(run); err != nil {
		return err
	}
	if p.tree {
		text.Write(run)
	}
	return nil
}

func (p *parser) text(text *strings.Builder, run []byte) *Error {
	if !p.tree {
		text = nil
	}
	return appendText(text, run, false)
}

// name reads a name as it is written, prefix and all (XML 1.0 §2.3).
func (p *parser) name() ([]byte, *Error) {
	start := p.pos
	for p.pos < len(p.b) {
		c := p.b[p.pos]
		if c < utf8.RuneSelf {
			if !asciiName[c] || p.pos == start && !asciiNameStart(c) {
				break
			}
			p.pos++
			continue
		}
		r, size := utf8.DecodeRune(p.b[p.pos:])
		if !isNameRune(r, size) {
			break
		}
		p.pos += size
	}
	if p.pos == start {
		return nil, notWellFormed("name expected")
	}
	return p.b[start:p.pos], nil
}

// split cuts a name at its colon (Namespaces in XML 1.0 §4).
func split(qname []byte) (prefix, local string, err *Error) {
	before, after, colon := bytes.Cut(qname, []byte(":"))
	if !colon {
		return "", intern(qname), nil
	}
	if len(before) == 0 || len(after) == 0 || bytes.IndexByte(after, ':') >= 0 ||
		after[0] < utf8.RuneSelf && !asciiNameStart(after[0]) {
		return "", "", notWellFormed("bad name")
	}
	return intern(before), intern(after), nil
}

// intern spares an allocation for the names that every login has.
func intern(b []byte) string {
	switch string(b) {
	case "stream":
		return "stream"
	case "xmlns":
		return "xmlns"
	case "to":
		return "to"
	case "version":
		return "version"
	case "xml":
		return "xml"
	case "lang":
		return "lang"
	case "auth":
		return "auth"
	case "mechanism":
		return "mechanism"
	case "iq":
		return "iq"
	case "id":
		return "id"
	case "type":
		return "type"
	case "from":
		return "from"
	case "starttls":
		return "starttls"
	}
	return string(b)
}

// space skips white space and reports whether there was any.
func (p *parser) space() bool {
	start := p.pos
	for p.pos < len(p.b) && isSpace(p.b[p.pos]) {
		p.pos++
	}
	return p.pos > start
}

func (p *parser) byte(c byte) bool {
	if p.pos < len(p.b) && p.b[p.pos] == c {
		p.pos++
		return true
	}
	return false
}
