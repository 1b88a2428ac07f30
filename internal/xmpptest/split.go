package xmpptest

import (
	"bytes"
	"errors"
)

// errMarkup is what split says about bytes that are neither text nor the beginning of a tag.
var errMarkup = errors.New("xmpptest: server sent markup that is not XML")

// pieceKind says what split found.
type pieceKind int

const (
	pieceNone    pieceKind = iota // incomplete: more bytes are needed
	pieceHeader                   // <stream:stream ...>, perhaps after an XML declaration
	pieceElement                  // a complete top-level element
	pieceFooter                   // </stream:stream>
)

// split finds the first complete piece of a server's stream in buf and where it begins and ends. White space and XML
// declarations between pieces are skipped. A stream header may come at any time, as it does after a restart.
//
// It only looks at tags and quotes; whether a piece is well-formed is for the parser that gets it.
func split(buf []byte) (kind pieceKind, begin, end int, err error) {
	depth := 0
	pos := 0
	for {
		open := bytes.IndexByte(buf[pos:], '<')
		if open < 0 {
			return pieceNone, 0, 0, nil
		}
		if depth == 0 && len(bytes.TrimSpace(buf[pos:pos+open])) > 0 {
			return pieceNone, 0, 0, errMarkup
		}
		pos += open
		if depth == 0 {
			begin = pos
		}
		length := tagLength(buf[pos:])
		if length == 0 {
			return pieceNone, 0, 0, nil
		}
		tag := buf[pos : pos+length]
		pos += length
		switch {
		case tag[1] == '?' || tag[1] == '!':
			continue
		case tag[1] == '/':
			if depth == 0 {
				return pieceFooter, begin, pos, nil
			}
			depth--
		case tag[len(tag)-2] == '/':
			// An element that is complete in its one tag.
		case depth == 0 && isStreamTag(tag):
			return pieceHeader, begin, pos, nil
		default:
			depth++
		}
		if depth == 0 {
			return pieceElement, begin, pos, nil
		}
	}
}

// tagLength returns the length of the tag at the beginning of buf, or 0 if its end is not there yet. A '>' inside
// quotes does not end a tag.
func tagLength(buf []byte) int {
	var quote byte
	for i := 1; i < len(buf); i++ {
		switch c := buf[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>' && i > 1:
			return i + 1
		}
	}
	return 0
}

// isStreamTag says whether a start tag's local name is "stream".
func isStreamTag(tag []byte) bool {
	name := tag[1 : len(tag)-1]
	if i := bytes.IndexAny(name, " \t\r\n"); i >= 0 {
		name = name[:i]
	}
	if i := bytes.IndexByte(name, ':'); i >= 0 {
		name = name[i+1:]
	}
	return string(name) == "stream"
}
