// Package saslmech turns the bytes of a SASL exchange into credentials or into
// a failure condition. It decides nothing: whether the credentials are right is
// the caller's question, asked after [Decode] has returned.
//
// One login goes so: the server takes the text of an <auth/> element and gives
// it to [Decode] together with the mechanism's name. Decode reads the base64
// (see base64.go for what Prosody tolerates there), lets mellium.im/sasl drive
// the mechanism, whose permission callback only writes down who wants in with
// what secret, and prepares user name and secret with stringprep (RFC 3454), so
// that a script sees the bytes that Prosody would have sent. What comes back is
// a value that nobody else holds.
//
// [Plain] and [XToken] are stateless mechanisms and serve clients as well: their
// Start sends authzid NUL authcid NUL secret.
//
// The package starts no goroutines, keeps no state between calls, and all its
// functions may be called from many goroutines at once.
package saslmech
