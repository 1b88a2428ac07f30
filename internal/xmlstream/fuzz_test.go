package xmlstream

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// plainTree reads one element, inside an element that declares the header's
// namespaces, with encoding/xml: the same structure by other code.
func plainTree(declared map[string]string, item []byte) (*Element, error) {
	outer := []byte("<outer")
	for prefix, uri := range declared {
		outer = append(outer, " xmlns"...)
		if prefix != "" {
			outer = append(append(outer, ':'), prefix...)
		}
		outer = append(AppendEscaped(append(outer, "='"...), uri), '\'')
	}
	d := xml.NewDecoder(strings.NewReader(string(outer) + ">" + string(item) + "</outer>"))
	var stack []*Element
	for {
		token, err := d.Token()
		switch {
		case err == io.EOF && len(stack) == 1 && len(stack[0].Children) == 1:
			return stack[0].Children[0], nil
		case err == io.EOF:
			return nil, fmt.Errorf("not one element")
		case err != nil:
			return nil, err
		}
		top := len(stack) - 1
		switch x := token.(type) {
		case xml.StartElement:
			e := &Element{Name: Name(x.Name)}
			for _, a := range x.Attr {
				if a.Name.Space != "xmlns" && (a.Name.Space != "" || a.Name.Local != "xmlns") {
					e.Attr = append(e.Attr, Attr{Name(a.Name), a.Value})
				}
			}
			if top >= 0 {
				stack[top].Children = append(stack[top].Children, e)
			}
			stack = append(stack, e)
		case xml.EndElement:
			if top > 0 {
				stack = stack[:top]
			}
		case xml.CharData:
			stack[top].Text += string(x)
		default:
			return nil, fmt.Errorf("%T", token)
		}
	}
}

var spaces = strings.NewReplacer("\t", " ", "\r", " ", "\n", " ")

// alike takes out of e what encoding/xml sees differently: it does not turn
// white space in attributes, and so in namespaces, into spaces, takes
// attributes of a namespace that is called "xmlns" for declarations, and
// elements called "xmlns" for having no default namespace.
func alike(e *Element) *Element {
	out := &Element{Name: Name{spaces.Replace(e.Name.Space), e.Name.Local}, Text: e.Text}
	if e.Name.Local == "xmlns" {
		out.Name.Space = ""
	}
	for _, a := range e.Attr {
		if a.Name.Space != "xmlns" {
			name := Name{spaces.Replace(a.Name.Space), a.Name.Local}
			out.Attr = append(out.Attr, Attr{name, spaces.Replace(a.Value)})
		}
	}
	for _, c := range e.Children {
		out.Children = append(out.Children, alike(c))
	}
	return out
}

// FuzzReader feeds a Reader whatever a stranger may send. It must not panic,
// hold no more than the limits allow, give the same however the bytes arrive
// and by Next as by NextRaw, and take nothing for an element that encoding/xml
// would not take for the same element.
func FuzzReader(f *testing.F) {
	add := func(in string) { f.Add([]byte(in), uint64(len(in)), false); f.Add([]byte(in), uint64(3), true) }
	add(clientHeader + clientAuth + clientBind + "</stream:stream>")
	add("\ufeff<?xml version=\"1.0\" encoding='utf-8'?>\n<s:stream xmlns:s='x' s:a='&#x41;'>")
	add(clientHeader + "<a xmlns='u' xmlns:p='v' p:b='1\t2\r\n3&#13;\n'>t<p:c/>\r<![CDATA[<]]&>\r\n]]>&lt;u</a>  \n<b/>")
	add(clientHeader + "<a b='\"'>]]]]&gt;</a><é>·</é><stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
	add(clientHeader + "hello<a><b></a></b>")
	add("<a xmlns:q='xmlns' q:b='c'><xmlns/><q:xmlns xmlns='d' q:e=''/></a>")
	add("\x16\x03\x01\x00\x01\x01\x00")
	for _, in := range hostile() {
		if len(in[1]) < 9900 { // long ones make the fuzzer slow
			f.Add([]byte("<s xmlns='u'>"+in[1]), uint64(1), false)
		}
	}
	small := Limits{Header: 300, Stanza: 200, Total: 600, Depth: 4, Elements: 6, Attributes: 4}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64, tight bool) {
		limits := beforeLogin
		if tight {
			limits = small
		}
		var want []string
		for _, name := range []string{"whole", "byte by byte", "random"} {
			src := &feed{pending: string(in), size: chunkings(seed)[name]}
			r := NewReader(src, limits)
			r.SetLimits(limits, seed%2 == 0)
			src.onRead = func() {
				if most := max(limits.Header, limits.Stanza, minBuffer-1) + 1; cap(r.buf) > most {
					t.Fatalf("a buffer of %d bytes, want at most %d", cap(r.buf), most)
				}
			}
			got := transcript(r)
			if r.total > limits.Total {
				t.Fatalf("%d bytes read", r.total)
			}
			r.Close()
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s:\n%s\nwhole:\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		compareRaw(t, NewReader(&feed{pending: string(in)}, limits), want[1:])
	})
}

// compareRaw reads a stream with NextRaw and compares what it gives with the
// lines of a transcript and with encoding/xml.
func compareRaw(t *testing.T, r *Reader, want []string) {
	defer r.Close()
	if _, err := r.Header(); err != nil {
		return
	}
	for _, line := range want {
		item, open, err := r.NextRaw()
		if err != nil {
			if err.Error() != line {
				t.Fatalf("NextRaw: %v\nNext: %s", err, line)
			}
			return
		}
		if open.Text != "" || open.Children != nil {
			t.Fatalf("more than the opening tag: %s", show(open))
		}
		tree, perr := parseTree(item, r.limits, r.declared)
		if perr != nil || show(tree) != line {
			t.Fatalf("the bytes hold %v, %v\nNext gave %s", tree, perr, line)
		}
		if got, want := show(open), show(&Element{Name: tree.Name, Attr: tree.Attr}); got != want {
			t.Fatalf("NextRaw %s\nNext    %s", got, want)
		}
		other, err := plainTree(r.declared, item)
		if err != nil {
			t.Fatalf("encoding/xml refuses %q: %v", item, err)
		}
		if got, want := show(alike(tree)), show(alike(other)); got != want {
			t.Fatalf("ours         %s\nencoding/xml %s", got, want)
		}
	}
	t.Fatal("NextRaw gave more than Next")
}

func parseTree(item []byte, limits Limits, declared map[string]string) (*Element, *Error) {
	p := newParser(item, limits, true)
	defer p.free()
	p.header = declared
	return p.element()
}

// FuzzAppendEscaped: what was escaped is read as it was, in text and in both
// kinds of attribute, by encoding/xml and by a Reader.
func FuzzAppendEscaped(f *testing.F) {
	for _, s := range []string{"", "plain", "<&>'\"", "\t\n\r\n", "]]>", "\x00\x1f\x7f", "\xff\xc3(", "\ufffe\U0010ffff", "ü·é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want := ""
		for _, r := range s { // a broken byte is U+FFFD
			if !isChar(r) {
				r = utf8.RuneError
			}
			want += string(r)
		}
		item := AppendEscaped([]byte(`<a b="`), s)
		item = AppendEscaped(append(item, `" c='`...), s)
		item = AppendEscaped(append(item, "'>"...), s)
		item = append(item, "</a>"...)
		ours, perr := parseTree(item, afterLogin, nil)
		if perr != nil {
			t.Fatalf("%q: %v", item, perr)
		}
		other, err := plainTree(nil, item)
		if err != nil {
			t.Fatalf("%q: %v", item, err)
		}
		for _, e := range []*Element{ours, other} {
			if e.Text != want || e.Get("b") != want || e.Get("c") != want {
				t.Errorf("%q was read as %s", s, show(e))
			}
		}
	})
}
