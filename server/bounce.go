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

// stranger handles what is neither TLS nor SASL before the login.
func (c *conn) stranger(ctx context.Context, e *xmlstream.Element) error {
	kind := e.Get("type")
	switch {
	case e.Name != (xmlstream.Name{Space: nsClient, Local: "iq"}) || kind == "error" || kind == "result":
	case e.Child(nsBind, "bind") != nil:
		return c.stanzaError(e, "auth", "not-authorized")
	case kind == "set" && e.Child(nsRegister, "query") != nil && c.host.AllowRegistration &&
		(c.encrypted || !c.host.RequireEncryption):
		return c.register(ctx, e)
	}
	return c.bounce(e)
}

// bounce answers a stanza that nobody handles with an error, and the stream
// goes on, as in Prosody; anything else ends it.
func (c *conn) bounce(e *xmlstream.Element) error {
	kind := e.Get("type")
	switch {
	case e.Name == errorElement:
		return io.EOF // the client knows why
	case !isStanza(e.Name):
		return unsupportedStanza
	case kind == "error", kind == "result" && e.Name.Local == "iq":
		return nil
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
	b = appendAttr(b, "id", e.Get("id"))
	b = appendAttr(b, "from", e.Get("to"))
	b = append(b, "><error type='"...)
	b = append(b, kind...)
	b = append(b, "'><"...)
	b = append(b, condition...)
	b = append(b, " xmlns='"+nsStanzas+"'/></error></"...)
	b = append(b, e.Name.Local...)
	return c.write(append(b, '>'))
}

// appendAttr appends an attribute, unless it is empty.
func appendAttr(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, ' ')
	b = append(b, name...)
	b = append(b, "='"...)
	b = xmlstream.AppendEscaped(b, value)
	return append(b, '\'')
}
