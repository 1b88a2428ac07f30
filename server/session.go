package server

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"time"

	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/stream"

	strict "gatehouse.im/gatehouse/internal/xmlstream"
)

// What a stanza may be after the login. Its size is the config's.
const (
	stanzaDepth      = 128
	stanzaElements   = 20000
	stanzaAttributes = 256
)

// A session is a logged-in client. It belongs to the connection's goroutine;
// resource is written under the registry's lock.
type session struct {
	conn     *conn
	user     string
	resource string // empty until bound
}

func (s *session) bareJID() string { return s.user + "@" + s.conn.host.Name }

func (s *session) fullJID() string { return s.bareJID() + "/" + s.resource }

// session serves the stream that begins after <success/>: its header and
// features, the binding of a resource, and then stanzas. It returns io.EOF when
// the client has ended the stream.
func (c *conn) session(user string) error {
	// Known from here on, not only once it is bound: a login by the old
	// password must not outlive the password.
	s := &session{conn: c, user: user}
	c.server.registry.add(s, c.asked)
	defer c.server.registry.remove(s)
	c.enter(StateSession)
	if err := c.openStream(sessionFeatures); err != nil {
		return err
	}
	for s.resource == "" {
		e, err := c.in.Next()
		if why := c.endingWith(); why != nil {
			return why
		}
		if err == nil {
			err = c.refresh()
		}
		if err != nil {
			return err
		}
		if err := s.negotiate(e); err != nil {
			return err
		}
	}
	// From here on the client may be silent.
	c.in.SetLimits(strict.Limits{
		Header:     headerLimit,
		Stanza:     c.config.StanzaLimit,
		Depth:      stanzaDepth,
		Elements:   stanzaElements,
		Attributes: stanzaAttributes,
	}, true)
	c.readUntil(time.Time{})
	return s.serve()
}

func sessionFeatures(b []byte) []byte {
	return append(b, "<bind xmlns='"+nsBind+"'><required/></bind>"+
		"<session xmlns='"+nsSession+"'><optional/></session>"...)
}

// serve waits for stanzas and has each answered. An idle client costs the wait
// alone: a mellium Session holds 6 KB, and 7 KB of stack, so one is made for a
// stanza and forgotten after it.
func (s *session) serve() error {
	for {
		raw, e, err := s.conn.in.NextRaw()
		// What the client sent before it was to end, but was not looked at
		// until then, does not count: a thief who is thrown out by a changed
		// password must not change it back.
		if why := s.conn.endingWith(); why != nil {
			return why
		}
		if err == nil {
			err = s.conn.refresh()
		}
		switch {
		case err != nil:
			return err
		case e.Name == errorElement:
			return io.EOF // the client knows why
		case !isStanza(e.Name):
			return unsupportedStanza
		}
		if err := s.answer(raw); err != nil {
			return err
		}
	}
}

func isStanza(n strict.Name) bool {
	return n.Space == nsClient && (n.Local == "iq" || n.Local == "message" || n.Local == "presence")
}

// answer has a mellium Session read one stanza, and HandleXMPP answer it.
func (s *session) answer(raw []byte) error {
	f := newFeed(s.conn, raw)
	// The connection's own deadlines bound what follows.
	ms, err := xmpp.ReceiveSession(context.Background(), f, xmpp.Authn, negotiated)
	if err == nil {
		err = ms.Serve(s)
	}
	return errors.Join(f.err, err)
}

// negotiated is the mellium Negotiator of a stream that our own code has
// negotiated already: it reads the header that the feed begins with, and the
// session is ready.
func negotiated(_ context.Context, in, out *stream.Info, s *xmpp.Session, _ any) (xmpp.SessionState, io.ReadWriter, any, error) {
	r := s.TokenReader()
	_, err := r.Token()
	if err := errors.Join(err, r.Close()); err != nil {
		return 0, nil, nil, err
	}
	in.XMLNS, out.XMLNS = nsClient, nsClient
	return xmpp.Ready, nil, nil, nil
}

// HandleXMPP answers one stanza. mellium reads what we leave of it, and answers
// a request that we leave unanswered with service-unavailable.
func (s *session) HandleXMPP(t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	st := stanzaOf(start)
	// Who it is from is known, whatever the client says. mellium would answer
	// to it, and take an attribute of another namespace for it as well.
	start.Attr = slices.DeleteFunc(start.Attr, func(a xml.Attr) bool { return a.Name.Local == "from" })
	switch start.Name.Local {
	case "iq":
		return s.iq(t, start, st)
	case "message":
		return s.message(t, start, st)
	}
	return s.presence(t, start, st)
}

// stanzaInfo is what a stanza's opening tag says.
type stanzaInfo struct {
	name         string
	id, to, kind string
}

func stanzaOf(start *xml.StartElement) stanzaInfo {
	st := stanzaInfo{name: start.Name.Local}
	for _, a := range start.Attr {
		if a.Name.Space != "" {
			continue
		}
		switch a.Name.Local {
		case "id":
			st.id = a.Value
		case "to":
			st.to = a.Value
		case "type":
			st.kind = a.Value
		}
	}
	return st
}

// bounce answers a stanza with an error. The names in it are passed back as
// they came: they need not be JIDs that our library would parse.
func (st stanzaInfo) bounce(t xmlstream.TokenWriter, e stanza.Error) error {
	start := xml.StartElement{Name: xml.Name{Space: nsClient, Local: st.name}}
	for _, a := range [...]struct{ name, value string }{{"type", "error"}, {"id", st.id}, {"from", st.to}} {
		if a.value != "" {
			start.Attr = append(start.Attr, xml.Attr{Name: xml.Name{Local: a.name}, Value: a.value})
		}
	}
	_, err := xmlstream.Copy(t, xmlstream.Wrap(e.TokenReader(), start))
	return err
}
