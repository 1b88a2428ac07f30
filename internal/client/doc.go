// Package client logs in to an XMPP server, any server, and tells what it sees
// on the way: where it connects, what the server offers, what its certificate
// says, which mechanism is used, how the server answers.
//
// [Login] takes the steps of RFC 6120 one after the other in the caller's
// goroutine: find the server by SRV records (dial.go), open a stream (stream.go),
// get it behind TLS (tls.go), prove who we are (sasl.go), bind a resource
// (session.go). Each step is reported as a [Step] the moment it is known, also
// when the next one fails. What a server says is made fit for a terminal before
// it is put into a step or an error: no control characters, no endless texts.
//
// A login has three outcomes, and [Error] keeps them apart: a [Session]; a no,
// when the server looked at the credentials and refused them; and "cannot say",
// which is everything else. [Explain] says in words what to do next.
//
// The stream is our own small code and not a mellium Session: that one verifies
// the certificate, picks the mechanism and drops the text of a failure out of
// sight, which are the very things to show here. The mechanisms are those of
// mellium.im/sasl, whose challenges are checked first: its SCRAM client loops
// for ever on a malformed one, and takes any number of iterations.
//
// The package starts no goroutine of its own. It does not follow redirects
// (see-other-host), and knows neither SASL2 nor stream management.
package client
