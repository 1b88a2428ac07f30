package logging

import (
	"fmt"
	"log/slog"
	"time"
)

// A record is what all forms are made of.
type record struct {
	time   time.Time // without one if zero
	level  slog.Level
	msg    string
	fields []field
}

// A field's value is resolved, is no group, and if it is of kind Any it holds a []string.
type field struct {
	key   string
	value slog.Value
}

// flatten appends an attribute, with those of its group if it is one. No code of others runs later than here, so
// whatever it does (panic, log) happens outside our locks.
func flatten(fields []field, prefix string, a slog.Attr) []field {
	if a.Equal(slog.Attr{}) {
		return fields
	}
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		for _, member := range v.Group() {
			fields = flatten(fields, join(prefix, a.Key), member)
		}
		return fields
	case slog.KindString:
		v = slog.StringValue(bounded(v.String()))
	case slog.KindAny:
		v = plain(v.Any())
	}
	return append(fields, field{join(prefix, a.Key), v})
}

// join is the key of a member of a group. A group without name is not seen.
func join(prefix, key string) string {
	if prefix == "" || key == "" {
		return prefix + key
	}
	return prefix + "." + key
}

// plain turns anything into a string, but a list of strings into a list whose parts together are bounded.
func plain(v any) slog.Value {
	list, ok := v.([]string)
	if !ok {
		return slog.StringValue(bounded(fmt.Sprint(v))) // which survives an Error or String that panics
	}
	var kept []string
	left := maxValue
	for _, s := range list {
		if left -= len(s) + 1; left < 0 {
			kept = append(kept, "…")
			break
		}
		kept = append(kept, s)
	}
	return slog.AnyValue(kept)
}
