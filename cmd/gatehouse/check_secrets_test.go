package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Whoever has a web application's secret is given tokens for anybody.
func TestCheckCmd_webSecretsForEverybody(t *testing.T) {
	const head = selfSignedHead + "gatehouse_admin = '127.0.0.1:0'\nVirtualHost 'a.example' authentication = 'token' gatehouse_credentials = 'admin'\n" +
		"token_secret = FileLine('keys/secret') otp_seed = FileLine('keys/seed')\n"
	for option, line := range map[string]string{
		"gatehouse_credentials_bearer":   "gatehouse_credentials_bearer = 'canary-0123456789abcdef'\n",
		"gatehouse_credentials_password": "gatehouse_credentials_user = 'shop' gatehouse_credentials_password = 'canary-0123456789abcdef'\n",
	} {
		t.Run(option, func(t *testing.T) {
			dir := checkDir(t, map[string]string{
				"prosody.cfg.lua": head + line,
				"keys/secret":     "a secret of thirty-two characters\n",
				"keys/seed":       "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n",
			})
			want := regexp.MustCompile(`DANGER   prosody\.cfg\.lua:6: ` + option + `: everybody on this machine may read this file \(rw-r--r--\), and get tokens for every user with the one in it`)
			for mode, danger := range map[os.FileMode]bool{0o644: true, 0o640: false} {
				if err := os.Chmod(filepath.Join(dir, "prosody.cfg.lua"), mode); err != nil {
					t.Fatal(err)
				}
				code, stdout, stderr := checked(t, dir)
				if code != 0 || want.MatchString(stdout) != danger || regexp.MustCompile("canary").MatchString(stdout+stderr) {
					t.Errorf("%v: exit code %d, want danger: %v; got\n%s%s", mode, code, danger, stdout, stderr)
				}
			}
		})
	}
}

// Whoever may write to the data directory can put an empty memory of used tokens there.
func TestCheckCmd_dataDirForEverybody(t *testing.T) {
	dir := checkDir(t, map[string]string{
		"prosody.cfg.lua": selfSignedHead + "VirtualHost 'a.example' authentication = 'token' token_secret = 'a secret of thirty-two characters' otp_seed = 'MFRGGZDFMZTWQ2LK'\n",
		"data/x":          "",
	})
	want := regexp.MustCompile(`DANGER   prosody\.cfg\.lua: gatehouse_data_dir: everybody on this machine may write to DIR/data \(rwxrwxrwx\)`)
	for mode, danger := range map[os.FileMode]bool{0o777: true, 0o755: false, 0o700: false} {
		if err := os.Chmod(filepath.Join(dir, "data"), mode); err != nil {
			t.Fatal(err)
		}
		if code, stdout, stderr := checked(t, dir); code != 0 || want.MatchString(stdout) != danger {
			t.Errorf("%v: exit code %d, want danger: %v; got\n%s%s", mode, code, danger, stdout, stderr)
		}
	}
}
