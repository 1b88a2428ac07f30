package xmlstream

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// Each limit holds to the byte, however the bytes arrive.
func TestReader_limits(t *testing.T) {
	const big = "policy-violation: "
	element := func(n int) string { // of n bytes
		return "<a>" + strings.Repeat("x", n-len("<a></a>")) + "</a>"
	}
	header := func(n int) string { // of n bytes, the declaration included
		const begin, end = "<?xml version='1.0'?><stream:stream xmlns:stream='s' x='", "'>"
		return begin + strings.Repeat("A", n-len(begin)-len(end)) + end
	}
	distinct := func(n int, format string) (s string) {
		for i := range n {
			s += fmt.Sprintf(format, i)
		}
		return s
	}
	nested := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	small := Limits{Header: 100, Stanza: 50, Total: 200, Depth: 3, Elements: 4, Attributes: 3}
	tests := []struct {
		name   string
		limits Limits
		in     string
		want   string // the last error
	}{
		{"header", beforeLogin, header(16384), "the other side is silent"},
		{"header over", beforeLogin, header(16385), big + "stanza over the size limit"},
		{"header unfinished", beforeLogin, header(16386)[:16385], big + "stanza over the size limit"},
		{"header of many attributes", beforeLogin, "<a " + distinct(33, " a%d=''") + ">", big + "too many attributes"},
		{"header of long namespaces", beforeLogin, "<a xmlns='" + strings.Repeat("u", 1024) + "'>", big + "too many namespaces in the stream header"},
		{"header of a long name", beforeLogin, "<" + strings.Repeat("u", 1025) + ">", big + "too long name in the stream header"},
		{"white space before a header", beforeLogin, strings.Repeat(" ", 65536), "policy-violation: too many bytes before the login"},

		{"stanza", small, "<h>" + element(50), "the other side is silent"},
		{"stanza after white space", small, "<h>\n" + element(50), "the other side is silent"},
		{"stanza over", small, "<h>" + element(51), big + "stanza over the size limit"},
		{"stanza unfinished", small, "<h>" + element(52)[:51], big + "stanza over the size limit"},
		{"fault at the limit", small, "<h>" + element(58)[:49] + "\x00", "not-well-formed: control character"},
		{"fault after the limit", small, "<h>" + element(58)[:50] + "\x00", big + "stanza over the size limit"},
		{"stanza of 10000", beforeLogin, "<h>" + element(10000), "the other side is silent"},
		{"stanza of 262144", afterLogin, "<h>" + element(262144), "the other side is silent"},
		{"stanza of 262145", afterLogin, "<h>" + element(262145), big + "stanza over the size limit"},

		{"total", small, "<h>" + strings.Repeat(element(50), 3) + element(46) + "</", big + "too many bytes before the login"},
		{"total kept", small, "<h>" + strings.Repeat(element(50), 3) + element(43) + "</h>", "EOF"},
		{"total of keep-alives", small, "<h>" + strings.Repeat(" ", 300), big + "too many bytes before the login"},

		{"depth", small, "<h>" + nested(3), "the other side is silent"},
		{"depth over", small, "<h>" + nested(4), big + "elements nested too deeply"},
		{"elements", small, "<h><a>" + strings.Repeat("<a/>", 3) + "</a>", "the other side is silent"},
		{"elements over", small, "<h><a>" + strings.Repeat("<a/>", 4) + "</a>", big + "too many elements in one stanza"},
		{"attributes", small, "<h><a a='' b='' c=''/>", "the other side is silent"},
		{"attributes over", small, "<h><a a='' b='' c='' d=''/>", big + "too many attributes"},
		{"attributes in all", small, "<h><a a='' b='' c=''><b a=''/></a>", "the other side is silent"},
		{"attributes in all over", small, "<h><a a='' b='' c=''><b a='' b=''/></a>", big + "too many attributes"},
		{"namespaces in scope", Limits{99, 99, 0, 9, 9, 3}, "<h><a xmlns:a='u' xmlns:b='u'><b xmlns:c='u'/><b xmlns:c='u'/></a>", "the other side is silent"},
		{"namespaces in scope over", Limits{99, 99, 0, 9, 9, 3}, "<h><a xmlns:a='u' xmlns:b='u'><b xmlns:c='u' xmlns:d='u'/></a>", big + "too many namespaces in scope"},
	}
	for _, test := range tests {
		for name, size := range chunkings(uint64(len(test.in))) {
			t.Run(test.name+"/"+name, func(t *testing.T) {
				r := NewReader(&feed{pending: test.in, size: size}, test.limits)
				defer r.Close()
				got := transcript(r)
				if last := got[len(got)-1]; last != test.want {
					t.Errorf("got %.300s, want %s", last, test.want)
				}
			})
		}
	}
}

// After the login there is no total, and what was read before does not count.
func TestReader_setLimits(t *testing.T) {
	src := &feed{pending: clientHeader + "<a/>"}
	r := NewReader(src, beforeLogin)
	defer r.Close()
	if _, err := r.Header(); err != nil {
		t.Fatal(err)
	}
	r.SetLimits(afterLogin, true)
	for i := range 1000 {
		src.pending += strings.Repeat(" ", i%40) + "<b>" + strings.Repeat("x", i) + "</b>"
		if item, e, err := r.NextRaw(); err != nil || !bytes.HasPrefix(item, []byte("<"+e.Name.Local)) {
			t.Fatalf("element %d: %q, %v", i, item, err)
		}
	}
}

// hostile is what a stranger may send to make a Reader large: a header, and an
// element that is within the limits.
func hostile() map[string][2]string {
	const plain = "<stream:stream xmlns:stream='s'>"
	long := strings.Repeat("n", 90)
	fill := func(begin, item, end string, limit int) string {
		return begin + strings.Repeat(item, (limit-len(begin)-len(end))/len(item)) + end
	}
	header := fill("<stream:stream xmlns:stream='s' x='", "A", "'>", 16384)
	attributes, prefixes, namespaces := "", "", ""
	for i := range 30 {
		attributes += fmt.Sprintf(" %c%d='%s'", 'a'+i%26, i, strings.Repeat("v", 250))
		prefixes += fmt.Sprintf(" xmlns:p%d='%s'", i, strings.Repeat("u", 250))
		if i < 15 {
			namespaces += fmt.Sprintf(" xmlns:p%d='%s'", i, strings.Repeat("u", 25))
		}
	}
	nested := func(n int, tag string) string {
		return strings.Repeat("<"+tag+">", n) + strings.Repeat("</"+tag+">", n)
	}
	mixed := "<a>" + strings.Repeat("<b/>"+strings.Repeat("x", 94), 99) + "</a>"
	return map[string][2]string{
		"nothing much":            {plain, "<a/>"},
		"one text":                {header, fill("<a>", "x", "</a>", 10000)},
		"entities":                {header, fill("<a>", "&lt;", "</a>", 10000)},
		"one reference":           {header, fill("<a>&lt;", "x", "</a>", 10000)},
		"CDATA sections":          {header, fill("<a>", "x<![CDATA[y]]>", "</a>", 10000)},
		"tiny elements":           {header, "<a>" + strings.Repeat("<b/>", 99) + "</a>"},
		"text between":            {header, mixed},
		"elements with attribute": {header, "<a>" + strings.Repeat("<b c=''>"+strings.Repeat("x", 85)+"</b>", 99) + "</a>"},
		"many attributes":         {header, "<a" + attributes + ">" + strings.Repeat("x", 1900) + "</a>"},
		"attributes of prefix":    {header, "<a xmlns:p='u'>" + strings.Repeat("<b p:a='' p:b='' p:c=''/>", 33) + strings.Repeat("x", 9000) + "</a>"},
		"many prefixes":           {header, "<a" + prefixes + "/>"},
		"long names":              {header, "<a>" + strings.Repeat("<"+long+"/>", 99) + "</a>"},
		"deep":                    {header, nested(32, long)},
		"deep and mixed":          {header, strings.Repeat("<a>xx<b/>"+strings.Repeat("y", 280), 31) + strings.Repeat("</a>", 31)},
		"header of namespaces":    {"<stream:stream xmlns:stream='s'" + namespaces + " x='" + strings.Repeat("A", 15700) + "'>", mixed},
	}
}

// Whatever is sent, a Reader with the header and the element that it returned
// takes at most 64 KiB before the login, bytes that came early included.
func TestReader_memoryBeforeLogin(t *testing.T) {
	const copies, most = 16, 64 << 10
	type held struct {
		r *Reader
		h *Header
		e *Element
	}
	for name, in := range hostile() {
		for _, early := range []string{"", "<b>", "<b>" + strings.Repeat("y", 2100), "<b>" + strings.Repeat("z", 9000)} {
			t.Run(fmt.Sprintf("%s/%d early", name, len(early)), func(t *testing.T) {
				var all [copies]held
				before := heap()
				for i := range all {
					src := &feed{pending: in[0] + in[1] + early}
					r := NewReader(src, beforeLogin)
					h, err := r.Header()
					if err != nil {
						t.Fatal(err)
					}
					e, err := r.Next()
					if err != nil {
						t.Fatal(err)
					}
					src.pending = ""
					all[i] = held{r, h, e}
				}
				each := (heap() - before) / copies
				t.Logf("%d bytes each", each)
				if each > most {
					t.Errorf("%d bytes each, want at most %d", each, most)
				}
				for _, one := range all {
					one.r.Close()
				}
				runtime.KeepAlive(all)
			})
		}
	}
}

// heap returns the bytes in use, without what pools hold.
func heap() int {
	var m runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// Not even for a moment is more allocated than a few times the limits: all
// that a call allocates, with what it threw away.
func TestReader_memoryOfOneCall(t *testing.T) {
	for name, in := range hostile() {
		t.Run(name, func(t *testing.T) {
			r := NewReader(&feed{pending: in[0] + in[1]}, beforeLogin)
			defer r.Close()
			var m0, m1 runtime.MemStats
			runtime.ReadMemStats(&m0)
			_, err := r.Header()
			if err == nil {
				_, err = r.Next()
			}
			runtime.ReadMemStats(&m1)
			if err != nil {
				t.Fatal(err)
			}
			got := m1.TotalAlloc - m0.TotalAlloc
			t.Logf("%d bytes", got)
			if got > 128<<10 {
				t.Errorf("%d bytes allocated", got)
			}
		})
	}
}

// Bytes that were consumed do not stay in a buffer, nor go to another reader.
func TestReader_buffersAreCleared(t *testing.T) {
	const secret = "c2VjcmV0"
	for _, size := range []int{0, 3000} {
		for _, early := range []string{"", "<b>"} {
			src := &feed{pending: clientHeader + "<auth>" + secret + strings.Repeat("x", size) + "</auth>" + early}
			r := NewReader(src, beforeLogin)
			if _, err := r.Header(); err != nil {
				t.Fatal(err)
			}
			var seen [][]byte
			src.onRead = func() { seen = append(seen, r.buf[:cap(r.buf)]) }
			seen = append(seen, r.buf[:cap(r.buf)])
			e, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range append(seen, r.buf[:cap(r.buf)]) {
				if bytes.Contains(b, []byte(secret)) {
					t.Errorf("size %d, early %q: the secret is still in a buffer", size, early)
				}
			}
			if early == "" && r.buf != nil {
				t.Errorf("a buffer of %d bytes is held for nothing", cap(r.buf))
			}
			r.Close()

			// The next user of the buffer overwrites it.
			other := NewReader(&feed{pending: strings.Repeat("<", 2048)}, beforeLogin)
			if _, err := other.Header(); err == nil {
				t.Error("nonsense was accepted")
			}
			other.Close()
			if e.Text != secret+strings.Repeat("x", size) {
				t.Errorf("the text changed to %.20q", e.Text)
			}
		}
	}
}

// An idle stream holds no buffer, whatever kept it alive.
func TestReader_idleHoldsNoBuffer(t *testing.T) {
	src := &feed{pending: clientHeader}
	r := NewReader(src, beforeLogin)
	defer r.Close()
	if _, err := r.Header(); err != nil {
		t.Fatal(err)
	}
	r.SetLimits(afterLogin, true)
	for _, in := range []string{"", " ", "\n\n\n", "<a>" + strings.Repeat("x", 100000) + "</a>", " "} {
		src.pending = in
		if _, _, err := r.NextRaw(); err == nil {
			_, _, err = r.NextRaw()
			if err != errSilent {
				t.Fatal(err)
			}
		}
		if r.buf != nil {
			t.Errorf("after %.10q: %d bytes held", in, cap(r.buf))
		}
	}
}
