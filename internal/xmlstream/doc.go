// Package xmlstream cuts the bytes of an XMPP client into its stream header,
// the top-level elements and the end of the stream, and refuses everything
// that RFC 6120 §11 forbids.
//
// It is written for the time before a login, when the other side is a
// stranger: a [Reader] holds at most the configured number of bytes, works on
// whatever pieces the network delivers without looking at a byte twice, and
// parses an element only once it is complete. It works in two steps, each
// simple enough to be checked by eye and by fuzzing:
//
//   - the [Scanner] (scanner.go) walks over new bytes with a few flags of state
//     and finds where a top-level element ends;
//   - the parser (parse.go) then reads the complete element strictly: names,
//     namespaces, attributes, entities, characters, nesting.
//
// What is read does not depend on the pieces in which it came. What passes is
// also taken by encoding/xml, as the same names, attributes and text; the fuzz
// target holds both to that.
//
// Comments, processing instructions, document types and entities other than
// the five predefined ones are errors. Errors that the other side should hear
// about are of type [*Error] and carry the condition of RFC 6120 §4.9.3;
// everything else is an error of the underlying reader.
//
// With the limits that the server sets before a login, a Reader takes less than
// 64 KiB together with the header and the element that it returned last. It
// keeps nothing of an element that was read as a tree: the buffer is cleared,
// for it may have held a password.
//
// The package starts no goroutine, and a Reader belongs to one goroutine.
// It writes nothing but the escaped text of [AppendEscaped].
package xmlstream
