package config

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// writeFiles writes files (name, text, name, text...) into a new directory and returns it. Names that end in .sh are
// executable.
func writeFiles(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasSuffix(path, ".sh") {
			mode = 0o755
		}
		if err := os.WriteFile(path, []byte(files[i+1]), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load writes a config with a script auth.sh beside it and loads it. Messages come back one a line, the directory cut off.
func load(t testing.TB, source string, more ...string) (c *Config, warnings, problems string) {
	t.Helper()
	dir := writeFiles(t, append([]string{"prosody.cfg.lua", source, "auth.sh", "#!/bin/sh\n"}, more...)...)
	c, warned, err := Load(filepath.Join(dir, "prosody.cfg.lua"))
	lines := make([]string, len(warned))
	for i, w := range warned {
		lines[i] = w.String()
	}
	warnings = strings.ReplaceAll(strings.Join(lines, "\n"), dir+"/", "")
	if err != nil {
		var failed *Error
		if !errors.As(err, &failed) || len(failed.Problems) == 0 {
			t.Fatalf("Load: %v, want an *Error", err)
		}
		problems = strings.ReplaceAll(err.Error(), dir+"/", "")
	}
	return c, warnings, problems
}

const external = "VirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh'\n"
const tokens = "VirtualHost 'a.example' authentication = 'token' token_secret = '0123456789abcdef' otp_seed = 'XVGR73KMZH2M4XMY'\n"

func TestLoad_problems(t *testing.T) {
	tests := []struct{ name, source, want string }{
		{"nothing", ``, `prosody.cfg.lua: there is no VirtualHost; write VirtualHost "example.org" with authentication = "external" or "token"`},
		{"syntax", "\nx = = 1", `prosody.cfg.lua:2: syntax error near '='`},
		{"all at once", external + "external_auth_timeout = 'soon'\nexternal_auth_processes = 1.5\ngatehouse_foo = 1\nexternal_auth_protocol = 'http'",
			`prosody.cfg.lua:2: host a.example: external_auth_timeout: want a positive number of seconds, got "soon"
prosody.cfg.lua:3: host a.example: external_auth_processes: want a whole number from 1 to 1000, got 1.5
prosody.cfg.lua:4: host a.example: gatehouse_foo: gatehouse has no such option
prosody.cfg.lua:5: host a.example: external_auth_protocol: want "generic" or "ejabberd", got "http"`},
		{"global option, once", "external_auth_timeout = -1\n" + external + strings.Replace(external, "a.example", "b.example", 1),
			`prosody.cfg.lua:1: external_auth_timeout: want a positive number of seconds, got -1`},
		{"zero timeout", external + "external_auth_timeout = 0", `prosody.cfg.lua:2: host a.example: external_auth_timeout: want a positive number of seconds, got 0`},
		{"endless timeout", external + "external_auth_timeout = math.huge", `prosody.cfg.lua:2: host a.example: external_auth_timeout: want a positive number of seconds, got +Inf`},
		{"nan", external + "external_auth_timeout = 0/0", `prosody.cfg.lua:2: host a.example: external_auth_timeout: want a positive number of seconds, got NaN`},
		{"list where one is wanted", external + "external_auth_timeout = { 1, 2 }", `prosody.cfg.lua:2: host a.example: external_auth_timeout: want a positive number of seconds, got a list of 2`},
		{"boolean", external + "external_auth_blocking = 'yes'", `prosody.cfg.lua:2: host a.example: external_auth_blocking: want true or false, got "yes"`},
		{"no processes", external + "external_auth_processes = 0", `prosody.cfg.lua:2: host a.example: external_auth_processes: want a whole number from 1 to 1000, got 0`},
		{"function", external + "external_auth_protocol = function() end", `prosody.cfg.lua:2: host a.example: external_auth_protocol: want a string, got a function`},
		{"address as host", "VirtualHost 'https://a.example/' authentication = 'external' external_auth_command = 'cat'", `prosody.cfg.lua:1: host https://a.example/: is no domain; write VirtualHost "example.org", without a port, a path or a user`},
		{"port in a host", "VirtualHost 'a.example:5222' authentication = 'external' external_auth_command = 'cat'", `prosody.cfg.lua:1: host a.example:5222: is no domain; write VirtualHost "example.org", without a port, a path or a user`},
		{"did you mean", external + "gatehouse_external_auth_start_time = 1", `prosody.cfg.lua:2: host a.example: gatehouse_external_auth_start_time: gatehouse has no such option, did you mean gatehouse_external_auth_start_timeout?`},
		{"terminal for ejabberd", external + "external_auth_protocol = 'ejabberd'\ngatehouse_external_auth_pty = true",
			`prosody.cfg.lua:3: host a.example: gatehouse_external_auth_pty: a terminal changes bytes of the ejabberd protocol; set it to false, or take it out`},
		{"no command", "VirtualHost 'a'\nauthentication = 'external'", `prosody.cfg.lua:1: host a: external_auth_command: is missing; it names the script that checks passwords`},
		{"conflict", external + "conflict_resolve = 'fight'", `prosody.cfg.lua:2: host a.example: conflict_resolve: want "kick_old" or "kick_new" or "increment" or "random", got "fight"`},
		{"all mechanisms disabled", external + "disable_sasl_mechanisms = { 'PLAIN' }", `prosody.cfg.lua:2: host a.example: disable_sasl_mechanisms: leaves the host without any mechanism`},
		{"ports", "c2s_ports = { 5222, 70000, 'x', -1, 1.5 }\n" + external, `prosody.cfg.lua:1: c2s_ports: want port numbers from 0 to 65535, got 70000
prosody.cfg.lua:1: c2s_ports: want port numbers from 0 to 65535, got "x"
prosody.cfg.lua:1: c2s_ports: want port numbers from 0 to 65535, got -1
prosody.cfg.lua:1: c2s_ports: want port numbers from 0 to 65535, got 1.5`},
		{"no ports", "c2s_ports = {}\n" + external, `prosody.cfg.lua:1: c2s_ports: there is no port to listen on; c2s_ports = { 5222 } is the default`},
		{"one port twice", "c2s_direct_tls_ports = 5222\n" + external, `prosody.cfg.lua:1: c2s_direct_tls_ports: :5222 is used by c2s_ports already`},
		{"interface", "interfaces = 'eth0'\n" + external, `prosody.cfg.lua:1: interfaces: want IP addresses, "*" or "::", got "eth0"`},
		{"data dir", "gatehouse_data_dir = ''\n" + external, `prosody.cfg.lua:1: gatehouse_data_dir: is empty; it names a directory`},
		{"ssl", "ssl = 'x'\n" + external, `prosody.cfg.lua:1: ssl: want a table, as in { certificate = "...", key = "..." }, got "x"`},
		{"ssl protocol", "ssl = { protocol = 'tlsv9' }\n" + external, `prosody.cfg.lua:1: ssl: protocol: want "tlsv1_2+" or "tlsv1_3", got "tlsv9"`},
		{"ssl without key", "ssl = { certificate = 'x' }\n" + external, `prosody.cfg.lua:1: ssl: certificate and key must both be there, as strings with the path of a file`},
		{"tls_profile", "tls_profile = 'paranoid'\n" + external, `prosody.cfg.lua:1: tls_profile: want "modern" or "intermediate" or "old" or "legacy", got "paranoid"`},
		{"certificate", "ssl = { certificate = 'a.crt', key = 'a.key' }\n" + external, `prosody.cfg.lua:1: ssl: certificate a.crt: no such file or directory`},

		{"no seed", "VirtualHost 'a'\nauthentication = 'token' token_secret = '0123456789abcdef'", "prosody.cfg.lua:1: host a: otp_seed: is missing; `gatehouse token keys` prints good values"},
		{"no secret", "VirtualHost 'a'\nauthentication = 'token' otp_seed = 'XVGR73KMZH2M4XMY'", "prosody.cfg.lua:1: host a: token_secret: is missing; `gatehouse token keys` prints good values"},
		{"Jitsi", "VirtualHost 'a'\nauthentication = 'token'\napp_id = 'x' app_secret = 'y'", `prosody.cfg.lua:2: host a: authentication: app_id and app_secret belong to Jitsi's JWT module, which has the name "token" as well; gatehouse judges the tokens of mod_auth_token, which has token_secret and otp_seed`},
		{"empty secret", tokens + "token_secret = ''", "prosody.cfg.lua:2: host a.example: token_secret: secret 1 is empty, so that anybody could make tokens; `gatehouse token keys` prints good ones"},
		{"empty secret among good ones", tokens + "token_secret = { '0123456789abcdef', '' }", "prosody.cfg.lua:2: host a.example: token_secret: secret 2 is empty, so that anybody could make tokens; `gatehouse token keys` prints good ones"},
		{"no secrets", tokens + "token_secret = {}", "prosody.cfg.lua:2: host a.example: token_secret: is an empty list; `gatehouse token keys` prints good values"},
		{"secret of another type", tokens + "token_secret = 12345678901234567890", "prosody.cfg.lua:2: host a.example: token_secret: want a string or a list of strings, got a number; put it in quotes"},
		{"bad seed", tokens + "otp_seed = 'XVGR73KM0189'", "prosody.cfg.lua:2: host a.example: otp_seed: seed 1 is not base32 (letters A-Z and digits 2-7)"},
		{"seed with a dash", tokens + "otp_seed = 'MFRGG-ZDF'", "prosody.cfg.lua:2: host a.example: otp_seed: seed 1 is not base32 (letters A-Z and digits 2-7)"},
		{"empty seed", tokens + "otp_seed = ''", "prosody.cfg.lua:2: host a.example: otp_seed: seed 1 is empty, so that anybody could make tokens; `gatehouse token keys` prints good ones"},
		{"seed of less than a byte", tokens + "otp_seed = 'A'", "prosody.cfg.lua:2: host a.example: otp_seed: seed 1 is empty, so that anybody could make tokens; `gatehouse token keys` prints good ones"},
		{"check without script", tokens + "gatehouse_token_check_user = true", `prosody.cfg.lua:2: host a.example: gatehouse_token_check_user: needs a script to ask; set external_auth_command`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, _, problems := load(t, test.source)
			got := problems
			if got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
			if c != nil && len(c.Hosts) > 0 {
				t.Error("there are hosts to serve despite the error")
			}
		})
	}
}

func TestLoad_warnings(t *testing.T) {
	tests := []struct{ name, source, want string }{
		{"none", external, ``},
		{"duplicate", external + "x = 1\nx = 2", `prosody.cfg.lua:3: Duplicate option 'x'`},
		{"blocking", external + "external_auth_blocking = true external_auth_processes = 4", `prosody.cfg.lua:2: host a.example: external_auth_processes: blocking mode has one process; set external_auth_blocking = false to use 4`},
		{"short secret", tokens + "token_secret = 'abc'", "prosody.cfg.lua:1: Duplicate option 'token_secret'\nprosody.cfg.lua:2: host a.example: token_secret: secret 1 has 3 bytes, which can be guessed; use 32"},
		{"one of two", external + "token_secret = '0123456789abcdef'", `prosody.cfg.lua:2: host a.example: token_secret: X-TOKEN needs both token_secret and otp_seed; it is not offered`},
		{"global option in a host", external + "c2s_ports = { 1 }", `prosody.cfg.lua:2: host a.example: c2s_ports: is read from the global section only; move it above the first VirtualHost`},
		{"limits", "c2s_stanza_size_limit = 5\n" + external, `prosody.cfg.lua:1: c2s_stanza_size_limit: 5 is below 10000, which is used instead`},
		{"misspelled", external + "external_auth_comand = 'x'", `prosody.cfg.lua:2: host a.example: external_auth_comand: gatehouse knows no such option, did you mean external_auth_command?`},
		{"misspelled prefix", external + "extrenal_auth_timeout = 1 gatehuose_upstream = 'x' s2s_require_encryption = true", "prosody.cfg.lua:2: host a.example: extrenal_auth_timeout: gatehouse knows no such option, did you mean external_auth_timeout?\n" +
			"prosody.cfg.lua:2: host a.example: gatehuose_upstream: gatehouse knows no such option, did you mean gatehouse_upstream?"},
		{"misspelled authentication", external + "VirtualHost 'b.example' authentication = 'Externl' VirtualHost 'c.example' authentication = 'internal_plain'", `prosody.cfg.lua:2: host b.example: authentication: "Externl" is left to Prosody, did you mean "external"?`},
		{"ciphers", "ssl = { ciphers = 'HIGH', curve = 'x', protocol = 'sslv23', verify = 'none' }\n" + external, `prosody.cfg.lua:1: ssl: ciphers, curve: not used; gatehouse offers the ciphers and curves that Go's TLS considers good`},
		{"options of Prosody", "modules_enabled = { 'x' } s2s_secure_auth = true\n" + external + "anything = {}", ``},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, warnings, problems := load(t, test.source)
			if problems != "" {
				t.Fatalf("problems: %s", problems)
			}
			if !matches(warnings, test.want) {
				t.Errorf("got\n%s\nwant\n%s", warnings, test.want)
			}
		})
	}
}

// matches compares warnings as sets of lines by the last one wanted: tests name the one that they are about.
func matches(got, want string) bool {
	if want == "" || got == "" {
		return got == want
	}
	lines := strings.Split(want, "\n")
	return strings.Contains("\n"+got+"\n", "\n"+lines[len(lines)-1]+"\n")
}

func TestLoad_defaults(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "/state:/other")
	c, _, problems := load(t, external)
	if problems != "" {
		t.Fatal(problems)
	}
	if c.LoginTimeout != 30*time.Second || c.UnauthedStanzaLimit != 10000 || c.StanzaLimit != 262144 || !c.TCPKeepalives ||
		c.SelfSigned || c.DataDir != "/state" || c.LogLevel != 0 {
		t.Errorf("global defaults: %+v", c)
	}
	if len(c.Listeners) != 2 || c.Listeners[0].Addr != ":5222" || c.Listeners[0].Network != "tcp4" || c.Listeners[0].Optional ||
		c.Listeners[1].Addr != ":5222" || c.Listeners[1].Network != "tcp6" || !c.Listeners[1].Optional {
		t.Errorf("listeners: %+v", c.Listeners)
	}
	h := c.Host("a.example")
	if h == nil || !h.OfferPlain || h.OfferToken || !h.ScriptPasswords || h.Token != nil || !h.RequireEncryption ||
		h.AllowUnencryptedPlain || h.AllowRegistration || h.ConflictResolve != ConflictKickOld || h.MinTLS != 0x0303 || len(h.Certificates) != 0 {
		t.Fatalf("host: %+v", h)
	}
	x := h.External
	if len(x.Command) != 1 || x.Command[0] != filepath.Join(filepath.Dir(c.Path), "auth.sh") || x.Protocol != ProtocolGeneric || x.Timeout != 5*time.Second ||
		x.StartTimeout != 30*time.Second || x.Processes != 1 || x.Blocking || !x.PTY || x.Queue != 1000 || x.Pos.Line != 1 {
		t.Errorf("external: %+v", x)
	}
	if c.Host("b.example") != nil {
		t.Error("a host out of nothing")
	}
}

func TestLoad_hosts(t *testing.T) {
	c, _, problems := load(t, `
authentication = "external"
external_auth_command = { "./auth.sh", "a b", 3 }
external_auth_timeout = "2.5"
external_auth_blocking = "false"
external_auth_processes = { 4 }
require_encryption = false
token_secret = { "new-secret-0123456789", "old-secret-0123456789" }
otp_seed = "xvgr 73km zh2m 4xmy"
VirtualHost "Both.Example"
VirtualHost "plain.example"
	disable_sasl_mechanisms = { "X-TOKEN" }
	c2s_require_encryption = true
VirtualHost "token.example" {
	authentication = "token"; gatehouse_token_in_plain = true; gatehouse_token_check_user = true; otp_seed = { "MFRGGZDFM", "AAAA" };
}
VirtualHost "ejabberd.example"
	authentication = "external_insecure"
	external_auth_protocol = "ejabberd"
VirtualHost "hashed.example"
	authentication = "internal_hashed"
VirtualHost "off.example"
	enabled = false
Component "muc.example" "muc"
`)
	if problems != "" {
		t.Fatal(problems)
	}
	var names []string
	for _, h := range c.Hosts {
		names = append(names, h.Name)
	}
	if got := strings.Join(names, " "); got != "both.example plain.example token.example ejabberd.example" {
		t.Errorf("hosts: %s", got)
	}
	var skipped []string
	for _, s := range c.Skipped {
		skipped = append(skipped, s.Name+": "+s.Why)
	}
	want := `hashed.example: authentication = "internal_hashed" is left to Prosody; off.example: enabled = false; muc.example: a Component`
	if got := strings.Join(skipped, "; "); got != want {
		t.Errorf("skipped: %s", got)
	}
	both := c.Host("both.example")
	if !both.OfferPlain || !both.OfferToken || both.RequireEncryption || both.External.Timeout != 2500*time.Millisecond ||
		both.External.Processes != 4 || strings.Join(both.External.Command[1:], "|") != "a b|3" {
		t.Errorf("both: %+v %+v", both, both.External)
	}
	if n := len(both.Token.Secrets); n != 2 || string(both.Token.Secrets[0]) != "new-secret-0123456789" || len(both.Token.Seeds[0]) != 10 {
		t.Errorf("token: %d secrets", n)
	}
	if h := c.Host("plain.example"); h.OfferToken || !h.OfferPlain || !h.RequireEncryption {
		t.Errorf("plain: %+v", h)
	}
	h := c.Host("token.example")
	if !h.OfferToken || !h.OfferPlain || h.ScriptPasswords || h.External == nil || !h.Token.CheckUser || !h.Token.InPlain ||
		string(h.Token.Seeds[0]) != "abcde" || string(h.Token.Seeds[1]) != "\x00\x00" {
		t.Errorf("token: %+v %q", h, h.Token.Seeds)
	}
	if h := c.Host("ejabberd.example"); h.External.PTY || h.External.Protocol != ProtocolEjabberd {
		t.Errorf("ejabberd: %+v", h.External)
	}
}

func TestLoad_debianDefault(t *testing.T) {
	c, warnings, err := Load("testdata/prosody/debian-12.cfg.lua")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Hosts) != 0 || len(c.Skipped) != 3 || c.Skipped[0].Name != "localhost" {
		t.Errorf("hosts %v, skipped %v", c.Hosts, c.Skipped)
	}
	if len(warnings) == 0 || warnings[0].Msg != nothingToServe {
		t.Errorf("warnings: %v", warnings)
	}
}

func TestLoad_secretsStayOutOfMessages(t *testing.T) {
	_, warnings, problems := load(t, tokens+"token_secret = { 'hush', {} }\notp_seed = { 'hush0189', 'hush-hush' }\nVirtualHost 'b' authentication = 'token' token_secret = function() end otp_seed = { hush = 'hush' }")
	if problems == "" || strings.Contains(warnings+problems, "hush0") || strings.Contains(warnings+problems, "'hush'") || strings.Contains(problems, "hush-") {
		t.Errorf("warnings:\n%s\nproblems:\n%s", warnings, problems)
	}
}

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{external, tokens, "c2s_ports = { 1, 'x' } log = { info = '*syslog', { levels = { min = 'debug' } } }\n" + external,
		"ssl = { certificate = 1, key = {}, certificates = { 1, {} }, protocol = {} } interfaces = { '::1', 5 }\n" + tokens,
		"gatehouse_admin = { '127.0.0.1:1', '[::1]:2', 'x:y' } gatehouse_log = { { to = 'file', filename = 'f', levels = { 'warn', max = 'error' } } }\n" + external,
		"gatehouse_proxy_protocol_from = { '10.0.0.1', '::1' } gatehouse_auth_api_user = 'u' gatehouse_auth_api_password = 'p' gatehouse_extauth_socket = 'x.sock'\n" + external,
		"gatehouse_upstream = { '127.0.0.1:1', '[::1]:2', 'unix:s', 'a.b:3' } gatehouse_upstream_tls = 'none' gatehouse_upstream_allow_unencrypted = true gatehouse_upstream_proxy_protocol = 2\n" + external,
		"gatehouse_upstream = '10.0.0.1:1' gatehouse_upstream_auth = 'token' gatehouse_upstream_token_secret = 's' gatehouse_upstream_otp_seed = 'MFRGG'\n" + external,
		"modules_enabled = { 'websocket' } http_ports = { 0, 5280 } https_ports = '5281' cross_domain_websocket = { true, 'https:x' } trusted_proxies = '::1'\n" + external,
		"gatehouse_websocket_ports = 5281 gatehouse_websocket_origins = { '*', 'null' } gatehouse_credentials = 'web' gatehouse_credentials_bearer = '0123456789abcdef' gatehouse_credentials_rate = 3 gatehouse_websocket_url = 'wss:x'\n" + tokens,
		"external_auth_command = \"'a b' \\\"c\\\" | d\"\n" + external} {
		f.Add(seed)
	}
	path := filepath.Join(writeFiles(f, "auth.sh", "#!/bin/sh\n"), "prosody.cfg.lua")
	writeFile(f, path, external)
	plain, _, err := Load(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, source string) {
		if strings.Contains(source, "while") || strings.Contains(source, "for") || strings.Contains(source, "repeat") ||
			strings.Contains(source, "goto") || strings.Contains(source, "function") || strings.Contains(source, "/") {
			return // loops are FuzzEval's; paths would lead about the machine
		}
		if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := Load(path)
		if err != nil {
			return
		}
		if now := c.Sources.take(); !c.Sources.seen.over(now).equal(now) {
			t.Errorf("changed since it was read: %v, %v", c.Sources.seen, now)
		}
		if same := Diff(c, c); len(same) > 0 {
			t.Errorf("differs from itself: %v", same)
		}
		for _, change := range append(Diff(plain, c), Diff(c, plain)...) {
			if line := change.String(); strings.ContainsFunc(line, unicode.IsControl) || !utf8.ValidString(line) {
				t.Errorf("not for a log: %q", line)
			}
		}
		for _, at := range c.Admin {
			if host, _, err := net.SplitHostPort(at.Addr); at.Network != "unix" && (err != nil || !net.ParseIP(host).IsLoopback()) {
				t.Errorf("admin address %v", at)
			}
		}
		if len(c.Log) == 0 {
			t.Error("no log")
		}
		if len(c.Hosts)+len(c.Skipped) == 0 || len(c.Listeners) == 0 || c.DataDir == "" {
			t.Errorf("not complete: %+v", c)
		}
		for _, h := range c.Hosts {
			if !h.OfferPlain && !h.OfferToken || h.OfferToken && h.Token == nil || h.ScriptPasswords && (h.External == nil || len(h.External.Command) == 0) ||
				h.External != nil && (h.External.Timeout <= 0 || h.External.Processes < 1 || h.External.Queue < 1) {
				t.Errorf("host %+v", h)
			}
			if x := h.Credentials; x != nil && (h.Token == nil || x.Rate < 1 || (x.User == "") != (x.Password == "") || len(x.Password)+len(x.Bearer) < minCredentialBytes) {
				t.Errorf("credentials %+v", x)
			}
			if u := h.Upstream; u != nil && !sound(u) {
				t.Errorf("upstream %+v", u)
			}
			for _, token := range []*Token{h.Token, upstreamToken(h)} {
				if token == nil {
					continue
				}
				for _, key := range append(append([][]byte{}, token.Secrets...), token.Seeds...) {
					if len(key) == 0 {
						t.Error("an empty key")
					}
				}
			}
		}
	})
}

// sound says whether an upstream has all that its kind needs, and nothing goes over a network in the clear unasked.
func sound(u *Upstream) bool {
	remote := slices.ContainsFunc(u.Addresses, func(a UpstreamAddr) bool { return !a.local() })
	return len(u.Addresses) > 0 && u.Timeout > 0 && u.ProxyProtocol >= 0 && u.ProxyProtocol <= 2 &&
		(u.TLS != UpstreamTLSNone || !remote || u.AllowUnencrypted) &&
		(u.Auth == UpstreamAuthToken) == (u.Token != nil) && (u.Auth == UpstreamAuthExternal) == (u.CA != nil) &&
		(u.Auth != UpstreamAuthExternal || u.TLS != UpstreamTLSNone)
}

func upstreamToken(h *Host) *Token {
	if h.Upstream == nil {
		return nil
	}
	return h.Upstream.Token
}
