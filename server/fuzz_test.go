package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmlstream"
	"gatehouse.im/gatehouse/server"
)

// oracle is a judge who knows one password, and remembers what he was asked.
type oracle struct {
	mu      sync.Mutex
	yes     []string // users who were let in
	changed []string // users whose password was changed
}

const oraclePassword = "open sesame"

func (o *oracle) Authenticate(_ context.Context, user, at, secret string) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if at != host || secret != oraclePassword {
		return false, nil
	}
	o.yes = append(o.yes, user)
	return true, nil
}

func (o *oracle) IsUser(context.Context, string, string) (bool, error) { return true, nil }

func (o *oracle) SetPass(_ context.Context, user, _, _ string) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changed = append(o.changed, user)
	return true, nil
}

// plainServer is a server that lets people in without TLS.
func plainServer(o *oracle) *server.Server {
	return server.New(&server.Config{
		Hosts: map[string]*server.Host{host: {
			Name: host, Password: o, Token: o, Users: o, Passwords: o, TLS: &tls.Config{},
			AllowUnencryptedPlain: true, AllowRegistration: true, Conflict: server.KickOld,
		}},
		LoginTimeout:        30 * time.Second,
		StanzaLimit:         262144,
		UnauthedStanzaLimit: 10000,
		Version:             "fuzz",
		Logger:              slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
}

const (
	aHeader = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='xmpp.example'>"
	anEnd   = "</stream:stream>"
)

func plainAuth(authzid, user, password string) string {
	return "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" +
		base64.StdEncoding.EncodeToString([]byte(authzid+"\x00"+user+"\x00"+password)) + "</auth>"
}

func aBind(resource string) string {
	return "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>" + resource + "</resource></bind></iq>"
}

var loginSeeds = []string{
	"", " ", "\x00", "\x16\x03\x01\x02\x00\x01", "GET / HTTP/1.1\r\n\r\n", "<", "</stream:stream>", "\xef\xbb\xbf" + aHeader,
	aHeader, aHeader + anEnd,
	aHeader + plainAuth("", "alice", oraclePassword) + aHeader + aBind("r") + anEnd,
	aHeader + plainAuth("", "alice", "wrong") + plainAuth("", "alice", "") + plainAuth("bob", "alice", oraclePassword) + anEnd,
	aHeader + "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X-TOKEN'>AGEAYg==</auth>" + "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>" +
		"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</response><success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
	aHeader + "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
	aHeader + "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" + plainAuth("", "alice", oraclePassword),
	aHeader + "<iq type='set' id='\"&apos;&lt;' to='a&#10;&amp;b'><query xmlns='jabber:iq:register'><username>alice</username></query></iq>",
	aHeader + "<message to='x@y/z' id='1'><body>hi</body></message><presence/><iq/><iq type='get'/><iq type='result'/>" + aBind("x"),
	aHeader + "<stream:error/>", aHeader + "<stream:features/>", aHeader + "<!-- c -->", aHeader + "<?pi?>", aHeader + "<![CDATA[x]]>",
	"<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns:stream='jabber:client' xmlns='jabber:client' to='xmpp.example' from='\"&apos;'>" +
		plainAuth("", "alice", oraclePassword) + "<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns:stream='jabber:client' to='xmpp.example'><stream:iq/></s:stream>",
}

// Whatever a stranger sends to a server that talks plain text, he is let in
// only if the judge said so; all that he hears is well-formed; and the
// connection is closed at the end.
func FuzzLogin(f *testing.F) {
	for _, s := range loginSeeds {
		f.Add([]byte(s), uint16(1500))
		f.Add([]byte(s), uint16(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, chunk uint16) {
		o := new(oracle)
		s := plainServer(o)
		c := newMemConn(in, int(chunk))
		runBounded(t, s, c)
		out, closed := c.output()
		if !closed {
			t.Fatal("the connection is still open")
		}
		if n := s.Bound(); n != 0 {
			t.Fatalf("%d sessions are still in the registry", n)
		}
		h := listen(t, out)
		if h.tls {
			return
		}
		if err := wellFormed(out); err != nil {
			t.Fatalf("%v\nin %q", err, out)
		}
		checkLogin(t, h, o)
	})
}

// checkLogin compares what a client heard with what the judge said.
func checkLogin(t *testing.T, h heard, o *oracle) {
	t.Helper()
	success := 0
	for _, e := range h.elements {
		switch e.Name.Local {
		case "success":
			success++
		case "iq":
			if b := e.Child("urn:ietf:params:xml:ns:xmpp-bind", "bind"); b != nil {
				jid := b.Child(b.Name.Space, "jid")
				if jid == nil {
					continue // ours, bounced
				}
				if len(o.yes) == 0 || !strings.HasPrefix(jid.Text, o.yes[0]+"@"+host+"/") {
					t.Fatalf("bound %q, but the judge let in %q", jid.Text, o.yes)
				}
			}
		}
	}
	if success > 1 || success != len(o.yes) {
		t.Fatalf("%d times <success/>, but the judge let in %q", success, o.yes)
	}
	for _, user := range o.changed {
		if len(o.yes) == 0 || user != o.yes[0] {
			t.Fatalf("password of %q changed by %q", user, o.yes)
		}
	}
}

// runBounded runs a connection and fails if that takes longer than the
// slowest machine needs for it.
func runBounded(t *testing.T, s *server.Server, c *memConn) {
	t.Helper()
	alarm := time.AfterFunc(20*time.Second, func() {
		panic("the connection does not end")
	})
	defer alarm.Stop()
	s.Run(c)
}

var sessionSeeds = []string{
	"", anEnd, " ", "x", "<", "<iq type='get' id='1' to='xmpp.example'><ping xmlns='urn:xmpp:ping'/></iq>",
	"<iq type='get' id='1'/>", "<iq type='get' id='1'>text</iq>", "<iq type='weird' id='1'><a/></iq>", "<iq/>", "<iq id='1' type='result'/>",
	"<iq id='1' type='get' to='@/'><a/></iq>", "<iq id='1' type='get' to='bob@xmpp.example'><query xmlns='jabber:iq:version'/></iq>",
	"<iq id='1' type='get' from='mallory@x' xmlns:x='y' x:id='2' x:type='set' x:from='@@'><ping xmlns='urn:xmpp:ping'/></iq>",
	"<iq x:id='2' type='get' id='1' x:from='bob@x' xmlns:x='y'><ping xmlns='urn:xmpp:ping'/></iq>",
	"<iq type='get' id='1' xmlns:x='urn:x' x:from='@@'>text</iq>",
	"<iq id='1' type='get'><query xmlns='http://jabber.org/protocol/disco#info' node='x'/></iq>",
	"<iq id='1' type='get'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>",
	"<iq id='1' type='get'><query xmlns='jabber:iq:roster'/></iq><iq id='2' type='set'><query xmlns='jabber:iq:roster'/></iq>",
	"<iq id='1' type='get'><time xmlns='urn:xmpp:time'/></iq><iq id='2' type='get'><query xmlns='jabber:iq:version'>x</query></iq>",
	"<iq id='1' type='set'><query xmlns='jabber:iq:register'><username>alice</username><password>new</password></query></iq>",
	"<iq id='1' type='set'><query xmlns='jabber:iq:register'><username>bob</username><password>new</password></query></iq>",
	"<iq id='1' type='set' from='bob@xmpp.example'><query xmlns='jabber:iq:register'><username>bob</username><username>alice</username><password>new</password></query></iq>",
	"<iq id='1' type='set'><query xmlns='jabber:iq:register'><remove/></query></iq>",
	aBind("again"), "<iq id='1' type='set'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>",
	"<message><body>hi</body></message>", "<message to='alice@xmpp.example' xmlns:a='b' a:c='d'><x:y xmlns:x='z' x:xmlns='w' xml:lang='de'><![CDATA[<&]]></x:y></message>",
	"<message xmlns='jabber:client' xmlns:xml='http://www.w3.org/XML/1998/namespace'><body xmlns='jabber:client' xmlns:q='r'/></message>",
	"<message to='alice@xmpp.example' xmlns:n='urn:x/1' n:a='1'><n:b n:a='1' a='2'/></message>",
	"<presence/>", "<presence type='unavailable'><status>gone &amp; &#x1F600;</status></presence>", "<presence type='subscribe' to='bob@xmpp.example'/>",
	"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "<stream:stream/>", "<stream:x/>", "<a xmlns=''/>",
	plainAuth("", "bob", "x"), "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<!-- -->", aHeader,
	"<a:message xmlns:a='jabber:client'/>", "<message a:b='1' xmlns:a='jabber:client' a:to='x' a:id='2' id='1'/>",
}

// Whatever a logged-in client sends, what he hears is well-formed, and nobody
// else's password is touched.
func FuzzSession(f *testing.F) {
	for _, s := range sessionSeeds {
		f.Add([]byte(s), uint16(1500), true)
		f.Add([]byte(s), uint16(7), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, chunk uint16, bound bool) {
		o := new(oracle)
		s := plainServer(o)
		login := aHeader + plainAuth("", "alice", oraclePassword) + aHeader
		if bound {
			login += aBind("r")
		}
		c := newMemConn(append([]byte(login), in...), int(chunk))
		runBounded(t, s, c)
		out, closed := c.output()
		if !closed {
			t.Fatal("the connection is still open")
		}
		if n := s.Bound(); n != 0 {
			t.Fatalf("%d sessions are still in the registry", n)
		}
		h := listen(t, out)
		if err := wellFormed(out); err != nil {
			t.Fatalf("%v\nin %q", err, out)
		}
		if len(o.yes) != 1 || o.yes[0] != "alice" {
			t.Fatalf("let in: %q", o.yes)
		}
		checkLogin(t, h, o)
		checkSession(t, h, in)
	})
}

var streamErrorName = xmlstream.Name{Space: "http://etherx.jabber.org/streams", Local: "error"}

// checkSession demands that no answer is addressed to somebody else, and that
// a client whose stream was ended, and not by himself, was told why.
func checkSession(t *testing.T, h heard, in []byte) {
	t.Helper()
	for _, e := range h.elements {
		if to := e.Get("to"); to != "" && !strings.HasPrefix(to, "alice@"+host) {
			t.Fatalf("an answer to %q", to)
		}
	}
	if !h.ended || h.elements[len(h.elements)-1].Name == streamErrorName {
		return
	}
	r := xmlstream.NewReader(io.MultiReader(strings.NewReader(aHeader), bytes.NewReader(in)), xmlstream.Limits{
		Header: 1 << 20, Stanza: 1 << 22, Depth: 1 << 10, Elements: 1 << 20, Attributes: 1 << 10,
	})
	_, err := r.Header()
	var e *xmlstream.Element
	for err == nil && (e == nil || e.Name != streamErrorName) {
		e, err = r.Next()
	}
	if err == nil {
		return
	}
	if err != io.EOF {
		t.Fatalf("the stream was ended without a word, for %v", err)
	}
}
