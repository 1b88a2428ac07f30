package saslmech

import (
	"encoding/base64"
	"errors"
)

var (
	errBase64     = errors.New("not base64")
	errIncomplete = errors.New("base64 that breaks off")
)

// decodeBase64 decodes the text of an <auth/> element as Prosody's
// util-src/encodings.c does, because clients exist that depend on it: white
// space is skipped, and padding may be too short, too long or stand between two
// groups. We differ where the original loses data without a word: a last group
// that is neither whole nor padded, and one of a single character, are errors
// and not dropped; nor does a NUL end the text.
//
// joined reports that more followed a padding, as when a client encodes its
// message in pieces.
//
// A text of nothing but padding decodes to nothing, which is how RFC 6120 §6.4.2
// writes an empty initial response.
func decodeBase64(text []byte) (message []byte, joined bool, err error) {
	dst := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	if n, err := base64.StdEncoding.Decode(dst, text); err == nil {
		return dst[:n], false, nil
	}
	return decodeLenient(dst[:0], text)
}

// decodeLenient appends to dst what is left when the quick way has failed. dst
// has room for it: each output byte has more than one character of its own.
func decodeLenient(dst, text []byte) (message []byte, joined bool, err error) {
	var group uint32 // the characters of an unfinished group, 6 bits each
	n := 0           // how many they are
	padded := false
	for _, c := range text {
		switch c {
		case ' ', '\t', '\n', '\r', '\f', '\b':
		case '=':
			switch n {
			case 1:
				return nil, false, errIncomplete
			case 2:
				dst = append(dst, byte(group>>4))
			case 3:
				dst = append(dst, byte(group>>10), byte(group>>2))
			}
			group, n = 0, 0
			padded = true
		default:
			v, ok := sextet(c)
			if !ok {
				return nil, false, errBase64
			}
			joined = padded
			group = group<<6 | v
			if n++; n == 4 {
				dst = append(dst, byte(group>>16), byte(group>>8), byte(group))
				group, n = 0, 0
			}
		}
	}
	if n != 0 {
		return nil, false, errIncomplete
	}
	return dst, joined, nil
}

// sextet returns the value of a character of the standard alphabet (RFC 4648 §4).
func sextet(c byte) (uint32, bool) {
	switch {
	case 'A' <= c && c <= 'Z':
		return uint32(c - 'A'), true
	case 'a' <= c && c <= 'z':
		return uint32(c-'a') + 26, true
	case '0' <= c && c <= '9':
		return uint32(c-'0') + 52, true
	case c == '+':
		return 62, true
	case c == '/':
		return 63, true
	}
	return 0, false
}
