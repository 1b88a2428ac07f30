package xmlstream

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// appendText checks text, resolves its references and writes it to out, where
// out is not nil. In an attribute value, white space becomes a space (XML 1.0
// §3.3.3); elsewhere a carriage return, alone or before a line feed, becomes a
// line feed (§2.11).
func appendText(out *strings.Builder, text []byte, attribute bool) *Error {
	if err := checkChars(text); err != nil {
		return err
	}
	if bytes.IndexAny(text, "&\r\t\n") < 0 {
		if out != nil {
			out.Write(text)
		}
		return nil
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '&':
			end := bytes.IndexByte(text[i:], ';')
			if end < 0 {
				return notWellFormed("'&' without a reference")
			}
			r, err := reference(string(text[i+1 : i+end]))
			if err != nil {
				return err
			}
			i += end
			if out != nil {
				out.WriteRune(r)
			}
			continue
		case c == '\r' && i+1 < len(text) && text[i+1] == '\n':
			continue // the line feed follows
		case attribute && isSpace(c):
			c = ' '
		case c == '\r':
			c = '\n'
		}
		if out != nil {
			out.WriteByte(c)
		}
	}
	return nil
}

// reference resolves what stands between '&' and ';' (XML 1.0 §4.1, §4.6).
func reference(name string) (rune, *Error) {
	switch name {
	case "lt":
		return '<', nil
	case "gt":
		return '>', nil
	case "amp":
		return '&', nil
	case "apos":
		return '\'', nil
	case "quot":
		return '"', nil
	}
	digits, numeric := strings.CutPrefix(name, "#")
	if !numeric {
		return 0, restricted("entity that is not predefined")
	}
	base := 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	// ParseUint takes neither signs nor, with a base, underscores.
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || n > utf8.MaxRune || !isChar(rune(n)) {
		return 0, notWellFormed("bad character reference")
	}
	return rune(n), nil
}

// checkChars reports bytes that are not UTF-8 or not XML characters.
func checkChars(b []byte) *Error {
	for i := 0; i < len(b); {
		if c := b[i]; c < utf8.RuneSelf {
			if c < ' ' && !isSpace(c) {
				return notWellFormed("control character")
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return notWellFormed("bytes that are not UTF-8")
		}
		if !isChar(r) {
			return notWellFormed("character that XML does not allow")
		}
		i += size
	}
	return nil
}

// isChar is the production Char of XML 1.0 §2.2.
func isChar(r rune) bool {
	return r >= 0x20 && r <= 0xD7FF || r == '\t' || r == '\n' || r == '\r' ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// asciiName holds the ASCII characters of NameChar, with the colon.
var asciiName = func() (t [utf8.RuneSelf]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:" {
		t[c] = true
	}
	return t
}()

func asciiNameStart(c byte) bool {
	return asciiName[c] && (c < '0' || c > '9') && c != '-' && c != '.'
}

// isNameRune says whether a character outside ASCII may stand in a name (XML
// 1.0 §2.3). The few that may not begin one are let through there as well:
// nothing of ours has such a name, and the outcome is the same.
func isNameRune(r rune, size int) bool {
	if r == utf8.RuneError && size == 1 {
		return false
	}
	switch {
	case r == 0xB7, r >= 0xC0 && r <= 0x2FF && r != 0xD7 && r != 0xF7,
		r >= 0x300 && r <= 0x1FFF && r != 0x37E,
		r == 0x200C, r == 0x200D, r == 0x203F, r == 0x2040,
		r >= 0x2070 && r <= 0x218F, r >= 0x2C00 && r <= 0x2FEF,
		r >= 0x3001 && r <= 0xD7FF, r >= 0xF900 && r <= 0xFDCF,
		r >= 0xFDF0 && r <= 0xFFFD, r >= 0x10000 && r <= 0xEFFFF:
		return true
	}
	return false
}

// AppendEscaped appends s to b such that it may stand in an attribute value or
// in text. Characters that XML does not allow become U+FFFD.
func AppendEscaped(b []byte, s string) []byte {
	for _, r := range s {
		switch {
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '\'':
			b = append(b, "&apos;"...)
		case r == '"':
			b = append(b, "&quot;"...)
		case r == '\t' || r == '\n' || r == '\r':
			b = append(b, "&#"...)
			b = strconv.AppendInt(b, int64(r), 10)
			b = append(b, ';')
		case !isChar(r):
			b = utf8.AppendRune(b, utf8.RuneError)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}
