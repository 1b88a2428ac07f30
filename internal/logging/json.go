package logging

import (
	"log/slog"
	"math"
	"strconv"
)

// encodeJSON is one object of RFC 8259 on a line: time, level, msg, then the attributes in their order. Durations are
// seconds.
func encodeJSON(b []byte, r *record) []byte {
	b = append(b, '{')
	if !r.time.IsZero() {
		b = append(b, `"time":"`...)
		b = r.time.AppendFormat(b, timeLayout)
		b = append(b, `",`...)
	}
	b = append(b, `"level":"`...)
	b = append(b, levelName(r.level)...)
	b = append(b, `","msg":`...)
	b = appendJSONString(b, r.msg)
	for _, f := range r.fields {
		b = append(b, ',')
		b = appendJSONString(b, f.key)
		b = append(b, ':')
		b = appendJSONValue(b, f.value)
	}
	return append(b, '}', '\n')
}

func appendJSONValue(b []byte, v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(b, v.Uint64(), 10)
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool())
	case slog.KindDuration:
		return strconv.AppendFloat(b, v.Duration().Seconds(), 'f', -1, 64)
	case slog.KindFloat64:
		if f := v.Float64(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return strconv.AppendFloat(b, f, 'g', -1, 64)
		}
	case slog.KindAny:
		list, _ := v.Any().([]string)
		b = append(b, '[')
		for i, s := range list {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSONString(b, s)
		}
		return append(b, ']')
	}
	return appendJSONString(b, valueString(v))
}
