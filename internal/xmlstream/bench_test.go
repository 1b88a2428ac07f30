package xmlstream

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// A login's messages after STARTTLS, as a client sends them.
const (
	clientHeader = `<?xml version='1.0'?><stream:stream to='xmpp.example' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' xml:lang='en'>`
	clientAuth   = `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>`
	clientBind   = `<iq type='set' id='bind1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r1</resource></bind></iq>`
)

// messages gives at most one message a read, as a network does.
type messages struct {
	list []string
	next int // message
	used int // bytes of it
}

func (m *messages) Read(b []byte) (int, error) {
	if m.next == len(m.list) {
		return 0, io.EOF
	}
	n := copy(b, m.list[m.next][m.used:])
	if m.used += n; m.used == len(m.list[m.next]) {
		m.next, m.used = m.next+1, 0
	}
	return n, nil
}

func readLogin(r *Reader) error {
	if _, err := r.Header(); err != nil {
		return err
	}
	if _, err := r.Next(); err != nil {
		return err
	}
	if _, err := r.Header(); err != nil {
		return err
	}
	_, err := r.Next()
	return err
}

func BenchmarkReader_login(b *testing.B) {
	src := messages{list: []string{clientHeader, clientAuth, clientHeader, clientBind}}
	r := NewReader(&src, beforeLogin)
	b.ReportAllocs()
	for b.Loop() {
		src.next = 0
		r.Reset(&src)
		r.total = 0
		if err := readLogin(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReader_messageRaw(b *testing.B) {
	message := `<message to='bob@xmpp.example' id='1' type='chat'><body>Hello, how are you?</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>`
	src := messages{list: []string{message}}
	r := NewReader(&src, afterLogin)
	r.SetLimits(afterLogin, true)
	r.declared = map[string]string{"": "jabber:client"}
	b.ReportAllocs()
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		src.next = 0
		if _, _, err := r.NextRaw(); err != nil {
			b.Fatal(err)
		}
	}
}

// The dearest stanzas that fit in the limits after a login: the time is to be
// in proportion to their size.
func BenchmarkReader_hostile(b *testing.B) {
	const size = 262144
	numbered := func(n int, format string) (s string) {
		for i := range n {
			s += fmt.Sprintf(format, i)
		}
		return s
	}
	fill := func(begin, item, end string) string {
		n := min((size-len(begin)-len(end))/len(item), 19000)
		return begin + strings.Repeat(item, n) + end
	}
	for _, in := range []struct{ name, stanza string }{
		{"namespaces", fill("<a"+numbered(255, " xmlns:p%d='u'")+">", "<b/>", "</a>")},
		{"attributes", "<a>" + strings.Repeat("<b"+numbered(250, " a%d=''")+"/>", 75) + "</a>"},
		{"pieces of text", fill("<a>", "<b/>xxxxx", "</a>")},
		{"references", fill("<a>", "&lt;", "</a>")},
		{"text", fill("<a>", strings.Repeat("x", 1000), "</a>")},
	} {
		for _, chunk := range []int{1, 4096} {
			b.Run(fmt.Sprintf("%s/%d", in.name, chunk), func(b *testing.B) {
				src := &feed{size: func() int { return chunk }}
				r := NewReader(src, afterLogin)
				b.SetBytes(int64(len(in.stanza)))
				for b.Loop() {
					src.pending = in.stanza
					if _, err := r.Next(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkAppendEscaped(b *testing.B) {
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendEscaped(buf[:0], "alice@xmpp.example/a resource & more")
	}
}

// Four messages cost a stranger's login at most 20 allocations.
func TestReader_allocationsOfALogin(t *testing.T) {
	src := messages{list: []string{clientHeader, clientAuth, clientHeader, clientBind}}
	r := NewReader(&src, beforeLogin)
	defer r.Close()
	// The least of many: the race detector makes pools forget at random.
	least := 1e9
	for range 1000 {
		least = min(least, testing.AllocsPerRun(1, func() {
			src.next = 0
			r.Reset(&src)
			r.total = 0
			if err := readLogin(r); err != nil {
				t.Fatal(err)
			}
		}))
	}
	if least > 20 {
		t.Errorf("%v allocations, want at most 20", least)
	}
}
