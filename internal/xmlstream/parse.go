package xmlstream

import (
	"bytes"
	"slices"
	"strings"
	"sync"
)

const nsXML = "http://www.w3.org/XML/1998/namespace"
const nsXMLNS = "http://www.w3.org/2000/xmlns/"
const nsStream = "http://etherx.jabber.org/streams"

// A parser reads one complete item strictly. It is taken from the pool for one
// item and given back after it, so that its scope need not be allocated.
type parser struct {
	b   []byte
	pos int

	limits     Limits
	depth      int // of the tag that is read; 0 is a header
	elements   int
	attributes int
	// tree says whether children and texts are kept, or only checked.
	tree bool

	// kept holds all strings of the item one after the other: they are never
	// longer than what they were written as, so one allocation does.
	kept strings.Builder
	// scope holds the namespace declarations in force, innermost last.
	scope []binding
	// header is the outermost scope, that of the stream header.
	header map[string]string
}

type binding struct{ prefix, uri string }

var parsers = sync.Pool{New: func() any { return &parser{scope: make([]binding, 0, 8)} }}

// newParser returns a parser of b, which must not change while it works.
func newParser(b []byte, limits Limits, tree bool) *parser {
	p := parsers.Get().(*parser)
	p.b, p.limits, p.tree = b, limits, tree
	return p
}

// free gives the parser back. The scope was of one connection: nothing of it
// may be left for the next.
func (p *parser) free() {
	scope := p.scope[:0]
	clear(scope[:cap(scope)])
	*p = parser{scope: scope}
	parsers.Put(p)
}

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

// elementInto reads an element. It is only checked where e is nil.
func (p *parser) elementInto(e *Element, depth int) *Error {
	if depth > p.limits.Depth {
		return tooBig("elements nested too deeply")
	}
	if p.elements++; p.elements > p.limits.Elements {
		return tooBig("too many elements in one stanza")
	}
	outer := len(p.scope)
	p.depth = depth
	qname, empty, err := p.openTag(e)
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
	var text elementText
	for {
		if err := p.charData(&text); err != nil {
			return err
		}
		rest := p.b[p.pos:]
		switch {
		case len(rest) < 2:
			return notWellFormed("element without an end")
		case rest[1] == '/':
			if err := p.endTag(qname); err != nil {
				return err
			}
			if p.tree {
				e.Text = text.string(p)
			}
			return nil
		case rest[1] == '!':
			if err := p.cdata(&text); err != nil {
				return err
			}
		default:
			var child *Element
			if p.tree {
				child = new(Element)
				e.Children = append(e.Children, child)
			}
			if err := p.elementInto(child, depth+1); err != nil {
				return err
			}
		}
	}
}

// endTag reads "</name>". The name must be the one of the opening tag, as
// written (XML 1.0 §3).
func (p *parser) endTag(qname []byte) *Error {
	if !p.byte('<') || !p.byte('/') {
		return notWellFormed("end tag expected")
	}
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
	return nil
}

// openTag reads "<name attr='…'>" or "<name attr='…'/>", puts its namespace
// declarations in scope and resolves its names into e, where e is not nil. The
// name as written is returned for the comparison with the end tag.
func (p *parser) openTag(e *Element) (qname []byte, empty bool, err *Error) {
	if !p.byte('<') {
		return nil, false, notWellFormed("tag expected")
	}
	if qname, err = p.name(); err != nil {
		return nil, false, err
	}
	prefix, local, err := split(qname)
	if err != nil {
		return nil, false, err
	}
	var few [8]Attr
	attrs := few[:0]
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
		if p.attributes++; n == p.limits.Attributes || p.attributes > p.limits.Elements {
			return nil, false, tooBig("too many attributes")
		}
		prefix, local, value, err := p.attribute()
		switch {
		case err != nil:
		case string(prefix) == "xmlns":
			err = p.declare(local, value, own)
		case len(prefix) == 0 && string(local) == "xmlns":
			err = p.declare(nil, value, own)
		default:
			// Its namespace may be declared further on: until then the
			// prefix stands in for it.
			name := Name{Space: p.keep(prefix), Local: p.keep(local)}
			attrs = append(attrs, Attr{name, value})
		}
		if err != nil {
			return nil, false, err
		}
	}
	space, err := p.resolve(string(prefix))
	if err != nil {
		return nil, false, err
	}
	if space == nsStream && p.depth > 1 {
		// What reads on after us takes it for an event of the stream,
		// wherever it stands.
		return nil, false, &Error{Condition: "bad-format", Detail: "element of the stream inside a stanza"}
	}
	if err := p.resolveAttrs(attrs); err != nil {
		return nil, false, err
	}
	if e != nil {
		e.Name = Name{space, p.keep(local)}
		if len(attrs) > 0 {
			e.Attr = slices.Clone(attrs)
		}
	}
	return qname, empty, nil
}

// resolveAttrs replaces prefixes by namespaces. There is no default namespace
// for attributes.
func (p *parser) resolveAttrs(attrs []Attr) *Error {
	for i := range attrs {
		a := &attrs[i]
		if a.Name.Space != "" {
			space, err := p.resolve(a.Name.Space)
			if err != nil {
				return err
			}
			a.Name.Space = space
		}
		for _, before := range attrs[:i] {
			if before.Name == a.Name {
				return notWellFormed("attribute given twice")
			}
		}
	}
	return nil
}

func (p *parser) attribute() (prefix, local []byte, value string, err *Error) {
	qname, err := p.name()
	if err != nil {
		return nil, nil, "", err
	}
	if prefix, local, err = split(qname); err != nil {
		return nil, nil, "", err
	}
	p.space()
	if !p.byte('=') {
		return nil, nil, "", notWellFormed("attribute without a value")
	}
	p.space()
	if p.pos == len(p.b) {
		return nil, nil, "", notWellFormed("attribute without a value")
	}
	quote := p.b[p.pos]
	if quote != '\'' && quote != '"' {
		return nil, nil, "", notWellFormed("attribute value without quotes")
	}
	p.pos++
	end := bytes.IndexByte(p.b[p.pos:], quote)
	if end < 0 {
		return nil, nil, "", notWellFormed("attribute value without an end")
	}
	written := p.b[p.pos : p.pos+end]
	p.pos += end + 1
	if bytes.IndexByte(written, '<') >= 0 {
		return nil, nil, "", notWellFormed("'<' in an attribute value")
	}
	p.room(len(written))
	start := p.kept.Len()
	if err := appendText(&p.kept, written, asAttribute); err != nil {
		return nil, nil, "", err
	}
	return prefix, local, p.kept.String()[start:], nil
}

// declare puts a namespace declaration in scope (Namespaces in XML 1.0 §3).
// Those of the same element begin at p.scope[own].
func (p *parser) declare(prefix []byte, uri string, own int) *Error {
	name := p.keep(prefix)
	switch {
	case name == "xmlns", uri == nsXMLNS,
		(name == "xml") != (uri == nsXML),
		name != "" && uri == "":
		return notWellFormed("namespace declaration that XML does not allow")
	}
	for _, before := range p.scope[own:] {
		if before.prefix == name {
			return notWellFormed("attribute given twice")
		}
	}
	// Every name below looks through them.
	if len(p.scope) == p.limits.Attributes {
		return tooBig("too many namespaces in scope")
	}
	p.scope = append(p.scope, binding{name, uri})
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
func (p *parser) charData(text *elementText) *Error {
	end := bytes.IndexByte(p.b[p.pos:], '<')
	if end < 0 {
		return notWellFormed("element without an end")
	}
	run := p.b[p.pos : p.pos+end]
	p.pos += end
	if bytes.Contains(run, []byte("]]>")) {
		return notWellFormed("']]>' in text")
	}
	return text.append(p, run, asContent)
}

func (p *parser) cdata(text *elementText) *Error {
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
	return text.append(p, run, asCDATA)
}

// elementText gathers the runs of text inside one element.
type elementText struct {
	// start and end enclose it in parser.kept, as long as it is in one piece.
	start, end int
	// pieces holds it from the moment that a child's strings came between.
	pieces strings.Builder
}

func (t *elementText) append(p *parser, run []byte, kind textKind) *Error {
	if !p.tree {
		return appendText(nil, run, kind)
	}
	if t.start == t.end && t.pieces.Len() == 0 {
		t.start, t.end = p.kept.Len(), p.kept.Len()
	}
	if t.end == p.kept.Len() && t.pieces.Len() == 0 {
		p.room(len(run))
		err := appendText(&p.kept, run, kind)
		t.end = p.kept.Len()
		return err
	}
	if t.pieces.Len() == 0 {
		t.pieces.WriteString(p.kept.String()[t.start:t.end])
	}
	return appendText(&t.pieces, run, kind)
}

func (t *elementText) string(p *parser) string {
	if t.pieces.Len() > 0 {
		return t.pieces.String()
	}
	return p.kept.String()[t.start:t.end]
}

// keep copies b to where the item's strings are.
func (p *parser) keep(b []byte) string {
	p.room(len(b))
	start := p.kept.Len()
	p.kept.Write(b)
	return p.kept.String()[start:]
}

// room makes sure that n more bytes fit without those before being moved. For
// a tree all the room is made at the first call.
func (p *parser) room(n int) {
	if p.kept.Cap()-p.kept.Len() >= n {
		return
	}
	size := 256
	if p.tree {
		size = len(p.b)
	}
	p.kept = strings.Builder{} // its strings keep the old memory alive
	p.kept.Grow(max(n, size))
}

// name reads a name as it is written, prefix and all (XML 1.0 §2.3).
func (p *parser) name() ([]byte, *Error) {
	n := nameLen(p.b[p.pos:])
	if n == 0 {
		return nil, notWellFormed("name expected")
	}
	p.pos += n
	return p.b[p.pos-n : p.pos], nil
}

// split cuts a name at its colon (Namespaces in XML 1.0 §4).
func split(qname []byte) (prefix, local []byte, err *Error) {
	before, after, colon := bytes.Cut(qname, []byte(":"))
	if !colon {
		return nil, qname, nil
	}
	if len(before) == 0 || bytes.IndexByte(after, ':') >= 0 || nameLen(after) == 0 {
		return nil, nil, notWellFormed("bad name")
	}
	return before, after, nil
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
