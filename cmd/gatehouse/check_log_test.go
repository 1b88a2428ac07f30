package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Prosody's log files are Prosody's: what another user cannot write there goes elsewhere.
func TestCheckCmd_logOfAnother(t *testing.T) {
	dir := checkDir(t, map[string]string{
		"prosody.cfg.lua": "log = { info = 'DIR/theirs.log', debug = 'DIR/none/x.log', error = '*syslog' }\n" + selfSignedHead +
			"VirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh'\n",
		"auth.sh": yesScript, "theirs.log": "",
	})
	path := filepath.Join(dir, "prosody.cfg.lua")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, regexp.MustCompile("DIR").ReplaceAll(text, []byte(dir)), 0o644); err != nil {
		t.Fatal(err)
	}
	theirs := regexp.MustCompile(`warning  prosody\.cfg\.lua:1: log: user nobody may not write to \S+/theirs\.log \(.*\), so its lines go to standard error; gatehouse_log `)
	nowhere := regexp.MustCompile(`warning  prosody\.cfg\.lua:1: log: .*/none.*: no such file or directory, so its lines`)
	for user, want := range map[string]bool{"nobody": true, userName(os.Geteuid()): false} {
		_, stdout, _ := command("", "check", "--user", user, "--config", path)
		if theirs.MatchString(stdout) != want || !nowhere.MatchString(stdout) {
			t.Errorf("%s: want a warning: %v; got\n%s", user, want, stdout)
		}
	}
}
