package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Whoever may change a file of the config decides which script judges passwords.
func TestCheckCmd_configOfOthers(t *testing.T) {
	for _, test := range []struct {
		name, path string
		mode       os.FileMode
		want       string // a regular expression; "" for nothing to find
	}{
		{"as they should be", ".", 0o755, ""},
		{"the file", "prosody.cfg.lua", 0o666, `DANGER   prosody\.cfg\.lua: everybody may change DIR/prosody\.cfg\.lua, and so decide who comes in; chmod go-w `},
		{"an included file", "conf.d/a.cfg.lua", 0o666, `DANGER   conf\.d/a\.cfg\.lua: everybody may change DIR/conf\.d/a\.cfg\.lua, `},
		{"a directory of included files", "conf.d", 0o777, `DANGER   conf\.d/a\.cfg\.lua: everybody may write to DIR/conf\.d \(rwxrwxrwx ME:ME\), and so put another file in the place of `},
		{"an empty directory of included files", "more.d", 0o777, `DANGER   prosody\.cfg\.lua: everybody may write to DIR/more\.d \(rwxrwxrwx ME:ME\), and so add to the files that are read from DIR/more\.d; `},
		{"a directory like /tmp", "more.d", 0o777 | os.ModeSticky, `DANGER   prosody\.cfg\.lua: everybody may write to DIR/more\.d `},
		{"the directory", ".", 0o777, `DANGER   prosody\.cfg\.lua: everybody may write to DIR \(`},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := checkDir(t, map[string]string{
				"prosody.cfg.lua": selfSignedHead + "Include 'conf.d/*.cfg.lua' Include 'more.d/*.lua'\n" +
					"VirtualHost 'a.example' authentication = 'external' external_auth_command = '/bin/cat'\n",
				"conf.d/a.cfg.lua": "admins = {}\n", "conf.d/b.cfg.lua": "motd = 'x'\n", "more.d/README": "",
			})
			if err := os.Chmod(filepath.Join(dir, test.path), test.mode); err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := checked(t, dir)
			dangers := regexp.MustCompile(`(?m)^  DANGER `).FindAllString(stdout, -1)
			wanted := map[bool]int{true: 1, false: 0}[test.want != ""]
			if code != 0 || len(dangers) != wanted || !regexp.MustCompile(test.want).MatchString(stdout) {
				t.Errorf("exit code %d, want %q alone; got\n%s%s", code, test.want, stdout, stderr)
			}
		})
	}
}
