// Package server accepts the streams of XMPP clients, decides who may log in,
// and serves those who may a minimal session, or hands them to the server behind.
//
// One login is one goroutine that reads from top to bottom:
//
//	server.go   Serve accepts, and starts conn.run for each connection
//	conn.go     run: TLS if the port is direct TLS, then login, then session
//	stream.go   a stream header comes in, header and features go out
//	starttls.go STARTTLS (RFC 6120 §5)
//	sasl.go     <auth/> comes in, <success/> or <failure/> goes out (§6)
//	login.go    the decision, and its line in the log
//	bounce.go   what else a stranger may send before the login
//	session.go  after the login: a mellium.im/xmpp Session and mux a stanza
//	bind.go, iq.go, message.go, password.go   what the session answers
//	registry.go who is bound to which resource
//	relay.go    the client's stream to the server behind and back; wire.go waits
//
// The package knows neither scripts nor tokens nor the config file: cmd hands
// it a [Config] whose hosts hold values that fit [Authenticator] and [Upstream].
// A Config is an immutable snapshot; a connection looks which one is in use
// whenever its client has sent something.
//
// Before the login a connection holds at most 64 KiB and c2s_timeout (30 s).
// Every violation gets its stream error, then </stream:stream>, then the close.
//
// Goroutines: one for each connection, started and waited for by [Server], and a
// second one while it is relayed, which the first waits for; the caller's
// goroutine in each [Server.Serve].
package server
