// Package ticket makes one-time passwords, by which gatehouse logs a user in at the server behind it. That server shows
// what it got to gatehouse, which knows whether it gave it out.
//
// A ticket is "ght_" and 256 random bits in base64url without padding (RFC 4648 §5), 47 characters: no server's string
// preparation changes it. It is good for one user at one host, once, for ten seconds. That is long enough for a server
// that is busy, and short enough that one in a log is worth nothing.
//
// Tickets live in memory only, by their SHA-256: who reads the memory cannot log in with what is there. There are at most
// 65536; what expired makes room when the next one is issued. Or else a [Shared] has them, for several gatehouses that stand
// before the same servers: each ticket is in one place or the other, and never in both. The package starts no goroutine.
package ticket
