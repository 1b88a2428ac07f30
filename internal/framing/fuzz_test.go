package framing

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

const (
	nsClient = "jabber:client"
	nsXML    = "http://www.w3.org/XML/1998/namespace"
)

// item is what a message or a part of a stream is to encoding/xml: an <open/>,
// a <close/> or an element, with all names resolved.
type item struct {
	kind   string // of "open", "close" and "element"
	tokens []string
}

func equalItems(a, b item) bool { return a.kind == b.kind && slices.Equal(a.tokens, b.tokens) }

// describe makes a token comparable. Namespace declarations are left out: what
// they say is in the names.
func describe(token xml.Token) string {
	switch x := token.(type) {
	case xml.StartElement:
		s := fmt.Sprintf("<%q %q", x.Name.Space, x.Name.Local)
		for _, a := range x.Attr {
			if a.Name.Space != "xmlns" && (a.Name.Space != "" || a.Name.Local != "xmlns") {
				s += fmt.Sprintf(" %q %q=%q", a.Name.Space, a.Name.Local, a.Value)
			}
		}
		return s
	case xml.EndElement:
		return fmt.Sprintf(">%q %q", x.Name.Space, x.Name.Local)
	case xml.CharData:
		return string(x)
	}
	return fmt.Sprintf("%T", token)
}

// common are the attributes that a header and an <open/> share.
func common(start xml.StartElement) item {
	out := item{kind: "open"}
	for _, want := range []xml.Name{{Local: "from"}, {Local: "to"}, {Local: "id"}, {Local: "version"}, {Space: nsXML, Local: "lang"}} {
		for _, a := range start.Attr {
			if a.Name == want {
				out.tokens = append(out.tokens, fmt.Sprint(want.Local, "=", a.Value))
			}
		}
	}
	return out
}

// streamItems reads a stream with encoding/xml, for as long as that takes it.
// whole says whether it took all.
func streamItems(in []byte) (items []item, whole bool) {
	d := xml.NewDecoder(bytes.NewReader(in))
	depth, begin := 0, int64(0)
	var element item
	for {
		before := d.InputOffset()
		token, err := d.Token()
		if err != nil {
			return items, err == io.EOF
		}
		start, isStart := token.(xml.StartElement)
		_, isEnd := token.(xml.EndElement)
		if isStart && depth == 1 && start.Name.Local == "stream" {
			// A restart: nothing of the stream before is in scope.
			begin += before
			d = xml.NewDecoder(bytes.NewReader(in[begin:]))
			depth = 0
			continue
		}
		switch {
		case isStart && depth == 0:
			items = append(items, common(start))
		case isEnd && depth == 1:
			return append(items, item{kind: "close"}), false
		case depth > 1 || isStart:
			element.kind = "element"
			element.tokens = append(element.tokens, describe(token))
			if isEnd && depth == 2 {
				items, element = append(items, element), item{}
			}
		}
		if isStart {
			depth++
		} else if isEnd {
			depth--
		}
	}
}

// messageItem reads a message with encoding/xml, which must find exactly one
// element and nothing beside it. It returns ok as false if the message is no
// XML to encoding/xml.
func messageItem(message []byte) (it item, ok bool, err error) {
	d := xml.NewDecoder(bytes.NewReader(message))
	depth, roots := 0, 0
	for {
		token, terr := d.Token()
		if terr == io.EOF && depth == 0 {
			if roots != 1 {
				err = fmt.Errorf("%d elements in %q", roots, message)
			}
			return it, true, err
		}
		if terr != nil {
			return it, false, err
		}
		switch x := token.(type) {
		case xml.StartElement:
			if depth == 0 {
				roots++
				it.kind = "element"
				if x.Name.Space == nsFraming && (x.Name.Local == "open" || x.Name.Local == "close") {
					it = common(x)
					it.kind = x.Name.Local
				}
			}
			depth++
		case xml.EndElement:
			depth--
		case xml.CharData:
			if depth == 0 {
				err = fmt.Errorf("text beside the element in %q", message)
			}
		}
		if it.kind == "element" {
			it.tokens = append(it.tokens, describe(token))
		}
	}
}

// long stands for much text, so that the fuzzer finds out what is too long for
// a buffer. By itself it would be an error.
const long = "\x01"

func lengthen(in []byte) []byte {
	return bytes.ReplaceAll(in, []byte(long), bytes.Repeat([]byte("x"), maxHeld*2/3))
}

func seeds(f *testing.F, add func(string)) {
	tcp, err := os.ReadFile("testdata/prosody-0.12.3.tcp")
	if err != nil {
		f.Fatal(err)
	}
	add(string(tcp))
	add(header + "<a b='>\"/>'><![CDATA[</a><b>]]]]><c d=\"/>'\"/>é</a><stream:b stream:c='&lt;'/>" + end)
	add("<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='u' xmlns:p='v'><p:a/><q:b xmlns:q='w' p:c=''/></s:stream>")
	add(header + " <a/>" + header + "<a xmlns:stream='x'><stream:b/></a>")
	add("<stream xmlns='http://etherx.jabber.org/streams'><open/><stream:a/></stream>")
	add(header + "<a><!-- --></a>")
	add(header + "<a>" + long + "<stream:b/>" + long + "</a><b c='" + long + "'/>")
	add(header + "<a/>" + strings.Repeat(" ", 20) + "</stream><b/>")
}

// FuzzEncoder holds the Encoder to encoding/xml: what both take for a stream is
// made of the same elements with the same names, and each message is one.
func FuzzEncoder(f *testing.F) {
	seeds(f, func(s string) { f.Add([]byte(s), uint16(len(s)/2)) })
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		in = lengthen(in)
		got, err := encode(string(in))
		var items []item
		for i, m := range got.messages {
			if i == len(got.messages)-1 && got.open {
				break // the beginning of a long element
			}
			it, ok, err := messageItem([]byte(m))
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break // so the stream was no XML, either
			}
			items = append(items, it)
		}
		want, whole := streamItems(in)
		n := min(len(items), len(want))
		if !slices.EqualFunc(items[:n], want[:n], equalItems) {
			t.Fatalf("got  %q\nwant %q\nin %q", items[:n], want[:n], got.messages)
		}
		if err == nil && whole && len(items) < len(want) {
			t.Fatalf("%d of %d items: %q", len(items), len(want), got.messages)
		}
		at := min(int(cut), len(in))
		again, err2 := encode(string(in[:at]), string(in[at:]))
		if !slices.Equal(again.messages, got.messages) || condition(err) != condition(err2) {
			t.Fatalf("cut at %d: %q, %v\nwhole: %q, %v", at, again.messages, err2, got.messages, err)
		}
	})
}

// FuzzDecoder gives a client's messages, which a zero byte divides, to a
// Decoder. Whatever they are, each comes out as one element, if a parser takes
// it at all, and only <open/> and <close/> as something else.
func FuzzDecoder(f *testing.F) {
	for _, in := range []string{
		clientOpen + "\x00<iq xmlns='jabber:client' id='1'><a xmlns='b'/></iq>\x00<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>",
		"<?xml version='1.0'?>\n" + clientOpen + "\x00 <a>b</a> \x00<?xml version='1.0'?><a/>\x00" + clientOpen,
		"<f:open xmlns:f='urn:ietf:params:xml:ns:xmpp-framing'></f:open>\x00<stream:stream xmlns:stream='http://etherx.jabber.org/streams'>",
		clientOpen + "\x00<a/><b/>\x00<a></stream:stream>\x00<a><![CDATA[</a>]]></a>",
		clientOpen + "\x00<a>" + long + "</a>\x00 <a>" + long + long + "<b/></a><c/>",
		clientOpen + "\x00<a b='" + long + "'/>\x00<a b='" + long + long + "'/>",
		clientOpen + "\x00<a b='/>' c=\"'\" / ><d/>",
	} {
		f.Add([]byte(in), uint8(7))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		messages := strings.Split(string(lengthen(in)), "\x00")
		outs := []string{""} // what came of each; the first of none
		var next int
		d := NewDecoder(func() (io.Reader, error) {
			if next == len(messages) {
				return nil, io.EOF
			}
			next++
			outs = append(outs, "")
			return strings.NewReader(messages[next-1]), nil
		})
		p := make([]byte, int(size)+1)
		var err error
		for err == nil {
			var n int
			n, err = d.Read(p)
			outs[next] += string(p[:n])
		}
		if d.buf != nil || outs[0] != "" {
			t.Fatalf("%q, buffer %v", outs[0], d.buf != nil)
		}
		for i, out := range outs[1:] {
			if i == len(outs)-2 && err != io.EOF {
				checkFaulty(t, messages[i], out)
				break
			}
			checkMessage(t, messages[i], out)
		}
		whole, werr := decode(messages...)
		if whole != strings.Join(outs, "") || werr != err && condition(werr) != condition(err) && err != io.EOF {
			t.Fatalf("%q, %v\nby %d: %q, %v", whole, werr, len(p), outs, err)
		}
	})
}

// checkMessage judges what came of a message that was taken.
func checkMessage(t *testing.T, message, out string) {
	it, ok, err := messageItem([]byte(message))
	if ok && strings.HasPrefix(message, "<?xml") {
		it, ok, err = messageItem([]byte(message[strings.Index(message, "?>")+2:]))
	}
	switch {
	case strings.HasPrefix(out, "<?xml"):
		items, _ := streamItems([]byte(out))
		if ok && (it.kind != "open" || len(items) != 1 || !equalItems(items[0], it)) {
			t.Fatalf("%q of %q, which is %q", out, message, it)
		}
	case strings.HasPrefix(out, "</"):
		if out != end || ok && it.kind != "close" {
			t.Fatalf("%q of %q, which is %q", out, message, it)
		}
	case !strings.Contains(message, out):
		t.Fatalf("%q of %q", out, message)
	default:
		if ok && (err != nil && strings.TrimSpace(message) == message || it.kind != "element") {
			t.Fatalf("%q of %q, which is %q, %v", out, message, it, err)
		}
		items, _ := streamItems([]byte(clientHeader + out + end))
		if len(items) > 1 && (len(items) != 3 || items[1].kind != "element") {
			t.Fatalf("%q is %q", out, items)
		}
	}
}

// checkFaulty judges what came of a message before its fault was found: at most
// a whole element, or the beginning of one.
func checkFaulty(t *testing.T, message, out string) {
	if out == end || strings.HasPrefix(out, "<?xml") {
		if !strings.Contains(message, nsFraming) {
			t.Fatalf("%q of %q", out, message)
		}
		return
	}
	if !strings.Contains(message, out) {
		t.Fatalf("%q of %q", out, message)
	}
	items, _ := streamItems([]byte(clientHeader + out))
	if len(items) > 2 || len(items) == 2 && items[1].kind != "element" {
		t.Fatalf("%q of %q is %q", out, message, items)
	}
}

// FuzzRoundTrip sends what a server writes through both, twice: the messages
// must be the same the second time.
func FuzzRoundTrip(f *testing.F) {
	const plain = "<?xml version='1.0'?><stream:stream" + stream + ">"
	f.Add([]byte("<a/><b xmlns='u'>c</b>"))
	f.Add([]byte("<a stream:b=''><stream:b/></a> <stream:c/>" + plain + "<d/>"))
	f.Add([]byte("<message><body>stream:</body><![CDATA[<]]></message>"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > maxHeld/2 || bytes.Contains(in, []byte("framing")) || bytes.Contains(in, []byte("<stream:stream")) && !bytes.Contains(in, []byte(plain)) {
			return // a second header, or what may differ
		}
		first, err := encode(plain + string(in) + end)
		if err != nil {
			return
		}
		out, err := decode(first.messages...)
		if condition(err) == "invalid-namespace" || condition(err) == "bad-format" {
			return // an element that is called open, close or stream
		}
		if err != nil {
			t.Fatalf("%q: %v", first.messages, err)
		}
		second, err := encode(out)
		if err != nil || !slices.Equal(first.messages, second.messages) {
			t.Fatalf("%q, %v\nfirst %q", second.messages, err, first.messages)
		}
	})
}
