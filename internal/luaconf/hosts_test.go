package luaconf

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dump writes a result as one line an option: host, option, value, file:line.
func dump(r *Result, dir string) string {
	var lines []string
	for i, h := range r.Hosts {
		for name, o := range h.Options {
			lines = append(lines, fmt.Sprintf("%d %s %s = %s @ %s", i, h.Name, name, show(o.Value), o.Pos))
		}
	}
	slices.Sort(lines)
	for _, w := range r.Warnings {
		lines = append(lines, "warning "+w.String())
	}
	return strings.ReplaceAll(strings.Join(lines, "\n"), dir+"/", "")
}

func TestEval_hosts(t *testing.T) {
	tests := []struct {
		name   string
		source string
		more   []string
		want   string
	}{
		{"both forms", `g = 1

VirtualHost "A.Example"
  a = 1
  b = {
    2;
  }

VirtualHost "b.example" {
  a = 3,

  ["b c"] = 4;
}
g2 = 2
Host "a.example"
  c = 5
`, nil, `0 * g = 1 @ prosody.cfg.lua:1
0 * g2 = 2 @ prosody.cfg.lua:14
1 a.example a = 1 @ prosody.cfg.lua:4
1 a.example b = {2} @ prosody.cfg.lua:5
1 a.example c = 5 @ prosody.cfg.lua:16
1 a.example defined = true @ prosody.cfg.lua:15
2 b.example a = 3 @ prosody.cfg.lua:10
2 b.example b c = 4 @ prosody.cfg.lua:12
2 b.example defined = true @ prosody.cfg.lua:9`},
		{"components", `Component "c" "muc"
  name = "x"
Component "d" "muc" { name = "y" }
Component "e"
  component_secret = "s"
component "f" {
  a = 1 }
g = 1`, nil, `0 * g = 1 @ prosody.cfg.lua:8
1 c component_module = "muc" @ prosody.cfg.lua:1
1 c load_global_modules = false @ prosody.cfg.lua:1
1 c name = "x" @ prosody.cfg.lua:2
2 d component_module = "muc" @ prosody.cfg.lua:3
2 d load_global_modules = false @ prosody.cfg.lua:3
2 d name = "y" @ prosody.cfg.lua:3
3 e component_module = "component" @ prosody.cfg.lua:4
3 e component_secret = "s" @ prosody.cfg.lua:5
3 e load_global_modules = false @ prosody.cfg.lua:4
4 f a = 1 @ prosody.cfg.lua:7
4 f component_module = "component" @ prosody.cfg.lua:6
4 f load_global_modules = false @ prosody.cfg.lua:6`},
		{"includes", `a = 1
VirtualHost "h"
Include "conf.d/*.cfg.lua"
b = 2
include "other.lua"
`, []string{"conf.d/b.cfg.lua", "from_b = 1\nVirtualHost 'b'\n x = 1", "conf.d/a.cfg.lua", "\nfrom_a = 1\nInclude 'nested.lua'",
			"conf.d/nested.lua", "nested = true", "conf.d/.hidden.cfg.lua", "error('no')", "conf.d/c.cfg.lua.bak", "error('no')",
			"other.lua", "a = 2\na = 3"}, `0 * a = 3 @ other.lua:2
0 * from_a = 1 @ conf.d/a.cfg.lua:2
0 * from_b = 1 @ conf.d/b.cfg.lua:1
0 * nested = true @ conf.d/nested.lua:1
1 h b = 2 @ prosody.cfg.lua:4
1 h defined = true @ prosody.cfg.lua:2
2 b defined = true @ conf.d/b.cfg.lua:2
2 b x = 1 @ conf.d/b.cfg.lua:3
warning other.lua:2: Duplicate option 'a'`},
		{"warnings", `a = 1
a = 2
VirtualHost "h"
  a = 3
  a = 4
  b = none
`, nil, `0 * a = 2 @ prosody.cfg.lua:2
1 h a = 4 @ prosody.cfg.lua:5
1 h defined = true @ prosody.cfg.lua:3
warning prosody.cfg.lua:2: Duplicate option 'a'
warning prosody.cfg.lua:5: Duplicate option 'a'
warning prosody.cfg.lua:6: unrecognized value: none (you may be missing quotes around it)`},
		{"words for true and false", "a = TRUE\nb = no", nil, `warning prosody.cfg.lua:1: unrecognized value: TRUE (write true)
warning prosody.cfg.lua:2: unrecognized value: no (write false)`},
		{"helper functions", `local function site(name, command)
  VirtualHost(name)
  authentication = "external"
  external_auth_command = command
end
site("a", "x")
site("b", "y")`, nil, `1 a authentication = "external" @ prosody.cfg.lua:3
1 a defined = true @ prosody.cfg.lua:2
1 a external_auth_command = "x" @ prosody.cfg.lua:4
2 b authentication = "external" @ prosody.cfg.lua:3
2 b defined = true @ prosody.cfg.lua:2
2 b external_auth_command = "y" @ prosody.cfg.lua:4`},
		{"appending in a host", `m = { 1 }
VirtualHost "h"
  m = { 2 }
  m { 3 }
`, nil, `0 * m = {1} @ prosody.cfg.lua:1
1 h defined = true @ prosody.cfg.lua:2
1 h m = {2,3} @ prosody.cfg.lua:4`},
		{"unicode names", "VirtualHost 'B\u00dcCHER.example'\nVirtualHost 'bu\u0308cher.example'\n x = 1", nil,
			"1 b\u00fccher.example defined = true @ prosody.cfg.lua:2\n1 b\u00fccher.example x = 1 @ prosody.cfg.lua:3"},
		{"Windows line ends", "a = 1\r\n\r\nVirtualHost \"h\"\r\n\tb = 2\r\n", nil,
			"0 * a = 1 @ prosody.cfg.lua:1\n1 h b = 2 @ prosody.cfg.lua:4\n1 h defined = true @ prosody.cfg.lua:3"},
		{"empty", "", nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := writeConfig(t, test.source, test.more...)
			r, err := Eval(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := dump(r, filepath.Dir(path)); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestEval_errorPositions(t *testing.T) {
	tests := []struct{ name, source, want string }{
		{"syntax", "a = 1\nb = = 2", "prosody.cfg.lua:2: syntax error near '='"},
		{"end of file", "a = {\n\n", "prosody.cfg.lua:1: syntax error near 'end of file'; the { of line 1 is still open here: is a } or a comma missing?"},
		{"missing comma", "a = {\n\"b\"\n\"c\"\n}", "prosody.cfg.lua:3: syntax error; the { of line 1 is still open here: is a } or a comma missing?"},
		{"missing brace", "a = {\n\"b\";\n\nVirtualHost \"c\"\n", "prosody.cfg.lua:4: syntax error near 'end of file'; the { of line 1 is still open here: is a } or a comma missing?"},
		{"missing end", "a = 1\nif a then\nb = 1\n", "prosody.cfg.lua:3: syntax error near 'end of file'; the block (function, do, then or repeat) of line 2 is not closed: is an end missing?"},
		{"comment of a shell", "# Prosody\na = 1", "prosody.cfg.lua:1: syntax error near '#'; a comment begins with -- in Lua"},
		{"comment of C", "// Prosody\na = 1", "prosody.cfg.lua:1: syntax error near '/'; a comment begins with -- in Lua"},
		{"curly quotes", "a = 1\nVirtualHost \u201cb\u201d", `prosody.cfg.lua:2: a curly quote, as word processors make them; write " instead`},
		{"no-break space", "if true then\n\u00a0a = 1\nend", "prosody.cfg.lua:2: a no-break space or one without width, which Lua does not take; write an ordinary space"},
		{"long dash", "\u2014 comment", "prosody.cfg.lua:1: a long dash, as word processors make them; write - instead (-- begins a comment)"},
		{"variable of a shell", "a = $HOME", "prosody.cfg.lua:1: a character that means nothing to Lua outside of quotes; is a quote missing?"},
		{"UTF-16", "\xff\xfea\x00", "prosody.cfg.lua:1: the file is UTF-16, which Lua does not read; save it as plain UTF-8"},
		{"template", "{{ if .A }}\na = \"{{ join \"\\\",\\\"\" }}\n", "prosody.cfg.lua:1: syntax error near '{'"},
		{"a directory", "Include 'dir'", "prosody.cfg.lua:1: dir: is a directory, not a file"},
		{"wildcards in no directory", "\nInclude 'none/*.lua'", "prosody.cfg.lua:2: Include: none: no such file or directory"},
		{"missing quotes", "a = 1\nb = foo.bar", "prosody.cfg.lua:2: attempt to index a non-table object(nil) with key 'bar'"},
		{"missing equals sign", "modules_enabled {\n'a' }", "prosody.cfg.lua:1: attempt to call a non-function object"},
		{"error", "\n\nerror 'no'", "prosody.cfg.lua:3: no"},
		{"a secret", `token_secret = "a" "hunter2"`, "prosody.cfg.lua:1: syntax error; is a quote, a comma or a = missing?"},
		{"a secret without quotes", "a = 1\ntoken_secret = hunter2 hunter2", "prosody.cfg.lua:2: syntax error near 'end of file'; is a quote, a comma or a = missing?"},
		{"a secret that does not end", "token_secret = \"hunter2\n", `prosody.cfg.lua:1: a string has no closing " on its line`},
		{"a secret that is a number", "token_secret = 1 12345678", "prosody.cfg.lua:1: syntax error; is a quote, a comma or a = missing?"},
		{"in an include", "Include 'bad.lua'", "bad.lua:1: syntax error near 'end of file'; the { of line 1 is still open here: is a } or a comma missing?"},
		{"in a script", "RunScript 'script.lua'", "script.lua:2: script failed"},
		{"missing include", "\nInclude 'none.lua'", "prosody.cfg.lua:2: Error loading included none.lua: no such file or directory"},
		{"unavailable function", "x = os.execute('true')", "prosody.cfg.lua:1: os.execute is not available in a config that gatehouse evaluates"},
		{"option operation", "m = {}\nm:push{1}", "prosody.cfg.lua:2: Unknown config option operation: 'push'; the list itself is m:value()"},
		{"unknown escape", "a = 1\nb = 'C:\\dir'", `prosody.cfg.lua:2: invalid escape sequence \d in a string; a backslash itself is written \\`},
		{"concat of nil", "\na = 'x' .. nothing", "prosody.cfg.lua:2: attempt to concatenate a nil value"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := writeConfig(t, test.source, "bad.lua", "x = {\n", "script.lua", "\nerror('script failed')", "dir/keep", "")
			_, err := Eval(path)
			if err == nil {
				t.Fatal("no error")
			}
			if got := strings.ReplaceAll(err.Error(), filepath.Dir(path)+"/", ""); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestEval_files(t *testing.T) {
	path := writeConfig(t, `Include "a.lua" x = FileLine "b.txt" RunScript "c.lua" local f = io.open("d.txt") Include "missing.lua"`,
		"a.lua", "", "b.txt", "b", "c.lua", "")
	r, err := Eval(path)
	if err == nil {
		t.Fatal("no error")
	}
	var names []string
	for _, file := range r.Files {
		names = append(names, filepath.Base(file))
	}
	// What could not be opened counts as well: when it appears, the config means something else.
	if got := strings.Join(names, " "); got != "prosody.cfg.lua a.lua b.txt c.lua d.txt missing.lua" {
		t.Errorf("files: %s", got)
	}
}

// TestEval_globs: wildcards are told also when they stand for nothing, and when the directory is missing.
func TestEval_globs(t *testing.T) {
	path := writeConfig(t, `Include "conf.d/*.lua" Include "conf.d/?.txt" Include "conf.d/*.lua" Include "none/*"`,
		"conf.d/b.lua", "x = 1", "conf.d/a.lua", "", "conf.d/.c.lua", "error()", "conf.d/[.lua", "", "conf.d/cc.txt", "error()")
	r, err := Eval(path)
	if err == nil {
		t.Fatal("no error")
	}
	var got strings.Builder
	for _, g := range r.Globs {
		fmt.Fprintf(&got, "%s: %s\n", strings.TrimPrefix(g.Pattern, filepath.Dir(path)+"/"), strings.Join(g.Names, " "))
	}
	if want := "conf.d/*.lua: [.lua a.lua b.lua\nconf.d/?.txt: \nnone/*: \n"; got.String() != want {
		t.Errorf("globs:\n%swant\n%s", got.String(), want)
	}
	if len(r.Files) != 4 || r.Infos[r.Files[3]] == nil || r.Infos[r.Files[3]].Size() != 5 {
		t.Errorf("files %v, infos %v", r.Files, r.Infos)
	}
}

func TestMatch(t *testing.T) {
	for pattern, names := range map[string]string{
		"*.lua":  "a.lua -.a.lua -a.lua~ a.b.lua -lua",
		"?":      "a ü -ab -. -",
		"[a]*":   "[a] [a]b -a",
		`a\*`:    `a\ a\b -a* -ab`,
		"*":      "a a.b -.a",
		".*":     "-.a -a",
		"a*b*c?": "abcd aXbYcZ -abc",
	} {
		for name := range strings.FieldsSeq(names) {
			bare, no := strings.CutPrefix(name, "-")
			if Match(pattern, bare) == no {
				t.Errorf("%q and %q: %v", pattern, bare, no)
			}
		}
	}
}

func TestEval_credential(t *testing.T) {
	path := writeConfig(t, `x = Credential "db"`, "creds/db", "hunter2\n")
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Join(filepath.Dir(path), "creds"))
	r, err := Eval(path)
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := r.Get("*", "x"); o.Value.Str != "hunter2\n" {
		t.Errorf("x = %q", o.Value.Str)
	}
}

func TestEval_missingFile(t *testing.T) {
	r, err := Eval("/nonexistent/prosody.cfg.lua")
	if err == nil || err.Error() != "/nonexistent/prosody.cfg.lua: no such file or directory" {
		t.Errorf("Eval: %v", err)
	}
	if len(r.Files) != 1 {
		t.Errorf("files: %v", r.Files)
	}
}

func FuzzEval(f *testing.F) {
	for _, source := range attacks {
		if len(source) < 10_000 {
			f.Add(source)
		}
	}
	f.Add("VirtualHost \"a\" { x = 1 }\nComponent \"b\" \"muc\"\nmodules_enabled = { \"a\"; }\nmodules_enabled { \"b\" }")
	f.Add("local t = {} t[1], t.a = 2, 3 x = (\"a\"):gsub(\"(.)\", \"%1%1\") .. #t")
	// One file for all runs: a directory for each would be most of the work.
	path := filepath.Join(f.TempDir(), "prosody.cfg.lua")
	f.Fuzz(func(t *testing.T, source string) {
		if strings.Contains(source, "io") || strings.Contains(source, "File") || strings.Contains(source, "Include") ||
			strings.Contains(source, "RunScript") || strings.Contains(source, "dofile") {
			return // the file system is not what is tested here, and not to be wandered about in
		}
		if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		b := newBudget()
		b.limit = 20_000 // so that an endless loop costs no time
		r, err := eval(path, b)
		if err == nil && (len(r.Hosts) == 0 || r.Hosts[0].Name != "*") {
			t.Errorf("no global section in %v", r.Hosts)
		}
		if err != nil && (strings.Contains(err.Error(), "runtime error") || strings.Contains(err.Error(), "interpreter failed")) {
			t.Errorf("the interpreter failed: %v", err)
		}
	})
}
