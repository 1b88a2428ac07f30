package upstream

import (
	"context"
	"errors"
	"testing"
)

func TestOpen_name(t *testing.T) {
	u := start(t, func(c *Config) {
		c.Credentials = func(context.Context, string, string, string) (Credential, error) {
			t.Error("asked for a credential")
			return Credential{}, nil
		}
	}, nobody(t))
	for _, user := range []string{
		"",             //
		"Alice",        // upper case
		"a b",          // a space
		"a@b",          //
		"ς",            // nodeprep makes it σ; PRECIS doesn't
		"ß",            // nodeprep makes it ss
		"ａlice",        // full width
		"☃",            // PRECIS has no symbols
		"a\u00adb",     // nodeprep drops a soft hyphen
		"\u1e9b\u0323", // changed by both kinds of normalization
		"ali\x00ce",    //
	} {
		if _, err := u.Open(t.Context(), user, "example.org", secret, nil, nil); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", user, err)
		}
	}
	for _, user := range []string{"alice", "a.b-c_d9", "o+tag", "jürgen", "анна", "σοφία", "太郎"} {
		if !isStable(user) {
			t.Errorf("%q is not stable", user)
		}
	}
}
