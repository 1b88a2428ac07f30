package framing

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"gatehouse.im/gatehouse/internal/xmlstream"
)

const (
	clientOpen = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='a.example' version='1.0'/>"
	// clientHeader is what it becomes.
	clientHeader = "<?xml version='1.0'?><stream:stream" + stream + " to='a.example' version='1.0'>"
	end          = "</stream:stream>"
)

// source returns messages, and then io.EOF.
type source struct {
	messages []string
	wrap     func(io.Reader) io.Reader // if it is not nil
}

func (s *source) next() (io.Reader, error) {
	if len(s.messages) == 0 {
		return nil, io.EOF
	}
	var m io.Reader = strings.NewReader(s.messages[0])
	s.messages = s.messages[1:]
	if s.wrap != nil {
		m = s.wrap(m)
	}
	return m, nil
}

// decode returns what a Decoder makes of messages.
func decode(messages ...string) (string, error) {
	out, err := io.ReadAll(NewDecoder((&source{messages: messages}).next))
	return string(out), err
}

func TestDecoder(t *testing.T) {
	const framing = " xmlns='urn:ietf:params:xml:ns:xmpp-framing'"
	for _, c := range []struct {
		name      string
		in        []string // without "plain" before it, clientOpen comes first
		want      string   // and clientHeader
		condition string
	}{
		{name: "nothing more"},
		{name: "stanzas", in: []string{"<iq xmlns='jabber:client' id='1'><a xmlns='b'/></iq>", "<presence xmlns='jabber:client'/>"},
			want: "<iq xmlns='jabber:client' id='1'><a xmlns='b'/></iq><presence xmlns='jabber:client'/>"},
		{name: "no namespace", in: []string{"<a/>"}, want: "<a/>"},
		{name: "all of an open", in: []string{"<open from='u@a' xml:lang='de' id=\"1\"\n version = '1.0' to='o&apos;n' other='x' f:to='y' xmlns:f='z'" + framing + " />"},
			want: "<?xml version='1.0'?><stream:stream" + stream + " from='u@a' to='o&apos;n' id=\"1\" version='1.0' xml:lang='de'>"},
		{name: "restart", in: []string{"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>", clientOpen, "<a/>"},
			want: "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>" + clientHeader + "<a/>"},
		{name: "open and its end tag", in: []string{"<open to='b'" + framing + "></open >\n"}, want: "<?xml version='1.0'?><stream:stream" + stream + " to='b'>"},
		{name: "open with a prefix", in: []string{"<f:open to='b' xmlns:f='urn:ietf:params:xml:ns:xmpp-framing'/>"}, want: "<?xml version='1.0'?><stream:stream" + stream + " to='b'>"},
		{name: "close", in: []string{"<a/>", "<close" + framing + "/>"}, want: "<a/>" + end},
		{name: "close with its end tag", in: []string{"<close see-other-uri='wss://b'" + framing + "></close>"}, want: end},
		{name: "open after close", in: []string{"<close" + framing + "/>", clientOpen, "<a/>"}, want: end + clientHeader + "<a/>"},
		{name: "declaration", in: []string{"<?xml version='1.0' encoding='UTF-8'?>\r\n<a/>", "<?xml version=\"1.0\"?>" + clientOpen}, want: "<a/>" + clientHeader},
		{name: "white space", in: []string{" \n<a> b </a>\t\r"}, want: "<a> b </a>"},
		{name: "what looks like tags", in: []string{"<a b='>\"/>'><![CDATA[</a><b>]]]]><c d=\"/>'\"/>é</a>"}, want: "<a b='>\"/>'><![CDATA[</a><b>]]]]><c d=\"/>'\"/>é</a>"},
		{name: "a stream error", in: []string{"<stream:error xmlns:stream='http://etherx.jabber.org/streams'/>"}, want: "<stream:error xmlns:stream='http://etherx.jabber.org/streams'/>"},
		{name: "open elsewhere", in: []string{"<iq><open xmlns='http://jabber.org/protocol/ibb'/><close" + framing + "/></iq>"},
			want: "<iq><open xmlns='http://jabber.org/protocol/ibb'/><close" + framing + "/></iq>"},
		// Here the parser behind finds an end tag of another element.
		{name: "end of the stream inside", in: []string{"<a></stream:stream>"}, want: "<a></stream:stream>"},

		{name: "two elements", in: []string{"<a/><b/>"}, want: "<a/>", condition: "not-well-formed"},
		{name: "two longer elements", in: []string{"<a>c</a> <b/>"}, want: "<a>c</a>", condition: "not-well-formed"},
		{name: "half an element", in: []string{"<a><b/>"}, want: "<a><b/>", condition: "not-well-formed"},
		{name: "the other half", in: []string{"<a>", "</a>"}, want: "<a>", condition: "not-well-formed"},
		{name: "half a tag", in: []string{"<a b="}, condition: "not-well-formed"},
		{name: "half a declaration", in: []string{"<?xml "}, condition: "not-well-formed"},
		{name: "a declaration alone", in: []string{"<?xml version='1.0'?>"}, condition: "not-well-formed"},
		{name: "two declarations", in: []string{"<?xml version='1.0'?><?xml version='1.0'?><a/>"}, condition: "not-well-formed"},
		{name: "declaration after white space", in: []string{" <?xml version='1.0'?><a/>"}, condition: "not-well-formed"},
		{name: "declaration after the element", in: []string{"<a/><?xml version='1.0'?>"}, want: "<a/>", condition: "not-well-formed"},
		{name: "an encoding", in: []string{"<?xml version='1.0' encoding='UTF-16'?><a/>"}, condition: "unsupported-encoding"},
		{name: "empty", in: []string{""}, condition: "not-well-formed"},
		{name: "white space alone", in: []string{" "}, condition: "not-well-formed"},
		{name: "text", in: []string{"hello"}, condition: "not-well-formed"},
		{name: "text before", in: []string{"x<a/>"}, condition: "not-well-formed"},
		{name: "text after", in: []string{"<a/>x"}, want: "<a/>", condition: "not-well-formed"},
		{name: "byte order mark", in: []string{"\ufeff<a/>"}, condition: "not-well-formed"},
		{name: "end of the stream", in: []string{"</stream:stream>"}, condition: "not-well-formed"},
		{name: "end of the stream after", in: []string{"<a/></stream:stream>"}, want: "<a/>", condition: "not-well-formed"},
		{name: "stream header", in: []string{"<stream:stream" + stream + ">"}, condition: "invalid-namespace"},
		{name: "another stream header", in: []string{"<stream xmlns='http&#58;//etherx.jabber.org/streams'/>"}, condition: "invalid-namespace"},
		{name: "comment", in: []string{"<!-- --><a/>"}, condition: "restricted-xml"},
		{name: "comment inside", in: []string{"<a><!-- --></a>"}, want: "<a><!", condition: "restricted-xml"},
		{name: "document type", in: []string{"<!DOCTYPE a><a/>"}, condition: "restricted-xml"},
		{name: "processing instruction", in: []string{"<?php ?><a/>"}, condition: "restricted-xml"},
		{name: "processing instruction inside", in: []string{"<a><?php ?></a>"}, want: "<a><", condition: "restricted-xml"},
		{name: "CDATA section outside", in: []string{"<![CDATA[x]]>"}, condition: "restricted-xml"},
		{name: "control character", in: []string{"<a>\x00</a>"}, want: "<a>", condition: "not-well-formed"},
		{name: "open without a namespace", in: []string{"<open to='b'/>"}, condition: "invalid-namespace"},
		{name: "open in another", in: []string{"<open xmlns='jabber:client' xmlns:f='urn:ietf:params:xml:ns:xmpp-framing'/>"}, condition: "invalid-namespace"},
		{name: "open with another prefix", in: []string{"<g:open" + framing + " xmlns:g='u'/>"}, condition: "invalid-namespace"},
		{name: "close in another", in: []string{"<close xmlns='u'/>"}, condition: "invalid-namespace"},
		{name: "open with text", in: []string{"<open" + framing + "> </open>"}, condition: "bad-format"},
		{name: "open with an element", in: []string{"<open" + framing + "><a/></open>"}, condition: "bad-format"},
		{name: "open with the end of another", in: []string{"<open" + framing + "></close>"}, condition: "bad-format"},
		{name: "quotes that a parser would pair in another way", in: []string{"<a'> b='c' d=\"e'>"}, condition: "not-well-formed"},
		{name: "quotes in the name of an attribute", in: []string{"<a b'> c='d' e=\"f'>"}, condition: "not-well-formed"},
		{name: "no name of an attribute", in: []string{"<a ='b'/>"}, condition: "not-well-formed"},
		{name: "prefix without a name", in: []string{"<a:/>"}, condition: "not-well-formed"},
		{name: "name without a prefix", in: []string{"<a :b='c'/>"}, condition: "not-well-formed"},
		{name: "half an open", in: []string{"<open" + framing + ">"}, condition: "not-well-formed"},
		{name: "open and more", in: []string{"<open" + framing + "/><a/>"}, want: "<?xml version='1.0'?><stream:stream" + stream + ">", condition: "not-well-formed"},
		{name: "close and more", in: []string{"<close" + framing + "></close>" + clientOpen}, want: end, condition: "not-well-formed"},
		{name: "namespace twice", in: []string{"<open xmlns='u'" + framing + "/>"}, condition: "not-well-formed"},
		{name: "attribute twice", in: []string{"<open to='a' to='b'" + framing + "/>"}, condition: "not-well-formed"},
		{name: "attribute without quotes", in: []string{"<open to=b" + framing + "/>"}, condition: "not-well-formed"},
		{name: "prefix of the stream", in: []string{"<stream:error/>"}, condition: "not-well-formed"},
		{name: "prefix of the stream in an attribute", in: []string{"<a stream:b='c'/>"}, condition: "not-well-formed"},
		{name: "after close", in: []string{"<close" + framing + "/>", "<a/>"}, want: end, condition: "bad-format"},
		{name: "close twice", in: []string{"<close" + framing + "/>", "<close" + framing + "/>"}, want: end, condition: "bad-format"},
		{name: "too long a tag", in: []string{"<a b='" + strings.Repeat("x", maxTag) + "'/>"}, condition: "policy-violation"},
		{name: "too much white space", in: []string{strings.Repeat(" ", maxTag) + "<a/>"}, condition: "policy-violation"},
		{name: "plain: an element first", in: []string{"<a/>"}, condition: "bad-format"},
		{name: "plain: close first", in: []string{"<close" + framing + "/>"}, condition: "bad-format"},
		{name: "plain: stream header first", in: []string{"<stream:stream" + stream + ">"}, condition: "invalid-namespace"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.HasPrefix(c.name, "plain") {
				c.in, c.want = append([]string{clientOpen}, c.in...), clientHeader+c.want
			}
			for name, wrap := range map[string]func(io.Reader) io.Reader{
				"whole": nil, "bytes": iotest.OneByteReader, "with EOF": iotest.DataErrReader, "halves": iotest.HalfReader,
			} {
				for _, size := range []int{1, 3, 512, 40000} {
					d := NewDecoder((&source{c.in, wrap}).next)
					if n, err := d.Read(nil); n != 0 || err != nil {
						t.Error(n, err)
					}
					got, err := readAll(d, size)
					if string(got) != c.want || condition(err) != c.condition {
						t.Errorf("%s, read by %d:\ngot  %q\nwant %q\n%v", name, size, got, c.want, err)
					}
					if n, again := d.Read(make([]byte, size)); n > 0 || err != nil && again != err {
						t.Errorf("%s, read by %d: then %d, %v", name, size, n, again)
					}
					if d.buf != nil {
						t.Errorf("%s, read by %d: a buffer is held at the end", name, size)
					}
				}
			}
		})
	}
}

// readAll reads size bytes at a time up to the end.
func readAll(r io.Reader, size int) ([]byte, error) {
	var all []byte
	p := make([]byte, size)
	for {
		n, err := r.Read(p)
		all = append(all, p[:n]...)
		switch {
		case err == io.EOF:
			return all, nil
		case err != nil:
			return all, err
		}
	}
}

// A read that fails, at a deadline perhaps, can be repeated, wherever it was.
func TestDecoder_goesOnAfterAnError(t *testing.T) {
	late := errors.New("deadline")
	in := []string{clientOpen, "<a b='c'>" + strings.Repeat("d", maxHeld) + "</a>", "<b/>"}
	want := clientHeader + in[1] + in[2]
	s := &source{messages: in, wrap: func(r io.Reader) io.Reader { return &stumbling{r: iotest.OneByteReader(r), err: late} }}
	calls := 0
	d := NewDecoder(func() (io.Reader, error) {
		if calls++; calls%2 == 1 {
			return nil, late
		}
		return s.next()
	})
	var got []byte
	p := make([]byte, 100)
	for {
		n, err := d.Read(p)
		if got = append(got, p[:n]...); err == io.EOF {
			break
		}
		if err != nil && err != late {
			t.Fatal(err)
		}
	}
	if string(got) != want {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}

// stumbling is a reader that fails each second time.
type stumbling struct {
	r    io.Reader
	err  error
	fail bool
}

func (s *stumbling) Read(p []byte) (int, error) {
	if s.fail = !s.fail; s.fail {
		return 0, s.err
	}
	return s.r.Read(p)
}

// An element is there as soon as its bytes are: a Read waits neither for the
// end of the message nor for the next one.
func TestDecoder_doesNotHoldBack(t *testing.T) {
	for _, piece := range []string{"<a>", "<a>b", "<a>b</a>"} {
		messages := make(chan io.Reader, 2)
		messages <- strings.NewReader(clientOpen)
		pr, pw := io.Pipe()
		messages <- pr
		d := NewDecoder(func() (io.Reader, error) { return <-messages, nil })
		go pw.Write([]byte(piece))
		got := make([]byte, len(clientHeader+piece))
		if _, err := io.ReadFull(d, got); err != nil || string(got) != clientHeader+piece {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// What was held of a message, a password perhaps, is not left in the pool.
func TestDecoder_clearsWhatItHeld(t *testing.T) {
	d := NewDecoder((&source{messages: []string{clientOpen, "<auth>secret</auth>"}}).next)
	p := make([]byte, len(clientHeader)+4)
	if _, err := io.ReadFull(d, p); err != nil {
		t.Fatal(err)
	}
	lent := d.buf
	if _, err := io.ReadAll(d); err != nil || lent == nil {
		t.Fatal(lent, err)
	}
	if bytes.Contains(lent[:], []byte("secret")) {
		t.Error("the buffer still has it")
	}
}

// What a Decoder returns is a stream to the reader that the server has, whose
// end is the client's <close/>; and what a parser alone can find wrong, it does.
func TestDecoder_readAsAStream(t *testing.T) {
	limits := xmlstream.Limits{Header: 4096, Stanza: 4096, Depth: 10, Elements: 50, Attributes: 20}
	for _, c := range []struct {
		message   string
		namespace string
		condition string
	}{
		{message: "<iq xmlns='jabber:client'/>", namespace: "jabber:client"},
		{message: "<iq/>", namespace: "jabber:client"},
		{message: "<iq xmlns=''/>"},
		{message: "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>AA==</auth>", namespace: "urn:ietf:params:xml:ns:xmpp-sasl"},
		{message: "<a></stream:stream>", condition: "not-well-formed"},
		{message: "<a><b></a></b>", condition: "not-well-formed"},
		{message: "<a>&b;</a>", condition: "restricted-xml"},
		{message: "<a>\xff</a>", condition: "not-well-formed"},
		{message: "<a><stream:stream/></a>", condition: "bad-format"},
		{message: "<a/></stream:stream>", namespace: "jabber:client", condition: "not-well-formed"},
	} {
		d := NewDecoder((&source{messages: []string{clientOpen, c.message, "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"}}).next)
		r := xmlstream.NewReader(d, limits)
		h, err := r.Header()
		if err != nil || h.Get("to") != "a.example" || h.Name != (xmlstream.Name{Space: nsStream, Local: "stream"}) {
			t.Fatal(h, err)
		}
		e, err := r.Next()
		if err == nil {
			if e.Name.Space != c.namespace {
				t.Errorf("%s: in %q", c.message, e.Name.Space)
			}
			_, err = r.Next()
		}
		if err == io.EOF {
			err = nil
		}
		if condition(err) != c.condition {
			t.Errorf("%s: %v", c.message, err)
		}
		r.Close()
	}
}

func TestDecoder_knowsWhetherAStreamIsOpen(t *testing.T) {
	const closing = "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"
	s := &source{messages: []string{clientOpen, "<a/>", closing, clientOpen}}
	var at []bool
	var d *Decoder
	d = NewDecoder(func() (io.Reader, error) {
		at = append(at, d.Open())
		return s.next()
	})
	if _, err := io.ReadAll(d); err != nil || !slices.Equal(at, []bool{false, true, true, false, true}) {
		t.Errorf("%v, %v", at, err)
	}
}
