package xmlstream

import "unicode/utf8"

// A boundary finds the end of one item in bytes that arrive in pieces: of a
// top-level element, of the header's opening tag, of an XML declaration before
// it, or of the closing tag of the stream. The item begins with its '<'. A
// boundary judges what would make it lose its way, and what can be refused at
// the first byte; what it found complete, the parser then reads strictly.
type boundary struct {
	state boundaryState
	depth int
	quote byte // the quote character that an attribute value began with
	last  byte // the byte before, inside a tag
	// match counts how much of "<![CDATA[" or "]]>" has been seen.
	match int
}

type boundaryState uint8

const (
	inText    boundaryState = iota // between tags
	inOpening                      // just after '<'
	inTag                          // in an opening or empty tag
	inValue                        // in an attribute value
	inEndTag                       // after "</"
	inBang                         // in "<![CDATA["
	inCDATA
	inDeclaration // in "<?xml … ?>", only before a header
)

const cdataStart = "![CDATA["

// found says what ended where a boundary stopped.
type found uint8

const (
	foundNothing     found = iota // all bytes used, the item goes on
	foundElement                  // the end tag, or empty tag, of a top-level element
	foundOpeningTag               // an opening tag at depth 0, wanted only for a header
	foundStreamEnd                // an end tag at depth 0
	foundDeclaration              // the end of an XML declaration
)

// scan walks over b and returns how many bytes belong to the item so far, and
// what ended with them. With an error it is the bytes before the fault. header
// makes it stop at the first opening tag and allows an XML declaration; it is
// otherwise the same grammar.
func (s *boundary) scan(b []byte, header bool) (int, found, *Error) {
	for i, c := range b {
		if c < ' ' && !isSpace(c) {
			return i, foundNothing, notWellFormed("control character")
		}
		switch s.state {
		case inText:
			if c == '<' {
				s.state = inOpening
			}
		case inOpening:
			switch {
			case c == '/':
				s.state = inEndTag
			case c == '!' && s.depth > 0:
				s.state, s.match = inBang, 1
			case c == '!':
				return i, foundNothing, restricted("comment, document type or CDATA section between elements")
			case c == '?' && header:
				s.state = inDeclaration
			case c == '?':
				return i, foundNothing, restricted("processing instruction")
			case c < utf8.RuneSelf && !asciiNameStart(c):
				return i, foundNothing, notWellFormed("name expected")
			default:
				s.state = inTag
			}
			s.last = c
		case inTag:
			switch c {
			case '\'', '"':
				s.state, s.quote = inValue, c
			case '<':
				return i, foundNothing, notWellFormed("'<' inside a tag")
			case '>':
				s.state = inText
				if header {
					return i + 1, foundOpeningTag, nil
				}
				if s.last != '/' {
					s.depth++
				}
				if s.depth == 0 {
					return i + 1, foundElement, nil
				}
			}
			s.last = c
		case inValue:
			switch c {
			case s.quote:
				s.state, s.last = inTag, c
			case '<':
				return i, foundNothing, notWellFormed("'<' in an attribute value")
			}
		case inEndTag:
			switch c {
			case '<':
				return i, foundNothing, notWellFormed("'<' inside a tag")
			case '>':
				s.state = inText
				if s.depth == 0 {
					return i + 1, foundStreamEnd, nil
				}
				if s.depth--; s.depth == 0 {
					return i + 1, foundElement, nil
				}
			}
		case inBang:
			if c != cdataStart[s.match] {
				return i, foundNothing, restricted("comment or document type")
			}
			if s.match++; s.match == len(cdataStart) {
				s.state, s.match = inCDATA, 0
			}
		case inCDATA:
			switch {
			case c == ']':
				s.match = min(s.match+1, 2)
			case c == '>' && s.match == 2:
				s.state, s.match = inText, 0
			default:
				s.match = 0
			}
		case inDeclaration:
			if c == '>' && s.last == '?' {
				s.state = inText
				return i + 1, foundDeclaration, nil
			}
			s.last = c
		}
	}
	return len(b), foundNothing, nil
}
