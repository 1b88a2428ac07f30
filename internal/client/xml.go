package client

import (
	"strings"

	"gatehouse.im/gatehouse/internal/xmlstream"
)

// blanked stands for a secret, or for what a password could be guessed from.
const blanked = "•••"

func escape(s string) string { return string(xmlstream.AppendEscaped(nil, s)) }

// shown is an escaped text that prints.
func shown(s string) string { return printable(escape(s)) }

func renderHeader(h *xmlstream.Header) string {
	var b strings.Builder
	b.WriteString("<stream:" + shown(h.Name.Local))
	writeAttrs(&b, h.Attr)
	b.WriteString(">")
	return b.String()
}

// render writes an element for people, one tag a line where it holds others.
// What SASL elements hold as text is blanked: the messages of SCRAM are as good
// as a password's hash.
func render(e *xmlstream.Element) string {
	var b strings.Builder
	writeElement(&b, e, nsClient, 0)
	return b.String()
}

func writeElement(b *strings.Builder, e *xmlstream.Element, outer string, depth int) {
	name := shown(e.Name.Local)
	if e.Name.Space == nsStream {
		name = "stream:" + name
	}
	b.WriteString("<" + name)
	inner := outer
	if e.Name.Space != outer && e.Name.Space != nsStream {
		b.WriteString(" xmlns='" + shown(e.Name.Space) + "'")
		inner = e.Name.Space
	}
	writeAttrs(b, e.Attr)
	text := shown(strings.TrimSpace(e.Text))
	if text != "" && isSecret(e) {
		text = blanked
	}
	if text == "" && len(e.Children) == 0 {
		b.WriteString("/>")
		return
	}
	b.WriteString(">" + text)
	for _, c := range e.Children {
		b.WriteString("\n" + strings.Repeat("  ", depth+1))
		writeElement(b, c, inner, depth+1)
	}
	if len(e.Children) > 0 {
		b.WriteString("\n" + strings.Repeat("  ", depth))
	}
	b.WriteString("</" + name + ">")
}

func writeAttrs(b *strings.Builder, attrs []xmlstream.Attr) {
	for _, a := range attrs {
		name := shown(a.Name.Local)
		if a.Name.Space == "http://www.w3.org/XML/1998/namespace" {
			name = "xml:" + name
		}
		b.WriteString(" " + name + "='" + shown(a.Value) + "'")
	}
}

// isSecret says whether the text of a SASL element belongs to the exchange.
func isSecret(e *xmlstream.Element) bool {
	if e.Name.Space != nsSASL {
		return false
	}
	switch e.Name.Local {
	case "auth", "challenge", "response", "success":
		return true
	}
	return false
}
