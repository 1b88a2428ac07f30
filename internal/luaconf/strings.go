package luaconf

import (
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// stringFuncs is the string library of Lua 5.4 without dump, pack and unpack. All of it is our own: in gopher-lua's,
// nothing bounds rep, format and the patterns.
func (e *evaluator) stringFuncs() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"byte": strByte, "char": e.strChar, "find": e.strFind, "format": e.strFormat, "gmatch": e.strGmatch,
		"gsub": e.strGsub, "len": strLen, "lower": e.strMap(toLower), "match": e.strMatch, "rep": e.strRep,
		"reverse": e.strReverse, "sub": strSub, "upper": e.strMap(toUpper),
	}
}

// bounds turns Lua's first and last (1 is the first byte, -1 the last) into the bounds of a Go slice.
func bounds(first, last, length int) (from, to int) {
	if first < 0 {
		first = max(length+first+1, 1)
	} else if first == 0 {
		first = 1
	}
	if last < 0 {
		last = length + last + 1
	}
	last = min(last, length)
	if first > last {
		return 0, 0
	}
	return first - 1, last
}

func strLen(L *lua.LState) int {
	L.Push(lua.LNumber(len(L.CheckString(1))))
	return 1
}

func strSub(L *lua.LState) int {
	s := L.CheckString(1)
	from, to := bounds(L.CheckInt(2), L.OptInt(3, -1), len(s))
	L.Push(lua.LString(s[from:to]))
	return 1
}

func strByte(L *lua.LState) int {
	s := L.CheckString(1)
	first := L.OptInt(2, 1)
	from, to := bounds(first, L.OptInt(3, first), len(s))
	for _, b := range []byte(s[from:to]) {
		L.Push(lua.LNumber(b))
	}
	return to - from
}

func (e *evaluator) strChar(L *lua.LState) int {
	b := make([]byte, L.GetTop())
	for i := range b {
		n := L.CheckInt(i + 1)
		if n < 0 || n > 255 {
			L.ArgError(i+1, "value out of range")
		}
		b[i] = byte(n)
	}
	return e.pushString(L, string(b))
}

// strMap makes a library function of one from byte to byte.
func (e *evaluator) strMap(f func(byte) byte) lua.LGFunction {
	return func(L *lua.LState) int {
		s := L.CheckString(1)
		e.budget.makeString(L, len(s))
		b := []byte(s)
		for i, c := range b {
			b[i] = f(c)
		}
		return pushOne(L, string(b))
	}
}

// toLower and toUpper know ASCII only, as Lua in the C locale does.
func toLower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func toUpper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - ('a' - 'A')
	}
	return c
}

func (e *evaluator) strReverse(L *lua.LState) int {
	s := L.CheckString(1)
	e.budget.makeString(L, len(s))
	b := []byte(s)
	slices.Reverse(b)
	return pushOne(L, string(b))
}

func pushOne(L *lua.LState, s string) int {
	L.Push(lua.LString(s))
	return 1
}

// pushString pays for a string and pushes it.
func (e *evaluator) pushString(L *lua.LState, s string) int {
	e.budget.makeString(L, len(s))
	return pushOne(L, s)
}

func (e *evaluator) strRep(L *lua.LState) int {
	s, n, sep := L.CheckString(1), L.CheckInt(2), L.OptString(3, "")
	if n <= 0 {
		return pushOne(L, "")
	}
	if len(s)+len(sep) > 0 && n > maxStringLen/(len(s)+len(sep)) {
		e.budget.makeString(L, maxStringLen+1)
	}
	e.budget.makeString(L, n*(len(s)+len(sep)))
	if len(s)+len(sep) == 0 {
		return pushOne(L, "")
	}
	return pushOne(L, strings.Repeat(s+sep, n-1)+s)
}

// concat is the `..` of rewritten programs.
func (e *evaluator) concat(L *lua.LState) int {
	for L.GetTop() > 1 {
		n := L.GetTop()
		// Join as many strings at the end as there are, and pay for them once.
		first, size := n+1, 0
		for first > 1 && lua.LVCanConvToString(L.Get(first-1)) {
			first--
			size += len(text(L.Get(first)))
		}
		if first >= n {
			e.concatMeta(L, L.Get(n-1), L.Get(n))
			continue
		}
		e.budget.makeString(L, size)
		var b strings.Builder
		b.Grow(size)
		for i := first; i <= n; i++ {
			b.WriteString(text(L.Get(i)))
		}
		L.SetTop(first - 1)
		L.Push(lua.LString(b.String()))
	}
	return 1
}

// concatMeta replaces the two values on top by what their __concat makes of them.
func (e *evaluator) concatMeta(L *lua.LState, a, b lua.LValue) {
	handler := L.GetMetaField(a, "__concat")
	if handler == lua.LNil {
		handler = L.GetMetaField(b, "__concat")
	}
	if handler == lua.LNil {
		bad := a
		if lua.LVCanConvToString(a) {
			bad = b
		}
		L.RaiseError("attempt to concatenate a %s value", bad.Type().String())
	}
	L.SetTop(L.GetTop() - 2)
	L.Push(handler)
	L.Push(a)
	L.Push(b)
	L.Call(2, 1)
}

// start returns the offset that the optional argument n of find, match and gmatch means, and false when it lies beyond.
func start(L *lua.LState, n, length int) (int, bool) {
	init := L.OptInt(n, 1)
	if init < 0 {
		init = max(length+init+1, 1)
	}
	init = max(init, 1)
	return init - 1, init-1 <= length
}

func (e *evaluator) strFind(L *lua.LState) int {
	s, pat := L.CheckString(1), L.CheckString(2)
	init, ok := start(L, 3, len(s))
	if !ok {
		L.Push(lua.LNil)
		return 1
	}
	if L.ToBool(4) || !strings.ContainsAny(pat, "^$*+?.([%-") {
		e.budget.spend(L, len(s)/64)
		i := strings.Index(s[init:], pat)
		if i < 0 {
			L.Push(lua.LNil)
			return 1
		}
		L.Push(lua.LNumber(init + i + 1))
		L.Push(lua.LNumber(init + i + len(pat)))
		return 2
	}
	m := e.matcher(L, s, pat)
	from, to, ok := m.find(init)
	if !ok {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(lua.LNumber(from + 1))
	L.Push(lua.LNumber(to))
	if len(m.captures) == 0 {
		return 2
	}
	return 2 + m.push(from, to)
}

func (e *evaluator) matcher(L *lua.LState, s, pat string) *matcher {
	return &matcher{L: L, budget: e.budget, src: s, pat: pat}
}

func (e *evaluator) strMatch(L *lua.LState) int {
	s, pat := L.CheckString(1), L.CheckString(2)
	init, ok := start(L, 3, len(s))
	if ok {
		m := e.matcher(L, s, pat)
		if from, to, ok := m.find(init); ok {
			return m.push(from, to)
		}
	}
	L.Push(lua.LNil)
	return 1
}

func (e *evaluator) strGmatch(L *lua.LState) int {
	s, pat := L.CheckString(1), L.CheckString(2)
	pos, lastEnd := 0, -1
	L.Push(L.NewFunction(func(L *lua.LState) int {
		// In gmatch a '^' is no anchor; it would make the loop end at once.
		m := e.matcher(L, s, pat)
		for pos <= len(s) {
			m.captures = m.captures[:0]
			from := pos
			to := m.match(from, 0)
			if to >= 0 && to != lastEnd {
				pos, lastEnd = to, to
				return m.push(from, to)
			}
			pos++
		}
		L.Push(lua.LNil)
		return 1
	}))
	return 1
}

func (e *evaluator) strGsub(L *lua.LState) int {
	s, pat := L.CheckString(1), L.CheckString(2)
	repl := L.CheckAny(3)
	switch repl.Type() {
	case lua.LTString, lua.LTNumber, lua.LTTable, lua.LTFunction:
	default:
		L.ArgError(3, "string/function/table expected")
	}
	limit := L.OptInt(4, len(s)+1)
	m := e.matcher(L, s, pat)
	p, anchored := 0, strings.HasPrefix(pat, "^")
	if anchored {
		p = 1
	}
	var out strings.Builder
	pos, count, lastEnd := 0, 0, -1
	for count < limit {
		m.captures = m.captures[:0]
		if to := m.match(pos, p); to >= 0 && to != lastEnd {
			count++
			e.appendReplacement(L, m, &out, repl, pos, to)
			pos, lastEnd = to, to
		} else if pos < len(s) {
			out.WriteByte(s[pos])
			pos++
		} else {
			break
		}
		if anchored {
			break
		}
	}
	if pos < len(s) {
		out.WriteString(s[pos:])
	}
	e.budget.makeString(L, len(s))
	L.Push(lua.LString(out.String()))
	L.Push(lua.LNumber(count))
	return 2
}

// appendReplacement writes what gsub puts in the place of one match, and pays for it.
func (e *evaluator) appendReplacement(L *lua.LState, m *matcher, out *strings.Builder, repl lua.LValue, from, to int) {
	var value lua.LValue
	switch r := repl.(type) {
	case *lua.LTable:
		value = L.GetTable(r, m.value(0, from, to))
	case *lua.LFunction:
		L.Push(r)
		n := m.push(from, to)
		L.Call(n, 1)
		value = L.Get(-1)
		L.Pop(1)
	default:
		e.appendTemplate(L, m, out, text(repl), from, to)
		return
	}
	switch {
	case lua.LVIsFalse(value):
		value = lua.LString(m.src[from:to])
	case !lua.LVCanConvToString(value):
		L.RaiseError("invalid replacement value (a %s)", value.Type().String())
	}
	replacement := text(value)
	e.budget.makeString(L, len(replacement))
	out.WriteString(replacement)
}

func (e *evaluator) appendTemplate(L *lua.LState, m *matcher, out *strings.Builder, template string, from, to int) {
	for i := 0; i < len(template); i++ {
		part := template[i : i+1]
		if part == "%" {
			i++
			switch {
			case i < len(template) && template[i] == '%':
			case i < len(template) && template[i] == '0':
				part = m.src[from:to]
			case i < len(template) && isDigit(template[i]):
				part = text(m.value(int(template[i]-'1'), from, to))
			default:
				L.RaiseError("invalid use of '%%' in replacement string")
			}
		}
		if e.budget.strings += len(part); e.budget.strings > maxStringBytes {
			e.budget.makeString(L, maxStringLen+1)
		}
		out.WriteString(part)
	}
}
