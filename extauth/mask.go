package extauth

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A script that fails often says with what, and seldom as it was: the traceback of Python shows strings with escapes, an
// HTTP client shows what it has sent, percent-encoded or in base64. So a password is looked for in each such form.

// A hidden secret is one that must not be seen.
type hidden struct {
	text    string
	encoded []string // what it looks like in base64 and the like; made when it is needed
}

// span is a part of a line.
type span struct{ from, to int }

// A reading is a way to read what has escapes: next returns what the beginning of a line says, and how long that is.
type reading struct {
	signs string // a line without any of them says what it says
	next  func(line []byte) (text []byte, n int)
}

var readings = []reading{
	{`\`, backslashed}, {`\`, backslashedText}, {"%", percented}, {"+", formed}, {"&", markup}, {`'"`, doubled},
}

// masked returns raw with a mask for all that shows one of the secrets. It is raw itself if there is nothing.
func masked(raw []byte, secrets []hidden) []byte {
	spans := find(nil, raw, secrets, nil)
	for _, r := range readings {
		if bytes.ContainsAny(raw, r.signs) {
			text, from := r.unescape(raw)
			spans = find(spans, text, secrets, from)
		}
	}
	for i := range secrets {
		spans = secrets[i].findEncoded(spans, raw)
	}
	if len(spans) == 0 {
		return raw
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(a.from-b.from, b.to-a.to) })
	var out []byte
	done := 0
	for _, s := range spans {
		if s.from >= done {
			out = append(append(out, raw[done:s.from]...), mask...)
		}
		done = max(done, s.to)
	}
	return append(out, raw[done:]...)
}

// find appends where in a line the secrets are, if text is what it says, and from says where in the line each byte of
// that stands, and the end; nil if the line is the text.
func find(spans []span, text []byte, secrets []hidden, from []int) []span {
	for _, secret := range secrets {
		for at := 0; secret.text != ""; {
			i := bytes.Index(text[at:], []byte(secret.text))
			if i < 0 {
				break
			}
			s := span{at + i, at + i + len(secret.text)}
			at = s.to
			if from != nil {
				s = span{from[s.from], from[s.to]}
			}
			spans = append(spans, s)
		}
	}
	return spans
}

// unescape reads a line.
func (r reading) unescape(line []byte) (text []byte, from []int) {
	for at := 0; at < len(line); {
		part, n := r.next(line[at:])
		text = append(text, part...)
		for range part {
			from = append(from, at)
		}
		at += n
	}
	return text, append(from, len(line))
}

// backslashed reads strings of C, Python, PHP, JSON and the like.
func backslashed(line []byte) ([]byte, int) {
	if line[0] != '\\' || len(line) < 2 {
		return line[:1], 1
	}
	switch line[1] {
	case 'x':
		if v, ok := number(line[2:], 2, 16); ok {
			return []byte{byte(v)}, 4
		}
	case 'u':
		v, ok := number(line[2:], 4, 16)
		if !ok {
			break
		}
		if len(line) > 8 && line[6] == '\\' && line[7] == 'u' {
			if low, ok := number(line[8:], 4, 16); ok {
				if r := utf16.DecodeRune(v, low); r != utf8.RuneError {
					return utf8.AppendRune(nil, r), 12
				}
			}
		}
		return utf8.AppendRune(nil, v), 6
	case 'U':
		if v, ok := number(line[2:], 8, 16); ok {
			return utf8.AppendRune(nil, v), 10
		}
	case '0', '1', '2', '3':
		if v, ok := number(line[1:], 3, 8); ok {
			return []byte{byte(v)}, 4
		}
	}
	return line[1:2], 2
}

// backslashedText reads them where \xe4 is a character, and not a byte.
func backslashedText(line []byte) ([]byte, int) {
	text, n := backslashed(line)
	if n == 4 && line[1] == 'x' {
		return utf8.AppendRune(nil, rune(text[0])), n
	}
	return text, n
}

// percented reads URLs.
func percented(line []byte) ([]byte, int) {
	if line[0] == '%' {
		if v, ok := number(line[1:], 2, 16); ok {
			return []byte{byte(v)}, 3
		}
	}
	return line[:1], 1
}

// formed reads what a form sends.
func formed(line []byte) ([]byte, int) {
	if line[0] == '+' {
		return []byte{' '}, 1
	}
	return percented(line)
}

// markup reads HTML and XML.
func markup(line []byte) ([]byte, int) {
	end := bytes.IndexByte(line[:min(len(line), 10)], ';')
	if line[0] != '&' || end < 2 {
		return line[:1], 1
	}
	name := strings.ToLower(string(line[1:end]))
	if text, ok := entities[name]; ok {
		return []byte(text), end + 1
	}
	digits, base := name[1:], 10
	if strings.HasPrefix(digits, "x") {
		digits, base = digits[1:], 16
	}
	if v, ok := number([]byte(digits), len(digits), base); ok && name[0] == '#' {
		return utf8.AppendRune(nil, v), end + 1
	}
	return line[:1], 1
}

var entities = map[string]string{"amp": "&", "lt": "<", "gt": ">", "quot": `"`, "apos": "'"}

// doubled reads strings of SQL and CSV.
func doubled(line []byte) ([]byte, int) {
	if len(line) > 1 && line[0] == line[1] && (line[0] == '\'' || line[0] == '"') {
		return line[:1], 2
	}
	return line[:1], 1
}

// number reads a number of so many digits.
func number(line []byte, digits, base int) (rune, bool) {
	if len(line) < digits {
		return 0, false
	}
	v, err := strconv.ParseUint(string(line[:digits]), base, 31)
	return rune(v), err == nil // #nosec G115 -- of 31 bits
}

// minEncoded is how much of a base64 or hexadecimal form is looked for at least: less of it might be anything.
const minEncoded = 6

// findEncoded appends where the line shows the secret in base64, as a part of something longer or not, or in hexadecimal
// digits: all of what stands there.
func (h *hidden) findEncoded(spans []span, line []byte) []span {
	if h.encoded == nil {
		h.encode()
	}
	for _, form := range h.encoded {
		for at := 0; ; {
			i := bytes.Index(line[at:], []byte(form))
			if i < 0 {
				break
			}
			from, to := at+i, at+i+len(form)
			for from > 0 && isEncoded(line[from-1]) {
				from--
			}
			for to < len(line) && isEncoded(line[to]) {
				to++
			}
			spans = append(spans, span{from, to})
			at = to
		}
	}
	return spans
}

func (h *hidden) encode() {
	digits := hex.EncodeToString([]byte(h.text))
	forms := []string{digits, strings.ToUpper(digits)}
	for ahead := range 3 {
		// It shares a character with what is before it, and one with what is behind it.
		text := base64.RawStdEncoding.EncodeToString(append(make([]byte, ahead), h.text...))
		if (ahead+len(h.text))%3 != 0 {
			text = text[:len(text)-1]
		}
		text = text[min(len(text), (8*ahead+5)/6):]
		forms = append(forms, text, strings.NewReplacer("+", "-", "/", "_").Replace(text))
	}
	h.encoded = slices.DeleteFunc(forms, func(form string) bool { return len(form) < minEncoded })
}

// isEncoded says whether a character may stand in base64.
func isEncoded(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("+/-_=", c) >= 0
}
