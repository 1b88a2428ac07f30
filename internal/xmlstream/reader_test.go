package xmlstream

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// What gatehouse allows before and after a login.
var (
	beforeLogin = Limits{Header: 16384, Stanza: 10000, Total: 65536, Depth: 32, Elements: 100, Attributes: 32}
	afterLogin  = Limits{Header: 16384, Stanza: 262144, Depth: 128, Elements: 20000, Attributes: 256}
)

// errSilent is what a source says instead of waiting.
var errSilent = errors.New("the other side is silent")

// feed is a source that gives what was put in, at most size bytes a read
// (0: as many as fit), and then errSilent.
type feed struct {
	pending string
	size    func() int
	onRead  func()
}

func (f *feed) Read(b []byte) (int, error) {
	if f.onRead != nil {
		f.onRead()
	}
	if f.pending == "" {
		return 0, errSilent
	}
	if f.size != nil {
		b = b[:min(len(b), f.size())]
	}
	n := copy(b, f.pending)
	f.pending = f.pending[n:]
	return n, nil
}

// chunkings are the ways in which bytes may arrive.
func chunkings(seed uint64) map[string]func() int {
	rnd := rand.New(rand.NewPCG(seed, 0))
	return map[string]func() int{
		"whole":        nil,
		"byte by byte": func() int { return 1 },
		"random":       func() int { return 1 + rnd.IntN(40) },
	}
}

// show writes an element down unmistakably.
func show(e *Element) string {
	var b strings.Builder
	fmt.Fprintf(&b, "({%s}%s", e.Name.Space, e.Name.Local)
	for _, a := range e.Attr {
		fmt.Fprintf(&b, " {%s}%s=%q", a.Name.Space, a.Name.Local, a.Value)
	}
	fmt.Fprintf(&b, " %q", e.Text)
	for _, c := range e.Children {
		b.WriteString(" " + show(c))
	}
	return b.String() + ")"
}

// transcript reads a stream to its end and writes down what it gave.
func transcript(r *Reader) (got []string) {
	h, err := r.Header()
	if err != nil {
		return append(got, err.Error())
	}
	line := "header " + show(&Element{Name: h.Name, Attr: h.Attr})
	for _, prefix := range slices.Sorted(maps.Keys(h.Declared)) {
		line += fmt.Sprintf(" %s=%s", prefix, h.Declared[prefix])
	}
	for got = append(got, line); ; {
		e, err := r.Next()
		if err != nil {
			return append(got, err.Error())
		}
		got = append(got, show(e))
	}
}

const opened = `header ({http://etherx.jabber.org/streams}stream {}to="h" "") =jabber:client stream=http://etherx.jabber.org/streams`

func TestReader_transcripts(t *testing.T) {
	const header = `<stream:stream to='h' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`
	const silent = "the other side is silent"
	tests := []struct {
		name, in string
		want     []string // after the header, where in begins with it
	}{
		{"nothing", "", []string{silent}},
		{"white space only", " \t\r\n", []string{silent}},
		{"half a byte order mark", "\xef\xbb", []string{silent}},
		{"byte order mark, white space", "\ufeff\n" + header, []string{opened, silent}},
		{"two byte order marks", "\ufeff\ufeff" + header, []string{"not-well-formed: stream header expected"}},
		{"byte order mark after the declaration", "<?xml version='1.0'?>\ufeff" + header, []string{"not-well-formed: stream header expected"}},
		{"declaration", "<?xml version='1.0'?>\n" + header, []string{opened, silent}},
		{"declaration in all its parts", "<?xml\tversion = \"1.0\" encoding='UTF-8'\nstandalone='yes' ?>" + header, []string{opened, silent}},
		{"declaration twice", "<?xml version='1.0'?><?xml version='1.0'?>" + header, []string{"not-well-formed: stream header expected"}},
		{"declaration after a space", " <?xml version='1.0'?>" + header, []string{"not-well-formed: XML declaration that is not at the beginning"}},
		{"declaration without a version", "<?xml encoding='UTF-8'?>", []string{"not-well-formed: bad XML declaration"}},
		{"empty declaration", "<?xml?>", []string{"not-well-formed: XML declaration without a version"}},
		{"shortest instruction", "<?>", []string{"restricted-xml: processing instruction"}},
		{"declaration with a namespace", "<?xml xmlns:a='b' version='1.0'?>", []string{"not-well-formed: bad XML declaration"}},
		{"declaration with many attributes", "<?xml version='1.0' encoding='UTF-8' standalone='yes' a='b'?>", []string{"not-well-formed: bad XML declaration"}},
		{"latin-1", "<?xml version='1.0' encoding='ISO-8859-1'?>", []string{"unsupported-encoding: encoding other than UTF-8"}},
		{"UTF-16 with a mark", "\xff\xfe<\x00", []string{"not-well-formed: stream header expected"}},
		{"UTF-16 without", "<\x00?\x00", []string{"not-well-formed: control character"}},
		{"TLS client hello", "\x16", []string{"not-well-formed: stream header expected"}},
		{"HTTP request", "G", []string{"not-well-formed: stream header expected"}},
		{"end instead of a header", "</stream:stream>", []string{"not-well-formed: stream header expected"}},
		{"comment instead of a header", "<!", []string{"restricted-xml: comment, document type or CDATA section between elements"}},
		{"no name", "<>", []string{"not-well-formed: name expected"}},
		{"header that ends at once", "<stream/>", []string{"not-well-formed: stream header that ends the stream"}},
		{"header with a prefix unbound", "<stream:stream>", []string{"not-well-formed: prefix without a namespace"}},
		{"header bound later", "<s:stream s:to='h' xmlns:s='http://etherx.jabber.org/streams'>",
			[]string{`header ({http://etherx.jabber.org/streams}stream {http://etherx.jabber.org/streams}to="h" "") s=http://etherx.jabber.org/streams`, silent}},

		{"end", header + "</stream:stream >", []string{opened, "EOF"}},
		{"end of another stream", header + "</stream>", []string{opened, "not-well-formed: end tag of another element"}},
		{"end with more in it", header + "</stream:stream a='b'>", []string{opened, "not-well-formed: bad end tag"}},
		{"end and more", header + "</stream:stream><a/>", []string{opened, "EOF"}},
		{"white space between elements", header + "\n<a/> \t\r\n<b/>\n", []string{opened, `({jabber:client}a "")`, `({jabber:client}b "")`, silent}},
		{"text between elements", header + "hello<a/>]]>", []string{opened, `({jabber:client}a "")`, silent}},
		{"client hello between elements", header + "\x16", []string{opened, "not-well-formed: text between elements"}},
		{"entity between elements", header + "&", []string{opened, "not-well-formed: text between elements"}},
		{"CDATA between elements", header + "<!", []string{opened, "restricted-xml: comment, document type or CDATA section between elements"}},
		{"declaration between elements", header + "<?", []string{opened, "restricted-xml: processing instruction"}},

		{"no namespace", header + "<a xmlns=''><b/></a>", []string{opened, `({}a "" ({}b ""))`}},
		{"namespaces end with their element", header + "<a xmlns='u'><b xmlns='v' xmlns:p='w'/><c/></a><p:d/>",
			[]string{opened, `({u}a "" ({v}b "") ({u}c ""))`, "not-well-formed: prefix without a namespace"}},
		{"attributes with prefix", header + "<a p:x='1' x='2' xml:lang='de' xmlns:p='u'/>",
			[]string{opened, `({jabber:client}a {u}x="1" {}x="2" {http://www.w3.org/XML/1998/namespace}lang="de" "")`}},
		{"one attribute by two prefixes", header + "<a xmlns:p='u' xmlns:q='u' p:x='1' q:x='2'/>", []string{opened, "not-well-formed: attribute given twice"}},
		{"one prefix twice", header + "<a xmlns:p='u' xmlns:p='v'/>", []string{opened, "not-well-formed: attribute given twice"}},
		{"prefix without a name", header + "<a xmlns:p=''/>", []string{opened, "not-well-formed: namespace declaration that XML does not allow"}},
		{"xml bound to something else", header + "<a xmlns:xml='u'/>", []string{opened, "not-well-formed: namespace declaration that XML does not allow"}},
		{"xmlns bound", header + "<a xmlns:xmlns='u'/>", []string{opened, "not-well-formed: namespace declaration that XML does not allow"}},
		{"xmlns as a prefix", header + "<xmlns:a/>", []string{opened, "not-well-formed: prefix without a namespace"}},
		{"prefix without local part", header + "<a: xmlns:a='u'/>", []string{opened, "not-well-formed: bad name"}},
		{"two colons", header + "<a:b:c/>", []string{opened, "not-well-formed: bad name"}},
		{"digit after the colon", header + "<stream:1/>", []string{opened, "not-well-formed: bad name"}},

		{"text in pieces", header + "<a>x<b>y</b>z<![CDATA[<&>]]>\r\n<c/>\r!</a>", []string{opened, `({jabber:client}a "xz<&>\n\n!" ({jabber:client}b "y") ({jabber:client}c ""))`}},
		{"text after a child only", header + "<a><b k='v'/>z</a>", []string{opened, `({jabber:client}a "z" ({jabber:client}b {}k="v" ""))`}},
		{"line ends in CDATA", header + "<a><![CDATA[1\r\n2\r3]]]]><![CDATA[]]></a>", []string{opened, `({jabber:client}a "1\n2\n3]]")`}},
		{"references", header + "<a b='&lt;&#10;\n&quot;'>&amp;&#x41;&#66;&apos;&gt;</a>", []string{opened, `({jabber:client}a {}b="<\n \"" "&AB'>")`}},
		{"unknown entity", header + "<a>&nbsp;</a>", []string{opened, "restricted-xml: entity that is not predefined"}},
		{"reference to NUL", header + "<a>&#0;</a>", []string{opened, "not-well-formed: bad character reference"}},
		{"reference to a surrogate", header + "<a>&#xD800;</a>", []string{opened, "not-well-formed: bad character reference"}},
		{"reference with a sign", header + "<a>&#+65;</a>", []string{opened, "not-well-formed: bad character reference"}},
		{"lonely ampersand", header + "<a>& </a>", []string{opened, "not-well-formed: '&' without a reference"}},
		{"end of CDATA in text", header + "<a>]]></a>", []string{opened, "not-well-formed: ']]>' in text"}},
		{"'<' in an attribute", header + "<a b='<", []string{opened, "not-well-formed: '<' in an attribute value"}},
		{"'<' in a tag", header + "<a <", []string{opened, "not-well-formed: '<' inside a tag"}},
		{"'<' in an end tag", header + "<a></<", []string{opened, "not-well-formed: '<' inside a tag"}},
		{"attributes without space", header + "<a b='1'c='2'/>", []string{opened, "not-well-formed: white space missing before an attribute"}},
		{"attribute without value", header + "<a b/>", []string{opened, "not-well-formed: attribute without a value"}},
		{"attribute without quotes", header + "<a b=c/>", []string{opened, "not-well-formed: attribute value without quotes"}},
		{"slash inside a tag", header + "<a / ></a>", []string{opened, "not-well-formed: '/' inside a tag"}},
		{"control character at once", header + "<a>\x01", []string{opened, "not-well-formed: control character"}},
		{"broken UTF-8", header + "<a>\xc3(</a>", []string{opened, "not-well-formed: bytes that are not UTF-8"}},
		{"overlong UTF-8", header + "<a>\xc0\xaf</a>", []string{opened, "not-well-formed: bytes that are not UTF-8"}},
		{"surrogate in UTF-8", header + "<a>\xed\xa0\x80</a>", []string{opened, "not-well-formed: bytes that are not UTF-8"}},
		{"character that is none", header + "<a>\uffff</a>", []string{opened, "not-well-formed: character that XML does not allow"}},
		{"comment in an element", header + "<a><!-", []string{opened, "restricted-xml: comment or document type"}},
		{"other names", header + "<é·>ü</é·>", []string{opened, "({jabber:client}é· \"ü\")"}},
		{"name that begins like none", header + "<·/>", []string{opened, "not-well-formed: name expected"}},
		{"name of broken UTF-8", header + "<a\xff/>", []string{opened, "not-well-formed: white space missing before an attribute"}},
	}
	for _, test := range tests {
		for name, size := range chunkings(uint64(len(test.in))) {
			t.Run(test.name+"/"+name, func(t *testing.T) {
				r := NewReader(&feed{pending: test.in, size: size}, beforeLogin)
				defer r.Close()
				got := transcript(r)
				want := test.want
				// The last line is left out where it says that all was read.
				if len(got) == len(want)+1 && got[len(want)] == silent {
					got = got[:len(want)]
				}
				if !slices.Equal(got, want) {
					t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			})
		}
	}
}

// White space that was sent before the answer to <auth/> may come to be read
// as the beginning of the header that follows.
func TestReader_restart(t *testing.T) {
	src := &feed{pending: clientHeader + clientAuth + "\n"}
	r := NewReader(src, beforeLogin)
	defer r.Close()
	if _, err := r.Header(); err != nil {
		t.Fatal(err)
	}
	if e, err := r.Next(); err != nil || e.Text != "AGFsaWNlAHNlY3JldA==" || e.Get("mechanism") != "PLAIN" {
		t.Fatalf("got %v, %v", e, err)
	}
	if r.Buffered() != 1 {
		t.Errorf("%d bytes held, want 1", r.Buffered())
	}
	src.pending = clientHeader + clientBind
	h, err := r.Header()
	if err != nil || h.Get("to") != "xmpp.example" || r.Declared()["stream"] != "http://etherx.jabber.org/streams" {
		t.Fatalf("got %v, %v", h, err)
	}
	e, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	bind := e.Child("urn:ietf:params:xml:ns:xmpp-bind", "bind")
	if bind == nil || bind.Child("urn:ietf:params:xml:ns:xmpp-bind", "resource").Text != "r1" {
		t.Errorf("got %s", show(e))
	}
}

// After Reset the rules of a first header hold again, and nothing is left.
func TestReader_reset(t *testing.T) {
	r := NewReader(&feed{pending: clientHeader + "<starttls/><a"}, beforeLogin)
	defer r.Close()
	if _, err := r.Header(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if r.Buffered() != len("<a") {
		t.Errorf("%d bytes held, want 2", r.Buffered())
	}
	r.Reset(&feed{pending: " " + clientHeader})
	if r.Buffered() != 0 || r.Declared() != nil {
		t.Errorf("%d bytes and %v left", r.Buffered(), r.Declared())
	}
	if _, err := r.Header(); conditionOf(err) != "not-well-formed" {
		t.Errorf("got %v", err)
	}
	r.Reset(&feed{pending: clientHeader})
	if _, err := r.Header(); err != nil {
		t.Errorf("after an error and a Reset: %v", err)
	}
}

func conditionOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Condition
	}
	return ""
}

// A deadline in the middle of an element loses nothing.
func TestReader_goesOnAfterTimeout(t *testing.T) {
	src := &feed{}
	r := NewReader(src, beforeLogin)
	defer r.Close()
	src.pending = clientHeader
	if _, err := r.Header(); err != nil {
		t.Fatal(err)
	}
	for _, piece := range []string{"", "<a><b x='", ">", "'/><", "/a", "> <c/"} {
		src.pending += piece
		e, err := r.Next()
		if piece == "> <c/" {
			if err != nil || show(e) != `({jabber:client}a "" ({jabber:client}b {}x=">" ""))` {
				t.Fatalf("got %v, %v", e, err)
			}
			break
		}
		if err != errSilent {
			t.Fatalf("after %q: %v", piece, err)
		}
	}
	src.pending = ">"
	if e, err := r.Next(); err != nil || e.Name.Local != "c" {
		t.Errorf("got %v, %v", e, err)
	}
}

// What ended a stream ends it for good.
func TestReader_endIsFinal(t *testing.T) {
	for _, last := range []string{"<a></b>", "</stream:stream>", "<!", "\x00"} {
		r := NewReader(&feed{pending: clientHeader + last + "<c/>" + clientHeader}, beforeLogin)
		if _, err := r.Header(); err != nil {
			t.Fatal(err)
		}
		_, first := r.Next()
		_, second := r.Next()
		_, third := r.Header()
		if first == nil || first == errSilent || second != first || third != first {
			t.Errorf("%q: %v, then %v, then %v", last, first, second, third)
		}
		r.Close()
	}
}

func TestReader_sourceErrors(t *testing.T) {
	fault := errors.New("fault")
	tests := []struct {
		name string
		src  io.Reader
		want error
	}{
		{"closed at once", strings.NewReader(""), io.ErrUnexpectedEOF},
		{"closed in an element", strings.NewReader(clientHeader + "<a>"), io.ErrUnexpectedEOF},
		{"closed between elements", strings.NewReader(clientHeader), io.ErrUnexpectedEOF},
		{"closed together with data", iotest.DataErrReader(strings.NewReader(clientHeader + "</stream:stream>")), io.EOF},
		{"fault", iotest.ErrReader(fault), fault},
		{"fault later", io.MultiReader(strings.NewReader(clientHeader), iotest.ErrReader(fault)), fault},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := NewReader(test.src, beforeLogin)
			defer r.Close()
			_, err := r.Header()
			if err == nil {
				_, err = r.Next()
			}
			if err != test.want {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestReader_skipSpaceDropsNothingElse(t *testing.T) {
	r := NewReader(strings.NewReader("<a><b/> \r\n\t<c/>"), Limits{Header: 100, Stanza: 100, Depth: 9, Elements: 9, Attributes: 9})
	if _, err := r.Header(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	r.SkipSpace()
	if got := r.Buffered(); got != len("<c/>") {
		t.Errorf("%d bytes are left, want those of <c/>", got)
	}
}

// Whoever takes a stream over gets every byte that was read ahead.
func TestReader_rest(t *testing.T) {
	r := NewReader(strings.NewReader("<stream:stream xmlns:stream='s' xmlns='c'><a/> <b>half"), Limits{999, 999, 0, 9, 9, 9})
	if _, err := r.Header(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if rest := string(r.Rest()); rest != " <b>half" {
		t.Errorf("got %q", rest)
	}
	if rest := r.Rest(); len(rest) != 0 {
		t.Errorf("twice: %q", rest)
	}
}
