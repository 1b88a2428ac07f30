package xmpptest

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// Namespaces that tests of a client port meet all the time.
const (
	NSStream  = "http://etherx.jabber.org/streams"
	NSClient  = "jabber:client"
	NSTLS     = "urn:ietf:params:xml:ns:xmpp-tls"
	NSSASL    = "urn:ietf:params:xml:ns:xmpp-sasl"
	NSBind    = "urn:ietf:params:xml:ns:xmpp-bind"
	NSStreams = "urn:ietf:params:xml:ns:xmpp-streams"
	NSStanzas = "urn:ietf:params:xml:ns:xmpp-stanzas"
)

// Element is an XML element as the server sent it. Name is the local name, NS its namespace after resolving prefixes.
// Attrs is keyed by local name, or prefix:name for the ones with a prefix, as in "xml:lang"; namespace declarations
// are left out. Text is the element's own character data, without that of its children. Raw is what was read.
//
// Header and Footer are true for the opening and the closing tag of a stream, which have no children.
type Element struct {
	Name     string
	NS       string
	Attrs    map[string]string
	Children []*Element
	Text     string
	Raw      string
	Header   bool
	Footer   bool
}

// Child returns the first child with that local name, or nil. It may be called on nil, so that calls can be chained.
func (e *Element) Child(name string) *Element {
	if e == nil {
		return nil
	}
	for _, c := range e.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Attr returns an attribute's value, or "" if there is none. It may be called on nil.
func (e *Element) Attr(name string) string {
	if e == nil {
		return ""
	}
	return e.Attrs[name]
}

// Is says whether the element has this local name and namespace. It may be called on nil.
func (e *Element) Is(ns, name string) bool {
	return e != nil && e.Name == name && e.NS == ns
}

// Condition returns the name of the defined condition of a SASL failure (RFC 6120 §6.5), of a stream error (§4.9) or
// of the error in a stanza (§8.3), and "" if there is none. It may be called on nil.
func (e *Element) Condition() string {
	for _, c := range e.conditions() {
		return c.Name
	}
	return ""
}

// AppCondition returns the name of the application-specific condition beside the defined one, or "".
func (e *Element) AppCondition() string {
	holder := e.errorElement()
	if holder == nil {
		return ""
	}
	for _, c := range holder.Children {
		if c.NS != NSSASL && c.NS != NSStreams && c.NS != NSStanzas {
			return c.Name
		}
	}
	return ""
}

func (e *Element) conditions() []*Element {
	holder := e.errorElement()
	if holder == nil {
		return nil
	}
	var found []*Element
	for _, c := range holder.Children {
		known := c.NS == NSSASL || c.NS == NSStreams || c.NS == NSStanzas
		if known && c.Name != "text" {
			found = append(found, c)
		}
	}
	return found
}

// errorElement returns the element whose children are conditions: e itself, or the error child of a stanza.
func (e *Element) errorElement() *Element {
	if e.Is(NSSASL, "failure") || e.Is(NSStream, "error") {
		return e
	}
	return e.Child("error")
}

// parseElement reads one complete element out of raw. The prefix "stream" and the default namespace are as in a
// client's stream.
func parseElement(raw string) (*Element, error) {
	const open = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	return parse(open+raw+"</stream:stream>", raw, 1)
}

// parseHeader reads a stream's opening tag.
func parseHeader(raw string) (*Element, error) {
	return parse(raw+"</stream:stream>", raw, 0)
}

// parse returns the first element at that depth of doc.
func parse(doc, raw string, depth int) (*Element, error) {
	dec := xml.NewDecoder(strings.NewReader(doc))
	var stack []*Element
	var found *Element
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			e := &Element{Name: tok.Name.Local, NS: tok.Name.Space, Attrs: attributes(tok.Attr)}
			if len(stack) > 0 {
				parent := stack[len(stack)-1]
				parent.Children = append(parent.Children, e)
			}
			if len(stack) == depth && found == nil {
				found = e
				e.Raw = raw
			}
			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(stack) > 0 {
				stack[len(stack)-1].Text += string(tok)
			}
		}
	}
}

func attributes(attrs []xml.Attr) map[string]string {
	m := make(map[string]string, len(attrs))
	for _, a := range attrs {
		switch {
		case a.Name.Space == "xmlns" || a.Name.Local == "xmlns":
			continue
		case a.Name.Space == "http://www.w3.org/XML/1998/namespace" || a.Name.Space == "xml":
			m["xml:"+a.Name.Local] = a.Value
		case a.Name.Space != "":
			m[a.Name.Space+":"+a.Name.Local] = a.Value
		default:
			m[a.Name.Local] = a.Value
		}
	}
	return m
}
