package saslmech

import "mellium.im/sasl"

// XToken is the mechanism X-TOKEN of prosody-modules mod_sasl_token: the message
// of PLAIN with a token in the password's place. As in the original the whole
// token goes through SASLprep.
var XToken = sasl.Mechanism{Name: "X-TOKEN", Start: sasl.Plain.Start, Next: nextMessage}
