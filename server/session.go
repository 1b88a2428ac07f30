package server

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"slices"

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
	feed     *feed
	user     string
	resource string // empty until bound
}

func (s *session) bareJID() string { return s.user + "@" + s.conn.host.Name }

func (s *session) fullJID() string { return s.bareJID() + "/" + s.resource }

// session serves the stream that begins after <success/>: its header and
// features, and then a mellium Session reads stanzas and asks HandleXMPP. A nil
// error means that the client ended the stream, and was answered.
func (c *conn) session(user string) error {
	// Known from here on, not only once it is bound: a login by the old
	// password must not outlive the password.
	s := &session{conn: c, user: user}
	c.server.registry.add(s, c.asked)
	defer c.server.registry.remove(s)
	if err := c.openStream(sessionFeatures); err != nil {
		return err
	}
	c.in.SetLimits(strict.Limits{
		Header:     headerLimit,
		Stanza:     c.config.StanzaLimit,
		Depth:      stanzaDepth,
		Elements:   stanzaElements,
		Attributes: stanzaAttributes,
	}, true)

	for {
		f := newFeed(c)
		s.feed = f
		// The login is over, and so is ctx's part in it: the connection's
		// own deadlines bound what follows.
		ms, err := xmpp.ReceiveSession(context.Background(), f, xmpp.Authn, negotiated)
		if err == nil {
			err = ms.Serve(s)
		}
		switch {
		case f.err != nil:
			return f.err
		case err != nil || !f.renewed:
			return err
		}
	}
}

func sessionFeatures(b []byte) []byte {
	return append(b, "<bind xmlns='"+nsBind+"'><required/></bind>"+
		"<session xmlns='"+nsSession+"'><optional/></session>"...)
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

// HandleXMPP answers one top-level element. mellium reads what we leave of it,
// and answers a request that we leave unanswered with service-unavailable.
func (s *session) HandleXMPP(t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	if start.Name.Space != nsClient {
		return s.feed.abort(unsupportedStanza)
	}
	st := stanzaOf(start)
	// Who it is from is known, whatever the client says. mellium would answer
	// to it, and take an attribute of another namespace for it as well.
	start.Attr = slices.DeleteFunc(start.Attr, func(a xml.Attr) bool { return a.Name.Local == "from" })
	switch {
	case start.Name.Local != "iq" && start.Name.Local != "message" && start.Name.Local != "presence":
		return s.feed.abort(unsupportedStanza)
	case s.resource == "" && !(start.Name.Local == "iq" && st.to == ""):
		if st.kind == "error" || st.kind == "result" {
			return nil
		}
		return st.bounce(t, stanza.Error{Type: stanza.Cancel, Condition: stanza.ServiceUnavailable})
	case start.Name.Local == "iq":
		return s.iq(t, start, st)
	case start.Name.Local == "message":
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
