package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// checkDir writes files that nobody but the owner may write, where everybody
// may go, as in /etc.
func checkDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		mode := os.FileMode(0o600)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// checked runs check on DIR/prosody.cfg.lua and puts "DIR" and "ME" for what
// differs between machines.
func checked(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	me := userName(os.Geteuid())
	code, stdout, stderr = command("", append([]string{"check", "--user", me, "--config", filepath.Join(dir, "prosody.cfg.lua")}, args...)...)
	r := strings.NewReplacer(dir, "DIR", me+":"+groupName(os.Getegid()), "ME:ME", "only "+me, "only ME")
	return code, r.Replace(stdout), r.Replace(stderr)
}

const yesScript = "#!/bin/sh\nwhile read -r query; do echo 1; done\n"

// selfSignedHead makes a file complete.
const selfSignedHead = "gatehouse_self_signed = true\ngatehouse_data_dir = 'data'\n"

func TestCheckCmd_explains(t *testing.T) {
	const keys = "token_secret = '0123456789abcdef0123456789abcdef' otp_seed = 'XVGR73KMZH2M4XMYGEZDGNBVGY3TQOJQ'\n"
	for _, c := range []struct {
		name, config string
		args         []string
		code         int
		want, not    []string // regular expressions
	}{
		{
			name:   "a script",
			config: "VirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh'",
			want: []string{
				`Host a\.example \(prosody\.cfg\.lua:3\)`, `(?m)^  mechanisms   PLAIN$`,
				`PLAIN      because authentication = "external" \(prosody.cfg.lua:\d+\): the script judges passwords; after TLS only`,
				`X-TOKEN    not offered: token_secret and otp_seed are not set`,
				`script       DIR/auth\.sh \(prosody\.cfg\.lua:3\)\n +relative to the config file\n +rwxr-xr-x ME:ME, everybody may run it, only ME may change it\n +its first line asks for /bin/sh\n`,
				`generic protocol over a terminal; 1 process, 1000 queries may wait`, `5s a query, 30s for the first answer`,
				`gatehouse_self_signed`, `TLS          1\.2 and up`, `\*:5222 +STARTTLS \(the default\)`,
				`(?m)^This file is good: gatehouse serve would listen on \*:5222, \[::\]:5222 for 1 host: a\.example\.$`,
			},
			not: []string{"What to look at", "Left to Prosody", "\x1b"},
		},
		{
			name: "a script and tokens, from the global section",
			config: keys + "authentication = 'external' external_auth_command = './auth.sh' gatehouse_token_in_plain = true\n" +
				"VirtualHost 'a.example'\nVirtualHost 'b.example' gatehouse_token_check_user = true",
			want: []string{
				`mechanisms   X-TOKEN, PLAIN`,
				`because authentication = "external" \(prosody.cfg.lua:\d+\): the script judges passwords, but for those of token shape`,
				`X-TOKEN    because token_secret and otp_seed are set \(prosody.cfg.lua:\d+\); after TLS only`,
				`tokens       1 secret, 1 seed; used ones are remembered in DIR/data/replay\.db\n`, `the script is asked whether the user exists`,
				`the same as for a\.example`, `for 2 hosts: a\.example, b\.example`,
			},
			not: []string{"0123456789abcdef", "XVGR73"},
		},
		{
			name:   "tokens only",
			config: keys + "external_auth_command = './auth.sh'\nVirtualHost 'a.example' authentication = 'token'",
			want: []string{`PLAIN      not offered: authentication = "token" \(prosody.cfg.lua:\d+\), so passwords are not asked for`,
				`X-TOKEN    because authentication = "token"`, `asked for nothing on this host`},
		},
		{
			name:   "tokens in PLAIN only",
			config: keys + "gatehouse_token_in_plain = true\nVirtualHost 'a.example' authentication = 'token' disable_sasl_mechanisms = { 'x-token' }",
			want: []string{`PLAIN      because of gatehouse_token_in_plain: a token in the place of the password`,
				`X-TOKEN    not offered: disable_sasl_mechanisms`},
		},
		{
			name: "a mechanism taken away",
			config: keys + "VirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh'\n" +
				"disable_sasl_mechanisms = { 'PLAIN' }",
			want: []string{`(?m)^  mechanisms   X-TOKEN$`, `PLAIN      not offered: disable_sasl_mechanisms \(prosody.cfg.lua:\d+\)\n`},
		},
		{
			name:   "half of what tokens need",
			config: "VirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh' otp_seed = 'MFRGGZDFMY'",
			want:   []string{`X-TOKEN    not offered: otp_seed is set, but token_secret is not`, `warning .* X-TOKEN needs both`},
		},
		{
			name:   "a seed that can be guessed",
			config: "VirtualHost 'a.example' authentication = 'token' otp_seed = 'MFRGG' token_secret = '0123456789abcdef0123456789abcdef'",
			want:   []string{`warning  prosody\.cfg\.lua:3: host a\.example: otp_seed: seed 1 has 3 bytes, which can be guessed`},
			not:    []string{"MFRGG"},
		},
		{
			name: "keys that are known or can be guessed",
			config: "otp_seed = 'XVGR73KMZH2M4XMY' authentication = 'token'\n" +
				"VirtualHost 'a.example' token_secret = 'tooshort'\nVirtualHost 'b.example' token_secret = 'example-only-0123456789'\n" +
				"VirtualHost 'c.example' token_secret = '0123456789abcdef0123456789abcdef'",
			want: []string{`DANGER   prosody\.cfg\.lua:4: host a\.example: token_secret: secret 1 has 8 bytes, which can be guessed`,
				`DANGER   prosody\.cfg\.lua:5: host b\.example: token_secret: secret 1 is the one of gatehouse's example`, `has 2 dangers`},
			not: []string{"tooshort", "example-only"},
		},
		{
			name: "files that are not there",
			config: "gatehouse_log_format = 'json' local f = io.open('keys')\n" +
				"VirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh'",
			want: []string{`reads also   \S+/keys \(not there\)`, `standard error: info, warn, error\n +as json\n`},
		},
		{
			name: "no TLS",
			config: keys + "c2s_require_encryption = false allow_unencrypted_plain_auth = true\n" +
				"authentication = 'external' external_auth_command = './auth.sh'\nVirtualHost 'a.example'\nVirtualHost 'b.example'",
			want: []string{`the script judges passwords; also WITHOUT TLS`, `X-TOKEN .*; also WITHOUT TLS`,
				`DANGER   prosody\.cfg\.lua:\d+: allow_unencrypted_plain_auth: passwords pass without TLS`,
				`DANGER   prosody\.cfg\.lua:\d+: c2s_require_encryption: is off: tokens pass without TLS`,
				`This file works, but has 2 dangers: gatehouse serve`},
			not: []string{`(?s)passwords pass without TLS.*passwords pass without TLS`},
		},
		{
			name:   "TLS not required",
			config: "c2s_require_encryption = false VirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh'",
			want:   []string{`PLAIN .*; after TLS, which is not required for the rest`, `warning .*c2s_require_encryption: is off: PLAIN waits for TLS`},
			not:    []string{"DANGER"},
		},
		{
			name: "old names",
			config: "legacy_ssl_ports = { 5223 } interface = '127.0.0.1' allow_unencrypted_plain_auth = true\n" +
				"VirtualHost 'a.example' authentication = 'external_insecure' external_auth_command = './auth.sh'",
			want: []string{`127\.0\.0\.1:5223 +direct TLS \(prosody\.cfg\.lua:3\)`,
				`old      prosody\.cfg\.lua:\d+: legacy_ssl_ports: is the old name of c2s_direct_tls_ports`,
				`old      prosody\.cfg\.lua:\d+: interface: is the old name of interfaces`,
				`old      prosody\.cfg\.lua:\d+: allow_unencrypted_plain_auth: does nothing`,
				`old      prosody\.cfg\.lua:4: host a\.example: authentication: Prosody's module got the name "external_insecure"`,
				`This file works, with 1 warning: gatehouse serve would listen on`},
		},
		{
			name: "what is Prosody's",
			config: "admins = { 'x@a.example' } sql = { password = 'canary-sql' } modules_enabled = { 'roster' }\n" +
				"VirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh' storage = 'sql'\n" +
				"VirtualHost 'b.example' authentication = 'internal_plain' some_option = 1\nComponent 'muc.a.example' 'muc'",
			args: []string{"--all"},
			want: []string{`b\.example +authentication = "internal_plain" \(prosody\.cfg\.lua:5\)`, `muc\.a\.example +a Component`,
				`4 options    admins, modules_enabled, sql, storage\n`, `gatehouse reads 4 options of this file`,
				`Options for all hosts\n  gatehouse_data_dir = "data"\n  gatehouse_self_signed = true\n`,
				`Options of a\.example\n  authentication = "external"\n  external_auth_command = "\./auth\.sh"\n`},
			not: []string{"canary", "some_option"},
		},
		{
			name:   "where the log goes and who looks",
			config: "gatehouse_admin = '127.0.0.1:5280' log = { info = '/var/log/x.log', error = '*console' }\nVirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh'",
			want:   []string{`/var/log/x\.log: info, warn, error \(prosody\.cfg\.lua:3\)`, `standard error: error`, `admin        127\.0\.0\.1:5280 \(prosody\.cfg\.lua:3\)`},
		},
		{
			name: "every error at once",
			config: "c2s_ports = 'many'\nVirtualHost 'a.example' authentication = 'external' external_auth_command = '/no/such'\n" +
				"gatehouse_nonsense = 1",
			code: exitConfig,
			want: []string{`error    prosody\.cfg\.lua:3: c2s_ports`, `error    prosody\.cfg\.lua:4: host a\.example: external_auth_command`,
				`error    prosody\.cfg\.lua:5: host a\.example: gatehouse_nonsense`, `gatehouse: DIR/prosody\.cfg\.lua: 3 errors; gatehouse serve refuses this file`},
			not: []string{"This file"},
		},
		{
			name:   "nothing to serve",
			config: "VirtualHost 'a.example'",
			code:   exitConfig,
			want:   []string{`error    prosody\.cfg\.lua: no VirtualHost has .* nothing to serve`, `1 error; gatehouse serve refuses`, `a\.example +authentication = "internal_hashed"`},
			not:    []string{`warning`, "This file"},
		},
		{
			name:   "no certificates",
			config: "gatehouse_self_signed = false authentication = 'external' external_auth_command = './auth.sh'\nVirtualHost 'a.example'\nVirtualHost 'b.example'",
			code:   exitConfig,
			want: []string{`certificate  NONE`, `error    prosody\.cfg\.lua:4: host a\.example: there is no certificate for it: .* DIR/certs .*a\.example\.crt`,
				`error    prosody\.cfg\.lua:5: host b\.example: there is no certificate for it\n`, `2 errors; gatehouse serve refuses`},
		},
		{
			name:   "no Lua",
			config: "VirtualHost 'a",
			args:   []string{"--quiet"},
			code:   exitConfig,
			want:   []string{`error    DIR/prosody\.cfg\.lua:3: `, `1 error; gatehouse serve refuses`},
		},
		{
			name:   "quiet and good",
			config: "VirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh'",
			args:   []string{"--quiet"},
			want:   []string{`^$`},
		},
		{
			name:   "quiet, with a warning",
			config: "VirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh' token_secret = 'x'",
			args:   []string{"-q"},
			want:   []string{`^warning  DIR/prosody\.cfg\.lua:3: .*\n$`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := checkDir(t, map[string]string{"prosody.cfg.lua": selfSignedHead + c.config + "\n", "auth.sh": yesScript})
			code, stdout, stderr := checked(t, dir, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range c.want {
				if !regexp.MustCompile(want).MatchString(stdout + stderr) {
					t.Errorf("%q is missing", want)
				}
			}
			for _, not := range c.not {
				if regexp.MustCompile(not).MatchString(stdout + stderr) {
					t.Errorf("%q is there", not)
				}
			}
			if t.Failed() {
				t.Logf("%s\n%s", stdout, stderr)
			}
		})
	}
}

// However the file is named, errors name it as the report does, short.
func TestCheckCmd_relativePath(t *testing.T) {
	t.Chdir(checkDir(t, map[string]string{"prosody.cfg.lua": "VirtualHost {"}))
	code, stdout, _ := command("", "check", "--config", "prosody.cfg.lua")
	if code != exitConfig || !strings.Contains(stdout, "\n  error    prosody.cfg.lua:1: ") {
		t.Errorf("exit code %d, %s", code, stdout)
	}
}

// The text of docs/commands.md is what the program says.
func TestCheckCmd_documented(t *testing.T) {
	const page, begin, end = "../../docs/commands.md", "<!-- what check says; go test writes it -->\n```\n", "```\n"
	dir := checkDir(t, map[string]string{"auth.sh": yesScript, "prosody.cfg.lua": `admins = { "admin@example.org" }
modules_enabled = { "roster", "saslauth", "tls", "pep" }
legacy_ssl_ports = { 5223 }
gatehouse_data_dir = "data"

VirtualHost "example.org"
	authentication = "external_insecure"
	external_auth_command = "./auth.sh --realm staff"
	external_auth_processes = 4

VirtualHost "guests.example.org"
	authentication = "anonymous"
`})
	writeCertificate(t, dir, "example.org", testCertificate{left: 68*day + time.Hour, issuer: "Example CA", chain: true})
	if err := os.Chmod(filepath.Join(dir, "auth.sh"), 0o757); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := checked(t, dir)
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	got := strings.NewReplacer("DIR", "/etc/prosody", "ME:ME", "root:root", "only ME", "only root").Replace(stdout)
	got = regexp.MustCompile(`(?m)^  run by .*`).ReplaceAllString(got, "  run by       gatehouse, whose rights are looked at below")
	got = regexp.MustCompile(`, \d+ days left`).ReplaceAllString(got, ", 68 days left")
	got = regexp.MustCompile(`from \S+ until \S+,`).ReplaceAllString(got, "from 2026-10-31 until 2027-01-29,")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	shown, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for what check says", page)
	}
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(page, []byte(before+begin+got+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if shown != got {
		t.Errorf("%s shows something else; UPDATE_DOCS=1 go test writes:\n%s", page, got)
	}
}
