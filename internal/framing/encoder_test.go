package framing

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/internal/xmlstream"
)

const (
	stream = " xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
	header = "<?xml version='1.0'?><stream:stream from='a.example' id='1' version='1.0' xml:lang='en'" + stream + ">"
	open   = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='a.example' id='1' version='1.0' xml:lang='en'/>"
	closed = "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"
)

// sink is what an Encoder sends to.
type sink struct {
	messages []string
	writes   []int // of each message
	open     bool
}

func (s *sink) next() (io.WriteCloser, error) {
	if s.open {
		return nil, errors.New("a message inside another")
	}
	s.messages, s.writes, s.open = append(s.messages, ""), append(s.writes, 0), true
	return s, nil
}

func (s *sink) Write(p []byte) (int, error) {
	s.messages[len(s.messages)-1] += string(p)
	s.writes[len(s.writes)-1]++
	return len(p), nil
}

func (s *sink) Close() error { s.open = false; return nil }

// encode gives pieces to an Encoder, and returns the messages.
func encode(pieces ...string) (*sink, error) {
	s := new(sink)
	e := NewEncoder(s.next)
	for _, p := range pieces {
		n, err := e.Write([]byte(p))
		if err != nil {
			return s, err
		}
		if n != len(p) {
			return s, io.ErrShortWrite
		}
	}
	return s, nil
}

// condition is that of the stream error, "" without an error.
func condition(err error) string {
	var e *xmlstream.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Condition
	}
	return err.Error()
}

// cuts are all ways to cut in in two, and the one into bytes.
func cuts(in string) (all [][]string) {
	for i := range in {
		all = append(all, []string{in[:i], in[i:]})
	}
	return append(all, strings.Split(in, ""))
}

func TestEncoder(t *testing.T) {
	for _, c := range []struct {
		name, in  string
		want      []string
		condition string
	}{
		{name: "header, features and a stanza", in: header + "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features><iq type='result'/>",
			want: []string{open,
				"<stream:features xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>",
				"<iq xmlns='jabber:client' type='result'/>"}},
		{name: "the order of ejabberd",
			in:   "<?xml version='1.0'?><stream:stream id='7' version='1.0' xml:lang='de' xmlns:stream='http://etherx.jabber.org/streams' to=\"o'neil@b\" from='b' xmlns='jabber:client'>",
			want: []string{"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='b' to=\"o'neil@b\" id='7' version='1.0' xml:lang='de'/>"}},
		{name: "no declaration", in: header[len("<?xml version='1.0'?>"):], want: []string{open}},
		{name: "declaration and line end", in: "<?xml version=\"1.0\" encoding='UTF-8'?>\n" + header[len("<?xml version='1.0'?>"):], want: []string{open}},
		{name: "an element with its own namespace", in: header + "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
			want: []string{open, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"}},
		{name: "an element with all namespaces", in: header + "<stream:error" + stream + "><a/></stream:error>",
			want: []string{open, "<stream:error" + stream + "><a/></stream:error>"}},
		{name: "no default namespace in an element", in: header + "<a xmlns=''/>", want: []string{open, "<a xmlns=''/>"}},
		{name: "a prefix of its own", in: header + "<s:a xmlns:s = 'u'\n/>", want: []string{open, "<s:a xmlns='jabber:client' xmlns:s = 'u'\n/>"}},
		{name: "the prefix inside", in: header + "<message><stream:x/></message >",
			want: []string{open, "<message" + stream + "><stream:x/></message >"}},
		{name: "the prefix of an attribute", in: header + "<message stream:x='1'/>", want: []string{open, "<message" + stream + " stream:x='1'/>"}},
		{name: "more prefixes", in: "<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' xmlns='jabber:server'><db:result/><s:features/><a/></s:stream>",
			want: []string{"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>",
				"<db:result xmlns:db='jabber:server:dialback' xmlns='jabber:server'/>",
				"<s:features xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:server'/>",
				"<a xmlns='jabber:server'/>", closed}},
		{name: "no default namespace", in: "<stream:stream xmlns:stream='http://etherx.jabber.org/streams'><a/>",
			want: []string{"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>", "<a/>"}},
		{name: "header without a prefix", in: "<stream xmlns='http://etherx.jabber.org/streams' id='2'><features/></stream>",
			want: []string{"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' id='2'/>", "<features xmlns='http://etherx.jabber.org/streams'/>", closed}},
		{name: "white space", in: " \n" + header + " <a/>\r\n\t<b> c </b > </stream:stream \n> ",
			want: []string{open, "<a xmlns='jabber:client'/>", "<b xmlns='jabber:client'> c </b >", closed}},
		{name: "restart", in: header + "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/><?xml version='1.0'?><stream:stream xmlns='u' xmlns:stream='http://etherx.jabber.org/streams'><a/>",
			want: []string{open, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>", "<a xmlns='u'/>"}},
		{name: "restart without declaration", in: header + header[len("<?xml version='1.0'?>"):] + "<a/>", want: []string{open, open, "<a xmlns='jabber:client'/>"}},
		{name: "stream error", in: header + "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
			want: []string{open, "<stream:error" + stream + "><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", closed}},
		{name: "what looks like tags", in: header + "<a b='>\"/>'><![CDATA[</a><b>]]]]><c d=\"/>'\"/>é</a><b/>",
			want: []string{open, "<a xmlns='jabber:client' b='>\"/>'><![CDATA[</a><b>]]]]><c d=\"/>'\"/>é</a>", "<b xmlns='jabber:client'/>"}},
		{name: "nothing", in: ""},
		{name: "half an element", in: header + "<a><b>", want: []string{open}},

		{name: "an element first", in: "<a/>", condition: "bad-format"},
		{name: "an element after a declaration", in: header + "<?xml version='1.0'?><a/>", want: []string{open}, condition: "bad-format"},
		{name: "an element after the end", in: header + "</stream:stream><a/>", want: []string{open, closed}, condition: "bad-format"},
		{name: "the end first", in: "</stream:stream>", condition: "not-well-formed"},
		{name: "another end", in: header + "</stream>", want: []string{open}, condition: "not-well-formed"},
		{name: "text", in: header + "<a/>b", want: []string{open, "<a xmlns='jabber:client'/>"}, condition: "not-well-formed"},
		{name: "comment", in: header + "<!-- a -->", want: []string{open}, condition: "restricted-xml"},
		{name: "comment inside", in: header + "<a><!-- a --></a>", want: []string{open}, condition: "restricted-xml"},
		{name: "processing instruction", in: "<?php 1 ?>", condition: "restricted-xml"},
		{name: "header without a stream", in: "<stream:stream" + stream + "/>", condition: "not-well-formed"},
		{name: "header in another namespace", in: "<stream:stream xmlns:stream='u'>", condition: "invalid-namespace"},
		{name: "header without its namespace", in: header + "<stream:stream xmlns='http://etherx.jabber.org/streams'>", want: []string{open}, condition: "invalid-namespace"},
		{name: "attribute twice", in: "<stream:stream id='1' id='2'" + stream + ">", condition: "not-well-formed"},
		{name: "namespace twice", in: "<stream:stream xmlns='u'" + stream + ">", condition: "not-well-formed"},
		{name: "bad prefixes", in: header + "<a xmlns:='u'/>", want: []string{open}, condition: "not-well-formed"},
		{name: "bad name", in: header + "<a:b:c/>", want: []string{open}, condition: "not-well-formed"},
		{name: "attribute without quotes", in: header + "<a b=c>", want: []string{open}, condition: "not-well-formed"},
		{name: "attribute without a value", in: header + "<a b>", want: []string{open}, condition: "not-well-formed"},
		{name: "attributes without a space", in: header + "<a b='c'd='e'>", want: []string{open}, condition: "not-well-formed"},
		{name: "a tag without an end", in: header + "<a b='" + strings.Repeat("x", maxHeld) + "'/>", want: []string{open}, condition: "policy-violation"},
		{name: "too many namespaces", in: "<stream:stream" + stream + " xmlns:p='" + strings.Repeat("x", maxScope) + "'>", condition: "policy-violation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := encode(c.in)
			if !slices.Equal(got.messages, c.want) {
				t.Errorf("got  %q\nwant %q", got.messages, c.want)
			}
			if condition(err) != c.condition {
				t.Errorf("error %v, want %q", err, c.condition)
			}
			for i, n := range got.writes {
				if n != 1 || got.open {
					t.Errorf("message %d in %d writes", i, n)
				}
			}
			if len(c.in) > 1000 {
				return
			}
			for _, pieces := range cuts(c.in) {
				again, err := encode(pieces...)
				if !slices.Equal(again.messages, c.want) || !slices.Equal(again.writes, got.writes) || condition(err) != c.condition {
					t.Fatalf("as %q:\n%q, %v writes, %v", pieces, again.messages, again.writes, err)
				}
			}
		})
	}
}

// rawTokens are the tokens of a message as written, attributes in the order of
// their names.
func rawTokens(t *testing.T, message string) (all []xml.Token) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(message))
	for {
		token, err := d.RawToken()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", message, err)
		}
		if start, ok := token.(xml.StartElement); ok {
			slices.SortFunc(start.Attr, func(a, b xml.Attr) int {
				return strings.Compare(a.Name.Space+":"+a.Name.Local, b.Name.Space+":"+b.Name.Local)
			})
		}
		all = append(all, xml.CopyToken(token))
	}
}

// What Prosody writes to a TCP client becomes what its mod_websocket sends for
// the same, down to each declaration.
func TestEncoder_asProsody(t *testing.T) {
	tcp, err := os.ReadFile("testdata/prosody-0.12.3.tcp")
	if err != nil {
		t.Fatal(err)
	}
	ws, err := os.ReadFile("testdata/prosody-0.12.3.ws")
	if err != nil {
		t.Fatal(err)
	}
	random := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|[a-z0-9_-]{24}@`)
	got, err := encode(random.ReplaceAllString(string(tcp), "x"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSpace(random.ReplaceAllString(string(ws), "x")), "\n")
	if len(got.messages) != len(want) {
		t.Fatalf("%d messages, want %d", len(got.messages), len(want))
	}
	for i, m := range got.messages {
		a, b := rawTokens(t, m), rawTokens(t, want[i])
		if !slices.EqualFunc(a, b, equalTokens) {
			t.Errorf("got  %s\nwant %s", m, want[i])
		}
	}
}

// A long element is sent in pieces, each of them as long as may be held, and
// declares all that its later parts could need.
func TestEncoder_longElement(t *testing.T) {
	body := strings.Repeat("x", 3*maxHeld)
	got, err := encode(header + "<message><body>" + body + "</body></message><a/>")
	want := []string{open, "<message" + stream + "><body>" + body + "</body></message>", "<a xmlns='jabber:client'/>"}
	if err != nil || !slices.Equal(got.messages, want) || !slices.Equal(got.writes, []int{1, 4, 1}) {
		t.Errorf("%v writes, %v", got.writes, err)
	}
}

// The longest start tag has room for the most declarations.
func TestEncoder_longestTag(t *testing.T) {
	const first = "<stream:stream xmlns:stream='http://etherx.jabber.org/streams'"
	name := strings.Repeat("u", maxScope-len(first)+len("<stream:stream")-len(" xmlns=''"))
	tag := func(n int) string { return "<a stream:b='" + strings.Repeat("x", n-len("<a stream:b=''/>")) + "'/>" }
	got, err := encode(first+" xmlns='"+name+"'>", tag(maxHeld))
	if err != nil || len(got.messages) != 2 || len(got.messages[1]) != maxHeld+maxScope {
		t.Fatal(len(got.messages), err)
	}
	if _, err := encode(first + " xmlns='" + name + "u'>"); condition(err) != "policy-violation" {
		t.Error("one more byte of declarations:", err)
	}
	if _, err := encode(header, tag(maxHeld+1)); condition(err) != "policy-violation" {
		t.Error("one more byte of a tag:", err)
	}
}

// failing is a sink that fails at its nth call.
type failing struct{ calls, at int }

var errSink = errors.New("no more")

func (f *failing) call() error {
	if f.calls++; f.calls >= f.at {
		return errSink
	}
	return nil
}
func (f *failing) next() (io.WriteCloser, error)   { return f, f.call() }
func (f *failing) Write(p []byte) (n int, e error) { return len(p), f.call() }
func (f *failing) Close() error                    { return f.call() }

// An error below is what Write returns, then and ever after, and holds nothing.
func TestEncoder_errorBelow(t *testing.T) {
	in := []byte(header + "<a/><b>" + strings.Repeat("x", 2*maxHeld) + "</b></stream:stream>")
	calls := 3 + 3 + 5 + 3
	for at := 1; at <= calls+1; at++ {
		e := NewEncoder((&failing{at: at}).next)
		n, err := e.Write(in)
		if at > calls {
			if err != nil {
				t.Errorf("without a failure: %v", err)
			}
			break
		}
		if _, again := e.Write(in); err != errSink || again != errSink || n > len(in) || e.buf != nil {
			t.Errorf("failure at call %d: %d, %v, %v", at, n, err, again)
		}
	}
}

// Nothing is held between elements, and little within one.
func TestEncoder_holdsNothingWhenIdle(t *testing.T) {
	e := NewEncoder(new(sink).next)
	for _, step := range []struct {
		in   string
		held int
	}{{header, 0}, {"<a/> ", 0}, {"<a>b", 4}, {"</a>\n", 0}, {"<?xml", 5}, {" version='1.0'?>", 0}} {
		if _, err := e.Write([]byte(step.in)); err != nil || e.n != step.held || (e.buf == nil) != (step.held == 0) {
			t.Errorf("after %q: %d bytes, buffer %v, %v", step.in, e.n, e.buf != nil, err)
		}
	}
}

func equalTokens(a, b xml.Token) bool {
	switch a := a.(type) {
	case xml.StartElement:
		b, ok := b.(xml.StartElement)
		return ok && a.Name == b.Name && slices.Equal(a.Attr, b.Attr)
	case xml.CharData:
		b, ok := b.(xml.CharData)
		return ok && bytes.Equal(a, b)
	}
	return a == b
}
