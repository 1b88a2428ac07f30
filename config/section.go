package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// section reads the options of one host, or of the global section "*", as Prosody's moduleapi does (get_option_string
// and its like): a host inherits what is global, a list of one is as good as its element, and strings may stand for
// numbers and booleans. Unlike there, a value of another type is a problem and not a default.
type section struct {
	*loader
	host string
}

// lookup returns the option as the host sees it.
func (s section) lookup(name string) (luaconf.Option, bool) {
	return s.eval.Get(s.host, name)
}

func (s section) has(name string) bool {
	_, ok := s.lookup(name)
	return ok
}

// pos is where the option was set; the zero Pos when it was not.
func (s section) pos(name string) Pos {
	o, _ := s.lookup(name)
	return o.Pos
}

// label is the host to name in a message about an option: none when the option is global.
func (s section) label(name string) string {
	if h := s.eval.Host(s.host); s.host != "*" && h != nil {
		if _, own := h.Options[name]; own || !s.has(name) {
			return s.host
		}
	}
	return ""
}

// place is where the option was set, else where its host was declared.
func (s section) place(option string) Pos {
	pos := s.pos(option)
	if h := s.eval.Host(s.host); pos.IsZero() && h != nil {
		pos = h.Pos
	}
	if pos.IsZero() && len(s.eval.Files) > 0 {
		pos.File = s.eval.Files[0]
	}
	return pos
}

func (s section) problem(option, format string, args ...any) {
	s.problems = append(s.problems, Problem{s.place(option), s.label(option), option, fmt.Sprintf(format, args...)})
}

func (s section) warn(option, format string, args ...any) {
	s.warnings = append(s.warnings, Problem{s.place(option), s.label(option), option, fmt.Sprintf(format, args...)})
}

// scalar returns the option's one value.
func (s section) scalar(name, want string) (luaconf.Value, bool) {
	o, ok := s.lookup(name)
	if !ok {
		return luaconf.Value{}, false
	}
	v := o.Value
	if v.Kind == luaconf.Table && len(v.List) == 1 && len(v.Map) == 0 {
		v = v.List[0]
	}
	if v.Kind == luaconf.Table || v.Kind == luaconf.Opaque || v.Kind == luaconf.Nil {
		s.problem(name, "want %s, got %s", want, describe(name, v))
		return v, false
	}
	return v, true
}

func (s section) bool(name string, otherwise bool) bool {
	v, ok := s.scalar(name, "true or false")
	if !ok {
		return otherwise
	}
	switch {
	case v.Kind == luaconf.Bool:
		return v.Bool
	case v.Kind == luaconf.String && v.Str == "true", v.Kind == luaconf.Number && v.Number == 1:
		return true
	case v.Kind == luaconf.String && v.Str == "false", v.Kind == luaconf.Number && v.Number == 0:
		return false
	}
	s.problem(name, "want true or false, got %s", describe(name, v))
	return otherwise
}

func (s section) string(name, otherwise string) string {
	v, ok := s.scalar(name, "a string")
	if !ok {
		return otherwise
	}
	switch v.Kind {
	case luaconf.String:
		return v.Str
	case luaconf.Number:
		return strconv.FormatFloat(v.Number, 'f', -1, 64)
	}
	s.problem(name, "want a string, got %s", describe(name, v))
	return otherwise
}

// enum is a string that is one of the given.
func (s section) enum(name, otherwise string, values ...string) string {
	got := s.string(name, otherwise)
	for _, v := range values {
		if got == v {
			return got
		}
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = strconv.Quote(v)
	}
	s.problem(name, "want %s, got %q", strings.Join(quoted, " or "), clip(got))
	return otherwise
}

// number returns a number between low and high.
func (s section) number(name, want string, otherwise, low, high float64) float64 {
	v, ok := s.scalar(name, want)
	if !ok {
		return otherwise
	}
	n, ok := asNumber(v)
	if !ok || !(n >= low && n <= high) {
		s.problem(name, "want %s, got %s", want, describe(name, v))
		return otherwise
	}
	return n
}

func (s section) integer(name string, otherwise, low, high int) int {
	want := fmt.Sprintf("a whole number from %d to %d", low, high)
	n := s.number(name, want, float64(otherwise), float64(low), float64(high))
	if n != math.Trunc(n) {
		s.problem(name, "want %s, got %v", want, n)
		return otherwise
	}
	return int(n)
}

// maxSeconds is the longest time that makes sense for a timeout, one day.
const maxSeconds = 24 * 60 * 60

func (s section) seconds(name string, otherwise time.Duration) time.Duration {
	n := s.number(name, "a positive number of seconds", otherwise.Seconds(), 0.001, maxSeconds)
	return time.Duration(n * float64(time.Second))
}

// list returns the elements of a list; a single value counts as a list of one.
func (s section) list(name string) ([]luaconf.Value, bool) {
	o, ok := s.lookup(name)
	if !ok {
		return nil, false
	}
	if o.Value.Kind != luaconf.Table {
		return []luaconf.Value{o.Value}, true
	}
	if len(o.Value.Map) > 0 {
		if isSecret(name) { // { ["the secret"] = true } is a set in Prosody
			s.problem(name, "want a list, got a table with keys")
		} else {
			s.problem(name, "want a list, got a table with the key %q", clip(o.Value.Keys()[0]))
		}
		return nil, false
	}
	return o.Value.List, true
}

// strings returns a list of strings.
func (s section) strings(name string) ([]string, bool) {
	values, ok := s.list(name)
	if !ok {
		return nil, false
	}
	list := make([]string, 0, len(values))
	for _, v := range values {
		switch v.Kind {
		case luaconf.String:
			list = append(list, v.Str)
		case luaconf.Number:
			list = append(list, strconv.FormatFloat(v.Number, 'f', -1, 64))
		default:
			s.problem(name, "want strings, got %s", describe(name, v))
			return nil, false
		}
	}
	return list, true
}

// names is a list of strings as a set.
func (s section) names(name string) map[string]bool {
	list, _ := s.strings(name)
	set := make(map[string]bool, len(list))
	for _, v := range list {
		set[v] = true
	}
	return set
}

// asNumber reads a number or a string that holds one.
func asNumber(v luaconf.Value) (float64, bool) {
	switch v.Kind {
	case luaconf.Number:
		return v.Number, true
	case luaconf.String:
		n, err := strconv.ParseFloat(strings.TrimSpace(v.Str), 64)
		return n, err == nil
	}
	return 0, false
}

// describe shows a value in a message. What may be a secret is not shown.
func describe(option string, v luaconf.Value) string {
	switch v.Kind {
	case luaconf.Nil:
		return "nothing"
	case luaconf.Bool:
		return strconv.FormatBool(v.Bool)
	case luaconf.Number:
		if isSecret(option) {
			return "a number"
		}
		return strconv.FormatFloat(v.Number, 'g', -1, 64)
	case luaconf.String:
		if isSecret(option) {
			return "a string"
		}
		return strconv.Quote(clip(v.Str))
	case luaconf.Table:
		switch {
		case len(v.List)+len(v.Map) == 0:
			return "an empty table"
		case len(v.Map) == 0:
			return fmt.Sprintf("a list of %d", len(v.List))
		}
		return "a table"
	}
	return "a " + v.Str
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
