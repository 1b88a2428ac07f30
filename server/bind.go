package server

import (
	"gatehouse.im/gatehouse/internal/xmlstream"
	"gatehouse.im/gatehouse/saslmech"
)

const nsSession = "urn:ietf:params:xml:ns:xmpp-session"

// negotiate handles an element between the login and the bound resource: the
// one that binds it, and others that it answers with an error.
func (s *session) negotiate(e *xmlstream.Element) error {
	kind, bind := e.Get("type"), e.Child(nsBind, "bind")
	switch {
	case e.Name != (xmlstream.Name{Space: nsClient, Local: "iq"}), bind == nil,
		kind == "result", kind == "error", !s.isHost(e.Get("to")):
		return s.conn.bounce(e)
	case kind != "get" && kind != "set", e.Get("id") == "":
		return s.conn.stanzaError(e, "modify", "bad-request")
	}
	return s.bind(e, bind)
}

// isHost says whether a request is for the host, by name or by default.
func (s *session) isHost(to string) bool {
	name, err := saslmech.Nameprep(to)
	return to == "" || err == nil && name == s.conn.host.Name
}

// bind binds a resource (RFC 6120 §7). The bound JID is made of the name that
// logged in, whatever the stream headers said. A resource that cannot be had as
// it is wanted is replaced by one of ours, as in Prosody.
func (s *session) bind(iq, bind *xmlstream.Element) error {
	wanted := ""
	if r := bind.Child(nsBind, "resource"); r != nil && iq.Get("type") == "set" && len(r.Children) == 0 {
		if prepared, err := saslmech.ResourceprepStrict(r.Text); err == nil {
			wanted = prepared
		}
	}
	if taken := s.conn.server.registry.bind(s, wanted, s.conn.host.Conflict); taken {
		return s.conn.stanzaError(iq, "cancel", "conflict")
	}
	s.conn.config.Logger.Debug("resource bound", "jid", s.fullJID(), "remote", s.conn.remote())
	b := append(make([]byte, 0, 256), "<iq type='result'"...)
	b = appendAttr(b, "id", iq.Get("id"))
	b = appendAttr(b, "from", iq.Get("to"))
	b = append(b, "><bind xmlns='"+nsBind+"'><jid>"...)
	b = xmlstream.AppendEscaped(b, s.fullJID())
	return s.conn.write(append(b, "</jid></bind></iq>"...))
}
