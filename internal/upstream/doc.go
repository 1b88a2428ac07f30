// Package upstream opens the leg behind: a connection to the XMPP server that
// serves the user once gatehouse has let them in, logged in there as that user
// and ready for the stream header that the client sends next.
//
// One login is one call of [Upstream.Open], in the caller's goroutine, within
// one absolute deadline:
//
//	turns.go     lets only so many begin at a time
//	upstream.go  picks an address: those that work before those that rest,
//	             the one that worked last before all others
//	leg.go       dials, sends a PROXY header, secures, authenticates
//	stream.go    the streams of RFC 6120 as far as that needs them
//	proxy.go     the PROXY header
//	health.go    what is known of each address
//	look.go      goes as far as one can without a credential
//	try.go       logs in at one address, and hangs up
//	watch.go     looks so whether those that rest are back
//
// # Fail-over
//
// An address that fails rests for a second, then for twice as long each time, up
// to 30 s. The others take its logins meanwhile; if all rest, all are tried.
// Where more than one address is left to try, each has its share of the time.
// Once a credential was sent there is no second try: the server may have used
// it up, or be about to say yes. A refusal is an answer and no fault of the
// address.
//
// # What is trusted
//
// Nothing that comes before the TLS handshake where there is one, and little
// afterwards: the bytes go through internal/xmlstream, bounded and strict, and
// what is not exactly an expected answer ends the leg with [ErrProtocol]. A
// secret crosses an unencrypted link only if its other end is this machine or
// [Config.AllowUnencrypted] is set; that is judged by the address that the
// connection really has, not by the name that was dialled.
//
// # Goroutines
//
// One for each Upstream, started by [New], ended and waited for by
// [Upstream.Close]: it probes the addresses that rest. A leg has none.
//
// The package does not copy streams and does not see the resource that is bound:
// that is the relay, in package server.
package upstream
