package luaconf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// show writes a value as Lua would have it, with sorted keys.
func show(v Value) string {
	switch v.Kind {
	case Bool:
		return fmt.Sprint(v.Bool)
	case Number:
		return formatNumber(v.Number)
	case String:
		return fmt.Sprintf("%q", v.Str)
	case Table:
		var parts []string
		for _, item := range v.List {
			parts = append(parts, show(item))
		}
		for _, key := range v.Keys() {
			parts = append(parts, key+"="+show(v.Map[key]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case Opaque:
		return v.Str
	}
	return "nil"
}

func TestEval_values(t *testing.T) {
	t.Setenv("GATE_HOUSE", "from the environment")
	tests := []struct{ name, source, want string }{
		{"string", `x = "a"`, `"a"`},
		{"long string", "x = [[\na\nb]]", `"a\nb"`},
		{"escapes", `x = "\x41\u{e9}\65\n\\\"\'"`, `"AéA\n\\\"'"`},
		{"decimal escape", `x = "\0651\9"`, `"A1\t"`},
		{"number", `x = 5222`, `5222`},
		{"fraction", `x = 0.1 + 0.2`, `0.3`},
		{"hex", `x = 0xff`, `255`},
		{"leading zeros", `x = 00755`, `755`},
		{"huge", `x = 1e300`, `1e+300`},
		{"boolean", `x = not nil`, `true`},
		{"list", `x = { "a"; "b", 3 }`, `{"a","b",3}`},
		{"table", `x = { a = 1, ["b c"] = 2, [5223] = true, "z" }`, `{"z",5223=true,a=1,b c=2}`},
		{"nested", `x = { { name = "y" } }`, `{{name="y"}}`},
		{"function", `x = function() end`, `function`},
		{"function by name", `function x() end`, `function`},
		{"concat", `local a = 1; x = "a" .. a .. 1.5 .. "b"`, `"a11.5b"`},
		{"concat is right-associative", `local t = setmetatable({}, {__concat = function(a, b) return "t" end}); x = "a" .. t .. "b"`, `"at"`},
		{"concat of many", `local s = "x" x = #(s` + strings.Repeat(" .. s", 150) + `)`, `151`},
		{"concat of calls", `local function f() return "a", "b" end x = f() .. f()`, `"aa"`},
		{"concat of varargs", `local function f(...) return "<" .. ... end x = f("a", "b")`, `"<a"`},
		{"multiple assignment", `local a = {1, 2}; a[1], a[2] = a[2], a[1]; x = a`, `{2,1}`},
		{"assignment order", `local i, a = 1, {}; i, a[i] = i + 1, 20; x = { i, a[1] }`, `{2,20}`},
		{"assignment of more", `local a = {}; a[1], x = 1; a[2] = 2, 3; y = a`, `nil`},
		{"assignment to a call's table", `local t = {}; local function f() return t end; f()[1 + 1] = "b"; f().c = "d"; x = { t[2], t.c }`, `{"b","d"}`},
		{"newindex", `local log = {}; local t = setmetatable({}, {__newindex = function(t, k, v) log[1] = k .. v end}); t["a"] = "b"; x = log`, `{"ab"}`},
		{"loop", `x = {}; local t = {}; for i = 1, 3 do t[#t + 1] = i * 2 end; x = t`, `{2,4,6}`},
		{"goto", `local n = 0; for i = 1, 5 do if i % 2 == 0 then goto continue end; n = n + i; ::continue:: end; x = n`, `9`},
		{"empty statements", `;;x = 1;; ; do ; end; if true then ; y = 2 end`, `1`},
		{"varargs", `local function f(...) return select("#", ...), ... end; x = { f(1, nil) }`, `{2,1}`},
		{"pcall", `local ok, err = pcall(function() error("no", 0) end); x = { ok, err }`, `{false,"no"}`},
		{"ENV", `x = ENV_GATE_HOUSE`, `"from the environment"`},
		{"ENV not set", `x = ENV_GATE_HOUSE_NOT or "none"`, `"none"`},
		{"os.getenv", `x = os.getenv("GATE_HOUSE") or Lua.error("unset")`, `"from the environment"`},
		{"Lua.os.getenv", `x = Lua.os.getenv("GATE_HOUSE")`, `"from the environment"`},
		{"option read back", `y = 2; x = y + 1`, `3`},
		{"list read back", `y = { 1, 2 }; x = y`, `{1,2}`},
		{"list values", `y = { 1, 2 }; local t = {}; for v in y:values() do t[#t + 1] = v end; x = t`, `{1,2}`},
		{"append by call", `x = { "a" }; x { "b" }; x { "c", "d" }`, `{"a","b","c","d"}`},
		{"append by method", `x = { "a" }; x:append { "b" }:append { "c" }`, `{"a","b","c"}`},
		{"append fields", `x = { a = 1 }; x { b = 2 }`, `{a=1,b=2}`},
		{"set through value", `x = { a = 1 }; x:value().a = 2`, `{a=2}`},
		{"tables are shared until the end", `local t = { 1 }; x = t; t[2] = 2`, `{1,2}`},
		{"unset", `x = 1; x = nil`, `nil`},
		{"global of Lua", `_G.y = 5; x = y`, `5`},
		{"require", `x = require("string").rep("a", 3)`, `"aaa"`},
		{"the machine's name", `local pp = require "util.pposix"; x = pp.uname().nodename == require("prosody.util.pposix").uname().nodename and pp.uname().nodename == require("socket").dns.gethostname() and pp.uname().sysname`, `"Linux"`},
		{"stringy", `local s = require "stringy"; x = { s.strip(" z\t"), s.split("a, b,,c", ",") }`, `{"z",{"a"," b","","c"}}`},
		{"stringy of nothing", `x = require("stringy").split("", ",")`, `{""}`},
		{"who evaluates", `x = { prosody.process_type, Lua.prosody.process_type == "prosody" }`, `{"gatehouse",false}`},
		{"RunScript returns", `x = RunScript "s.lua"`, `"script"`},
		{"dofile from RunScript", `RunScript "s.lua"; x = from_script`, `"global"`},
		{"FileContents", `x = FileContents "f.txt"`, `"one\ntwo\n"`},
		{"FileLine", `x = FileLine "./f.txt"`, `"one"`},
		{"FileLines", `x = FileLines "sub/../f.txt"`, `{"one","two"}`},
		{"io.lines", `local t = {}; for l in io.lines(FileLine "path.txt") do t[#t + 1] = l end; x = t`, `{"one","two"}`},
		{"io.open", `local f = assert(io.open(FileLine "path.txt")); x = { f:read("*l"), f:read("a"), f:read("a"), f:read("l") }; f:close()`, `{"one","two\n",""}`},
		{"io.open of nothing", `local f, err = io.open("/no/such/file"); x = { f == nil, err }`, `{true,"/no/such/file: no such file or directory"}`},
		{"tonumber", `x = { tonumber("0x10"), tonumber(" 5.5 "), tonumber("z", 36), tonumber("x") == nil, tonumber("inf") == nil }`, `{16,5.5,35,true,true}`},
		{"tostring", `x = { tostring(1), tostring(1.5), tostring(nil), tostring(true), tostring(2^63) }`, `{"1","1.5","nil","true","9.2233720368548e+18"}`},
		{"table functions", `local t = { 3, 1, 2 }; table.sort(t); table.insert(t, 4); table.insert(t, 1, 0); table.remove(t, 2); x = { table.concat(t, ","), table.unpack(t) }`, `{"0,2,3,4",0,2,3,4}`},
		{"sort with order", `local t = { "b", "c", "a" }; table.sort(t, function(a, b) return a > b end); x = t`, `{"c","b","a"}`},
		{"math", `x = { math.floor(1.7), math.max(1, 5), math.huge > 1, math.type(1) }`, `{1,5,true,"integer"}`},
		{"os.date", `x = os.date("!%Y-%m-%d", 0)`, `"1970-01-01"`},
		{"string metatable", `x = ("%d items"):format(3):upper():sub(1, -2)`, `"3 ITEM"`},
		{"if", `if ENV_GATE_HOUSE == "x" then x = 1 elseif ENV_GATE_HOUSE then x = 2 else x = 3 end`, `2`},
		{"comments", "--[==[ x = 1 ]] ]==] x = 2 --[=x\n-- x = 3", `2`},
		{"shadowing", `local x = 1; y = x`, `nil`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := writeConfig(t, test.source, "s.lua", "#!/usr/bin/lua\nfrom_script = 'global'\nreturn 'script'\n",
				"f.txt", "one\ntwo\n", "sub/keep", "")
			dir := filepath.Dir(path)
			if err := os.WriteFile(filepath.Join(dir, "path.txt"), []byte(filepath.Join(dir, "f.txt")), 0o644); err != nil {
				t.Fatal(err)
			}
			r, err := Eval(path)
			if err != nil {
				t.Fatal(err)
			}
			o, _ := r.Get("*", "x")
			if got := show(o.Value); got != test.want {
				t.Errorf("x = %.300s, want %s", got, test.want)
			}
		})
	}
}

func TestEval_strings(t *testing.T) {
	tests := []struct{ source, want string }{
		{`("hello"):find("l")`, `{3,3}`},
		{`("hello"):find("xyz")`, `{}`},
		{`("hello"):find("")`, `{1,0}`},
		{`("hello"):find("l", -1)`, `{}`},
		{`("hello"):find("l", 10)`, `{}`},
		{`("a.b"):find(".", 1, true)`, `{2,2}`},
		{`("key = value"):find("^(%w+)%s*=%s*(%w+)$")`, `{1,11,"key","value"}`},
		{`("key = value"):match("(%w+) = (%w+)")`, `{"key","value"}`},
		{`("x"):match("()x()")`, `{1,2}`},
		{`("2026-11-22"):match("^%d+")`, `{"2026"}`},
		{`("THE (quick) fox"):find("%((%a+)%)")`, `{5,11,"quick"}`},
		{`("f(a(b)c)d"):match("%b()")`, `{"(a(b)c)"}`},
		{`("THE (quick) fox"):gsub("%f[%a]%a+", "w")`, `{"w (w) w",3}`},
		{`("hello world"):gsub("o", "0", 1)`, `{"hell0 world",1}`},
		{`("hello"):gsub("", "-")`, `{"-h-e-l-l-o-",6}`},
		{`("abc"):gsub("%w", "%0%0")`, `{"aabbcc",3}`},
		{`("hello world"):gsub("(%w+) (%w+)", "%2 %1")`, `{"world hello",1}`},
		{`("$name is $age"):gsub("%$(%w+)", { name = "Bob", age = 7 })`, `{"Bob is 7",2}`},
		{`("abc"):gsub("b", function(c) return nil end)`, `{"abc",1}`},
		{`("abc"):gsub("^a", "x")`, `{"xbc",1}`},
		{`("abc"):gsub("%w*", "x")`, `{"x",1}`},
		{`("aXbXc"):gsub("(.-)X", "<%1>")`, `{"<a><b>c",2}`},
		{`("a,b,,c"):gsub(",", "%%")`, `{"a%b%%c",3}`},
		{`("x = 1"):match("^(%a)%s*=%s*(%d)%s*$")`, `{"x","1"}`},
		{`("aaa"):match("a-b")`, `{}`},
		{`("aab"):match("^(a+)%1b")`, `{"a"}`},
		{`("abab"):match("(ab)%1")`, `{"ab"}`},
		{`("[x]"):match("^%[(.-)%]$")`, `{"x"}`},
		{`("a-b]c"):gsub("[%]%-]", "_")`, `{"a_b_c",2}`},
		{`("]"):match("[]]")`, `{"]"}`},
		{`("^x"):match("[x^]+")`, `{"^x"}`},
		{`("tab\tx"):match("%s(%S)")`, `{"x"}`},
		{`("a1B2"):gsub("[%l%d]", "")`, `{"B",3}`},
		{`("\0a"):byte(1, -1)`, `{0,97}`},
		{`("abc"):byte(-1)`, `{99}`},
		{`("abc"):sub(2)`, `{"bc"}`},
		{`("abc"):sub(-2, -2)`, `{"b"}`},
		{`("abc"):sub(0)`, `{"abc"}`},
		{`("abc"):sub(3, 2)`, `{""}`},
		{`("ab"):rep(3, "-")`, `{"ab-ab-ab"}`},
		{`("ab"):rep(-1)`, `{""}`},
		{`("aBc"):upper(), ("aBc"):lower(), ("aBc"):reverse(), ("aBc"):len()`, `{"ABC","abc","cBa",3}`},
		{`("%5d|%-5s|%05.1f|%x|%q|%%|%s"):format(42, "ab", 3.14159, 255, "a\nb", true)`, `{"   42|ab   |003.1|ff|\"a\\\nb\"|%|true"}`},
		{`("%g %g %c"):format(0.1, 1e20, 65)`, `{"0.1 1e+20 A"}`},
		{`("%.3s|"):format("abcdef")`, `{"abc|"}`},
	}
	for _, test := range tests {
		r, err := Eval(writeConfig(t, "x = { "+test.source+" }"))
		if err != nil {
			t.Errorf("%s: %v", test.source, err)
			continue
		}
		o, _ := r.Get("*", "x")
		if got := show(o.Value); got != test.want {
			t.Errorf("%s: %s, want %s", test.source, got, test.want)
		}
	}
	r, err := Eval(writeConfig(t, `local t = {} for k, v in ("a=1, b=2"):gmatch("(%w+)=(%w+)") do t[#t + 1] = k .. v end
		for w in ("one two"):gmatch("%a+") do t[#t + 1] = w end x = t`))
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := r.Get("*", "x"); show(o.Value) != `{"a1","b2","one","two"}` {
		t.Errorf("gmatch: %s", show(o.Value))
	}
}
