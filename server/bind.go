package server

import (
	"encoding/xml"
	"time"

	"mellium.im/xmlstream"
	"mellium.im/xmpp/stanza"

	"gatehouse.im/gatehouse/saslmech"
)

const nsSession = "urn:ietf:params:xml:ns:xmpp-session"

type bindPayload struct {
	Resource struct {
		Text  string    `xml:",chardata"`
		Child *struct{} `xml:",any"`
	} `xml:"urn:ietf:params:xml:ns:xmpp-bind resource"`
}

// handleBind binds a resource (RFC 6120 §7). The bound JID is made of the name
// that logged in, whatever the stream headers said. A resource that cannot be
// had as it is wanted is replaced by one of ours, as in Prosody.
func (s *session) handleBind(iq stanza.IQ, t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	if s.resource != "" {
		return answerError(t, iq, stanza.Cancel, stanza.NotAllowed)
	}
	var p bindPayload
	if err := decode(t, start, &p); err != nil {
		return err
	}
	wanted := ""
	if iq.Type == stanza.SetIQ && p.Resource.Child == nil {
		if r, err := saslmech.ResourceprepStrict(p.Resource.Text); err == nil {
			wanted = r
		}
	}
	if _, taken := s.conn.server.registry.bind(s, wanted, s.conn.host.Conflict); taken {
		return answerError(t, iq, stanza.Cancel, stanza.Conflict)
	}
	// From here on the client may be silent.
	s.conn.readUntil(time.Time{})
	s.conn.config.Logger.Debug("resource bound", "jid", s.fullJID(), "remote", s.conn.remote())
	jid := xmlstream.Wrap(xmlstream.Token(xml.CharData(s.fullJID())),
		xml.StartElement{Name: xml.Name{Local: "jid"}})
	return answer(t, iq, xmlstream.Wrap(jid, xml.StartElement{Name: xml.Name{Space: nsBind, Local: "bind"}}))
}

// handleSession answers the session request of RFC 3921, which does nothing.
func (s *session) handleSession(iq stanza.IQ, t xmlstream.TokenReadEncoder, _ *xml.StartElement) error {
	return answer(t, iq, nil)
}

// decode reads the payload of a request, whose opening tag has been read.
func decode(t xml.TokenReader, start *xml.StartElement, v any) error {
	return xml.NewTokenDecoder(xmlstream.MultiReader(xmlstream.Token(*start), t)).Decode(v)
}

// answer sends the result of a request.
func answer(t xmlstream.TokenWriter, iq stanza.IQ, payload xml.TokenReader) error {
	_, err := xmlstream.Copy(t, iq.Result(payload))
	return err
}

func answerError(t xmlstream.TokenWriter, iq stanza.IQ, kind stanza.ErrorType, condition stanza.Condition) error {
	_, err := xmlstream.Copy(t, iq.Error(stanza.Error{Type: kind, Condition: condition}))
	return err
}
