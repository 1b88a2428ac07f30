package xmlstream

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// textKind says where text stands, and so how it is read.
type textKind uint8

const (
	asContent   textKind = iota // between tags
	asAttribute                 // white space becomes a space (XML 1.0 §3.3.3)
	asCDATA                     // '&' is a character like others
)

// appendText checks text, resolves its references and writes it to out, where
// out is not nil. What it writes is never longer than what it reads. A carriage
// return, alone or before a line feed, becomes a line feed (XML 1.0 §2.11).
func appendText(out *strings.Builder, text []byte, kind textKind) *Error {
	if err := checkChars(text); err != nil {
		return err
	}
	if !bytes.ContainsAny(text, "&\r\t\n") {
		if out != nil {
			out.Write(text)
		}
		return nil
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '&' && kind != asCDATA:
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
		case kind == asAttribute && isSpace(c):
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
