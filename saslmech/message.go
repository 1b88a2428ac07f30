package saslmech

import (
	"bytes"

	"mellium.im/sasl"
)

// nextMessage is the receiving side of PLAIN and X-TOKEN, which share their one
// message: authzid NUL authcid NUL secret (RFC 4616 §2). The name and the secret
// may not be empty and there is no fourth part; mod_auth_external ignores one,
// so that a password could be cut short.
//
// mellium's own PLAIN lets empty parts pass, which is why it is not used here.
func nextMessage(n *sasl.Negotiator, message []byte, _ any) (more bool, resp []byte, cache any, err error) {
	if n.State()&sasl.Receiving == 0 || n.State()&sasl.StepMask != sasl.AuthTextSent {
		return false, nil, nil, sasl.ErrTooManySteps
	}
	authzid, rest, found := bytes.Cut(message, []byte{0})
	if !found {
		return false, nil, nil, sasl.ErrInvalidChallenge
	}
	authcid, secret, found := bytes.Cut(rest, []byte{0})
	if !found || len(authcid) == 0 || len(secret) == 0 || bytes.IndexByte(secret, 0) >= 0 {
		return false, nil, nil, sasl.ErrInvalidChallenge
	}
	if !n.Permissions(sasl.Credentials(func() (username, password, identity []byte) {
		return authcid, secret, authzid
	})) {
		return false, nil, nil, sasl.ErrAuthn
	}
	return false, nil, nil, nil
}
