// Command xmppload loads XMPP client-to-server endpoints, ours or anybody's, and
// measures what a login, an idle session and a relayed message cost the server.
//
// Each mode is a run against one server: it drives logins over TCP, STARTTLS,
// direct TLS or WebSocket, as a client would, and with -pid reads from /proc what the
// server's processes used meanwhile, the auth program's included. -json appends
// the figures as a line of JSON. Client and server share a machine, so compare
// by CPU time a login and not by logins a second, and only systems measured in
// turn, by ratio.
//
// Mode floor-server is the other half of such a comparison: no XMPP server, but
// one that plays a server's part from fixed strings, and so shows the least
// that sockets, TLS and an auth program cost in Go.
//
// It is not robust as a client: it reads what well-behaved servers send.
package main
