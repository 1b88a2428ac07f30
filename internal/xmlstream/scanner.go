package xmlstream

import "unicode/utf8"

// A Scanner finds the end of one item in bytes that arrive in pieces: of a
// top-level element, of an opening tag, of an XML declaration before it, or of
// the closing tag of the stream. The item begins with its '<'; the zero Scanner
// is ready for it.
//
// It holds none of the bytes, and looks at each once. It judges what would make
// it lose its way, and what can be refused at the first byte: a complete item
// must still be parsed. Of XML that a parser takes it finds the same items as
// the parser. It checks no names, not even whether an end tag fits its opening
// tag.
type Scanner struct {
	state scanState
	depth int
	quote byte // the quote character that an attribute value began with
	last  byte // the byte before, inside a tag
	// match counts how much of "<![CDATA[" or "]]>" has been seen.
	match int
}

type scanState uint8

const (
	inText    scanState = iota // between tags
	inOpening                  // just after '<'
	inTag                      // in an opening or empty tag
	inValue                    // in an attribute value
	inEndTag                   // after "</"
	inBang                     // in "<![CDATA["
	inCDATA
	inDeclaration // in "<?xml … ?>", only before the first tag
)

const cdataStart = "![CDATA["

// Found says what ended where a [Scanner] stopped.
type Found uint8

const (
	FoundNothing     Found = iota // all bytes used, the item goes on
	FoundElement                  // the end tag, or empty tag, of a top-level element
	FoundOpeningTag               // an opening or empty tag, from [Scanner.Tag] only
	FoundStreamEnd                // an end tag outside of all elements
	FoundDeclaration              // the end of an XML declaration, from [Scanner.Tag] only
)

// Tag walks over b, the next bytes of an item, up to the end of its first tag
// or of an XML declaration. It returns how many bytes belong to that, and what
// ended with them; with an error it is the bytes before the fault.
func (s *Scanner) Tag(b []byte) (int, Found, *Error) { return s.scan(b, true) }

// Element is like [Scanner.Tag], but walks up to the end of the element. It
// follows a Tag that found an opening tag only after [Scanner.Enter].
func (s *Scanner) Element(b []byte) (int, Found, *Error) { return s.scan(b, false) }

// Enter says that the opening tag that Tag has found, and which was not an
// empty one, begins the element that Element is to find the end of.
func (s *Scanner) Enter() { s.depth = 1 }

// plain holds the bytes that mean nothing in text or in an attribute value.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c != '<' && c != '\'' && c != '"' || isSpace(byte(c))
	}
	return t
}()

// scan is Tag where first is set, and Element where not: the grammar is the same.
func (s *Scanner) scan(b []byte, first bool) (int, Found, *Error) {
	for i := 0; i < len(b); i++ {
		if s.state == inText || s.state == inValue {
			for i < len(b) && plain[b[i]] {
				i++
			}
			if i == len(b) {
				break
			}
		}
		c := b[i]
		if c < ' ' && !isSpace(c) {
			return i, FoundNothing, notWellFormed("control character")
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
				return i, FoundNothing, restricted("comment, document type or CDATA section between elements")
			case c == '?' && first:
				s.state = inDeclaration
			case c == '?':
				return i, FoundNothing, restricted("processing instruction")
			case c < utf8.RuneSelf && !asciiNameStart(c):
				return i, FoundNothing, notWellFormed("name expected")
			default:
				s.state = inTag
			}
			s.last = c
		case inTag:
			switch c {
			case '\'', '"':
				s.state, s.quote = inValue, c
			case '<':
				return i, FoundNothing, notWellFormed("'<' inside a tag")
			case '>':
				s.state = inText
				if first {
					return i + 1, FoundOpeningTag, nil
				}
				if s.last != '/' {
					s.depth++
				}
				if s.depth == 0 {
					return i + 1, FoundElement, nil
				}
			}
			s.last = c
		case inValue:
			switch c {
			case s.quote:
				s.state, s.last = inTag, c
			case '<':
				return i, FoundNothing, notWellFormed("'<' in an attribute value")
			}
		case inEndTag:
			switch c {
			case '<':
				return i, FoundNothing, notWellFormed("'<' inside a tag")
			case '>':
				s.state = inText
				if s.depth == 0 {
					return i + 1, FoundStreamEnd, nil
				}
				if s.depth--; s.depth == 0 {
					return i + 1, FoundElement, nil
				}
			}
		case inBang:
			if c != cdataStart[s.match] {
				return i, FoundNothing, restricted("comment or document type")
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
				return i + 1, FoundDeclaration, nil
			}
			s.last = c
		}
	}
	return len(b), FoundNothing, nil
}
