package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

func TestCheckCmd_scripts(t *testing.T) {
	chmod := func(name string, mode os.FileMode) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name, command string
		prepare       func(t *testing.T, dir string)
		want, not     []string
	}{
		{name: "split", command: `"bin/auth.sh --realm 'the staff'"`,
			want: []string{`DIR/bin/auth\.sh --realm "the staff"`, `no file has this name, so it was split like a shell command line; relative to the config file`}},
		{name: "a list", command: `{ "sh", "bin/auth.sh" }`,
			want: []string{`a list: the program and its arguments as they are; sh was found in PATH`, `bin/auth\.sh: rwxr-xr-x ME:ME, only ME may change it`}},
		{name: "an absolute path", command: `"/bin/cat"`, want: []string{`script       /bin/cat \(`}, not: []string{"relative", "PATH", "split"}},
		{name: "in PATH", command: `"cat"`, want: []string{`cat was found in PATH`}, not: []string{"split"}},
		{name: "a quoted path", command: `"'bin/auth.sh'"`, want: []string{`split like a shell command line\n`}},
		{name: "no script for the interpreter", command: `{ "/bin/sh", "bin/nothing.sh" }`,
			want: []string{`warning  prosody\.cfg\.lua:3: host a\.example: external_auth_command: there is no file DIR/bin/nothing\.sh for sh to run`}},
		{name: "no script behind an option", command: `"/bin/sh -u ./bin/nothing.sh ./bin/none.sh"`, want: []string{`there is no file DIR/bin/nothing\.sh for sh to run`}, not: []string{`none\.sh for sh`}},
		{name: "no script behind a wrapper", command: `{ "/usr/bin/env", "A=1", "/no/such/auth.py" }`, want: []string{`there is no file /no/such/auth\.py for env to run`}},
		{name: "a script behind an option", command: `"/bin/sh -u ./bin/auth.sh ./bin/none.sh"`, not: []string{"there is no file"}},
		{name: "arguments of a script", command: `"bin/auth.sh /no/such/other.py"`, not: []string{"there is no file"}},
		{name: "code for the interpreter", command: `{ "/bin/sh", "-c", "cat" }`, not: []string{"there is no file"}},
		{name: "env knows no such interpreter", command: `"bin/env.sh"`,
			want: []string{`its first line asks for /usr/bin/env nowhere-python`, `warning .*asks env for nowhere-python, which is not in PATH`}},
		{name: "env finds it", command: `"bin/found.sh"`, want: []string{`its first line asks for /usr/bin/env -S A=1 sh -e, which is /\S+/sh\n`}},
		{name: "only for me", command: `"bin/auth.sh"`, prepare: chmod("bin/auth.sh", 0o700),
			want: []string{`rwx------ ME:ME, only ME may run it, only ME may change it`}, not: []string{"DANGER", "warning"}},
		{name: "everybody may write it", command: `"bin/auth.sh"`, prepare: chmod("bin/auth.sh", 0o757),
			want: []string{`everybody may change it`, `DANGER   prosody\.cfg\.lua:3: .*everybody may change DIR/bin/auth\.sh, and so decide who comes in; chmod go-w DIR/bin/auth\.sh`}},
		{name: "everybody may replace it", command: `"bin/auth.sh"`, prepare: chmod("bin", 0o777),
			want: []string{`DANGER .*everybody may write to DIR/bin \(rwxrwxrwx ME:ME\), and so put another script in the place of DIR/bin/auth\.sh`}},
		{name: "everybody may replace an argument", command: `{ "/bin/sh", "bin/auth.sh" }`, prepare: chmod("bin", 0o777), want: []string{`DANGER .*everybody may write to DIR/bin`}},
		{name: "a directory like /tmp", command: `"bin/auth.sh"`, prepare: chmod("bin", 0o777|fs.ModeSticky),
			want: []string{`warning .*DIR/bin/auth\.sh is in DIR/bin, where everybody may put files`}, not: []string{"DANGER"}},
		{name: "nobody gets there", command: `"bin/auth.sh"`, prepare: func(t *testing.T, dir string) {
			chmod("bin/auth.sh", 0o757)(t, dir)
			chmod("bin", 0o700)(t, dir)
		}, want: []string{`everybody who gets there may run it`}, not: []string{"DANGER"}},
		{name: "pipes and blocking", command: `"bin/auth.sh" external_auth_blocking = true external_auth_protocol = "ejabberd"`,
			want: []string{`ejabberd protocol over pipes; one query at a time \(external_auth_blocking\), 1000 may wait`}},
		{name: "cache", command: `"bin/auth.sh" gatehouse_auth_cache = true gatehouse_auth_cache_outage = 3600`,
			want: []string{`a yes is remembered for 5m0s, a no for 0s; if it cannot say, a yes of the last 1h0m0s counts`}},
		{name: "many", command: `"bin/auth.sh" external_auth_processes = 4`, want: []string{`over a terminal; 4 processes, 1000 queries may wait`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := checkDir(t, map[string]string{"bin/auth.sh": yesScript,
				"bin/env.sh": "#!/usr/bin/env nowhere-python\n", "bin/found.sh": "#!/usr/bin/env -S A=1 sh -e\n",
				"prosody.cfg.lua": selfSignedHead + "VirtualHost 'a.example' authentication = 'external' external_auth_command = " + c.command + "\n"})
			if c.prepare != nil {
				c.prepare(t, dir)
			}
			code, stdout, stderr := checked(t, dir)
			if code != 0 {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			for _, want := range c.want {
				if !regexp.MustCompile(want).MatchString(stdout) {
					t.Errorf("%q is missing", want)
				}
			}
			for _, not := range c.not {
				if regexp.MustCompile(not).MatchString(stdout) {
					t.Errorf("%q is there", not)
				}
			}
			if t.Failed() {
				t.Log(stdout)
			}
		})
	}
}

// A key that everybody may read is dangerous wherever it stands: here in a file
// that the config reads it from.
func TestCheckCmd_tokenKeysForEverybody(t *testing.T) {
	const secret = "canary-0123456789abcdef0123456789"
	dir := checkDir(t, map[string]string{
		"prosody.cfg.lua": selfSignedHead + "VirtualHost 'a.example' authentication = 'token' otp_seed = { 'MFRGGZDFMZTWQ2LK' }\ntoken_secret = FileLine('keys/secret')\n",
		"keys/secret":     secret + "\n",
	})
	for _, c := range []struct {
		file, want string
	}{
		{"prosody.cfg.lua", `DANGER   prosody\.cfg\.lua:3: otp_seed: everybody on this machine may read this file \(rw-r--r--\), and make tokens with the key in it; chmod 640`},
		{"keys/secret", `DANGER   keys/secret:1: token_secret: everybody`},
	} {
		path := filepath.Join(dir, c.file)
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := checked(t, dir)
		if code != 0 || !regexp.MustCompile(c.want).MatchString(stdout) {
			t.Errorf("exit code %d, %q is missing in\n%s%s", code, c.want, stdout, stderr)
		}
		if regexp.MustCompile("canary|MFRGG").MatchString(stdout + stderr) {
			t.Errorf("a secret is shown:\n%s", stdout)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, stdout, _ := checked(t, dir); regexp.MustCompile("DANGER").MatchString(stdout) {
		t.Errorf("nobody else may read the keys:\n%s", stdout)
	}
}

func TestIdentity_rights(t *testing.T) {
	file := step{path: "/x/file", mode: 0o640, uid: 1000, gid: 2000}
	for _, c := range []struct {
		name string
		who  identity
		step step
		want fs.FileMode
	}{
		{"owner", identity{uid: 1000, groups: []int{2000}}, file, mayRead | mayWrite},
		{"group", identity{uid: 1, groups: []int{5, 2000}}, file, mayRead},
		{"others", identity{uid: 1}, file, 0},
		{"nobody", nobody, step{mode: 0o645}, mayRead | mayRun},
		{"the owner may less than others", identity{uid: 1000}, step{mode: 0o007, uid: 1000}, 0},
		{"root", identity{uid: 0}, file, mayRead | mayWrite},
		{"root runs what anybody may run", identity{uid: 0}, step{mode: 0o010, uid: 1}, mayRead | mayWrite | mayRun},
		{"root enters", identity{uid: 0}, step{mode: fs.ModeDir | 0o600, uid: 1}, mayRead | mayWrite | mayRun},
	} {
		if got := c.who.rights(c.step); got != c.want {
			t.Errorf("%s: %o, want %o", c.name, got, c.want)
		}
	}
}

// The group of a script's owner alone is no danger; another one is.
func TestChangers(t *testing.T) {
	root := step{path: "/", mode: fs.ModeDir | 0o755}
	const gid = 4242424 // of a group that there is not
	for _, c := range []struct {
		name  string
		steps []step
		want  string
	}{
		{"nobody else", []step{root, {path: "/f", mode: 0o755}}, ""},
		{"root's group", []step{root, {path: "/f", mode: 0o775}}, ""},
		{"a group of one's own", []step{root, {path: "/f", mode: 0o775, uid: gid, gid: gid}}, ""},
		{"a group", []step{root, {path: "/f", mode: 0o775, gid: gid}}, "/f group"},
		{"an access control list says more", []step{root, {path: "/f", mode: 0o775, gid: gid, acl: true}}, ""},
		{"a directory of a group", []step{root, {path: "/d", mode: fs.ModeDir | 0o775, gid: gid}, {path: "/d/f", mode: 0o755}}, "/d group"},
		{"a sticky directory of a group", []step{root, {path: "/d", mode: fs.ModeDir | fs.ModeSticky | 0o775, gid: gid}, {path: "/d/f", mode: 0o755}}, ""},
		{"a sticky directory far above", []step{root, {path: "/t", mode: fs.ModeDir | fs.ModeSticky | 0o777}, {path: "/t/d", mode: fs.ModeDir | 0o755}, {path: "/t/d/f", mode: 0o755}}, ""},
		{"everybody before a group", []step{root, {path: "/d", mode: fs.ModeDir | 0o775, gid: gid}, {path: "/d/f", mode: 0o757}}, "/d/f everybody"},
		{"behind a closed door", []step{root, {path: "/d", mode: fs.ModeDir | 0o700}, {path: "/d/f", mode: 0o757}}, ""},
	} {
		got := ""
		if found := changers(c.steps); len(found) > 0 {
			got = found[0].path + map[bool]string{true: " everybody", false: " group"}[found[0].everybody]
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// --user looks with the rights of somebody else.
func TestCheckCmd_user(t *testing.T) {
	other := "nobody"
	if os.Getegid() != 0 {
		other = "root"
	}
	dir := checkDir(t, map[string]string{"auth.sh": yesScript,
		"prosody.cfg.lua": "gatehouse_data_dir = 'data'\nVirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh'\n"})
	writeCertificate(t, dir, "a.example", testCertificate{left: 68 * day})
	for path, mode := range map[string]os.FileMode{"data": 0o700, "auth.sh": 0o700} {
		if err := os.MkdirAll(filepath.Join(dir, path), mode); err != nil && path == "data" {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "prosody.cfg.lua")
	_, stdout, stderr := command("", "check", "--user", other, "--config", config)
	wants := []string{"run by +" + other}
	if other == "nobody" {
		for _, file := range []string{"run .*auth.sh", "read .*a.example.key", "read .*prosody.cfg.lua", "write to .*data"} {
			wants = append(wants, "warning .*user nobody may not "+file)
		}
	}
	for _, want := range wants {
		if !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("%q is missing in\n%s%s", want, stdout, stderr)
		}
	}
	if code, _, stderr := command("", "check", "--user", "no-such-user", "--config", config); code != exitUsage || !regexp.MustCompile("--user").MatchString(stderr) {
		t.Errorf("a user that there is not: exit code %d, %s", code, stderr)
	}
	if got := userName(4242424); got != strconv.Itoa(4242424) {
		t.Errorf("a user without a name is %q", got)
	}
}
