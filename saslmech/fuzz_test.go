package saslmech

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzPlain(f *testing.F)  { fuzzDecode(f, Plain.Name) }
func FuzzXToken(f *testing.F) { fuzzDecode(f, XToken.Name) }

// fuzzDecode compares Decode with a reference that is written to be obvious.
func fuzzDecode(f *testing.F, mechanism string) {
	for _, seed := range []string{
		"", "=", "AGFsaWNlAHNlY3JldA==", "AMOEbkRyw4kAc2VjcmV0", "YWxpY2UAYWxpY2UAc2VjcmV0", "AGFsaWNlAHNlY3JldAA=",
		"AHBhdADYpzE=", "AGFswaFpY2UAc2VjcmV0", "AGFsaWNlADgyMDg3MTE0OTk3Mzg1ODQ5NTk1ODY3MzcwMjc5NDg4NzEwMTUxODkgbkI=", "!!!!",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		cred, fail := Decode(mechanism, text)
		name, secret, condition := naiveDecode(text)
		if fail != nil {
			if fail.Condition != condition {
				t.Fatalf("%q: %v, reference %q", text, fail, condition)
			}
			return
		}
		if condition != "" || cred.Username != name || string(cred.Secret.Bytes()) != secret {
			t.Fatalf("%q: %q %q, reference %q %q %q", text, cred.Username, cred.Secret.Bytes(), name, secret, condition)
		}
		if strings.ContainsAny(cred.Username, "\x00\n\r:@/ ") || bytes.ContainsAny(cred.Secret.Bytes(), "\x00\n\r") {
			t.Fatalf("%q: %q %q would break a query", text, cred.Username, cred.Secret.Bytes())
		}
	})
}

func naiveDecode(text []byte) (name, secret string, condition Condition) {
	message, err := naiveBase64(text)
	if errors.Is(err, errNaiveIncomplete) {
		return "", "", MalformedRequest
	}
	if err != nil {
		return "", "", IncorrectEncoding
	}
	parts := strings.Split(string(message), "\x00")
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" {
		if strings.Contains(strings.TrimRight(string(text), "= \t\n\r\f\b"), "=") {
			return "", "", IncorrectEncoding
		}
		return "", "", MalformedRequest
	}
	name, err = saslprep.prepare(parts[1])
	if err == nil {
		name, err = nodeprep.prepare(name)
	}
	if err != nil || name == "" {
		return "", "", MalformedRequest
	}
	secret, err = saslprep.prepare(parts[2])
	if err != nil || secret == "" {
		return "", "", MalformedRequest
	}
	return name, secret, ""
}

// FuzzPrep checks what holds for every profile, and that the way past the tables
// for ASCII gives what the tables give.
func FuzzPrep(f *testing.F) {
	for _, seed := range []string{
		"", "alice", "ÄnDrÉ", "ａｌ\u00a0ｉｃｅ", "İris", "ΟΔΥΣΣΕΥΣ", "אבג", "ا1", "\u200b", "a\u1806", "\U0002f868", "\u0221\u0301",
		"\U0001d6a4", "\ufdfa", "a\u0301\u0327", "\u1e9e", "\u03d2\u0301", "\xed\xa0\x80", "a b:c@d/e",
	} {
		f.Add(seed)
	}
	slow := map[string]*profile{
		"nodeprep": nodeprep, "saslprep": saslprep, "nameprep": nameprep, "resourceprep": resourceprep, "resourceprep_strict": resourceprepStrict,
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, prepare := range profiles {
			out, err := prepare(s)
			if byTables, slowErr := slow[name].prepare(s); (err == nil) != (slowErr == nil) || err == nil && out != byTables {
				t.Fatalf("%s(%+q) = %+q, %v; by the tables %+q, %v", name, s, out, err, byTables, slowErr)
			}
			if err != nil {
				if out != "" {
					t.Fatalf("%s(%+q) = %+q beside %v", name, s, out, err)
				}
				continue
			}
			if !utf8.ValidString(out) || len(out) > maxPrepBytes {
				t.Fatalf("%s(%+q) = %+q", name, s, out)
			}
			if i := strings.IndexFunc(out, func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 }); i >= 0 {
				t.Fatalf("%s(%+q) = %+q: control character", name, s, out)
			}
			if again, err := prepare(out); err != nil || again != out {
				t.Fatalf("%s(%+q) = %+q, prepared again %+q, %v", name, s, out, again, err)
			}
		}
	})
}
