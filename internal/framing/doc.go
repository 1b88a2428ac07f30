// Package framing translates between the byte stream of XMPP over TCP
// (RFC 6120) and the messages of XMPP over WebSocket (RFC 7395), so that a
// WebSocket is a connection like any other to whoever reads and writes it. It
// knows nothing of WebSockets: it is handed functions that begin a message.
//
// The [Encoder] takes the bytes of a stream, as a server writes them:
//
//	<?xml version='1.0'?><stream:stream from='a' id='1' xmlns='jabber:client' xmlns:stream='…'>
//	<stream:features>…</stream:features>
//	<iq type='result' id='2'/> </stream:stream>
//
// and makes messages of them, each an XML document of its own:
//
//	<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='a' id='1'/>
//	<stream:features xmlns='jabber:client' xmlns:stream='…'>…</stream:features>
//	<iq xmlns='jabber:client' type='result' id='2'/>
//	<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>
//
// The [Decoder] does the reverse for what a client sends, which is a stranger's:
// no message can be anything but one element or one of <open/> and <close/>, and
// nothing else opens or closes a stream.
//
// Neither builds a tree. Tags and elements are found by the same
// [xmlstream.Scanner] as in streams over TCP; whether names match and characters
// are allowed is left to the parser that reads behind the Decoder. Both hold at
// most 16 KiB, whatever the size of an element, and nothing between elements.
//
// # Namespaces
//
// A message inherits nothing (RFC 7395 §3.3.3). Towards the client, an element
// gets what the stream header declared on its own start tag: the default
// namespace if it declares none, as Prosody and ejabberd do it; a prefix,
// "stream" above all, where it is used, or where the element is too big to know.
// The header's language is in <open/> alone, as in both.
//
// From the client, elements are passed on as they are, into a stream with the
// default namespace jabber:client and the prefix "stream". Hence an element that
// declares no namespace is one of jabber:client, as in ejabberd; in Prosody it
// is in none, and ends the stream. Nothing is allowed by it that was not before:
// the client could have declared it. A start tag of a message that uses the
// prefix "stream" without declaring it is refused; further inside, the prefix is
// the stream's, as on TCP.
//
// The package starts no goroutine. An Encoder and a Decoder each belong to one
// goroutine at a time.
package framing
