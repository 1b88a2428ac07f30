package luaconf

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Bounds of the source text of one evaluation, all files together. The parser needs up to 300 bytes of memory a token,
// the compiler time that grows with the square of the number of constants; neither can be stopped once it runs.
const (
	maxSourceBytes = 1 << 20
	maxTokens      = 100_000
	maxConstants   = 12_000
	maxNesting     = 150
	maxGotos       = 200
)

// sourceCount is how much source an evaluation has read.
type sourceCount struct {
	tokens, constants, gotos int
}

// scanner walks over Lua source before the parser does. It bounds what the parser gets, and rewrites what Prosody's
// Lua 5.4 knows and gopher-lua's Lua 5.1 does not: string escapes (\x41, \u{e9}, \z) and empty statements.
// Line numbers stay as they are.
type scanner struct {
	src   []byte
	pos   int
	line  int
	out   bytes.Buffer
	count *sourceCount
	known map[string]bool
	open  []opener
	last  string // the token before
}

// opener is a bracket, or 'b' for a block, that waits for its end.
type opener struct {
	what byte
	line int
}

// scanSource returns the source that the parser shall read. An error has its line, and the source up to there comes with it.
func scanSource(file string, src []byte, count *sourceCount) ([]byte, *Error) {
	s := &scanner{src: src, line: 1, count: count, known: make(map[string]bool)}
	if fault := encodingFault(src); fault != "" {
		return nil, &Error{Pos{file, 1}, fault}
	}
	for s.pos < len(s.src) {
		if err := s.token(); err != nil {
			return s.out.Bytes(), &Error{Pos{file, s.line}, err.Error()}
		}
	}
	return s.out.Bytes(), nil
}

func (s *scanner) peek(n int) byte {
	if s.pos+n < len(s.src) {
		return s.src[s.pos+n]
	}
	return 0
}

// copyByte moves one byte from the source to the output.
func (s *scanner) copyByte() {
	if s.src[s.pos] == '\n' {
		s.line++
	}
	s.out.WriteByte(s.src[s.pos])
	s.pos++
}

func (s *scanner) token() error {
	c := s.src[s.pos]
	switch {
	case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f':
		if c == '\v' || c == '\f' {
			s.src[s.pos] = ' ' // white space in Lua, not in gopher-lua
		}
		s.copyByte()
		return nil
	case c == '-' && s.peek(1) == '-':
		return s.comment()
	}
	if s.count.tokens++; s.count.tokens > maxTokens {
		return fmt.Errorf("the config is too large: it has more than %d words and signs", maxTokens)
	}
	start := s.pos
	switch {
	case c == '"' || c == '\'':
		if err := s.quoted(c); err != nil {
			return err
		}
		s.last = "string"
		return s.constant(string(s.src[start:s.pos]))
	case c == '[' && s.longLevel() >= 0:
		if err := s.long(s.longLevel()); err != nil {
			return err
		}
		s.last = "string"
		return s.constant(string(s.src[start:s.pos]))
	case isWord(c):
		for s.src[s.pos] == '0' && isDigit(s.peek(1)) {
			s.pos++ // gopher-lua takes what follows two zeros for octal
		}
		for s.pos < len(s.src) && (isWord(s.src[s.pos]) || s.src[s.pos] == '.' && c >= '0' && c <= '9' && s.peek(1) != '.') {
			s.copyByte()
		}
		return s.word(string(s.src[start:s.pos]))
	case c == ';':
		// Lua 5.4 has empty statements. In a table a second separator stays, for it is wrong there.
		inTable := len(s.open) > 0 && s.open[len(s.open)-1].what == '{'
		switch s.last {
		case ";", "", "do", "then", "else", "repeat":
			if !inTable {
				s.pos++
				return nil
			}
		}
		s.copyByte()
		s.last = ";"
		return nil
	case !bytes.ContainsRune(luaSigns, rune(c)):
		return strayCharacter(s.src[s.pos:])
	}
	s.copyByte()
	s.last = string(c)
	switch c {
	case '(', '{', '[':
		return s.push(c)
	case ')', '}', ']':
		s.popBracket()
	case ':':
		if s.peek(0) == ':' {
			return s.countGoto()
		}
	}
	return nil
}

// word counts an identifier, a keyword or a number, and follows the nesting of blocks.
func (s *scanner) word(w string) error {
	s.last = w
	switch w {
	case "function", "do", "then", "repeat":
		return s.push('b')
	case "else":
		return nil
	case "end", "until", "elseif":
		if n := len(s.open); n > 0 && s.open[n-1].what == 'b' {
			s.open = s.open[:n-1]
		}
		return nil
	case "goto":
		return s.countGoto()
	}
	return s.constant(w)
}

func (s *scanner) push(c byte) error {
	if len(s.open) >= maxNesting {
		return fmt.Errorf("brackets or blocks are nested more than %d deep", maxNesting)
	}
	s.open = append(s.open, opener{c, s.line})
	return nil
}

func (s *scanner) popBracket() {
	if n := len(s.open); n > 0 && s.open[n-1].what != 'b' {
		s.open = s.open[:n-1]
	}
}

func (s *scanner) countGoto() error {
	if s.count.gotos++; s.count.gotos > maxGotos {
		return fmt.Errorf("more than %d goto statements and labels", maxGotos)
	}
	return nil
}

func (s *scanner) constant(c string) error {
	if s.known[c] {
		return nil
	}
	s.known[c] = true
	if s.count.constants++; s.count.constants > maxConstants {
		return fmt.Errorf("the config is too large: it has more than %d different names, strings and numbers", maxConstants)
	}
	return nil
}

func (s *scanner) comment() error {
	s.copyByte()
	s.copyByte()
	if s.peek(0) == '[' {
		if level := s.longLevel(); level >= 0 {
			return s.long(level)
		}
		// gopher-lua takes "--[=" for the beginning of a long comment; a space keeps it a comment of one line.
		s.out.WriteByte(' ')
	}
	for s.pos < len(s.src) && s.src[s.pos] != '\n' && s.src[s.pos] != '\r' {
		s.copyByte()
	}
	return nil
}

// longLevel is the number of '=' of a long bracket that begins here, or -1.
func (s *scanner) longLevel() int {
	n := 0
	for s.peek(1+n) == '=' {
		n++
	}
	if s.peek(1+n) != '[' {
		return -1
	}
	return n
}

func (s *scanner) long(level int) error {
	end := append(append([]byte{']'}, bytes.Repeat([]byte{'='}, level)...), ']')
	length := bytes.Index(s.src[s.pos:], end)
	if length < 0 {
		return fmt.Errorf("a long string or comment that begins here has no end (%s)", end)
	}
	for stop := s.pos + length + len(end); s.pos < stop; {
		s.copyByte()
	}
	return nil
}

func (s *scanner) quoted(quote byte) error {
	s.copyByte()
	for {
		switch c := s.peek(0); {
		case s.pos >= len(s.src) || c == '\n' || c == '\r':
			return fmt.Errorf("a string has no closing %c on its line", quote)
		case c == quote:
			s.copyByte()
			return nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		default:
			s.copyByte()
		}
	}
}

// escape copies one escape sequence in a form that gopher-lua reads as Lua 5.4 does (reference manual, section 3.1).
func (s *scanner) escape() error {
	c := s.peek(1)
	switch {
	case c >= '0' && c <= '9':
		n := 1
		for n < 3 && isDigit(s.peek(1+n)) {
			n++
		}
		v, _ := strconv.Atoi(string(s.src[s.pos+1 : s.pos+1+n]))
		if v > 255 {
			return fmt.Errorf("the escape \\%d in a string is above 255", v)
		}
		s.skip(1 + n)
		s.decimal(byte(v))
	case c == 'x':
		v, err := strconv.ParseUint(s.slice(2, 4), 16, 8)
		if err != nil {
			return fmt.Errorf("\\x in a string wants two hexadecimal digits")
		}
		s.skip(4)
		s.decimal(byte(v))
	case c == 'u':
		return s.unicodeEscape()
	case c == 'z':
		return fmt.Errorf("the escape \\z in a string is not supported; join the parts with the .. operator")
	case bytes.IndexByte([]byte("abfnrtv\\\"'\n\r"), c) >= 0 && s.pos+1 < len(s.src):
		s.copyByte()
		if c == '\r' && s.peek(1) == '\n' {
			s.copyByte()
		}
		s.copyByte()
	default:
		return fmt.Errorf("invalid escape sequence \\%c in a string; a backslash itself is written \\\\", c)
	}
	return nil
}

func (s *scanner) unicodeEscape() error {
	rest := s.slice(2, 14)
	end := bytes.IndexByte([]byte(rest), '}')
	if len(rest) < 3 || rest[0] != '{' || end < 2 {
		return fmt.Errorf("\\u in a string wants a hexadecimal number in braces, as in \\u{e9}")
	}
	v, err := strconv.ParseUint(rest[1:end], 16, 32)
	if err != nil || v > utf8.MaxRune || !utf8.ValidRune(rune(v)) {
		return fmt.Errorf("\\u{%s} in a string is no character", rest[1:end])
	}
	for _, b := range []byte(string(rune(v))) {
		s.decimal(b)
	}
	s.skip(2 + end + 1)
	return nil
}

func (s *scanner) slice(from, to int) string {
	from, to = min(s.pos+from, len(s.src)), min(s.pos+to, len(s.src))
	return string(s.src[from:to])
}

func (s *scanner) skip(n int) { s.pos += n }

// decimal writes a byte as an escape of three digits, the form that both Luas read alike.
func (s *scanner) decimal(b byte) { fmt.Fprintf(&s.out, "\\%03d", b) }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return c == '_' || isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
