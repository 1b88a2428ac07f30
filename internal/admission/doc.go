// Package admission decides how many strangers there may be, and what they may cost, before anybody knows who they are.
//
// A [Counter] counts the connections of all client ports: all of them, those that have not logged in, and of these how many
// there are from one address (of IPv6: from one /64, which is what a customer gets). [Counter.Accept] takes a [Place] for a
// connection that was just accepted, or says that there is none; then it is closed before a byte is read, which costs a
// stranger more than us. Where the address is not known until something was read (a PROXY header, a trusted HTTP proxy),
// [Place.From] counts it later.
//
// A [Handshake] is what bounds a TLS handshake: in bytes, and in turns. Handshakes are the most expensive thing that a
// stranger gets for free, and so only as many compute at a time as there are processors: those that are further in their
// login need not wait behind thousands of them. Nobody has a turn while waiting for the network.
//
// [Records] is what bounds the memory that TLS takes for what a client sends, until it has logged in: crypto/tls holds whole
// records, and messages of the handshake even after it, and keeps the buffers.
//
// The package starts no goroutine. Everything but Handshake and Records may be used by any number of goroutines; those belong to
// the one that does it.
package admission
