package saslmech

import (
	"errors"

	"mellium.im/sasl"
)

// textInvalid is what Prosody says about a name or password that stringprep
// refuses.
const textInvalid = "Invalid username or password."

var (
	errMechanism  = errors.New("unknown mechanism")
	errNoResponse = errors.New("no initial response")
	errEmptyPrep  = errors.New("nothing left after string preparation")
)

// Offered returns the mechanism names for a host that checks passwords, tokens
// or both, the stronger one first. Leaving PLAIN out on a stream without
// encryption is for the caller.
func Offered(passwords, tokens bool) []string {
	var names []string
	if tokens {
		names = append(names, XToken.Name)
	}
	if passwords {
		names = append(names, Plain.Name)
	}
	return names
}

// Decode runs one exchange: mechanism is the attribute of <auth/> and text the
// element's character data, XML escapes resolved, its length bounded by the
// caller. It neither changes nor keeps text.
//
// The failure is nil or has one of these conditions: invalid-mechanism if the
// mechanism, compared byte by byte, is neither PLAIN nor X-TOKEN;
// incorrect-encoding if text is not base64, or is several base64 texts that
// together are no message; malformed-request if there is no
// initial response (neither mechanism begins with a challenge), if it is not
// authzid NUL name NUL secret with a name and a secret, or if stringprep refuses
// one of the two or leaves nothing of it. Whether the host offers the mechanism
// at all is for the caller to check before.
//
// Decode does not block.
func Decode(mechanism string, text []byte) (Credentials, *Failure) {
	m, ok := byName(mechanism)
	if !ok {
		return Credentials{}, &Failure{Condition: InvalidMechanism, Cause: errMechanism}
	}
	if len(text) == 0 {
		return Credentials{}, &Failure{Condition: MalformedRequest, Cause: errNoResponse}
	}
	message, joined, err := decodeBase64(text)
	if errors.Is(err, errIncomplete) {
		// Cut off, not badly encoded. The original drops the rest and then
		// misses a part of the message, as a rule.
		return Credentials{}, &Failure{Condition: MalformedRequest, Cause: err}
	}
	if err != nil {
		return Credentials{}, &Failure{Condition: IncorrectEncoding, Cause: err}
	}
	var authcid, secret, authzid []byte
	n := sasl.NewServer(m, func(n *sasl.Negotiator) bool {
		authcid, secret, authzid = n.Credentials()
		return true
	})
	if _, _, err := n.Step(message); err != nil {
		if joined {
			// The pieces did not make a message: blame the way they were joined,
			// which RFC 4648 §3.3 forbids, and not the message.
			return Credentials{}, &Failure{Condition: IncorrectEncoding, Cause: err}
		}
		return Credentials{}, &Failure{Condition: MalformedRequest, Cause: err}
	}
	username, err := prepareUsername(authcid)
	if err != nil {
		return Credentials{}, &Failure{Condition: MalformedRequest, Cause: err, Text: textInvalid}
	}
	secret, err = prepareSecret(secret)
	if err != nil {
		return Credentials{}, &Failure{Condition: MalformedRequest, Cause: err, Text: textInvalid}
	}
	return Credentials{
		Mechanism: m.Name,
		Authzid:   string(authzid),
		Username:  username,
		Secret:    NewSecret(secret),
	}, nil
}

func byName(mechanism string) (sasl.Mechanism, bool) {
	switch mechanism {
	case Plain.Name:
		return Plain, true
	case XToken.Name:
		return XToken, true
	}
	return sasl.Mechanism{}, false
}

// prepareUsername does as Prosody's util/sasl/plain.lua: SASLprep, then nodeprep.
func prepareUsername(authcid []byte) (string, error) {
	name, err := SASLprep(string(authcid))
	if err != nil {
		return "", err
	}
	if name, err = Nodeprep(name); err != nil {
		return "", err
	}
	if name == "" {
		return "", errEmptyPrep
	}
	return name, nil
}

// prepareSecret returns the SASLprep of secret, in the same memory where nothing
// has to be changed: then there is no second copy to be cleared.
func prepareSecret(secret []byte) ([]byte, error) {
	if len(secret) <= maxPrepBytes && isPrintable(secret) {
		return secret, nil
	}
	prepared, err := SASLprep(string(secret))
	if err != nil {
		return nil, err
	}
	if prepared == "" {
		return nil, errEmptyPrep
	}
	return []byte(prepared), nil
}
