package logging

import (
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"
)

// login is the record of a login, with a user name that a stranger chose.
func login(user string) *record {
	r := &record{time: time.Date(2026, 11, 22, 6, 13, 36, 123e6, time.FixedZone("", 3600)), level: slog.LevelInfo, msg: "login"}
	for _, a := range []slog.Attr{
		slog.String("host", "example.org"), slog.String("user", user), slog.String("mechanism", "PLAIN"),
		slog.String("remote", "[2001:db8::1]:50000"), slog.String("tls", "TLS 1.3"), slog.String("verdict", "refused"),
		slog.String("condition", "not-authorized"), slog.Duration("duration", 1230*time.Microsecond), slog.Int("worker", 1),
	} {
		r.fields = flatten(r.fields, "", a)
	}
	return r
}

const rest = ` mechanism=PLAIN remote=[2001:db8::1]:50000 tls="TLS 1.3" verdict=refused condition=not-authorized duration=1.23ms worker=1`

func TestForms_login(t *testing.T) {
	r := login("alice")
	cases := []struct {
		name   string
		encode encoder
		want   string
	}{
		{"text", encodeText, "2026-11-22T06:13:36.123+01:00 info login host=example.org user=alice" + rest + "\n"},
		{"terminal", encodeTerminal, "06:13:36.123 info  login        host=example.org user=alice" + rest + "\n"},
		{"colour", encodeColour, "\x1b[2m06:13:36.123\x1b[0m info  login        host=example.org user=alice" + rest + "\n"},
		{"bare", encodeBare, "login host=example.org user=alice" + rest},
		{"priority", encodePriority, "<6>login host=example.org user=alice" + rest + "\n"},
		{"syslog", encodeSyslog, "<30>Nov 22 06:13:36 gatehouse[" + pid + "]: login host=example.org user=alice" + rest},
		{"json", encodeJSON, `{"time":"2026-11-22T06:13:36.123+01:00","level":"info","msg":"login","host":"example.org",` +
			`"user":"alice","mechanism":"PLAIN","remote":"[2001:db8::1]:50000","tls":"TLS 1.3","verdict":"refused",` +
			`"condition":"not-authorized","duration":0.00123,"worker":1}` + "\n"},
		{"journal", encodeJournal, "PRIORITY=6\nSYSLOG_IDENTIFIER=gatehouse\nMESSAGE=login host=example.org user=alice" + rest + `
GATEHOUSE_HOST=example.org
GATEHOUSE_USER=alice
GATEHOUSE_MECHANISM=PLAIN
GATEHOUSE_REMOTE=[2001:db8::1]:50000
GATEHOUSE_TLS=TLS 1.3
GATEHOUSE_VERDICT=refused
GATEHOUSE_CONDITION=not-authorized
GATEHOUSE_DURATION=1.23ms
GATEHOUSE_WORKER=1
`},
	}
	for _, c := range cases {
		if got := string(c.encode(nil, r)); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

// TestForms_documented: the line that docs/log.md shows in three forms has these forms.
func TestForms_documented(t *testing.T) {
	r := &record{time: time.Date(2026, 11, 22, 6, 13, 36, 123e6, time.FixedZone("", 3600)), level: slog.LevelInfo, msg: "login"}
	for _, a := range []slog.Attr{
		slog.String("host", "example.org"), slog.String("user", "alice"), slog.String("mechanism", "PLAIN"),
		slog.String("remote", "192.0.2.7:50412"), slog.String("tls", "TLS 1.3"), slog.String("verdict", "refused"),
		slog.String("condition", "not-authorized"), slog.Duration("duration", 41200*time.Microsecond), slog.Int("worker", 1),
		slog.Duration("queue", 0), slog.Duration("script", 41*time.Millisecond),
	} {
		r.fields = flatten(r.fields, "", a)
	}
	page := read(t, "../../docs/log.md")
	for name, encode := range map[string]encoder{"text": encodeText, "json": encodeJSON, "journal": encodeJournal} {
		if shown := string(encode(nil, r)); !strings.Contains(page, "\n"+shown+"```\n") {
			t.Errorf("docs/log.md does not show as %s:\n%s", name, shown)
		}
	}
}

func TestForms_levels(t *testing.T) {
	cases := []struct {
		level                   slog.Level
		text, priority, colours string
	}{
		{slog.LevelDebug, "debug", "<7>", "\x1b[2mdebug\x1b[0m "},
		{slog.LevelInfo, "info", "<6>", "info  "},
		{slog.LevelInfo + 1, "info", "<6>", "info  "},
		{slog.LevelWarn, "warn", "<4>", "\x1b[33mwarn\x1b[0m  "},
		{slog.LevelError, "error", "<3>", "\x1b[1;31merror\x1b[0m "},
		{slog.LevelError + 4, "error", "<3>", "\x1b[1;31merror\x1b[0m "},
	}
	for _, c := range cases {
		r := &record{time: time.Now(), level: c.level, msg: "stopped"}
		if got := string(encodeText(nil, r)); !strings.HasSuffix(got, " "+c.text+" stopped\n") {
			t.Errorf("%v: %q", c.level, got)
		}
		if got := string(encodePriority(nil, r)); got != c.priority+"stopped\n" {
			t.Errorf("%v: %q", c.level, got)
		}
		if got := string(encodeColour(nil, r)); !strings.HasSuffix(got, "\x1b[0m "+c.colours+"stopped\n") {
			t.Errorf("%v: %q", c.level, got)
		}
	}
}

// TestForms_strings: what a value looks like in each form.
func TestForms_strings(t *testing.T) {
	cases := []struct{ name, value, text, json, journal string }{
		{"word", "alice", `alice`, `"alice"`, `alice`},
		{"empty", "", `""`, `""`, ``},
		{"other letters", "Жанна·é", `Жанна·é`, `"Жанна·é"`, `Жанна·é`},
		{"space", "a b", `"a b"`, `"a b"`, `a b`},
		{"equals sign", "a=b", `"a=b"`, `"a=b"`, `a=b`},
		{"quote", `a"b`, `"a\"b"`, `"a\"b"`, `a"b`},
		{"quote first", `"ab`, `"\"ab"`, `"\"ab"`, `"\"ab"`},
		{"backslash", `DOMAIN\a`, `DOMAIN\a`, `"DOMAIN\\a"`, `DOMAIN\a`},
		{"escaped before", `\x1b[1mbold move`, `"\\x1b[1mbold move"`, `"\\x1b[1mbold move"`, `\x1b[1mbold move`},
		{"line feed", "a\nb", `"a\nb"`, `"a\nb"`, `"a\nb"`},
		{"carriage return, tab", "\r\t", `"\r\t"`, `"\r\t"`, `"\r\t"`},
		{"zero", "\x00", `"\x00"`, `"\u0000"`, `"\x00"`},
		{"terminal escape", "\x1b[2J", `"\x1b[2J"`, `"\u001b[2J"`, `"\x1b[2J"`},
		{"delete", "\x7f", `"\x7f"`, `"\u007f"`, `"\x7f"`},
		{"C1", "\u009b2J", `"\u009b2J"`, `"\u009b2J"`, `"\u009b2J"`},
		{"next line", "\u0085", `"\u0085"`, `"\u0085"`, `"\u0085"`},
		{"line separator", "\u2028", `"\u2028"`, `"\u2028"`, `"\u2028"`},
		{"no-break space", "a\u00a0b", `"a\u00a0b"`, `"a\u00a0b"`, `"a\u00a0b"`},
		{"bidi override", "\u202ea", `"\u202ea"`, `"\u202ea"`, `"\u202ea"`},
		{"bidi isolate", "\u2067", `"\u2067"`, `"\u2067"`, `"\u2067"`},
		{"zero width", "a\u200bb\ufeff", `"a\u200bb\ufeff"`, `"a\u200bb\ufeff"`, `"a\u200bb\ufeff"`},
		{"filler", "\u3164", `"\u3164"`, `"\u3164"`, `"\u3164"`},
		{"blank Braille", "\u2800", `"\u2800"`, `"\u2800"`, `"\u2800"`},
		{"variation selector", "a\ufe0f", `"a\ufe0f"`, `"a\ufe0f"`, `"a\ufe0f"`},
		{"tag", "\U000e0041", `"\U000e0041"`, `"\udb40\udc41"`, `"\U000e0041"`},
		{"emoji", "😀", `😀`, `"😀"`, `😀`},
		{"bad UTF-8", "a\xffb", `"a\xffb"`, `"a\ufffdb"`, `"a\xffb"`},
		{"cut UTF-8", "é"[:1], `"\xc3"`, `"\ufffd"`, `"\xc3"`},
	}
	for _, c := range cases {
		if got := string(appendText(nil, c.value)); got != c.text {
			t.Errorf("%s, text: %s, want %s", c.name, got, c.text)
		}
		if got := string(appendJSONString(nil, c.value)); got != c.json {
			t.Errorf("%s, JSON: %s, want %s", c.name, got, c.json)
		}
		if got := string(appendFieldValue(nil, c.value)); got != c.journal {
			t.Errorf("%s, journal: %s, want %s", c.name, got, c.journal)
		}
	}
}

type panics struct{}

func (panics) Error() string { panic("no") }

// TestForms_kinds: what becomes of values that are no strings.
func TestForms_kinds(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678900000, time.UTC)
	cases := []struct {
		value      any
		text, json string
	}{
		{1, `1`, `1`},
		{uint64(math.MaxUint64), `18446744073709551615`, `18446744073709551615`},
		{true, `true`, `true`},
		{1.5, `1.5`, `1.5`},
		{math.Inf(1), `+Inf`, `"+Inf"`},
		{math.NaN(), `NaN`, `"NaN"`},
		{90 * time.Second, `1m30s`, `90`},
		{1234567 * time.Nanosecond, `1.235ms`, `0.001234567`},
		{at, `2026-01-02T03:04:05.678Z`, `"2026-01-02T03:04:05.678Z"`},
		{errors.New("worker 3: late"), `"worker 3: late"`, `"worker 3: late"`},
		{nil, `<nil>`, `"<nil>"`},
		{[]string{"log", "c2s_timeout"}, `log,c2s_timeout`, `["log","c2s_timeout"]`},
		{[]string{}, `""`, `[]`},
		{[]string{"a\n", "b"}, `"a\n,b"`, `["a\n","b"]`},
		{struct{ A, B int }{1, 2}, `"{1 2}"`, `"{1 2}"`},
	}
	for _, c := range cases {
		r := &record{fields: flatten(nil, "", slog.Any("k", c.value))}
		if got := string(appendFields(nil, r.fields)); got != " k="+c.text {
			t.Errorf("%v, text: %s, want %s", c.value, got, c.text)
		}
		if got := string(appendJSONValue(nil, r.fields[0].value)); got != c.json {
			t.Errorf("%v, JSON: %s, want %s", c.value, got, c.json)
		}
	}
	if got := flatten(nil, "", slog.Any("k", panics{}))[0].value.String(); !strings.Contains(got, "PANIC") {
		t.Errorf("an Error that panics: %q", got)
	}
}

// TestForms_bounded: a value of any length leaves a line of some length, and whole characters.
func TestForms_bounded(t *testing.T) {
	long := strings.Repeat("é", maxValue)
	for name, v := range map[string]any{"string": long, "error": errors.New(long), "list": []string{"a", long, long}} {
		line := encodeText(nil, &record{fields: flatten(nil, "", slog.Any("k", v))})
		if len(line) > maxValue+100 {
			t.Errorf("%s: %d bytes", name, len(line))
		}
		if s := string(line); strings.Contains(s, `\x`) || !strings.Contains(s, "…") {
			t.Errorf("%s ends in %q", name, s[len(s)-20:])
		}
	}
}

func TestForms_messages(t *testing.T) {
	for msg, want := range map[string]string{
		"reload: nothing changed": `reload: nothing changed`,
		"":                        `""`,
		"a=b":                     `"a=b"`,
		`say "hi"`:                `"say \"hi\""`,
		"two  spaces":             `"two  spaces"`,
		" before":                 `" before"`,
		"after ":                  `"after "`,
		"line\nfeed":              `"line\nfeed"`,
	} {
		if got := string(appendMessage(nil, msg)); got != want {
			t.Errorf("%q: %s, want %s", msg, got, want)
		}
	}
}

func TestForms_keys(t *testing.T) {
	for key, want := range map[string]string{"a.b": "a.b", "": "_", "a b=\"\n\u202e\xff": "a_b_____"} {
		if got := string(appendKey(nil, key)); got != want {
			t.Errorf("%q: %s, want %s", key, got, want)
		}
	}
	if got, want := string(appendFieldName(nil, "pool.a-b é"+strings.Repeat("x", 99))),
		"GATEHOUSE_POOL_A_B___"+strings.Repeat("X", 64-21); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestForms_jsonIsJSON(t *testing.T) {
	for r := rune(0); r <= 0x10ffff; r += 7 {
		var got string
		if err := json.Unmarshal(appendJSONString(nil, string(r)), &got); err != nil || got != string(r) {
			t.Fatalf("%U: %q, %v", r, got, err)
		}
	}
}
