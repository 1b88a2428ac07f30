package upstream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"gatehouse.im/gatehouse/internal/xmlstream"
)

// Why there is no leg. What [Upstream.Open] returns wraps one of these for each
// address that it tried, or the error of its context. None holds a secret. None
// says that the user's own credentials were wrong.
var (
	// ErrDown: no connection, or the server ended it or its stream.
	ErrDown = errors.New("the upstream is down")
	// ErrSlow: the time was up.
	ErrSlow = errors.New("the upstream is slow")
	// ErrRefused: the server answered <failure/>. The text has the condition.
	ErrRefused = errors.New("the upstream refused the login")
	// ErrProtocol: the server sent something else than XMPP asks for here, or
	// does not offer the mechanism.
	ErrProtocol = errors.New("the upstream breaks the protocol")
	// ErrInsecure: no TLS where there must be, or a certificate that does not
	// hold.
	ErrInsecure = errors.New("the link to the upstream is not secure")
	// ErrName: servers of different kinds prepare the user's name differently,
	// so that the login might be somebody else's there. Nothing was dialled.
	ErrName = errors.New("the user's name would be another one at the upstream")
	// ErrCredentials: Config.Credentials gave none, or none that can be sent.
	ErrCredentials = errors.New("no credentials for the upstream")
)

// failed says what an error of the connection or of the reader means.
func failed(doing string, err error) error {
	var violation *xmlstream.Error
	var op *net.OpError
	kind := ErrDown
	switch {
	case isTimeout(err):
		kind = ErrSlow
	case errors.As(err, &violation):
		kind = ErrProtocol
	case errors.As(err, &op) && op.Op == "remote error":
		kind = ErrInsecure // a TLS alert: TLS 1.3 tells after the handshake that it dislikes our certificate
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %s: it ended the stream", ErrDown, doing)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %s: it closed the connection", ErrDown, doing)
	}
	if errors.As(err, &op) {
		err = op.Err // the addresses are known
	}
	return fmt.Errorf("%w: %s: %w", kind, doing, err)
}

// handshakeFailed is failed for a TLS handshake: what is neither the network nor
// the clock is about certificates, versions and the like.
func handshakeFailed(err error) error {
	var errno syscall.Errno
	switch {
	case isTimeout(err), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &errno):
		return failed("TLS handshake", err)
	}
	return fmt.Errorf("%w: TLS handshake: %w", ErrInsecure, err)
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

// conditions are those of <failure/> in RFC 6120 §6.5 and of a stream's <error/>
// in §4.9.3. Others are not repeated.
var conditions = func() map[string]bool {
	set := make(map[string]bool)
	for _, name := range []string{
		"aborted", "account-disabled", "credentials-expired", "encryption-required", "incorrect-encoding",
		"invalid-authzid", "invalid-mechanism", "malformed-request", "mechanism-too-weak", "temporary-auth-failure",

		"bad-format", "bad-namespace-prefix", "conflict", "connection-timeout", "host-gone", "host-unknown",
		"improper-addressing", "internal-server-error", "invalid-from", "invalid-namespace", "invalid-xml",
		"not-authorized", "not-well-formed", "policy-violation", "remote-connection-failed", "reset",
		"resource-constraint", "restricted-xml", "see-other-host", "system-shutdown", "undefined-condition",
		"unsupported-encoding", "unsupported-feature", "unsupported-stanza-type", "unsupported-version",
	} {
		set[name] = true
	}
	return set
}()

// condition returns the condition that e holds in the namespace space.
func condition(e *xmlstream.Element, space string) string {
	for _, c := range e.Children {
		if c.Name.Space == space && conditions[c.Name.Local] {
			return c.Name.Local
		}
	}
	return "no known condition"
}
