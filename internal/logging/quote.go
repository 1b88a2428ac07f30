package logging

import (
	"strconv"
	"unicode"
	"unicode/utf8"
)

// maxValue bounds a value in bytes, before it is escaped. It is larger than the stack of a connection that panicked.
const maxValue = 8 << 10

// invisible are characters that unicode.IsPrint lets through although nobody sees them: variation selectors, fillers,
// and the blank Braille pattern.
var invisible = []*unicode.RangeTable{
	unicode.Other_Default_Ignorable_Code_Point,
	unicode.Variation_Selector,
	{R16: []unicode.Range16{{Lo: 0x2800, Hi: 0x2800, Stride: 1}}},
}

// shown tells whether a character may stand in a line as it is. The only space is ASCII's.
func shown(r rune) bool {
	if r < utf8.RuneSelf {
		return ' ' <= r && r <= '~'
	}
	return unicode.IsPrint(r) && !unicode.In(r, invisible...)
}

// allShown tells whether s needs no escape and has none of the ASCII characters in without.
func allShown(s string, without *[utf8.RuneSelf]bool) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < ' ' || c > '~' || without[c] {
				return false
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || !shown(r) {
			return false
		}
		i += size
	}
	return true
}

var (
	special = [utf8.RuneSelf]bool{' ': true, '"': true, '=': true}
	nothing [utf8.RuneSelf]bool
	inJSON  = [utf8.RuneSelf]bool{'"': true, '\\': true}
)

// appendText appends a value of a text line: as it is if nothing in it could be misread, quoted otherwise.
func appendText(b []byte, s string) []byte {
	if s != "" && allShown(s, &special) {
		return append(b, s...)
	}
	return appendQuoted(b, s, false)
}

// appendKey appends a key of a text line. Keys are the program's own, and safe; if one is not it loses what is odd.
func appendKey(b []byte, key string) []byte {
	if key != "" && allShown(key, &special) {
		return append(b, key...)
	}
	for _, r := range key {
		if r < utf8.RuneSelf && special[r] || r == utf8.RuneError || !shown(r) {
			r = '_'
		}
		b = utf8.AppendRune(b, r)
	}
	if key == "" {
		b = append(b, '_')
	}
	return b
}

// appendMessage appends the message of a text line: words without quotes, so that it ends where the first key begins.
// Messages are the program's own; one that does not fit is quoted.
func appendMessage(b []byte, s string) []byte {
	words := s != "" && s[0] != ' ' && s[len(s)-1] != ' '
	for i := 0; words && i < len(s); i++ {
		words = s[i] != '=' && s[i] != '"' && (s[i] != ' ' || s[i-1] != ' ')
	}
	if words && allShown(s, &nothing) {
		return append(b, s...)
	}
	return appendQuoted(b, s, false)
}

// appendJSONString appends a string of JSON (RFC 8259, section 7).
func appendJSONString(b []byte, s string) []byte {
	if !allShown(s, &inJSON) {
		return appendQuoted(b, s, true)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

const hexDigits = "0123456789abcdef"

// appendQuoted appends s in double quotes with everything escaped that is not shown. In text the escapes are those of
// Go (strconv.Unquote reads them) and lose nothing; in JSON a byte that is not UTF-8 becomes U+FFFD.
func appendQuoted(b []byte, s string, json bool) []byte {
	b = append(b, '"')
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1 && json:
			b = append(b, `\ufffd`...)
		case r == utf8.RuneError && size == 1:
			b = append(b, '\\', 'x', hexDigits[s[0]>>4], hexDigits[s[0]&15])
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case shown(r):
			b = append(b, s[:size]...)
		case json:
			b = appendEscapeJSON(b, r)
		default:
			quoted := strconv.AppendQuoteRuneToASCII(b, r) // in single quotes
			copy(quoted[len(b):], quoted[len(b)+1:])
			b = quoted[:len(quoted)-2]
		}
		s = s[size:]
	}
	return append(b, '"')
}

func appendEscapeJSON(b []byte, r rune) []byte {
	switch r {
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	unit := func(u rune) {
		b = append(b, '\\', 'u', hexDigits[u>>12&15], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
	}
	if r < 0x10000 {
		unit(r)
		return b
	}
	r -= 0x10000 // a pair of surrogates
	unit(0xd800 + r>>10)
	unit(0xdc00 + r&0x3ff)
	return b
}

// bounded cuts a value that is too long, between two characters.
func bounded(s string) string {
	if len(s) <= maxValue {
		return s
	}
	end := maxValue
	for end > maxValue-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
