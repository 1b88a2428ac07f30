package admin

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestClean_table(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"alice", "alice"},
		{"ünïcödé 日本", "ünïcödé 日本"},
		{"a\nb\tc\x00", "a\ufffdb\ufffdc\ufffd"},
		{"\x1b[31mred", "\ufffd[31mred"},
		{"\u202egnp.exe", "\ufffdgnp.exe"}, // turns the direction of writing
		{"bad\xff", "bad\ufffd"},
		{strings.Repeat("x", 64), strings.Repeat("x", 64)},
		{strings.Repeat("x", 65), strings.Repeat("x", 64) + "…"},
		{strings.Repeat("ü", 33), strings.Repeat("ü", 32) + "…"},
		{"x" + strings.Repeat("ü", 32), "x" + strings.Repeat("ü", 31) + "…"},
	} {
		if got := clean(test.in, maxName); got != test.want {
			t.Errorf("clean(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}

func TestLines_areBounded(t *testing.T) {
	got := lines(strings.Repeat(strings.Repeat("x", 1000)+"\n", 1000))
	if len(got) != maxLines+1 || got[maxLines] != "…" || len(got[0]) > maxCause+len("…") {
		t.Errorf("%d lines, the first of %d bytes, the last %q", len(got), len(got[0]), got[len(got)-1])
	}
	if got := lines("\tone\n\ttwo\x00\n"); len(got) != 2 || got[0] != "one" || got[1] != " two\ufffd" {
		t.Errorf("%q", got)
	}
}

// Whatever strangers send, what is shown of it is short, printable text.
func FuzzMetrics_login(f *testing.F) {
	f.Add("alice", "PLAIN", "192.0.2.1:1", "refused", "not-authorized", "", int64(0))
	f.Add("\u202e\xff\n", "X\x00", "", "", "", strings.Repeat("ü\xf0", 300), int64(-1))
	f.Add("<script>", "X-TOKEN", "[::1]:1", "undecided", "temporary-auth-failure", "late", int64(1)<<40)
	f.Fuzz(func(t *testing.T, user, mechanism, remote, verdict, condition, cause string, at int64) {
		m := NewMetrics("1.0")
		m.Login(Login{Time: time.Unix(at%(1<<33), 0), Host: "example.org", User: user, Mechanism: mechanism,
			Remote: remote, Verdict: verdict, Condition: condition, Cause: cause})
		m.Reload(0, errors.New(cause), condition, epoch)
		var v view
		m.history.fill(&v, epoch)
		for _, failure := range v.Failures {
			for _, s := range []string{failure.Host, failure.User, failure.Mechanism, failure.Remote, failure.Verdict, failure.Condition, failure.Cause} {
				if len(s) > 3*maxCause+len("…") || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("%q", s)
				}
			}
		}
		if n := v.Totals.Accepted + v.Totals.Refused + v.Totals.Undecided; n != 1 {
			t.Errorf("%d logins", n)
		}
		if (v.Totals.Accepted == 1) != (verdict == "accepted") {
			t.Errorf("verdict %q: %+v", verdict, v.Totals)
		}
		if text := expose(t, m, shop()); len(ours(text, "logins_total")) > 4*len(verdicts) {
			t.Errorf("series of strangers:\n%s", strings.Join(ours(text, "logins_total"), "\n"))
		}
	})
}

func TestHistory_isBounded(t *testing.T) {
	var h history
	for i := range 3 * curveSeconds {
		l := login("example.org", "PLAIN", "refused")
		l.Time, l.User = epoch.Add(time.Duration(i)*time.Second), fmt.Sprint(i)
		h.login(refused, &l)
		h.reload(time.Millisecond, nil, fmt.Sprint(i), l.Time)
	}
	var v view
	h.fill(&v, epoch.Add(3*curveSeconds*time.Second))
	if len(v.Failures) != maxFailures || v.Failures[0].User != "1799" || v.Failures[maxFailures-1].User != "1750" {
		t.Errorf("%d failures, from %s to %s", len(v.Failures), v.Failures[0].User, v.Failures[len(v.Failures)-1].User)
	}
	if len(v.Reloads) != maxReloads || v.Reloads[0].Changed != "1799" || v.Reloads[maxReloads-1].Changed != "1780" {
		t.Errorf("reloads: %+v", v.Reloads)
	}
	for i, n := range v.Curve.Refused {
		if n != 1 || v.Curve.Accepted[i] != 0 {
			t.Fatalf("second %d: %d refused, %d accepted", i, n, v.Curve.Accepted[i])
		}
	}
	// Ten minutes later all of it has left the curve, although it is in the memory still.
	h.fill(&v, epoch.Add(4*curveSeconds*time.Second))
	for i, n := range v.Curve.Refused {
		if n != 0 {
			t.Fatalf("second %d: %d refused", i, n)
		}
	}
}

// A clock that is set back, or stands before 1970, does no harm.
func TestHistory_clockSetBack(t *testing.T) {
	var h history
	for _, at := range []time.Time{epoch, epoch.Add(-time.Hour), time.Unix(-1000, 0)} {
		l := login("example.org", "PLAIN", "accepted")
		l.Time = at
		h.login(accepted, &l)
		var v view
		h.fill(&v, at.Add(2*time.Second))
		if got := v.Curve.Accepted[curveSeconds-2]; got != 1 {
			t.Errorf("at %v: %d", at, got)
		}
	}
}
