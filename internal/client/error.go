package client

import (
	"strings"
)

// Stage is what a login was doing when it ended, in words that may follow
// "could not".
type Stage string

// The stages, in the order of a login.
const (
	StageFind         Stage = "find the server"
	StageConnect      Stage = "connect"
	StageOpen         Stage = "open a stream"
	StageEncrypt      Stage = "encrypt the connection"
	StageAuthenticate Stage = "authenticate"
	StageBind         Stage = "bind a resource"
	StageSession      Stage = "use the session"
)

// Error says why a login, or a step of a session, failed.
type Error struct {
	Stage Stage
	// Refused says that the server looked at who wants in with what secret and
	// said no. Otherwise nobody can say whether the secret is right; so it is
	// with not-authorized if the message was bound to TLS in a way that the
	// server may not know.
	Refused bool
	// Condition is what the server called the failure: a SASL condition (RFC
	// 6120 §6.5) at StageAuthenticate, or else a stanza error at StageBind and
	// StageSession (§8.3.3), or a stream error (§4.9.3) when StreamError is
	// set. Empty means that the server did not say.
	Condition string
	// StreamError says that the server ended the stream with Condition.
	StreamError bool
	// Text is what the server added for people; it may be empty.
	Text string
	// Mechanism is the mechanism that was tried, from StageAuthenticate on.
	Mechanism string
	// Err is what went wrong on our side of the line; nil with a Condition.
	Err error
}

// Error never holds the secret.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Refused {
		b.WriteString("refused: ")
	} else {
		b.WriteString("could not " + string(e.Stage) + ": ")
	}
	switch {
	case e.Condition != "" && e.StreamError:
		b.WriteString("stream error " + e.Condition)
	case e.Condition != "":
		b.WriteString(e.Condition)
	}
	if e.Text != "" {
		b.WriteString(" (“" + e.Text + "”)")
	}
	if e.Err != nil {
		b.WriteString(plain(e.Err))
	}
	return b.String()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// isVerdict reports whether a SASL condition answers the question "may this
// user come in?" with no. The others are about the way it was asked, or about
// the server's own trouble.
func isVerdict(condition string) bool {
	switch condition {
	case "not-authorized", "account-disabled", "credentials-expired", "invalid-authzid":
		return true
	}
	return false
}
