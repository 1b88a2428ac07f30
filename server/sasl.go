package server

import (
	"context"
	"errors"
	"slices"

	"gatehouse.im/gatehouse/internal/xmlstream"
	"gatehouse.im/gatehouse/saslmech"
)

const nsSASL = "urn:ietf:params:xml:ns:xmpp-sasl"

// maxFailures is how often a client may fail on one stream (RFC 6120 §6.4.5
// recommends two to five).
const maxFailures = 5

var (
	errNoExchange = errors.New("no exchange is going on")
	errChild      = errors.New("element inside <auth/>")
	errNotOffered = errors.New("mechanism is not offered")
	errNeedTLS    = errors.New("TLS is not in use")
)

// sasl handles an element of the SASL namespace (RFC 6120 §6.4). It returns a
// user name once <success/> is written; an error ends the connection.
func (c *conn) sasl(ctx context.Context, e *xmlstream.Element) (user string, err error) {
	var fail *saslmech.Failure
	switch e.Name.Local {
	case "auth":
		if user, fail = c.authenticate(ctx, e); fail == nil {
			return user, c.write([]byte("<success xmlns='" + nsSASL + "'/>"))
		}
		if ending := c.endingWith(); ending != nil && fail.Condition == saslmech.TemporaryAuthFailure {
			return "", ending // which is why nobody could say
		}
	case "abort":
		fail = &saslmech.Failure{Condition: saslmech.Aborted}
		c.attempt("").log(fail)
	case "response":
		// Both mechanisms are over with the initial response.
		fail = &saslmech.Failure{Condition: saslmech.NotAuthorized, Cause: errNoExchange, Text: "Out of order SASL element"}
		c.attempt("").log(fail)
	default:
		return "", unsupportedStanza
	}
	c.failures++
	b := append(make([]byte, 0, 256), "<failure xmlns='"+nsSASL+"'><"...)
	b = append(b, fail.Condition...)
	b = append(b, "/>"...)
	if fail.Text != "" {
		b = append(b, "<text xml:lang='en'>"...)
		b = xmlstream.AppendEscaped(b, fail.Text)
		b = append(b, "</text>"...)
	}
	if err := c.write(append(b, "</failure>"...)); err != nil {
		return "", err
	}
	if c.failures >= maxFailures || c.guarded >= maxGuarded {
		return "", &streamError{condition: "policy-violation", text: "Too many failed attempts to log in"}
	}
	return "", nil
}

// authenticate leads from <auth/> to a user name, or to a failure.
func (c *conn) authenticate(ctx context.Context, e *xmlstream.Element) (string, *saslmech.Failure) {
	a := c.attempt(e.Get("mechanism"))
	cred, fail := c.credentials(e)
	if fail == nil {
		a.user = cred.Username
		fail = c.decide(ctx, a, cred)
		if fail == nil && c.host.Upstream != nil {
			fail = c.openUpstream(ctx, cred)
		}
		// A yes that comes when the server is gone leads nowhere.
		if fail == nil && ctx.Err() != nil {
			fail = &saslmech.Failure{Condition: saslmech.TemporaryAuthFailure, Cause: ctx.Err(), Text: textTemporary}
		}
		if fail != nil {
			c.place.Judged(false)
		}
		cred.Secret.Clear()
	}
	a.log(fail)
	return cred.Username, fail
}

// credentials checks all that can be checked without asking anybody.
func (c *conn) credentials(e *xmlstream.Element) (saslmech.Credentials, *saslmech.Failure) {
	none := saslmech.Credentials{}
	mechanism := e.Get("mechanism")
	// LOGIN is not ours, but as open as PLAIN: Prosody counts it in.
	open := mechanism == "PLAIN" || mechanism == "LOGIN"
	if !c.encrypted && (c.host.RequireEncryption || open && !c.host.AllowUnencryptedPlain) {
		return none, &saslmech.Failure{Condition: saslmech.EncryptionRequired, Cause: errNeedTLS}
	}
	if !slices.Contains(c.mechanisms(), mechanism) {
		return none, &saslmech.Failure{Condition: saslmech.InvalidMechanism, Cause: errNotOffered}
	}
	if len(e.Children) > 0 {
		return none, &saslmech.Failure{Condition: saslmech.MalformedRequest, Cause: errChild}
	}
	cred, fail := saslmech.Decode(mechanism, []byte(e.Text))
	if fail != nil {
		return none, fail
	}
	if fail := saslmech.AuthzidOK(cred.Authzid, cred.Username, c.host.Name); fail != nil {
		return none, fail
	}
	return cred, nil
}
