package luaconf

import (
	"os"
	"path/filepath"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// configFile is one run of a config file: each Include has its own current host and its own record of options set.
// The functions of a config are those of core/configmanager.lua.
type configFile struct {
	e       *evaluator
	path    string
	current string          // the host that options belong to; "*" is global
	set     map[string]bool // host/option
	env     *lua.LTable
}

// runConfig evaluates one config file in an environment of its own.
func (e *evaluator) runConfig(L *lua.LState, path string) {
	if e.nest++; e.nest > maxIncludeNest {
		L.RaiseError("config files include each other more than %d deep", maxIncludeNest)
	}
	defer func() { e.nest-- }()
	proto := e.load(L, path, false)
	f := &configFile{e: e, path: path, current: "*", set: make(map[string]bool), env: L.NewTable()}
	functions := map[string]lua.LGFunction{
		"VirtualHost": f.virtualHost, "Host": f.virtualHost, "host": f.virtualHost,
		"Component": f.component, "component": f.component,
		"Include": f.include, "include": f.include, "RunScript": f.runScript,
		"FileContents": f.fileContents, "FileLine": f.fileLine, "FileLines": f.fileLines, "Credential": f.credential,
		concatName: e.concat, setName: e.setIndex, keyName: e.checkKey,
	}
	for name, fn := range functions {
		f.env.RawSetString(name, L.NewFunction(fn))
	}
	mt := L.NewTable()
	mt.RawSetString("__index", L.NewFunction(f.index))
	mt.RawSetString("__newindex", L.NewFunction(f.newIndex))
	f.env.Metatable = mt
	fn := L.NewFunctionFromProto(proto)
	fn.Env = f.env
	L.Push(fn)
	L.Call(0, 0)
}

// index is the value of a name that is no local variable: an environment variable, an option that was set (as Prosody
// 13.0 has it), or a part of the Lua library (as 0.12 has it).
func (f *configFile) index(L *lua.LState) int {
	name := L.CheckString(2)
	if key, ok := strings.CutPrefix(name, "ENV_"); ok {
		L.Push(environment(key))
		return 1
	}
	if name == "Lua" {
		L.Push(f.e.globals)
		return 1
	}
	value := f.e.getOption(f.current, name)
	global := f.e.globals.RawGetString(name)
	switch {
	case value.Type() == lua.LTTable:
		L.Push(f.proxy(L, name))
	case value != lua.LNil:
		L.Push(value)
	default:
		if global == lua.LNil {
			f.e.warn(f.e.at(L, f.path), "unrecognized value: %s (%s)", name, remedyFor(name))
		}
		L.Push(global)
	}
	return 1
}

// remedyFor says what was meant by a name that nobody knows.
func remedyFor(name string) string {
	switch strings.ToLower(name) {
	case "true", "yes", "on":
		return "write true"
	case "false", "no", "off":
		return "write false"
	}
	return "you may be missing quotes around it"
}

func environment(key string) lua.LValue {
	if value, ok := os.LookupEnv(key); ok && len(value) <= maxStringLen {
		return lua.LString(value)
	}
	return lua.LNil
}

// newIndex is the assignment to a name that is no local variable: an option.
func (f *configFile) newIndex(L *lua.LState) int {
	name, pos := L.CheckString(2), f.e.at(L, f.path)
	option := f.current + "/" + name
	if f.set[option] {
		f.e.warn(pos, "Duplicate option '%s'", name)
	}
	f.set[option] = true
	f.e.setOption(f.current, name, L.Get(3), pos)
	return 0
}

// host returns the section of a prepared name, and makes it when there is none.
func (e *evaluator) host(name string) *hostState {
	h := e.byName[name]
	if h == nil {
		h = &hostState{name: name, options: make(map[string]optionState)}
		e.byName[name] = h
		e.hosts = append(e.hosts, h)
	}
	return h
}

func (e *evaluator) setOption(host, option string, value lua.LValue, pos Pos) {
	h := e.host(host)
	if h.pos.IsZero() {
		h.pos = pos
	}
	if value == lua.LNil {
		delete(h.options, option)
		return
	}
	h.options[option] = optionState{value, pos}
}

func (e *evaluator) getOption(host, option string) lua.LValue {
	if h := e.byName[host]; h != nil {
		if o, ok := h.options[option]; ok {
			return o.value
		}
	}
	return lua.LNil
}

func (f *configFile) virtualHost(L *lua.LState) int {
	name := f.hostName(L, "Host")
	if h := f.e.byName[name]; h != nil && f.e.getOption(name, "component_module") != lua.LNil {
		L.RaiseError("Host %q clashes with previously defined %s Component %q, for services use a sub-domain like conference.%s",
			name, text(f.e.getOption(name, "component_module")), name, name)
	}
	f.current = name
	f.e.setOption(name, "defined", lua.LTrue, f.e.at(L, f.path))
	L.Push(L.NewFunction(func(L *lua.LState) int {
		f.current = "*"
		options, ok := L.Get(1).(*lua.LTable)
		switch {
		case ok:
			f.setAll(L, name, options)
		case L.Get(1).Type() == lua.LTString:
			L.RaiseError("VirtualHost entries do not accept a module name (module '%s' provided for host '%s')", L.ToString(1), name)
		default:
			L.RaiseError("Invalid syntax following VirtualHost, expected options but received a %s", L.Get(1).Type().String())
		}
		return 0
	}))
	return 1
}

func (f *configFile) component(L *lua.LState) int {
	name := f.hostName(L, "Component")
	if f.e.getOption(name, "defined") != lua.LNil && f.e.getOption(name, "component_module") == lua.LNil {
		L.RaiseError("Component %q clashes with previously defined VirtualHost %q, for services use a sub-domain like conference.%s",
			name, name, name)
	}
	pos := f.e.at(L, f.path)
	f.e.setOption(name, "component_module", lua.LString("component"), pos)
	f.e.setOption(name, "load_global_modules", lua.LFalse, pos)
	f.e.host(name).component = true
	f.current = name
	options := func(L *lua.LState) int {
		f.current = "*"
		f.setAll(L, name, L.CheckTable(1))
		return 0
	}
	L.Push(L.NewFunction(func(L *lua.LState) int {
		if module, ok := L.Get(1).(lua.LString); ok {
			f.e.setOption(name, "component_module", module, f.e.at(L, f.path))
			L.Push(L.NewFunction(options))
			return 1
		}
		return options(L)
	}))
	return 1
}

// hostName checks and prepares the argument of VirtualHost and Component.
func (f *configFile) hostName(L *lua.LState, what string) string {
	if L.Get(1).Type() != lua.LTString {
		L.RaiseError("%s must have a name", what)
	}
	prepared, err := prepareName(L.ToString(1))
	if err != nil {
		L.RaiseError("Name of %s %q contains forbidden characters", what, L.ToString(1))
	}
	return prepared
}

// setAll sets the options of a table that follows a host. The second argument is what noteLines added.
func (f *configFile) setAll(L *lua.LState, host string, options *lua.LTable) {
	pos := f.e.at(L, f.path)
	var lines fieldLines
	if id, ok := L.Get(2).(lua.LNumber); ok && int(id) >= 0 && int(id) < len(f.e.tables) {
		lines = f.e.tables[int(id)]
	}
	options.ForEach(func(k, v lua.LValue) {
		at := pos
		if line := lines[text(k)]; line > 0 {
			at.Line = line
		}
		f.e.setOption(host, text(k), v, at)
	})
}

// resolve makes a path of the config absolute: it is relative to the file that names it.
func (f *configFile) resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(f.path), path)
}

// proxy is what a config gets when it reads an option that is a table (Prosody 13.0): one may append to it, by
// `option { ... }` or option:append{ ... }, and read it with option:value() and option:values().
func (f *configFile) proxy(L *lua.LState, option string) *lua.LTable {
	host := f.current
	value := func() lua.LValue { return f.e.getOption(host, option) }
	var proxy *lua.LTable
	appendTo := func(L *lua.LState) int {
		if L.Get(2).Type() != lua.LTTable {
			L.RaiseError("'append' operation expects a list of values to append to the existing list")
		}
		list, ok := value().(*lua.LTable)
		if !ok {
			list = L.NewTable()
		}
		f.e.appendAll(L, list, L.CheckTable(2))
		f.e.setOption(host, option, list, f.e.at(L, f.path))
		L.Push(proxy)
		return 1
	}
	methods := map[string]lua.LGFunction{
		"append": appendTo,
		"value":  func(L *lua.LState) int { L.Push(value()); return 1 },
		"values": func(L *lua.LState) int {
			next := lua.LValue(lua.LNil)
			list, ok := value().(*lua.LTable)
			L.Push(L.NewFunction(func(L *lua.LState) int {
				var v lua.LValue = lua.LNil
				if ok {
					next, v = list.Next(next)
				}
				L.Push(v)
				return 1
			}))
			return 1
		},
	}
	mt := L.NewTable()
	mt.RawSetString("__index", L.NewFunction(func(L *lua.LState) int {
		method, ok := methods[L.Get(2).String()]
		if !ok {
			L.RaiseError("Unknown config option operation: '%s'; the list itself is %s:value()", L.Get(2).String(), option)
		}
		L.Push(L.NewFunction(method))
		return 1
	}))
	mt.RawSetString("__call", L.NewFunction(func(L *lua.LState) int {
		if L.Get(2).Type() != lua.LTTable {
			L.RaiseError("Invalid syntax - missing '=' perhaps?")
		}
		return appendTo(L)
	}))
	mt.RawSetString(proxyMark, L.NewFunction(func(L *lua.LState) int { L.Push(value()); return 1 }))
	proxy = L.NewTable()
	proxy.Metatable = mt
	return proxy
}

// proxyMark is the field of a proxy's metatable that returns the table behind it.
const proxyMark = "\x00value"

// appendAll appends a list to a list, or sets the fields of one that is no list.
func (e *evaluator) appendAll(L *lua.LState, to, from *lua.LTable) {
	e.budget.spend(L, from.Len())
	if from.RawGetInt(1) == lua.LNil {
		from.ForEach(func(k, v lua.LValue) { e.setRaw(L, to, k, v) })
		return
	}
	if to.Len()+from.Len() > maxArrayIndex-2 {
		L.RaiseError("a list has more than %d elements", maxArrayIndex-2)
	}
	for i, n := 1, from.Len(); i <= n && from.RawGetInt(i) != lua.LNil; i++ {
		to.Append(from.RawGetInt(i))
	}
}
