package server

import (
	"context"
	"encoding/xml"
	"slices"

	"mellium.im/xmlstream"
	"mellium.im/xmpp/stanza"
)

// message answers a message: there is nobody here to give it to but its own
// sender. Whether a local user exists is asked all the same, as Prosody does
// for one who is not online, since the script may want to know; the answer is
// the same either way, so that names cannot be tried.
func (s *session) message(t xmlstream.TokenReadEncoder, start *xml.StartElement, st stanzaInfo) error {
	if st.kind == "error" {
		return nil
	}
	if s.isOurs(st.to) {
		if user, _, _, _ := splitJID(st.to); user != "" || st.to == "" {
			return s.reflect(t, start)
		}
	}
	s.askFor(st.to)
	return st.bounce(t, stanza.Error{Type: stanza.Cancel, Condition: stanza.ServiceUnavailable})
}

// presence echoes the client's own presence, which tells it that it is online
// (RFC 6121 §4.2.2), and passes over what is for others: nobody is subscribed
// to anybody here, and presence is not answered with errors.
func (s *session) presence(t xmlstream.TokenReadEncoder, start *xml.StartElement, st stanzaInfo) error {
	switch {
	case st.to == "" && (st.kind == "" || st.kind == "unavailable"):
		return s.reflect(t, start)
	case st.kind == "subscribe":
		s.askFor(st.to)
	}
	return nil
}

// reflect sends a stanza back to its sender, from itself.
func (s *session) reflect(t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	back := xml.StartElement{Name: start.Name, Attr: []xml.Attr{
		{Name: xml.Name{Local: "from"}, Value: s.fullJID()},
		{Name: xml.Name{Local: "to"}, Value: s.fullJID()},
	}}
	for _, a := range withoutNamespaces(start.Attr) {
		if a.Name.Local != "from" && a.Name.Local != "to" {
			back.Attr = append(back.Attr, a)
		}
	}
	inner := xmlstream.Inner(t)
	_, err := xmlstream.Copy(t, xmlstream.Wrap(xmlstream.ReaderFunc(func() (xml.Token, error) {
		tok, err := inner.Token()
		if el, ok := tok.(xml.StartElement); ok {
			el.Attr = withoutNamespaces(el.Attr)
			tok = el
		}
		return tok, err
	}), back))
	return err
}

// withoutNamespaces removes namespace declarations: the encoder makes its own
// from the names, and would take these for attributes.
func withoutNamespaces(attrs []xml.Attr) []xml.Attr {
	return slices.DeleteFunc(attrs, func(a xml.Attr) bool {
		return a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns"
	})
}

// askFor asks the script whether the local user that a stanza is for exists.
func (s *session) askFor(to string) {
	user, host, _, ok := splitJID(to)
	if !ok || user == "" || host != s.conn.host.Name || s.conn.host.Users == nil ||
		s.conn.server.registry.online(user+"@"+host) {
		return
	}
	ctx, cancel := context.WithTimeout(s.conn.server.ctx, writeTimeout)
	defer cancel()
	if _, err := s.conn.host.Users.IsUser(ctx, user, host); err != nil {
		s.conn.config.Logger.Warn("cannot say whether a user exists",
			"host", host, "user", cut(user), "cause", err)
	}
}
