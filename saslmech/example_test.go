package saslmech_test

import (
	"fmt"

	"gatehouse.im/gatehouse/saslmech"
)

// The text of an <auth/> element becomes credentials, or a failure that can be
// sent as it is.
func ExampleDecode() {
	cred, fail := saslmech.Decode("PLAIN", []byte("YWxpY2VAeG1wcC5leGFtcGxlAEFMSUNFAHNlY3JldA=="))
	if fail != nil {
		fmt.Println("failure:", fail.Condition)
		return
	}
	defer cred.Secret.Clear()
	if fail := saslmech.AuthzidOK(cred.Authzid, cred.Username, "xmpp.example"); fail != nil {
		fmt.Println("failure:", fail.Condition)
		return
	}
	fmt.Println(cred.Mechanism, cred.Username, cred.Secret, len(cred.Secret.Bytes()))

	_, fail = saslmech.Decode("PLAIN", []byte("AGFs!WNlAHNlY3JldA=="))
	fmt.Println("failure:", fail.Condition)
	// Output:
	// PLAIN alice [redacted] 6
	// failure: incorrect-encoding
}
