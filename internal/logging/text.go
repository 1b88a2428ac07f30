package logging

import (
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// timeLayout is RFC 3339 with milliseconds, in local time.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// An encoder appends a record in one form.
type encoder func(b []byte, r *record) []byte

// encodeText is the form of files: time, level, message, attributes.
func encodeText(b []byte, r *record) []byte {
	b = r.time.AppendFormat(b, timeLayout)
	b = append(b, ' ')
	b = append(b, levelName(r.level)...)
	b = append(b, ' ')
	return append(encodeBare(b, r), '\n')
}

// encodeBare is the part that syslog and the journal are given, without line end: both know time and level themselves.
func encodeBare(b []byte, r *record) []byte {
	b = appendMessage(b, r.msg)
	return appendFields(b, r.fields)
}

// encodePriority is a line for the journal's stream behind standard error: sd-daemon(3).
func encodePriority(b []byte, r *record) []byte {
	b = append(b, '<', priority(r.level), '>')
	return append(encodeBare(b, r), '\n')
}

// messageWidth is the column of the first attribute on a terminal, counted from the message, where it fits.
const messageWidth = 12

// encodeTerminal is the form for a person: the time of the day, the level, the message padded.
func encodeTerminal(b []byte, r *record) []byte {
	return appendTerminal(b, r, "", "")
}

// encodeColour is the same with a faint time, and a level that is seen. Nothing else has colours, so that what is
// copied from a terminal can be searched for.
func encodeColour(b []byte, r *record) []byte {
	const faint, yellow, red = "\x1b[2m", "\x1b[33m", "\x1b[1;31m"
	switch only(r.level) {
	case Debug:
		return appendTerminal(b, r, faint, faint)
	case Info:
		return appendTerminal(b, r, faint, "")
	case Warn:
		return appendTerminal(b, r, faint, yellow)
	}
	return appendTerminal(b, r, faint, red)
}

func appendTerminal(b []byte, r *record, timeColour, levelColour string) []byte {
	b = append(b, timeColour...)
	b = r.time.AppendFormat(b, "15:04:05.000")
	b = appendEnd(b, timeColour)
	b = append(b, ' ')
	name := levelName(r.level)
	b = append(b, levelColour...)
	b = append(b, name...)
	b = appendEnd(b, levelColour)
	b = append(b, "  "[:len(" error")-len(name)]...)
	began := len(b)
	b = appendMessage(b, r.msg)
	for len(r.fields) > 0 && len(b)-began < messageWidth {
		b = append(b, ' ')
	}
	return append(appendFields(b, r.fields), '\n')
}

// appendEnd ends a colour, if there is one.
func appendEnd(b []byte, colour string) []byte {
	if colour == "" {
		return b
	}
	return append(b, "\x1b[0m"...)
}

func appendFields(b []byte, fields []field) []byte {
	for _, f := range fields {
		b = append(b, ' ')
		b = appendKey(b, f.key)
		b = append(b, '=')
		b = appendValue(b, f.value)
	}
	return b
}

// appendValue appends a value of a text line. Only strings can need quotes.
func appendValue(b []byte, v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindString:
		return appendText(b, v.String())
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindDuration:
		return append(b, v.Duration().Round(time.Microsecond).String()...)
	}
	return appendText(b, valueString(v))
}

// valueString is a value of any kind without quotes.
func valueString(v slog.Value) string {
	switch v.Kind() {
	case slog.KindAny:
		list, _ := v.Any().([]string)
		return strings.Join(list, ",")
	case slog.KindTime:
		return v.Time().Format(timeLayout)
	case slog.KindDuration:
		return v.Duration().Round(time.Microsecond).String()
	}
	return v.String()
}
