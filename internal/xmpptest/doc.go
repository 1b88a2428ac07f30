// Package xmpptest has what tests of an XMPP server need and no product code may import: a raw test client, and
// certificates to throw away.
//
// The client sends exactly the bytes that it is given and returns what the server says as light trees, one top-level
// element at a time, so that a test can also send what no proper library would. It knows the usual steps as well
// (stream header, STARTTLS, SASL, bind), because most tests want to get past them in a line.
//
// A Client is for one goroutine. The package starts no goroutine of its own. Nothing here is safe against a hostile
// server: it is for tests, whose server is ours.
package xmpptest
