package logging

import (
	"encoding/json"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// parse reads a text line (without time and level) by the grammar of docs/log.md, written down a second time: message,
// then for each attribute a space, a key, an equals sign and a value.
func parse(t *testing.T, line string) (msg string, attrs [][2]string) {
	t.Helper()
	// word returns what stands before the first of the characters, or a quoted string.
	word := func(until string) string {
		if strings.HasPrefix(line, `"`) {
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				t.Fatalf("at %q: %v", line, err)
			}
			line = line[len(quoted):]
			s, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatalf("%s: %v", quoted, err)
			}
			return s
		}
		end := strings.IndexAny(line, until)
		if end < 0 {
			end = len(line)
		}
		w := line[:end]
		line = line[end:]
		return w
	}
	if strings.HasPrefix(line, `"`) {
		msg = word("")
	} else if at := strings.IndexByte(line, '='); at < 0 {
		return line, nil
	} else {
		at = strings.LastIndexByte(line[:at], ' ')
		msg, line = line[:at], line[at:]
	}
	for line != "" {
		if line[0] != ' ' {
			t.Fatalf("no space at %q", line)
		}
		line = line[1:]
		key := word("=")
		if !strings.HasPrefix(line, "=") {
			t.Fatalf("no equals sign at %q", line)
		}
		line = line[1:]
		attrs = append(attrs, [2]string{key, word(" ")})
	}
	return msg, attrs
}

// visible fails if something is in a line that a terminal obeys or hides.
func visible(t *testing.T, line string) {
	t.Helper()
	if !utf8.ValidString(line) {
		t.Fatalf("not UTF-8: %q", line)
	}
	for _, r := range line {
		if !unicode.IsGraphic(r) || unicode.IsSpace(r) && r != ' ' || unicode.Is(unicode.Cf, r) ||
			unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) {
			t.Fatalf("%U in %q", r, line)
		}
	}
}

// Whatever message and values are, a record is one line in every form, nothing of it is lost, and there are as many
// attributes as were given.
func FuzzForms(f *testing.F) {
	for _, s := range []string{
		"alice", "", " ", "a b", `"`, `\`, `\"`, `x" remote=192.0.2.1:5 verdict=refused condition=not-authorized`,
		`x remote=192.0.2.1:5`, "x\n2026-11-22T06:13:36.123Z info login user=x", "x\r\n", "\x1b]0;title\x07", "\u202e", "\u2028",
		`x","remote":"192.0.2.1:5","verdict":"refused`, "\xff\xfe", "\xc3", "=", "a=", "\x00", "é\u0301", "\U000e0001", "login host=a",
	} {
		f.Add("login", s, "end")
		f.Add(s, s, s)
	}
	f.Fuzz(func(t *testing.T, msg, a, b string) {
		msg, a, b = bounded(msg), bounded(a), bounded(b)
		r := &record{time: time.Unix(1e9, 0).UTC(), level: slog.LevelWarn, msg: msg,
			fields: []field{{"user", slog.StringValue(a)}, {"verdict", slog.StringValue(b)}}}

		bare := string(encodeBare(nil, r))
		visible(t, bare)
		gotMsg, got := parse(t, bare)
		if want := [][2]string{{"user", a}, {"verdict", b}}; gotMsg != msg || !slices.Equal(got, want) {
			t.Fatalf("%s\ngives %q %q, want %q %q", bare, gotMsg, got, msg, want)
		}
		for _, c := range []struct {
			encode     encoder
			start, end string
		}{
			{encodeText, "2001-09-09T01:46:40.000Z warn ", "\n"},
			{encodePriority, "<4>", "\n"},
			{encodeSyslog, "<28>Sep  9 01:46:40 gatehouse[" + pid + "]: ", ""},
		} {
			if line := string(c.encode(nil, r)); line != c.start+bare+c.end {
				t.Fatalf("%q", line)
			}
		}
		fuzzJSON(t, r)
		fuzzJournal(t, r, bare)
	})
}

func fuzzJSON(t *testing.T, r *record) {
	line, ok := strings.CutSuffix(string(encodeJSON(nil, r)), "\n")
	if !ok {
		t.Fatalf("no line end in %q", line)
	}
	visible(t, line)
	var object map[string]string
	if err := json.Unmarshal([]byte(line), &object); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	for key, want := range map[string]string{
		"time": "2001-09-09T01:46:40.000Z", "level": "warn", "msg": r.msg,
		"user": r.fields[0].value.String(), "verdict": r.fields[1].value.String(),
	} {
		var valid strings.Builder
		for _, c := range want { // one U+FFFD for each bad byte
			valid.WriteRune(c)
		}
		if object[key] != valid.String() {
			t.Fatalf("%s: %s is %q, want %q", line, key, object[key], valid.String())
		}
	}
	if len(object) != 5 {
		t.Fatalf("%s has %d members", line, len(object))
	}
}

func fuzzJournal(t *testing.T, r *record, bare string) {
	got := strings.Split(string(encodeJournal(nil, r)), "\n")
	want := []string{"PRIORITY=4", "SYSLOG_IDENTIFIER=gatehouse", "MESSAGE=" + bare, "GATEHOUSE_USER=", "GATEHOUSE_VERDICT=", ""}
	if len(got) != len(want) {
		t.Fatalf("%d lines: %q", len(got), got)
	}
	for i, f := range r.fields {
		visible(t, got[3+i])
		value, ok := strings.CutPrefix(got[3+i], want[3+i])
		if strings.HasPrefix(value, `"`) {
			var err error
			if value, err = strconv.Unquote(value); err != nil {
				t.Fatalf("%q: %v", got, err)
			}
		}
		if !ok || value != f.value.String() {
			t.Fatalf("%q: %q", got[3+i], f.value.String())
		}
		want[3+i] = got[3+i]
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
}
