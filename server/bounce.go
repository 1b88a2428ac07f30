package server

import (
	"context"
	"errors"
	"io"

	"gatehouse.im/gatehouse/internal/xmlstream"
	"gatehouse.im/gatehouse/saslmech"
)

// errClosed ends a connection whose client has been told everything.
var errClosed = errors.New("connection closed")

var unsupportedStanza = &streamError{condition: "unsupported-stanza-type", text: "Nobody here understands that element"}

const (
	nsStanzas  = "urn:ietf:params:xml:ns:xmpp-stanzas"
	nsBind     = "urn:ietf:params:xml:ns:xmpp-bind"
	nsRegister = "jabber:iq:register"
)

// bounce handles what is neither TLS nor SASL before the login. Stanzas are
// answered with an error and the stream goes on, as in Prosody; anything else
// ends it.
func (c *conn) bounce(ctx context.Context, e *xmlstream.Element) error {
	if e.Name == errorElement {
		return io.EOF // the client knows why
	}
	if e.Name.Space != nsClient {
		return unsupportedStanza
	}
	switch e.Name.Local {
	case "message", "presence":
		if e.Get("type") == "error" {
			return nil
		}
		return c.stanzaError(e, "cancel", "service-unavailable")
	case "iq":
	default:
		return unsupportedStanza
	}
	switch t := e.Get("type"); {
	case t == "error" || t == "result":
		return nil
	case e.Child(nsBind, "bind") != nil:
		return c.stanzaError(e, "auth", "not-authorized")
	case t == "set" && e.Child(nsRegister, "query") != nil && c.host.AllowRegistration &&
		(c.tls != nil || !c.host.RequireEncryption):
		return c.register(ctx, e)
	}
	return c.stanzaError(e, "cancel", "service-unavailable")
}

// register answers in-band registration as Prosody does over these modules:
// accounts cannot be made, and a name that is taken is a conflict. Each counts
// as a failed attempt, so that names cannot be tried without end.
func (c *conn) register(ctx context.Context, e *xmlstream.Element) error {
	query := e.Child(nsRegister, "query")
	name := query.Child(nsRegister, "username")
	if name == nil || c.host.Users == nil {
		return c.stanzaError(e, "cancel", "service-unavailable")
	}
	user, err := saslmech.Nodeprep(name.Text)
	if err != nil || user == "" {
		return c.stanzaError(e, "modify", "not-acceptable")
	}
	if c.failures++; c.failures > maxFailures {
		return &streamError{condition: "policy-violation", text: "Too many attempts to register"}
	}
	ctx, cancel := context.WithDeadline(ctx, c.deadline)
	defer cancel()
	if taken, err := c.host.Users.IsUser(ctx, user, c.host.Name); err == nil && taken {
		return c.stanzaError(e, "cancel", "conflict")
	}
	return c.stanzaError(e, "cancel", "feature-not-implemented")
}

// stanzaError answers a stanza with an error (RFC 6120 §8.3).
func (c *conn) stanzaError(e *xmlstream.Element, kind, condition string) error {
	b := append(make([]byte, 0, 256), '<')
	b = append(b, e.Name.Local...)
	b = append(b, " type='error'"...)
	for _, a := range [...]struct{ name, value string }{
		{"id", e.Get("id")}, {"from", e.Get("to")},
	} {
		if a.value != "" {
			b = append(b, ' ')
			b = append(b, a.name...)
			b = append(b, "='"...)
			b = xmlstream.AppendEscaped(b, a.value)
			b = append(b, '\'')
		}
	}
	b = append(b, "><error type='"...)
	b = append(b, kind...)
	b = append(b, "'><"...)
	b = append(b, condition...)
	b = append(b, " xmlns='"+nsStanzas+"'/></error></"...)
	b = append(b, e.Name.Local...)
	return c.write(append(b, '>'))
}
