package extauth

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// awkward is a password that looks different wherever it is quoted.
const awkward = `pä's\s"w<d;1 +😀`

// TestMasked_quoted: a password is masked in each form in which a script that fails may show it.
func TestMasked_quoted(t *testing.T) {
	js, err := json.Marshal(awkward)
	if err != nil {
		t.Fatal(err)
	}
	for name, shown := range map[string]string{
		"as it is":         awkward,
		"Python, text":     `'pä\'s\\s"w<d;1 +😀'`,
		"Python, ASCII":    `'p\xe4\'s\\s"w<d;1 +\U0001f600'`,
		"Python, bytes":    `b'p\xc3\xa4\'s\\s"w<d;1 +\xf0\x9f\x98\x80'`,
		"JSON, of Go":      string(js),
		"JSON, of Python":  `"p\u00e4's\\s\"w<d;1 +\ud83d\ude00"`,
		"PHP":              `'pä\'s\\s"w<d;1 +😀'`,
		"octal":            `"p\303\244's\\s\"w<d;1 +\360\237\230\200"`,
		"Go":               strconv.QuoteToASCII(awkward),
		"SQL":              `'` + strings.ReplaceAll(awkward, `'`, `''`) + `'`,
		"CSV":              `"` + strings.ReplaceAll(awkward, `"`, `""`) + `"`,
		"a form":           "password=" + url.QueryEscape(awkward) + "&x=1",
		"a URL":            "https://example.org/" + url.PathEscape(awkward) + "?x=1",
		"HTML":             html.EscapeString(awkward),
		"HTML, of Python":  `pä&#x27;s\s&quot;w&lt;d;1 +😀`,
		"base64":           base64.StdEncoding.EncodeToString([]byte(awkward)),
		"base64 of a URL":  base64.URLEncoding.EncodeToString([]byte("x" + awkward)),
		"Basic":            "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("alice:"+awkward)),
		"PLAIN":            base64.StdEncoding.EncodeToString([]byte("\x00bo\x00" + awkward)),
		"hexadecimal":      hex.EncodeToString([]byte("auth:alice:" + awkward)),
		"HEXADECIMAL":      fmt.Sprintf("%X", awkward),
		"twice, unequally": awkward + " and " + url.QueryEscape(awkward),
	} {
		line := "before " + shown + " behind"
		got := string(masked([]byte(line), []hidden{{text: "other"}, {}, {text: awkward}}))
		for _, piece := range []string{"s\\s", "s\\\\s", "w<d", "d;1", "w&lt", "w%3Cd", "d%3B1", "775C", "3b31", "3B31"} {
			if strings.Contains(got, piece) {
				t.Errorf("%s: %s", name, got)
			}
		}
		if !strings.Contains(got, mask) || !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " behind") {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, shown := range []string{"", "nothing", `C:\new\x & 100% 'a''b' "c" &#; &#x; &#xzz; \u12 \ud83d\u0041 \x \`, "MTIzNDU2", "%", "+"} {
		if got := string(masked([]byte(shown), []hidden{{text: awkward}, {text: "other"}, {}})); got != shown {
			t.Errorf("%q became %q", shown, got)
		}
	}
}

// FuzzMasked: whatever a script writes around it, a password is not seen, in any form that can be undone.
func FuzzMasked(f *testing.F) {
	f.Add([]byte("auth:alice:"), awkward, []byte("\\"))
	f.Add([]byte(`\`), `\\\"`, []byte(`'`))
	f.Add([]byte("&#"), "38;", []byte("%"))
	f.Add([]byte("secre"), "secret", []byte("t"))
	f.Fuzz(func(t *testing.T, before []byte, secret string, behind []byte) {
		if secret == "" {
			return
		}
		for _, shown := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret))} {
			if len(secret) < minEncoded && shown != secret {
				continue // it is too short to be looked for
			}
			line := append(append(bytes.Clone(before), shown...), behind...)
			was := bytes.Clone(line)
			got := masked(line, []hidden{{text: secret}})
			if !bytes.Equal(line, was) {
				t.Error("the line was changed")
			}
			left := bytes.ReplaceAll(got, []byte(mask), []byte{0})
			if !bytes.Contains([]byte(mask), []byte(secret)) && bytes.Equal(got, line) {
				t.Errorf("%q shows %q: %q", line, secret, left)
			}
		}
	})
}
