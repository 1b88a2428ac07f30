package server

import (
	"encoding/xml"
	"errors"
	"strings"

	"mellium.im/xmlstream"
	"mellium.im/xmpp/disco/info"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/ping"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/version"
	"mellium.im/xmpp/xtime"

	"gatehouse.im/gatehouse/saslmech"
)

const (
	nsRoster     = "jabber:iq:roster"
	nsDiscoInfo  = "http://jabber.org/protocol/disco#info"
	nsDiscoItems = "http://jabber.org/protocol/disco#items"
)

// mux returns the table of what this session answers. It is made for each
// request, like the mellium Session that asks it.
func (s *session) mux() *mux.ServeMux {
	get, set := stanza.GetIQ, stanza.SetIQ
	register := xml.Name{Space: nsRegister, Local: "query"}
	return mux.New(nsClient,
		mux.IQFunc(set, xml.Name{Space: nsBind, Local: "bind"}, s.handleRebind),
		mux.IQFunc(set, xml.Name{Space: nsSession, Local: "session"}, s.handleSession),
		ping.Handle(),
		xtime.Handle(xtime.Handler{}),
		mux.IQFunc(get, xml.Name{Space: version.NS, Local: "query"}, s.handleVersion),
		mux.IQFunc(get, xml.Name{Space: nsDiscoInfo, Local: "query"}, s.handleDiscoInfo),
		mux.IQFunc(get, xml.Name{Space: nsDiscoItems, Local: "query"}, s.handleDiscoItems),
		mux.IQFunc(get, xml.Name{Space: nsRoster, Local: "query"}, s.handleRoster),
		mux.IQFunc(get, register, s.handleRegisterGet),
		mux.IQFunc(set, register, s.handleRegisterSet),
	)
}

// iq answers requests to the host and to the user's own account; what is for
// somebody else is not available here.
func (s *session) iq(t xmlstream.TokenReadEncoder, start *xml.StartElement, st stanzaInfo) error {
	switch {
	case st.kind == "result" || st.kind == "error":
		return nil
	case st.kind != "get" && st.kind != "set" || st.id == "":
		return st.bounce(t, stanza.Error{Type: stanza.Modify, Condition: stanza.BadRequest})
	case !s.isOurs(st.to):
		return st.bounce(t, stanza.Error{Type: stanza.Cancel, Condition: stanza.ServiceUnavailable})
	}
	if _, err := jid.Parse(st.to); st.to != "" && err != nil {
		// Ours by stringprep, but not a JID by the newer rules that the
		// library has: it could not address its answer.
		return st.bounce(t, stanza.Error{Type: stanza.Cancel, Condition: stanza.ServiceUnavailable})
	}
	if err := s.mux().HandleXMPP(t, start); err != nil {
		// A request without a payload, or with one that the library cannot
		// read: nothing is written yet. Should the connection be the fault,
		// then writing fails again.
		s.conn.config.Logger.Debug("request not understood", "jid", s.fullJID(), "cause", err)
		return st.bounce(t, stanza.Error{Type: stanza.Modify, Condition: stanza.BadRequest})
	}
	return nil
}

// isOurs says whether a stanza is for the host or for the user's own account.
func (s *session) isOurs(to string) bool {
	if to == "" {
		return true
	}
	user, host, resource, ok := splitJID(to)
	if !ok || host != s.conn.host.Name {
		return false
	}
	return user == "" && resource == "" || user == s.user && (resource == "" || resource == s.resource)
}

// splitJID cuts and prepares a JID (RFC 3920 §3, as Prosody does).
func splitJID(j string) (user, host, resource string, ok bool) {
	bare, resource, _ := strings.Cut(j, "/")
	user, host, found := strings.Cut(bare, "@")
	if !found {
		user, host = "", bare
	}
	user, err1 := saslmech.Nodeprep(user)
	host, err2 := saslmech.Nameprep(host)
	resource, err3 := saslmech.Resourceprep(resource)
	return user, host, resource, errors.Join(err1, err2, err3) == nil && host != ""
}

// handleRebind refuses a second resource on one stream (RFC 6120 §7.1).
func (s *session) handleRebind(iq stanza.IQ, t xmlstream.TokenReadEncoder, _ *xml.StartElement) error {
	return answerError(t, iq, stanza.Cancel, stanza.NotAllowed)
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

// handleVersion answers XEP-0092. A request with contents is none.
func (s *session) handleVersion(iq stanza.IQ, t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	var q struct {
		Text string `xml:",chardata"`
	}
	if err := decode(t, start, &q); err != nil {
		return err
	}
	if q.Text != "" {
		return answerError(t, iq, stanza.Cancel, stanza.ServiceUnavailable)
	}
	return answer(t, iq, version.Query{Name: "gatehouse", Version: s.conn.config.Version}.TokenReader())
}

// features is what the host says it can do (XEP-0030).
var features = []string{
	nsDiscoInfo, nsDiscoItems, ping.NS, version.NS, xtime.NS, nsRegister,
}

func (s *session) handleDiscoInfo(iq stanza.IQ, t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	if attr(start, "node") != "" {
		return answerError(t, iq, stanza.Cancel, stanza.ItemNotFound)
	}
	account := iq.To.Localpart() != ""
	identity := info.Identity{Category: "server", Type: "im", Name: "gatehouse"}
	if account {
		identity = info.Identity{Category: "account", Type: "registered"}
	}
	payload := []xml.TokenReader{identity.TokenReader()}
	for _, f := range features {
		if f == nsRegister && s.conn.host.Passwords == nil {
			continue
		}
		payload = append(payload, info.Feature{Var: f}.TokenReader())
	}
	return answer(t, iq, xmlstream.Wrap(xmlstream.MultiReader(payload...),
		xml.StartElement{Name: xml.Name{Space: nsDiscoInfo, Local: "query"}}))
}

func (s *session) handleDiscoItems(iq stanza.IQ, t xmlstream.TokenReadEncoder, _ *xml.StartElement) error {
	return answer(t, iq, xmlstream.Wrap(nil, xml.StartElement{Name: xml.Name{Space: nsDiscoItems, Local: "query"}}))
}

// handleRoster answers with an empty roster: contacts belong to a real server.
func (s *session) handleRoster(iq stanza.IQ, t xmlstream.TokenReadEncoder, _ *xml.StartElement) error {
	return answer(t, iq, xmlstream.Wrap(nil, xml.StartElement{Name: xml.Name{Space: nsRoster, Local: "query"}}))
}

func attr(start *xml.StartElement, local string) string {
	for _, a := range start.Attr {
		if a.Name.Space == "" && a.Name.Local == local {
			return a.Value
		}
	}
	return ""
}
