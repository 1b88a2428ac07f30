// Package webserver is the HTTP side of XMPP over WebSocket (RFC 7395): it answers requests, decides who may upgrade, and
// hands messages to whoever speaks XMPP. It knows nothing of XMPP itself.
//
// A [Server] serves any number of listeners, with TLS or without. On the paths of [Config.Paths] a request that asks for it
// becomes a WebSocket (RFC 6455, by github.com/coder/websocket): it must offer the subprotocol xmpp and come from a page of
// the same origin, or one of [Config.Origins], or from no page at all. Any other request there gets a page that says that
// the path works, as with Prosody's mod_websocket. /.well-known/host-meta and host-meta.json say where the WebSocket is
// (XEP-0156). Whatever is left belongs to [Config.Next].
//
// Who the client is, and whether its way here is encrypted, is what the connection says, unless that comes from one of
// [Config.TrustedProxies]: then X-Forwarded-For and X-Forwarded-Proto, or Forwarded (RFC 7239), are believed from the right
// up to the first address that is no trusted proxy.
//
// An upgraded connection is a [Conn], made for a net.Conn to be put on top of: deadlines are those of the connection below,
// may be set at any time and by anyone, and wake a blocked read. The context of a read is never used for that, since the
// library closes a connection whose context ends; so what is written after a read deadline has passed still arrives, then
// the closing handshake, all within a few seconds.
//
// Memory is what an idle session costs. So the goroutine of net/http, its stack, its two buffers and the request are let go
// with the upgrade; what stays is one goroutine with a fresh stack that runs [Config.Accept], two small buffers, and a timer
// for pings, which is no goroutine while it waits.
//
// Goroutines: those of net/http until the upgrade, one a session from then on, and for the moment between a ping and its
// pong another. [Server.Shutdown] waits for all sessions.
//
// Messages are not bounded here: whoever reads them counts. Control frames, request headers, handshakes and the time that
// they take are.
package webserver
