package admin

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// How much is shown, in bytes.
const (
	maxName  = 64  // a name or an address from outside
	maxCause = 300 // one line of text
	maxLines = 20  // what is wrong with a config
)

// clean returns text that can be shown and be a label: one line of valid UTF-8, no control characters, nothing that turns
// the direction of writing, and at most limit bytes and an ellipsis.
func clean(s string, limit int) string {
	cut := len(s) > limit
	if cut {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	bad := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if strings.ContainsFunc(s, bad) {
		s = strings.Map(func(r rune) rune {
			if bad(r) {
				return utf8.RuneError
			}
			return r
		}, s)
	}
	if cut {
		s += "…"
	}
	return s
}

// lines returns the lines of a text, each of them clean, and not too many.
func lines(s string) []string {
	out := strings.SplitN(strings.TrimSpace(s), "\n", maxLines+1)
	if len(out) > maxLines {
		out[maxLines] = "…"
	}
	for i := range out {
		out[i] = clean(strings.ReplaceAll(out[i], "\t", " "), maxCause)
	}
	return out
}
