package saslmech

import (
	"fmt"
	"log/slog"
)

// Credentials are what a client claimed: who it is and by what secret. Nothing
// in them has been checked against anything but their form.
type Credentials struct {
	// Mechanism is the name of the mechanism that carried them.
	Mechanism string
	// Authzid is the authorization identity as it was sent, without any
	// preparation and perhaps not even UTF-8; empty if there was none. Judge
	// it with AuthzidOK.
	Authzid string
	// Username is the authentication identity after SASLprep and nodeprep:
	// the local part of the user's JID. It is never empty.
	Username string
	// Secret is the password or the token after SASLprep. It is never empty.
	Secret Secret
}

// Secret holds a password or a token. Every way of printing, logging or
// marshalling it shows "[redacted]"; only Bytes gives it away. The zero value
// holds nothing. Copies share the same bytes.
type Secret struct {
	// fmt prints what unexported struct fields hold without asking its methods,
	// and for a verb that does not suit a pointer also what that points to. Of a
	// pointer to a pointer it never shows more than an address.
	p **[]byte
}

const redacted = "[redacted]"

// NewSecret wraps b, which belongs to the Secret from then on.
func NewSecret(b []byte) Secret {
	held := &struct {
		bytes []byte
		p     *[]byte
	}{bytes: b}
	held.p = &held.bytes
	return Secret{&held.p}
}

// Bytes returns the secret itself, not a copy: it must not be changed, and it is
// zeroed by Clear.
func (s Secret) Bytes() []byte {
	if s.p == nil {
		return nil
	}
	return **s.p
}

// Clear overwrites the secret with zeroes, for all copies of s. Strings made
// from Bytes are out of its reach.
func (s Secret) Clear() {
	if s.p == nil {
		return
	}
	clear(**s.p)
	**s.p = nil
}

// String returns "[redacted]".
func (s Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (s Secret) GoString() string { return redacted }

// Format writes "[redacted]", whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue returns "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
