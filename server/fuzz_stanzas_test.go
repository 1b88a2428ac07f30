package server_test

import (
	"fmt"
	"strings"
	"testing"
)

// A stanzaMaker makes well-formed XML out of arbitrary bytes: each byte is a
// choice. It reaches what FuzzSession, whose bytes are seldom XML, does not.
type stanzaMaker struct {
	choices []byte
	out     strings.Builder
	ids     []string // of the requests that must be answered
}

func (m *stanzaMaker) pick(from ...string) string {
	if len(m.choices) == 0 {
		return from[0]
	}
	i := int(m.choices[0]) % len(from)
	m.choices = m.choices[1:]
	return from[i]
}

// stanzas writes stanzas until all choices are made.
func (m *stanzaMaker) stanzas() string {
	for n := 0; len(m.choices) > 0 && n < 20; n++ {
		m.stanza(n)
	}
	return m.out.String()
}

func (m *stanzaMaker) stanza(n int) {
	name := m.pick("iq", "iq", "iq", "message", "presence", "c:iq", "c:message", "c:presence")
	kind := m.pick("get", "set", "get", "set", "", "result", "error", "chat", "subscribe", "unavailable", "&lt;")
	to := m.pick("", "xmpp.example", "XMPP.EXAMPLE", "alice@xmpp.example", "Alice@xmpp.example/r", "alice@xmpp.example/\u2168", "bob@xmpp.example",
		"@", "/", "@/", "xmpp.example/", "alice@", "a&apos;b@xmpp.example", "\u1e9b\u0323@xmpp.example", "alice@xmpp.example/&#9;", "\u200f@xmpp.example", "xmpp\u3002example")
	fmt.Fprintf(&m.out, "<%s xmlns:c='jabber:client'", name)
	id := fmt.Sprintf("q%d", n)
	withID := m.pick("yes", "yes", "yes", "no") == "yes"
	if withID {
		fmt.Fprintf(&m.out, " id='%s'", id)
	}
	if kind != "" {
		fmt.Fprintf(&m.out, " type='%s'", kind)
	}
	if to != "" {
		fmt.Fprintf(&m.out, " to='%s'", to)
	}
	m.out.WriteString(m.pick("", "", " from='bob@xmpp.example'", " from='@@'", " from=''", " c:from='x'", " c:to='@'", " xml:lang='de'", " xmlns:xml='http://www.w3.org/XML/1998/namespace'",
		" xmlns='jabber:client'", " xmlns:d='xmlns' d:e='f'", " xmlns:a='urn:a/' a:xmlns='b' a:b='c'", " xmlns:a='jabber:client' a:lang='b'", " xmlns:_xmlns='urn:u' _xmlns:a='b'", " xmlns:e='xml' e:lang='x'"))
	m.out.WriteByte('>')
	m.content(0)
	fmt.Fprintf(&m.out, "</%s>", name)
	if strings.HasSuffix(name, "iq") && withID && (kind == "get" || kind == "set") {
		m.ids = append(m.ids, id)
	}
}

func (m *stanzaMaker) content(depth int) {
	for range len(m.pick("1", "1", "", "12", "123")) {
		if depth > 3 {
			return
		}
		switch m.pick("element", "element", "text") {
		case "text":
			m.out.WriteString(m.pick("x", " ", "&amp;", "<![CDATA[<a/>]]>", "<![CDATA[]]>", "\r\n", "&#13;", "\u2028", "]]", "&#x10FFFF;", "alice", "new"))
		default:
			m.element(depth)
		}
	}
}

func (m *stanzaMaker) element(depth int) {
	tag := m.pick("ping xmlns='urn:xmpp:ping'", "query xmlns='jabber:iq:version'", "query xmlns='jabber:iq:register'", "query xmlns='jabber:iq:roster'",
		"query xmlns='http://jabber.org/protocol/disco#info'", "query xmlns='http://jabber.org/protocol/disco#items'", "time xmlns='urn:xmpp:time'",
		"bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'", "session xmlns='urn:ietf:params:xml:ns:xmpp-session'", "username", "password", "remove", "resource", "body",
		"x xmlns=''", "c:x", "p:x xmlns:p='urn:p'", "xmlns", "p:xmlns xmlns:p='urn:p'", "stream:error", "iq", "message", "_ xmlns='xmlns'", "\u00e9",
		"q:query xmlns:q='jabber:iq:register'", "p:a xmlns:p='http://www.w3.org/2000/xmlns'", "p:a xmlns:p='&apos;&lt;>&quot;'")
	attribute := m.pick("", "", " node='x'", " type='result'", " id='q0'", " xmlns:z='urn:z' z:a='1' a='2'", " xml:space='preserve'", " c:xmlns='x'", " xmlns:z='&lt;&amp;' z:z=''")
	fmt.Fprintf(&m.out, "<%s%s>", tag, attribute)
	m.content(depth + 1)
	name, _, _ := strings.Cut(tag, " ")
	fmt.Fprintf(&m.out, "</%s>", name)
}

// Every request of a well-formed stream is answered, once, unless the stream
// ends; and all of FuzzSession's demands hold.
func FuzzStanzas(f *testing.F) {
	f.Add([]byte("0"), true)
	f.Add([]byte("the quick brown fox jumps over the lazy dog, and then some more"), true)
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), false)
	f.Add([]byte("\x03\x07\x03\x00\x0b\x03\x00\x13\x05\x01\x02\x04\x18\x08"), true)
	f.Add([]byte("\x00\x01\x00\x00\x00\x00\x00\x02\x00\x03\x00\x09\x00\x00\x02\x0a\x00\x0a\x00\x00\x02\x0b"), true)
	f.Fuzz(func(t *testing.T, choices []byte, bound bool) {
		o := new(oracle)
		s := plainServer(o)
		login := aHeader + plainAuth("", "alice", oraclePassword) + aHeader
		if bound {
			login += aBind("r")
		}
		m := &stanzaMaker{choices: choices}
		in := m.stanzas() + anEnd
		c := newMemConn([]byte(login+in), 1<<16)
		runBounded(t, s, c)
		out, _ := c.output()
		h := listen(t, out)
		if err := wellFormed(out); err != nil {
			t.Fatalf("%v\nsent %q\ngot %q", err, in, out)
		}
		checkLogin(t, h, o)
		checkSession(t, h, []byte(in))
		if !h.ended {
			t.Fatalf("the stream is not ended\nsent %q\ngot %q", in, out)
		}
		if h.elements[len(h.elements)-1].Name == streamErrorName {
			return
		}
		answers := make(map[string]int)
		for _, e := range h.elements {
			if e.Name.Local == "iq" && e.Get("type") != "get" && e.Get("type") != "set" {
				answers[e.Get("id")]++
			}
		}
		for _, id := range m.ids {
			if answers[id] != 1 {
				t.Fatalf("%s was answered %d times\nsent %q\ngot %q", id, answers[id], in, out)
			}
		}
	})
}
