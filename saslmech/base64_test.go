package saslmech

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

var (
	errNaiveAlphabet   = errors.New("outside the alphabet")
	errNaiveIncomplete = errors.New("incomplete group")
)

// naiveBase64 reads bit by bit what decodeBase64 reads by groups.
func naiveBase64(text []byte) ([]byte, error) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var out []byte
	var bits []byte // of an unfinished group
	emit := func() {
		for ; len(bits) >= 8; bits = bits[8:] {
			var b byte
			for _, bit := range bits[:8] {
				b = b<<1 | bit
			}
			out = append(out, b)
		}
		bits = nil
	}
	for _, c := range text {
		i := strings.IndexByte(alphabet, c)
		switch {
		case strings.IndexByte(" \t\n\r\f\b", c) >= 0:
		case c == '=' && len(bits) == 6:
			return nil, errNaiveIncomplete
		case c == '=':
			emit()
		case i < 0:
			return nil, errNaiveAlphabet
		default:
			for shift := 5; shift >= 0; shift-- {
				bits = append(bits, byte(i>>shift&1))
			}
			if len(bits) == 24 {
				emit()
			}
		}
	}
	if len(bits) != 0 {
		return nil, errNaiveIncomplete
	}
	return out, nil
}

func TestDecodeBase64_vectors(t *testing.T) {
	cases := loadVectors[struct {
		ID     string
		Input  string  `json:"input_hex"`
		Output *string `json:"output_hex"`
	}](t, "base64_decode.json")
	lossy := 0
	for _, c := range cases {
		in, err := hex.DecodeString(c.Input)
		if err != nil {
			t.Fatalf("%s: %v", c.ID, err)
		}
		want := c.Output
		if _, err := naiveBase64(in); errors.Is(err, errNaiveIncomplete) || bytes.IndexByte(in, 0) >= 0 {
			// The original drops the end of the text without a word (D13).
			want = nil
			lossy++
		}
		out, _, err := decodeBase64(in)
		switch {
		case want == nil && err == nil:
			t.Errorf("%s: %q = %x, want a refusal", c.ID, in, out)
		case want != nil && err != nil:
			t.Errorf("%s: %q: %v, want %s", c.ID, in, err, *want)
		case want != nil && hex.EncodeToString(out) != *want:
			t.Errorf("%s: %q = %x, want %s", c.ID, in, out, *want)
		}
	}
	t.Logf("%d cases, %d of them refused because the original loses data", len(cases), lossy)
}

// D13: the original decodes these to less than was sent.
func TestDecodeBase64_incompleteGroupIsRefused(t *testing.T) {
	for _, text := range []string{"A", "AA", "AAA", "YWJjZA", "YWJjZGU", "A=", "A===", "YWJjA", "YW=j", "YWJjZA==A", "YWJj\x00", "YW\x00Jj"} {
		if out, _, err := decodeBase64([]byte(text)); err == nil {
			t.Errorf("%q = %x, want a refusal", text, out)
		}
	}
}

func FuzzDecodeBase64(f *testing.F) {
	for _, seed := range []string{"", "=", "AGFsaWNlAHNlY3JldA==", "AGFsaWNlAHNlY3JldA=", " Y W\nJ j ", "YWI=ZA==", "YW-_", "A===", "YWJjZB==", "YW\x00Jj"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		out, _, err := decodeBase64(text)
		want, wantErr := naiveBase64(text)
		if (err == nil) != (wantErr == nil) || !bytes.Equal(out, want) {
			t.Fatalf("%q = %x, %v; reference %x, %v", text, out, err, want, wantErr)
		}
		if !bytes.Equal(text, before) {
			t.Fatal("input was changed")
		}
	})
}
