package config

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLoad_command(t *testing.T) {
	dir := writeFiles(t, "auth.sh", "#!/bin/sh\n", "my auth.sh", "#!/bin/sh\n", "plain.txt", "x", "sub/deep.sh", "#!/bin/sh\n",
		"noshebang.sh", "echo 1\n", "nointerpreter.sh", "#!/no/such/python2 -u\n", "windows.sh", "#!/bin/sh\r\necho\r\n", "empty.sh", "", "bin.sh", "\x7fELF\x00",
		"bom.sh", "\ufeff#!/bin/sh\n", "umlauts.sh", "# f\u00fcr alle\n")
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := unix.Mkfifo(at("pipe"), 0o777); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, lua string
		want      []string
		message   string // part of the problem, or of the warning where want is set
	}{
		{"full path", `"DIR/auth.sh"`, []string{at("auth.sh")}, ""},
		{"relative path", `"./auth.sh"`, []string{at("auth.sh")}, ""},
		{"relative path without dot", `"sub/deep.sh"`, []string{at("sub/deep.sh")}, ""},
		{"path with a space", `"DIR/my auth.sh"`, []string{at("my auth.sh")}, ""},
		{"quoted path and argument", `"'DIR/my auth.sh' --verbose"`, []string{at("my auth.sh"), "--verbose"}, ""},
		{"backslash", `"DIR/my\\ auth.sh -v"`, []string{at("my auth.sh"), "-v"}, ""},
		{"double quotes", `'"DIR/my auth.sh" "a \\" $b" c\\ d ""'`, []string{at("my auth.sh"), `a " $b`, "c d", ""}, ""},
		{"bare name", `"cat"`, []string{"/usr/bin/cat", "/bin/cat"}, ""},
		{"bare name with argument", `"cat -u"`, []string{"/usr/bin/cat", "-u"}, ""},
		{"bare name beside the config", `"auth.sh"`, []string{at("auth.sh")}, ""},
		{"pipe", `"DIR/auth.sh | cat"`, []string{at("auth.sh"), "|", "cat"}, "there is no shell, so | is an argument"},
		{"redirection", `"./auth.sh 2>/dev/null"`, []string{at("auth.sh"), "2>/dev/null"}, "there is no shell, so > is an argument"},
		{"quoted pipe", `"./auth.sh '|'"`, []string{at("auth.sh"), "|"}, ""},
		{"list", `{ "./my auth.sh", "a b", "'c'" }`, []string{at("my auth.sh"), "a b", "'c'"}, ""},
		{"list with a bare name", `{ "sh", "-c", "true | cat" }`, []string{"/usr/bin/sh", "-c", "true | cat"}, ""},
		{"no interpreter line", `"./noshebang.sh"`, []string{at("noshebang.sh")}, "is a text without a #! line"},
		{"no interpreter", `"./nointerpreter.sh"`, []string{at("nointerpreter.sh")}, `its #! line names "/no/such/python2", which does not exist`},
		{"Windows line ends", `"./windows.sh"`, []string{at("windows.sh")}, "the file has the line ends of Windows"},
		{"empty file", `"./empty.sh"`, []string{at("empty.sh")}, "is empty"},
		{"byte order mark", `"./bom.sh"`, []string{at("bom.sh")}, "it begins with a byte order mark"},
		{"text with umlauts", `"./umlauts.sh"`, []string{at("umlauts.sh")}, "is a text without a #! line"},
		{"binary", `"./bin.sh"`, []string{at("bin.sh")}, ""},

		{"empty", `""`, nil, "is empty; it names the script"},
		{"spaces", `"  "`, nil, "is empty; it names the script"},
		{"empty list", `{}`, nil, "is empty; it names the script"},
		{"table", `{ path = "x" }`, nil, `want a list, got a table with the key "path"`},
		{"list with a table", `{ "cat", {} }`, nil, "want strings, got an empty table"},
		{"boolean", `true`, nil, "want strings, got true"},
		{"missing", `"DIR/nothing.sh"`, nil, "there is no file DIR/nothing.sh"},
		{"missing with arguments", `"DIR/nothing.sh -v"`, nil, "there is no file DIR/nothing.sh"},
		{"missing bare name", `"no-such-program-here"`, nil, `no program "no-such-program-here" in PATH, and no file DIR/no-such-program-here`},
		{"socket", `"@/run/auth.sock"`, nil, "begins with @, which is a socket for a changed mod_auth_external"},
		{"missing list", `{ "./nothing.sh" }`, nil, "there is no file DIR/nothing.sh"},
		{"not executable", `"./plain.txt"`, nil, "DIR/plain.txt is not executable; chmod +x DIR/plain.txt"},
		{"directory", `"DIR/sub"`, nil, "DIR/sub is a directory"},
		{"pipe in the file system", `"./pipe"`, nil, "DIR/pipe is not a regular file"},
		{"unclosed quote", `"./auth.sh 'x"`, nil, "has a ' without its counterpart"},
		{"unclosed double quote", `'./auth.sh "x'`, nil, `has a " without its counterpart`},
		{"backslash at the end", `"./auth.sh \\"`, nil, "ends with a backslash"},
		{"NUL", `{ "cat", "a\0b" }`, nil, "holds a NUL character"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			lua := strings.ReplaceAll(test.lua, "DIR", dir)
			path := filepath.Join(dir, "prosody.cfg.lua")
			writeFile(t, path, "VirtualHost 'a' authentication = 'external' external_auth_command = "+lua)
			c, warnings, err := Load(path)
			if test.want == nil {
				if want := strings.ReplaceAll(test.message, "DIR", dir); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Load: %v, want %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := c.Hosts[0].External.Command
			if test.name == "bare name" {
				if len(got) != 1 || !slices.Contains(test.want, got[0]) {
					t.Errorf("command %q, want one of %q", got, test.want)
				}
				return
			}
			got[0] = strings.Replace(got[0], "/bin/", "/usr/bin/", 1)
			got[0] = strings.Replace(got[0], "/usr/usr/", "/usr/", 1)
			if !slices.Equal(got, test.want) {
				t.Errorf("command %q, want %q", got, test.want)
			}
			var all string
			for _, w := range warnings {
				all += w.String() + "\n"
			}
			if (test.message == "") != (all == "") || !strings.Contains(all, test.message) {
				t.Errorf("warnings %q, want %q", all, test.message)
			}
		})
	}
}

// TestLoad_commandOfAnotherUser looks at scripts that exist and that this user may not run. Root may run anything, so a
// thread of its own goes without root's rights to files.
func TestLoad_commandOfAnotherUser(t *testing.T) {
	dir := writeFiles(t, "locked/auth.sh", "#!/bin/sh\n", "auth.sh", "#!/bin/sh\n")
	root := os.Geteuid() == 0
	others := os.FileMode(0o010) // who may run auth.sh: not its owner
	if root {
		others = 0o100 // nobody but its owner
	}
	for path, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o755, filepath.Join(dir, "auth.sh"): others, filepath.Join(dir, "locked"): 0} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "locked"), 0o700) })
	for command, want := range map[string]string{
		"./auth.sh":           "auth.sh may not be executed by this user",
		"./auth.sh -v":        "auth.sh may not be executed by this user",
		"./locked/auth.sh":    "a directory on the way to it may not be entered by this user",
		"./locked/auth.sh -v": "a directory on the way to it may not be entered by this user",
	} {
		path := filepath.Join(dir, "prosody.cfg.lua")
		writeFile(t, path, "VirtualHost 'a' authentication = 'external' external_auth_command = '"+command+"'")
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			if root {
				if err := unix.Setfsuid(65534); err != nil {
					done <- err
					return
				}
			}
			_, _, err := Load(path)
			done <- err
		}()
		if err := <-done; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", command, err, want)
		}
	}
}

// What a script writes, or looks things up in, may be named by its command: it is no part of the script, or each login
// would start the script anew.
func TestLoad_scriptsAmongArguments(t *testing.T) {
	dir := writeFiles(t, "auth.sh", "#!/bin/sh\n", "check", "#!/usr/bin/env python3\n", "auth.PY", "", "users.db", "data", "empty", "",
		"auth.log", "# not a script\n")
	source := `VirtualHost "a.example"
		authentication = "external"
		external_auth_command = { "/bin/sh", "-u", "./auth.sh", "check", "auth.PY", "users.db", "` + dir + `/auth.log", "empty", "later.php", ".", "none" }
	`
	path := filepath.Join(dir, "prosody.cfg.lua")
	if err := os.WriteFile(path, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range []string{"auth.sh", "check", "auth.PY", "later.php"} {
		want = append(want, filepath.Join(dir, name))
	}
	if got := cfg.Hosts[0].External.Scripts; !slices.Equal(got, want) {
		t.Errorf("scripts %q, want %q", got, want)
	}
	for _, path := range append(want, "/bin/sh") {
		if !slices.Contains(cfg.Sources.Files, path) {
			t.Errorf("%s is not watched", path)
		}
	}
	for _, name := range []string{"users.db", "auth.log", "empty", "none"} {
		if slices.Contains(cfg.Sources.Files, filepath.Join(dir, name)) {
			t.Errorf("%s is watched", name)
		}
	}
}
