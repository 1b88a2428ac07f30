package luaconf

import (
	"bytes"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"golang.org/x/sys/unix"
)

// require returns what public configs take from a module while they are evaluated: the libraries that are there
// anyway, and a few functions of Prosody's util.pposix (the config of its container image asks it for the machine's
// name), of LuaSocket and of stringy. All else of Prosody and LuaRocks runs inside of Prosody only.
func (e *evaluator) require(L *lua.LState) int {
	name := L.CheckString(1)
	module := strings.TrimPrefix(name, "prosody.") // as Prosody 13.0 names its own
	switch module {
	case "string", "table", "os", "io", "math", "_G":
		L.Push(e.globals.RawGetString(module))
		return 1
	case "util.pposix":
		L.Push(e.module(module, map[string]lua.LGFunction{"uname": uname}))
		return 1
	case "socket":
		socket := e.module(module, nil)
		socket.RawSetString("dns", e.module("socket.dns", map[string]lua.LGFunction{"gethostname": hostname}))
		L.Push(socket)
		return 1
	case "stringy":
		L.Push(e.module(module, map[string]lua.LGFunction{"split": e.split, "strip": strip}))
		return 1
	}
	L.RaiseError("require %q: gatehouse evaluates this file by itself and has no such Lua module; "+
		"write what comes of it into the file, or take it from an environment variable (ENV_NAME)", name)
	return 0
}

// module is a table of functions. What else its namesake has is an error that says so, not nil.
func (e *evaluator) module(name string, functions map[string]lua.LGFunction) *lua.LTable {
	module := e.L.SetFuncs(e.L.NewTable(), functions)
	mt := e.L.NewTable()
	mt.RawSetString("__index", e.L.NewFunction(func(L *lua.LState) int {
		L.RaiseError("%s.%s is not available in a config that gatehouse evaluates", name, L.Get(2).String())
		return 0
	}))
	module.Metatable = mt
	return module
}

// uname is the table of util.pposix.uname.
func uname(L *lua.LState) int {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		L.RaiseError("util.pposix.uname: %v", err)
	}
	t := L.NewTable()
	for key, value := range map[string][65]byte{"sysname": u.Sysname, "nodename": u.Nodename, "release": u.Release,
		"version": u.Version, "machine": u.Machine, "domainname": u.Domainname} {
		text, _, _ := bytes.Cut(value[:], []byte{0})
		t.RawSetString(key, lua.LString(text))
	}
	L.Push(t)
	return 1
}

func hostname(L *lua.LState) int {
	uname(L)
	L.Push(L.CheckTable(-1).RawGetString("nodename"))
	return 1
}

// split is stringy.split: the parts between a separator, empty ones among them.
func (e *evaluator) split(L *lua.LState) int {
	text, separator := L.CheckString(1), L.CheckString(2)
	if separator == "" {
		L.ArgError(2, "empty separator")
	}
	if strings.Count(text, separator) > maxArrayIndex-2 {
		L.RaiseError("a list has more than %d elements", maxArrayIndex-2)
	}
	e.budget.makeString(L, len(text))
	t := L.NewTable()
	for part := range strings.SplitSeq(text, separator) {
		t.Append(lua.LString(part))
	}
	L.Push(t)
	return 1
}

// strip is stringy.strip: a text without the white space around it.
func strip(L *lua.LState) int {
	return pushOne(L, strings.Trim(L.CheckString(1), " \t\n\v\f\r"))
}
