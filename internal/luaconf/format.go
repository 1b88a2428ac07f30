package luaconf

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// strFormat is string.format of Lua 5.4 without %a and %p. Width and precision have two digits at most, as there.
func (e *evaluator) strFormat(L *lua.LState) int {
	format := L.CheckString(1)
	var out strings.Builder
	arg := 1
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			out.WriteByte(format[i])
			continue
		}
		i++
		if i < len(format) && format[i] == '%' {
			out.WriteByte('%')
			continue
		}
		begin := i
		for i < len(format) && strings.IndexByte("-+ #0", format[i]) >= 0 {
			i++
		}
		digits := func() {
			for n := 0; n < 2 && i < len(format) && isDigit(format[i]); n++ {
				i++
			}
		}
		digits()
		if i < len(format) && format[i] == '.' {
			i++
			digits()
		}
		if i >= len(format) || i-begin > 10 || isDigit(format[i]) {
			L.RaiseError("invalid conversion '%%%s' to 'format'", format[begin:min(i+1, len(format))])
		}
		arg++
		text := e.formatOne(L, format[begin:i], format[i], arg)
		e.budget.makeString(L, len(text))
		out.WriteString(text)
	}
	return e.pushString(L, out.String())
}

func (e *evaluator) formatOne(L *lua.LState, spec string, verb byte, arg int) string {
	if arg > L.GetTop() {
		L.ArgError(arg, "no value")
	}
	switch verb {
	case 'd', 'i', 'u':
		return fmt.Sprintf("%"+spec+"d", wholeNumber(L, arg))
	case 'c':
		return fmt.Sprintf("%"+spec+"s", string([]byte{byte(wholeNumber(L, arg))}))
	case 'x', 'X', 'o':
		return fmt.Sprintf("%"+spec+string(verb), uint64(wholeNumber(L, arg))) // #nosec G115 -- as C prints it
	case 'e', 'E', 'f', 'F', 'g', 'G':
		n := float64(L.CheckNumber(arg))
		if verb == 'g' || verb == 'G' {
			if !strings.Contains(spec, ".") {
				spec += ".6" // C's default; Go's is as many digits as needed
			}
		}
		return fmt.Sprintf("%"+spec+string(verb), n)
	case 's':
		e.spendString(L, L.Get(arg))
		return fmt.Sprintf("%"+spec+"s", toString(L, L.Get(arg)))
	case 'q':
		return quote(L.Get(arg))
	}
	L.RaiseError("invalid conversion '%%%s%c' to 'format'", spec, verb)
	return ""
}

// spendString pays for a copy of v where it is a string.
func (e *evaluator) spendString(L *lua.LState, v lua.LValue) {
	if s, ok := v.(lua.LString); ok {
		e.budget.makeString(L, len(s))
	}
}

func wholeNumber(L *lua.LState, arg int) int64 {
	n := float64(L.CheckNumber(arg))
	if n != math.Trunc(n) || math.Abs(n) >= 1<<63 {
		L.ArgError(arg, "number has no integer representation")
	}
	return int64(n)
}

// toString is Lua's tostring.
func toString(L *lua.LState, v lua.LValue) string {
	if _, ok := v.(lua.LNumber); ok {
		return text(v)
	}
	return text(L.ToStringMeta(v))
}

// text is what a string or number is in a string.
func text(v lua.LValue) string {
	if n, ok := v.(lua.LNumber); ok {
		return formatNumber(float64(n))
	}
	return v.String()
}

// formatNumber writes a number as Lua does: a whole one without a point, any other with 14 digits at most.
func formatNumber(n float64) string {
	switch {
	case math.IsNaN(n):
		return "nan"
	case math.IsInf(n, 1):
		return "inf"
	case math.IsInf(n, -1):
		return "-inf"
	case n == math.Trunc(n) && math.Abs(n) < 1<<53:
		return strconv.FormatInt(int64(n), 10)
	}
	return strconv.FormatFloat(n, 'g', 14, 64)
}

// quote writes a value as %q does, so that Lua reads it back.
func quote(v lua.LValue) string {
	s, ok := v.(lua.LString)
	if !ok {
		return v.String()
	}
	var out strings.Builder
	out.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\' || c == '\n':
			out.WriteByte('\\')
			out.WriteByte(c)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&out, "\\%03d", c)
		default:
			out.WriteByte(c)
		}
	}
	out.WriteByte('"')
	return out.String()
}
