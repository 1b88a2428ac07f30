package client

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// checkSeen demands that neither steps nor errors hold the secret, plain or in
// base64, or anything that a terminal would obey.
func checkSeen(t testing.TB, steps []Step, err error) {
	t.Helper()
	seen := fmt.Sprintf("%+v %#v", steps, steps)
	for _, s := range steps {
		// XML has line breaks of its own, which are ours.
		checkPrints(t, strings.ReplaceAll(fmt.Sprintf("%+v", s), "\n", ""))
	}
	if err != nil {
		seen += err.Error() + Explain(err)
		checkPrints(t, err.Error())
	}
	plain := "\x00alice\x00" + testSecret
	for _, secret := range []string{testSecret, base64.StdEncoding.EncodeToString([]byte(plain))} {
		if strings.Contains(seen, secret) {
			t.Errorf("the secret is in what can be seen: %s", seen)
		}
	}
}

func checkPrints(t testing.TB, s string) {
	t.Helper()
	for _, r := range s {
		if !strconv.IsPrint(r) {
			t.Errorf("%q does not print: %q", r, s)
			return
		}
	}
}

func TestPrintable_disarmsAndCuts(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain – text", "plain – text"},
		{"a\x1b[31mb", `a\x1b[31mb`},
		{"a\nb\tc", `a\nb\tc`},
		{"\u202egnp.exe", `\u202egnp.exe`},
		{"\u009b0m", `\u009b0m`},
		{strings.Repeat("x", maxShown), strings.Repeat("x", maxShown)},
		{strings.Repeat("ü", maxShown+1), strings.Repeat("ü", maxShown) + "…"},
	} {
		if got := printable(c.in); got != c.want {
			t.Errorf("printable(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}
