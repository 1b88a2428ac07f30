package saslmech

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

var profiles = map[string]func(string) (string, error){
	"nodeprep":            Nodeprep,
	"saslprep":            SASLprep,
	"nameprep":            Nameprep,
	"resourceprep":        Resourceprep,
	"resourceprep_strict": ResourceprepStrict,
}

func TestPrep_vectors(t *testing.T) {
	cases := loadVectors[struct {
		ID, Profile string
		Input       string  `json:"input_hex"`
		Output      *string `json:"output_hex"`
	}](t, "stringprep.json")
	if len(cases) < 1380 {
		t.Errorf("%d cases, want at least 1380", len(cases))
	}
	for _, c := range cases {
		in, err := hex.DecodeString(c.Input)
		if err != nil {
			t.Fatalf("%s: %v", c.ID, err)
		}
		prepare := profiles[c.Profile]
		if prepare == nil {
			t.Fatalf("%s: unknown profile %q", c.ID, c.Profile)
		}
		out, err := prepare(string(in))
		switch {
		case c.Output == nil && err == nil:
			t.Errorf("%s: %s(%+q) = %+q, want a refusal", c.ID, c.Profile, in, out)
		case c.Output != nil && err != nil:
			t.Errorf("%s: %s(%+q): %v, want %s", c.ID, c.Profile, in, err, *c.Output)
		case c.Output != nil && hex.EncodeToString([]byte(out)) != *c.Output:
			t.Errorf("%s: %s(%+q) = %x, want %s", c.ID, c.Profile, in, out, *c.Output)
		}
	}
}

func TestPrep_refusesByName(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(string) (string, error)
		in      string
		want    error
	}{
		{"too long", SASLprep, strings.Repeat("a", 1024), ErrTooLong},
		{"too long after mapping", Nodeprep, strings.Repeat("\ufdfa", 300), ErrTooLong},
		{"longest", SASLprep, strings.Repeat("a", 1023), nil},
		{"latin-1", SASLprep, "s\xe9cret", ErrNotUTF8},
		{"NUL", SASLprep, "a\x00b", ErrProhibited},
		{"colon", Nodeprep, "a:b", ErrProhibited},
		{"full-width colon", Nodeprep, "a：b", ErrProhibited},
		{"space", Nodeprep, "a b", ErrProhibited},
		{"line feed in a domain", Nameprep, "a\nb", ErrProhibited},
		{"space in a domain", Nameprep, "a b", ErrProhibited},
		{"31 combining characters", SASLprep, "a" + strings.Repeat("\u0301", 31), ErrProhibited},
		{"emoji", ResourceprepStrict, "🔑", ErrUnassigned},
		{"emoji, not strict", Resourceprep, "🔑", nil},
		{"Hebrew and Latin", Nodeprep, "אaב", ErrBidi},
	} {
		out, err := c.prepare(c.in)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err != nil && out != "" {
			t.Errorf("%s: %q beside an error", c.name, out)
		}
	}
}

func TestPrep_unassignedSplitsNormalization(t *testing.T) {
	// U+0221 is newer than Unicode 3.2: the accent behind it stays apart, and
	// the compatibility form of U+1F100, newer too, is not taken.
	for in, want := range map[string]string{
		"e\u0301":             "\u00e9",
		"\u0221\u0301":        "\u0221\u0301",
		"e\u0301\u0221\uff21": "\u00e9\u0221A",
		"\U0001f100":          "\U0001f100",
	} {
		if out, err := SASLprep(in); err != nil || out != want {
			t.Errorf("SASLprep(%+q) = %+q, %v, want %+q", in, out, err, want)
		}
	}
}

func TestPrep_asciiAllocatesNothing(t *testing.T) {
	for name, prepare := range profiles {
		if n := testing.AllocsPerRun(100, func() { _, _ = prepare("alice.of-wonderland") }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
