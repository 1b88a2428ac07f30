package luaconf

import (
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// openLibraries fills Lua's globals. What is not named here, and in strings.go and files.go, does not exist.
func (e *evaluator) openLibraries() {
	L := e.L
	for _, lib := range []struct {
		name string
		open lua.LGFunction
	}{{"", lua.OpenBase}, {lua.TabLibName, lua.OpenTable}, {lua.OsLibName, lua.OpenOs}, {lua.MathLibName, lua.OpenMath}} {
		L.Push(L.NewFunction(lib.open))
		L.Push(lua.LString(lib.name))
		L.Call(1, 0)
	}
	base, table, osLib := e.globals, field(e.globals, "table"), field(e.globals, "os")

	keep(base, "_G", "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "select",
		"setmetatable", "type", "unpack", "xpcall", "table", "os", "math")
	base.RawSetString("_VERSION", lua.LString("Lua 5.4"))
	L.SetFuncs(base, map[string]lua.LGFunction{
		"dofile": func(L *lua.LState) int { return e.doFile(L, L.CheckString(1)) },
		"print":  func(*lua.LState) int { return 0 },
		"rawlen": func(L *lua.LState) int { L.Push(lua.LNumber(L.ObjLen(L.CheckAny(1)))); return 1 },
		"rawset": func(L *lua.LState) int {
			e.setRaw(L, L.CheckTable(1), L.CheckAny(2), L.CheckAny(3))
			L.SetTop(1)
			return 1
		},
		"require":  e.require,
		"tonumber": toNumber,
		"tostring": func(L *lua.LState) int { return pushOne(L, toString(L, L.CheckAny(1))) },
		concatName: e.concat, setName: e.setIndex, keyName: e.checkKey,
	})
	e.forbid(base, "", "collectgarbage", "coroutine", "debug", "load", "loadfile", "loadstring", "module", "newproxy",
		"getfenv", "setfenv", "package", "bit32", "utf8")

	keep(table, "getn", "maxn", "remove")
	L.SetFuncs(table, e.tableFuncs())
	table.RawSetString("unpack", base.RawGetString("unpack"))

	keep(osLib, "clock", "date", "difftime", "time")
	L.SetFuncs(osLib, map[string]lua.LGFunction{"date": bounded(osLib.RawGetString("date")), "getenv": func(L *lua.LState) int {
		L.Push(environment(L.CheckString(1)))
		return 1
	}})
	e.forbid(osLib, "os.", "execute", "exit", "remove", "rename", "setenv", "setlocale", "tmpname")

	str := L.SetFuncs(L.NewTable(), e.stringFuncs())
	e.forbid(str, "string.", "dump", "pack", "packsize", "unpack")
	base.RawSetString("string", str)
	mt := L.NewTable()
	mt.RawSetString("__index", str)
	L.SetMetatable(lua.LString(""), mt)

	// What a config may ask to know who evaluates it: neither Prosody's start nor prosodyctl.
	server := L.NewTable()
	server.RawSetString("process_type", lua.LString("gatehouse"))
	server.RawSetString("platform", lua.LString("posix"))
	base.RawSetString("prosody", server)

	ioLib := L.SetFuncs(L.NewTable(), e.ioFuncs())
	e.forbid(ioLib, "io.", "popen", "write", "output", "input", "read", "tmpfile", "close")
	base.RawSetString("io", ioLib)
	field(base, "math").RawSetString("huge", lua.LNumber(math.Inf(1))) // gopher-lua has the largest finite number
	field(base, "math").RawSetString("type", L.NewFunction(mathType))
	field(base, "math").RawSetString("tointeger", L.NewFunction(mathToInteger))
}

func field(t *lua.LTable, name string) *lua.LTable { return t.RawGetString(name).(*lua.LTable) }

// keep removes everything from a library but the named functions.
func keep(lib *lua.LTable, names ...string) {
	wanted := make(map[string]bool)
	for _, name := range names {
		wanted[name] = true
	}
	var unwanted []lua.LValue
	lib.ForEach(func(k, _ lua.LValue) {
		if !wanted[k.String()] {
			unwanted = append(unwanted, k)
		}
	})
	for _, k := range unwanted {
		lib.RawSet(k, lua.LNil)
	}
}

// forbid makes functions that say that they cannot be had, and tables like that in the place of libraries.
func (e *evaluator) forbid(lib *lua.LTable, prefix string, names ...string) {
	for _, name := range names {
		refuse := e.L.NewFunction(func(L *lua.LState) int {
			L.RaiseError("%s%s is not available in a config that gatehouse evaluates", prefix, name)
			return 0
		})
		switch name {
		case "coroutine", "debug", "package", "bit32", "utf8":
			mt := e.L.NewTable()
			mt.RawSetString("__index", refuse)
			library := e.L.NewTable()
			library.Metatable = mt
			lib.RawSetString(name, library)
		default:
			lib.RawSetString(name, refuse)
		}
	}
}

// setIndex is the assignment t[k] = v of rewritten programs.
func (e *evaluator) setIndex(L *lua.LState) int {
	t, key := L.Get(1), L.Get(2)
	for range lua.MaxTableGetLoop {
		tb, ok := t.(*lua.LTable)
		if !ok {
			break
		}
		e.checkGrowth(L, tb, key)
		if t, ok = L.GetMetaField(tb, "__newindex").(*lua.LTable); !ok {
			break
		}
	}
	L.SetTable(L.Get(1), key, L.Get(3))
	return 0
}

// setRaw is t[k] = v without metatables.
func (e *evaluator) setRaw(L *lua.LState, t *lua.LTable, k, v lua.LValue) {
	e.checkGrowth(L, t, k)
	t.RawSet(k, v)
}

// checkKey is [k] in the table constructors of rewritten programs: the table is new, so its length is about zero.
func (e *evaluator) checkKey(L *lua.LState) int {
	e.checkGrowth(L, nil, L.Get(1))
	L.SetTop(1)
	return 1
}

// checkGrowth pays for the empty places that an index far behind the end of a table makes, and refuses the keys that Lua
// refuses. In gopher-lua the places up to MaxArrayIndex are real.
func (e *evaluator) checkGrowth(L *lua.LState, t *lua.LTable, key lua.LValue) {
	if key == lua.LNil {
		L.RaiseError("index is nil")
	}
	n, ok := key.(lua.LNumber)
	if !ok {
		return
	}
	if math.IsNaN(float64(n)) {
		L.RaiseError("index is NaN")
	}
	size := 0
	if t != nil {
		size = t.Len()
		e.budget.steps += size / 1024
	}
	if gap := float64(n) - float64(size); gap > 64 && float64(n) < maxArrayIndex {
		e.budget.makeString(L, int(gap)*16)
	}
	if float64(n) >= maxArrayIndex && t != nil && size >= maxArrayIndex-2 {
		L.RaiseError("a list has more than %d elements", maxArrayIndex-2)
	}
}

func toNumber(L *lua.LState) int {
	base := L.OptInt(2, 10)
	switch v := L.CheckAny(1).(type) {
	case lua.LNumber:
		L.Push(v)
	case lua.LString:
		if base < 2 || base > 36 {
			L.ArgError(2, "base out of range")
		}
		if L.GetTop() < 2 || L.Get(2) == lua.LNil {
			base = 0
		}
		L.Push(parseNumber(string(v), base))
	default:
		L.Push(lua.LNil)
	}
	return 1
}

// parseNumber reads a number as Lua does: decimal or hexadecimal; LNil when it is none. Base 0 means that s says.
func parseNumber(s string, base int) lua.LValue {
	s = strings.Trim(s, " \t\r\n\v\f")
	if len(s) > 200 || strings.Contains(s, "_") || strings.ContainsAny(s, "nN") && base == 0 {
		return lua.LNil
	}
	if base != 0 {
		if n, err := strconv.ParseInt(s, base, 64); err == nil {
			return lua.LNumber(n)
		}
		return lua.LNil
	}
	digits := strings.ToLower(strings.TrimLeft(s, "+-"))
	if strings.HasPrefix(digits, "0x") && !strings.Contains(digits, "p") {
		if n, err := strconv.ParseUint(digits[2:], 16, 64); err == nil && len(s)-len(digits) <= 1 {
			if s[0] == '-' {
				return lua.LNumber(-float64(n))
			}
			return lua.LNumber(n)
		}
		return lua.LNil
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return lua.LNumber(n)
	}
	return lua.LNil
}

// bounded wraps gopher-lua's os.date, whose result is some times longer than its format.
func bounded(date lua.LValue) lua.LGFunction {
	return func(L *lua.LState) int {
		if len(L.OptString(1, "")) > 200 {
			L.ArgError(1, "format longer than 200 bytes")
		}
		args := L.GetTop()
		L.Insert(date, 1)
		L.Call(args, 1)
		return 1
	}
}

func mathType(L *lua.LState) int {
	n, ok := L.CheckAny(1).(lua.LNumber)
	switch {
	case !ok:
		L.Push(lua.LNil)
	case float64(n) == math.Trunc(float64(n)):
		L.Push(lua.LString("integer"))
	default:
		L.Push(lua.LString("float"))
	}
	return 1
}

func mathToInteger(L *lua.LState) int {
	n, ok := L.CheckAny(1).(lua.LNumber)
	if !ok || float64(n) != math.Trunc(float64(n)) {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(n)
	return 1
}
