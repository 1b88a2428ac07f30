package saslmech

import "mellium.im/sasl"

// Plain is the mechanism PLAIN (RFC 4616). As a server it is stricter than
// sasl.Plain: an empty user name or password is sasl.ErrInvalidChallenge.
var Plain = sasl.Mechanism{Name: "PLAIN", Start: sasl.Plain.Start, Next: nextMessage}
