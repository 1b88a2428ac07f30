package luaconf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"syscall"
	"testing"
	"time"
)

// writeConfig writes a config, and files (name, text, name, text...) beside it, and returns its path.
func writeConfig(t testing.TB, source string, more ...string) string {
	t.Helper()
	dir := t.TempDir()
	files := append([]string{"prosody.cfg.lua", source}, more...)
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "prosody.cfg.lua")
}

// peakHeap calls f and returns how much the heap grew meanwhile, looked at every millisecond.
func peakHeap(f func()) uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	read := func() uint64 { metrics.Read(sample); return sample[0].Value.Uint64() }
	runtime.GC()
	base, peak := read(), uint64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			peak = max(peak, read())
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	f()
	close(stop)
	<-stopped
	if peak < base {
		return 0
	}
	return peak - base
}

// attacks are configs that want to hang the program, to fill its memory, or to crash it. Each must end in an error.
var attacks = map[string]string{
	"endless loop":               `while true do end`,
	"endless loop in pcall":      `while true do pcall(function() while true do end end) end`,
	"endless pcall chain":        `local function f() return pcall(f) end  while true do f() end`,
	"endless repeat":             `repeat local x = 1 until false`,
	"endless goto":               `::a:: goto a`,
	"long for":                   `for i = 1, 1e18 do end`,
	"endless iterator":           `for _ in function() return 1 end do end`,
	"doubling":                   `local s = "x" while true do s = s .. s end`,
	"doubling by many":           `local s = ("x"):rep(1000000) t = s` + strings.Repeat(" .. s", 150),
	"doubling by format":         `local s = "xxxxxxxx" while true do s = string.format("%s%s", s, s) end`,
	"doubling by gsub":           `local s = "xx" while true do s = s:gsub("x", "xx") end`,
	"doubling by gsub function":  `local s = "xx" while true do s = s:gsub(".", function(c) return s end) end`,
	"doubling by table.concat":   `local s = "x" while true do s = table.concat({s, s, s, s}) end`,
	"doubling by upper":          `local t, s = {}, ("x"):rep(1e6) for i = 1, 1e6 do t[i] = s:upper() end`,
	"doubling by sub and char":   `local s = "x" while true do s = s .. string.char(120):rep(#s) end`,
	"rep":                        `x = ("x"):rep(1e9)`,
	"rep of nothing":             `x = ("x"):rep(1e9, ("y"):rep(1e6))`,
	"rep overflow":               `x = ("xxxxxxxx"):rep(2^61)`,
	"format width":               `x = string.format("%99999999s", "x")`,
	"format precision":           `x = string.format("%.99999999f", 1)`,
	"date":                       `x = os.date(("%c"):rep(1e6))`,
	"backtracking":               `x = (("a"):rep(5000)):match((".-"):rep(20) .. "b")`,
	"backtracking of many stars": `x = (("a"):rep(30)):find(("a*"):rep(30) .. "b")`,
	"deep pattern":               `x = (("a"):rep(100000)):match(("(a"):rep(31) .. ("a?"):rep(100000) .. (")"):rep(31))`,
	"balanced":                   `x = (("("):rep(2e6)):gsub("%b()", "")`,
	"recursion":                  `local function f() return 1 + f() end f()`,
	"recursion through metatable": `local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end
		x = t.y`,
	"recursion through gsub":     `local function f(s) return (s:gsub(".", f)) end x = f("aa")`,
	"recursion through tostring": `local t = {} setmetatable(t, {__tostring = function(t) return tostring(t) end}) x = tostring(t)`,
	"recursion through sort":     `local function f() table.sort({3, 2, 1}, f) return true end f()`,
	"recursion through concat":   `local t = setmetatable({}, {}) getmetatable(t).__concat = function(a, b) return a .. b end x = t .. t`,
	"recursion through pcall":    `local function f() pcall(f) pcall(f) return f() end f()`,
	"metatable loop":             `local t = {} setmetatable(t, {__index = t}) x = t.y.z`,
	"newindex loop":              `local t = {} setmetatable(t, {__newindex = t}) t[1] = 2`,
	"many tables":                `local t = {} while true do t = {t} end`,
	"many keys":                  `local t = {} for i = 1, 1e9 do t["k" .. i] = i end`,
	"many named tables":          `local t = {} for i = 1, 1e9 do local u = {} u.a = i u.b = u t[i] = u end`,
	"many elements":              `local t = {} for i = 1, 1e9 do t[i] = i end`,
	"many inserts":               `local t = {} for i = 1, 1e9 do table.insert(t, 1, i) end`,
	"many closures":              `local t = {} for i = 1, 1e9 do t[#t + 1] = function() return t, i end end`,
	"sparse arrays":              `local t = {} for i = 1, 1e6 do local u = {} u[131000] = 1 t[i] = u end`,
	"sparse arrays by key":       `local t = {} for i = 1, 1e6 do t[i] = {[131000] = 1} end`,
	"sparse arrays by rawset":    `local t = {} for i = 1, 1e6 do t[i] = rawset({}, 131000, 1) end`,
	"sparse arrays in pairs":     `local t = {} for i = 1, 1e6 do local u = {} u[1], u[131000] = 1, 2 t[i] = u end`,
	"sparse through newindex":    `local t = {} for i = 1, 1e6 do local u = {} setmetatable({}, {__newindex = u})[131000] = 1 t[i] = u end`,
	"negative index":             `local t = {} for i = 1, 1e9 do t[-i] = i end`,
	"index nil":                  `local t = {} t[nil] = 1`,
	"index NaN":                  `local t = {} t[0/0] = 1`,
	"unpack of nothing":          `x = {unpack({}, 1, 1e9)}`,
	"unpack of much":             `local t = {} for i = 1, 1e4 do t[i] = i end local u = {} while true do u[#u + 1] = {unpack(t)} end`,
	"many arguments":             `x = string.char(unpack({}, 1, 1e8))`,
	"bytes of a string":          `x = {(("x"):rep(1e6)):byte(1, -1)}`,
	"sort with nonsense":         `local t = {} for i = 1, 50000 do t[i] = i % 7 end while true do table.sort(t, function() return true end) end`,
	"sort without end":           `local t = {} for i = 1, 50000 do t[i] = i % 7 end while true do table.sort(t) end`,
	"append to itself":           `a = {1, 2, 3, 4} while true do a(a:value()) end`,
	"unfolding tables":           `local t = {} for i = 1, 40 do t = {t, t} end x = t`,
	"self-containing table":      `local t = {} t.t = t x = t`,
	"self-containing global":     `x = _G`,
	"deep table":                 `local t = {} for i = 1, 1000 do t = {t} end x = t`,
	"error with a table":         `error({})`,
	"error with a proxy":         `a = {1} error(a)`,
	"error with nothing":         `error()`,
	"error in tostring":          `error(setmetatable({}, {__tostring = function() error("x") end}))`,
	"forged mark":                "x = setmetatable({}, {[\"\\0value\"] = function() while true do end end})\nwhile true do end",
	"replaced guard":             "local t = {} for k in pairs(_G) do t[k] = 1 end _G[\"\\0concat\"] = nil local s = \"x\" while true do s = s .. s end",
	"include of itself":          `Include "prosody.cfg.lua"`,
	"include by wildcard":        `Include "*.cfg.lua"`,
	"script of itself":           `RunScript "prosody.cfg.lua"`,
	"endless device":             `x = FileContents "/dev/zero"`,
	"endless device by io":       `x = assert(io.open("/dev/zero")):read("*a")`,
	"endless device by lines":    `for l in io.lines("/dev/urandom") do end`,
	"include of a device":        `Include "/dev/zero"`,
	"terminal":                   `x = FileLine "/dev/stdin"`,
	"directory":                  `x = FileContents "/etc"`,
	"file by itself many times":  `local t = {} while true do t[#t + 1] = FileContents "prosody.cfg.lua" .. #t end`,
	"missing file":               `Include "no-such-file.lua"`,
	"missing directory":          `Include "no-such-dir/*.lua"`,
	"no syntax":                  `)`,
	"unclosed":                   `x = {`,
	"unclosed string":            `x = "`,
	"unclosed comment":           `--[[`,
	"binary":                     "\x1bLua\x00\x01\x02\x03",
	"byte order mark":            "\xef\xbb\xbfx = 1",
	"bad escape":                 `x = "\q"`,
	"bad utf-8 escape":           `x = "\u{110000}"`,
	"deep brackets":              `x = ` + strings.Repeat("(", 400_000),
	"deep closed brackets":       `x = ` + strings.Repeat("(", 2000) + "1" + strings.Repeat(")", 2000),
	"deep tables":                `x = ` + strings.Repeat("{", 400_000),
	"deep functions":             strings.Repeat("function f() ", 50_000),
	"deep blocks":                strings.Repeat("do ", 200_000),
	"deep unary":                 `x = ` + strings.Repeat("- ", 90_000) + "1",
	"deep not":                   `x = ` + strings.Repeat("not ", 90_000) + "1",
	"deep right association":     `x = 2` + strings.Repeat("^2", 40_000),
	"deep left association":      `x = 1` + strings.Repeat("+1", 40_000),
	"deep index":                 `x = a` + strings.Repeat(".a", 40_000),
	"deep call":                  `x = f` + strings.Repeat("()", 30_000),
	"deep elseif":                `if x then ` + strings.Repeat("elseif x then ", 30_000) + "end",
	"long concatenation":         `local s = ("x"):rep(4e6) x = s` + strings.Repeat("..s", 40_000),
	"many constants":             manyConstants(20_000),
	"many statements":            strings.Repeat("a=1\n", 200_000),
	"many small tables":          `x = {` + strings.Repeat("{},", 300_000) + `}`,
	"many numbers":               `x = {` + strings.Repeat("1,", 500_000) + `}`,
	"many locals":                manyLocals(500),
	"many labels":                strings.Repeat("do goto a ::a:: end ", 20_000),
	"huge file":                  `x = "` + strings.Repeat("x", 2<<20) + `"`,
	"os.execute":                 `os.execute("true")`,
	"io.popen":                   `io.popen("true")`,
	"os.exit":                    `os.exit(0)`,
	"os.remove":                  `os.remove("/nonexistent")`,
	"writing":                    `io.open("/tmp/x", "w")`,
	"load":                       `load("x = 1")()`,
	"coroutines":                 `coroutine.wrap(function() end)()`,
	"debug":                      `debug.sethook()`,
	"module":                     `require "lfs"`,
	"function of a module":       `require("socket").tcp()`,
	"a long list":                `x = require("stringy").split(("x,"):rep(100000), ",")  y = require("stringy").split(("x,"):rep(1000000), ",")`,
	"no separator":               `x = require("stringy").split("abc", "")`,
	"no name":                    `VirtualHost()`,
	"bad name":                   `VirtualHost "a\u{200e}b"`,
	"empty name":                 `VirtualHost ""`,
	"huge name":                  `VirtualHost (("x"):rep(1e6))`,
	"module of a host":           `VirtualHost "a" "muc"`,
	"clash":                      `Component "a" "muc" VirtualHost "a"`,
	"clash the other way":        `VirtualHost "a" Component "a" "muc"`,
	"no credentials":             `x = Credential "a"`,
}

func manyConstants(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d=%d\n", i, i)
	}
	return b.String()
}

func manyLocals(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "local k%d=%d\n", i, i)
	}
	return b.String()
}

func TestEval_attacks(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	for name, source := range attacks {
		t.Run(name, func(t *testing.T) {
			path := writeConfig(t, source)
			var err error
			begin := time.Now()
			// The bounds of steps and time are lower here, for there are many attacks; TestEval_endlessLoop has the real
			// ones.
			b := newBudget()
			b.limit, b.deadline = 500_000, time.Now().Add(maxTime/2)
			grown := peakHeap(func() { _, err = eval(path, b) })
			took := time.Since(begin)
			var failed *Error
			if !errors.As(err, &failed) {
				t.Fatalf("Eval: %v, want an *Error", err)
			}
			if failed.Text == "" || len(failed.Text) > 1200 {
				t.Errorf("text of %d bytes: %.100q", len(failed.Text), failed.Text)
			}
			if strings.Contains(failed.Error(), "\x00") || strings.Contains(failed.Text, "runtime error") {
				t.Errorf("the error shows our insides: %q", failed.Error())
			}
			// The race detector makes everything several times slower and larger.
			if took > maxTime/2+2*time.Second {
				t.Errorf("took %v", took)
			}
			// 40 MiB, what 64 steps can add before the next look, and the garbage of the tests before.
			if grown > 100<<20 {
				t.Errorf("the heap grew by %d MiB", grown>>20)
			}
			t.Logf("%v, %d MiB: %.150v", took.Round(time.Millisecond), grown>>20, failed)
		})
	}
}

func TestEval_endlessLoop(t *testing.T) {
	begin := time.Now()
	_, err := Eval(writeConfig(t, "\nwhile true do pcall(function() while true do end end) end"))
	if err == nil || !strings.Contains(err.Error(), "prosody.cfg.lua:2: the config ran for more than") {
		t.Errorf("Eval: %v", err)
	}
	if took := time.Since(begin); took > maxTime+2*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestEval_deadline(t *testing.T) {
	b := newBudget()
	b.deadline = time.Now()
	if _, err := eval(writeConfig(t, "for i = 1, 1e6 do end"), b); err == nil || !strings.Contains(err.Error(), errTime.Error()) {
		t.Errorf("eval: %v", err)
	}
}

func TestEval_fifoDoesNotBlock(t *testing.T) {
	path := writeConfig(t, `x = FileContents "pipe"`)
	if err := syscall.Mkfifo(filepath.Join(filepath.Dir(path), "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Eval(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Eval: %v", err)
	}
	pipe := filepath.Join(filepath.Dir(path), "pipe")
	if _, err := Eval(pipe); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Eval of the pipe: %v", err)
	}
}

// TestOpenFile_neverWaits: /proc/kmsg looks like a file, and gives nothing more once all of it was read.
func TestOpenFile_neverWaits(t *testing.T) {
	for _, path := range []string{"/proc/kmsg", "/dev/zero", "/dev/tty", t.TempDir()} {
		began := time.Now()
		f, err := OpenFile(path)
		if err == nil {
			_, err = io.ReadAll(f)
			_ = f.Close()
		}
		if err == nil {
			t.Errorf("%s was read", path)
		}
		if took := time.Since(began); took > 20*readTime {
			t.Errorf("%s: took %v", path, took)
		}
	}
}

// TestEval_neverWaits: nor does the config itself wait for such a file.
func TestEval_neverWaits(t *testing.T) {
	began := time.Now()
	_, err := Eval(writeConfig(t, `x = FileContents "/proc/kmsg"`))
	if err == nil {
		t.Error("/proc/kmsg was read")
	}
	if took := time.Since(began); took > 20*readTime {
		t.Errorf("took %v", took)
	}
}
