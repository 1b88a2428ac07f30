package extauth

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Protocol says how queries and answers look on the wire.
type Protocol int

// The two protocols of Prosody's mod_auth_external.
const (
	// Generic is a line out and a line back: "auth:user:host:password" LF, then "0" or "1" and an optional LF or
	// CRLF. Source: prosody-modules mod_auth_external_insecure.
	Generic Protocol = iota
	// Ejabberd is the same text behind a 16-bit big-endian length, and 00 02 00 00 or 00 02 00 01 back. Source:
	// ejabberd src/extauth.erl, which opens its port with {packet, 2}.
	Ejabberd
)

// maxQueryBytes is the original's limit: user, host, password, the verb and its colons, without framing.
const maxQueryBytes = 1000

// maxFrameBytes is the longest thing ever written: a query and its two bytes of length.
const maxFrameBytes = maxQueryBytes + 2

// ParseProtocol reads the value of external_auth_protocol, "generic" or "ejabberd". Anything else is ErrConfig:
// the original would leave the host without authentication while the server runs on.
func ParseProtocol(s string) (Protocol, error) {
	switch s {
	case "generic":
		return Generic, nil
	case "ejabberd":
		return Ejabberd, nil
	}
	return 0, fmt.Errorf("%w: protocol %q; it is either \"generic\" or \"ejabberd\"", ErrConfig, s)
}

// String returns the spelling that ParseProtocol reads.
func (p Protocol) String() string {
	if p == Ejabberd {
		return "ejabberd"
	}
	return "generic"
}

// query is one question, not yet encoded.
type query struct {
	verb, user, host, password string
	hasPassword                bool
}

// size is the length of the text without framing.
func (q *query) size() int {
	n := len(q.verb) + 1 + len(q.user) + 1 + len(q.host)
	if q.hasPassword {
		n += 1 + len(q.password)
	}
	return n
}

// check reports, as ErrQuery, what would let the text be read as another query than the one that is meant: neither
// protocol escapes anything. It never names a value, only the field.
func (q *query) check() error {
	if err := checkField("user", q.user, false); err != nil {
		return err
	}
	if err := checkField("host", q.host, false); err != nil {
		return err
	}
	if q.hasPassword {
		if err := checkField("password", q.password, true); err != nil {
			return err
		}
	}
	if n := q.size(); n > maxQueryBytes {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrQuery, n, maxQueryBytes)
	}
	return nil
}

func checkField(name, s string, colons bool) error {
	if s == "" {
		return fmt.Errorf("%w: %s is empty", ErrQuery, name)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w: %s is not UTF-8", ErrQuery, name)
	}
	for _, r := range s {
		switch {
		case r == ':' && !colons:
			return fmt.Errorf("%w: %s holds a colon", ErrQuery, name)
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			// C0, DEL and C1, and the two separators that some languages split lines at. SASLprep forbids
			// them all (RFC 3454 tables C.2.1 and C.2.2), so no login can lose anything.
			return fmt.Errorf("%w: %s holds a control character", ErrQuery, name)
		}
	}
	return nil
}

// appendQuery encodes q, which passed check, behind b.
func (p Protocol) appendQuery(b []byte, q *query) []byte {
	if p == Ejabberd {
		b = appendLength(b, q.size())
	}
	b = append(b, q.verb...)
	b = append(b, ':')
	b = append(b, q.user...)
	b = append(b, ':')
	b = append(b, q.host...)
	if q.hasPassword {
		b = append(b, ':')
		b = append(b, q.password...)
	}
	if p == Generic {
		b = append(b, '\n')
	}
	return b
}

// reply is how far the bytes read so far have come towards an answer.
type reply int

const (
	replyMore  reply = iota // a proper beginning, or nothing yet
	replyQuiet              // an answer if nothing follows: no line end was seen
	replyDone               // an answer and its end
	replyMany               // an answer, and something behind it
	replyNo                 // a no, and something behind it that costs the worker its life
	replyBad                // will never be an answer, whatever follows
)

// decode reads b, everything that came since the query was written, as one answer.
func (p Protocol) decode(b []byte) (r reply, yes bool) {
	if p == Ejabberd {
		return decodeEjabberd(b)
	}
	return decodeGeneric(b)
}
