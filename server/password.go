package server

import (
	"context"
	"encoding/xml"
	"errors"
	"time"

	"mellium.im/xmlstream"
	"mellium.im/xmpp/stanza"

	"gatehouse.im/gatehouse/saslmech"
)

type registerPayload struct {
	Username *string   `xml:"jabber:iq:register username"`
	Password *string   `xml:"jabber:iq:register password"`
	Remove   *struct{} `xml:"jabber:iq:register remove"`
}

// handleRegisterGet tells who is registered (XEP-0077 §3.1).
func (s *session) handleRegisterGet(iq stanza.IQ, t xmlstream.TokenReadEncoder, _ *xml.StartElement) error {
	if s.conn.host.Passwords == nil {
		return answerError(t, iq, stanza.Cancel, stanza.ServiceUnavailable)
	}
	el := func(name, text string) xml.TokenReader {
		return xmlstream.Wrap(xmlstream.Token(xml.CharData(text)), xml.StartElement{Name: xml.Name{Local: name}})
	}
	return answer(t, iq, xmlstream.Wrap(
		xmlstream.MultiReader(el("registered", ""), el("username", s.user), el("password", "")),
		xml.StartElement{Name: xml.Name{Space: nsRegister, Local: "query"}}))
}

// handleRegisterSet changes the user's own password (XEP-0077 §3.3). The new
// one is prepared like those at a login, or it could never be used.
func (s *session) handleRegisterSet(iq stanza.IQ, t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	var p registerPayload
	if err := decode(t, start, &p); err != nil {
		return err
	}
	if s.conn.host.Passwords == nil || p.Remove != nil {
		return answerError(t, iq, stanza.Cancel, stanza.ServiceUnavailable)
	}
	if p.Username == nil || p.Password == nil || *p.Password == "" {
		return answerError(t, iq, stanza.Modify, stanza.BadRequest)
	}
	if name, err := saslmech.Nodeprep(*p.Username); err != nil || name != s.user {
		return answerError(t, iq, stanza.Modify, stanza.BadRequest)
	}
	password, err := saslmech.SASLprep(*p.Password)
	if err != nil || password == "" {
		return answerError(t, iq, stanza.Modify, stanza.NotAcceptable)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.conn.server.ctx, writeTimeout)
	defer cancel()
	ok, err := s.conn.host.Passwords.SetPass(ctx, s.user, s.conn.host.Name, password)
	logger := s.conn.config.Logger.With("host", s.conn.host.Name, "user", cut(s.user),
		"remote", s.conn.remote(), "duration", time.Since(began).Round(10*time.Microsecond))
	switch {
	case errors.Is(err, ErrRefused):
		logger.Info("password change", "verdict", "refused", "cause", err)
		return answerError(t, iq, stanza.Modify, stanza.NotAcceptable)
	case err != nil:
		logger.Warn("password change", "verdict", "undecided", "cause", err)
		return answerError(t, iq, stanza.Wait, stanza.InternalServerError)
	case !ok:
		logger.Info("password change", "verdict", "refused")
		return answerError(t, iq, stanza.Wait, stanza.InternalServerError)
	}
	logger.Info("password change", "verdict", "accepted")
	if err := answer(t, iq, nil); err != nil {
		return err
	}
	// Whoever is logged in by the old password is not any more.
	s.conn.server.registry.passwordChanged(s)
	return nil
}
