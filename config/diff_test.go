package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDiff(t *testing.T) {
	const b = "VirtualHost 'b.example' authentication = 'external' external_auth_command = './auth.sh'\n"
	long := strings.Repeat("x", 100)
	tests := []struct{ name, before, after, want string }{
		{"nothing", external, external, ""},
		{"another way to write it", "c2s_ports = 5222 c2s_tcp_keepalives = 'true'\n" + external + "external_auth_timeout = 5 disable_sasl_mechanisms = { 'X' } token_secret = 'x'",
			"-- comment\n" + external + "c2s_require_encryption = 1\nexternal_auth_timeout = { '5.0' } disable_sasl_mechanisms = 'X' token_secret = { 'x' }", ""},
		{"options of Prosody", external + "x = 1", external + "y = { 1 } gatehouse_external_auth_queue = 1000", ""},
		{"option of a host", external, external + "external_auth_timeout = 7", "a.example: external_auth_timeout 5 -> 7"},
		{"option of all hosts, once", external + b, "external_auth_timeout = 7\n" + external + b, "external_auth_timeout 5 -> 7"},
		{"option that no host sees", "external_auth_timeout = 1\n" + external + "external_auth_timeout = 3", "external_auth_timeout = 2\n" + external + "external_auth_timeout = 3", ""},
		{"own value in place of the inherited", "external_auth_timeout = 1\n" + external + b, "external_auth_timeout = 1\n" + external + "external_auth_timeout = 2\n" + b,
			"a.example: external_auth_timeout 1 -> 2"},
		{"own value equal to the inherited", "external_auth_timeout = 1\n" + external, "external_auth_timeout = 1\n" + external + "external_auth_timeout = 1", ""},
		{"both", external + b + "external_auth_protocol = 'ejabberd'", "external_auth_timeout = 0.5\n" + external + b,
			`external_auth_timeout 5 -> 0.5; b.example: external_auth_protocol "ejabberd" -> "generic"`},
		{"order", "c2s_timeout = 20\n" + b + external, "log = '*console' c2s_timeout = '40s'\n" + external + "conflict_resolve = 'random'\n" + b + "conflict_resolve = 'random' external_auth_blocking = true",
			`c2s_timeout 20 -> 40; log unset -> "*console"; a.example: conflict_resolve "kick_old" -> "random"; ` +
				`b.example: external_auth_blocking false -> true; b.example: conflict_resolve "kick_old" -> "random"`},
		{"lists", external, "c2s_ports = { 5222, '5322' } interfaces = '127.0.0.1'\n" + external, `c2s_ports { 5222 } -> { 5222, 5322 }; interfaces { "*", "::" } -> { "127.0.0.1" }`},
		{"tables", "log = { info = 'a' }\n" + external, "log = { warn = 'a', { to = 'console' } }\n" + external, `log { info = "a" } -> { { to = "console" }, warn = "a" }`},
		{"odd keys", external, "ssl = { ['a\\n'] = 1, _b2 = { 'x' } }\n" + external, `ssl unset -> { _b2 = { "x" }, ["a\n"] = 1 }`},
		{"secret", tokens, strings.Replace(tokens, "0123456789abcdef", "fedcba9876543210", 1), "a.example: token_secret changed"},
		{"secret that was not there", external, external + "token_secret = '0123456789abcdef' otp_seed = 'XVGR73KMZH2M4XMY'", "a.example: token_secret changed; a.example: otp_seed changed"},
		{"secret in a table", "ssl = { password = 'hush1' }\n" + external, "ssl = { password = 'hush2' }\n" + external, "ssl changed"},
		{"long value", external, "gatehouse_log = 'b" + long + "'\n" + external, `gatehouse_log unset -> "b` + long[:78] + "..."},
		{"long values that begin alike", "gatehouse_log = 'b" + long + "1'\n" + external, "gatehouse_log = 'b" + long + "2'\n" + external, "gatehouse_log changed"},
		{"arguments are not shown", external + "external_auth_command = { './auth.sh', 'hush1' }", external + "external_auth_command = { './auth.sh', 'hush2' }", "a.example: external_auth_command changed"},
		{"another command", external, external + "external_auth_command = './auth2.sh --password hush'", `a.example: external_auth_command "./auth.sh" -> "./auth2.sh ..."`},
		{"Prosody's HTTP ports", "modules_enabled = { 'websocket' } http_ports = 5280 https_ports = {}\n" + external, "http_ports = 5280 https_ports = {}\n" + external,
			"http_ports served -> left to Prosody"},
		{"Prosody's HTTP ports and another", "http_ports = 5280 https_ports = 5281\n" + external,
			"modules_enabled = { 'websocket' } http_ports = 5280 https_ports = 5282\n" + external, "https_ports { 5281 } -> { 5282 }; http_ports left to Prosody -> served"},
		{"WebSocket", "gatehouse_websocket_ports = 5281\n" + external, "gatehouse_websocket_ports = { 5281, 443 } gatehouse_websocket_origins = '*' consider_websocket_secure = true\n" + external + "gatehouse_websocket_url = 'wss://a.example/ws'",
			`gatehouse_websocket_ports { 5281 } -> { 5281, 443 }; gatehouse_websocket_origins {} -> { "*" }; consider_websocket_secure false -> true; a.example: gatehouse_websocket_url unset -> "wss://a.example/ws"`},
		{"mod_limits", external, "modules_enabled = { 'limits' }\n" + external, "limits none -> 10240 bytes a second"},
		{"mod_limits left out", "limits = { c2s = { rate = '3kb/s' } }\n" + external, "limits = { c2s = { rate = '3kb/s' } } modules_enabled = {}\n" + external, "limits 3000 bytes a second -> none"},
		{"mod_limits and its option", "limits = { c2s = { rate = '3kb/s' } }\n" + external, "limits = { c2s = { rate = '4kb/s' } }\n" + external,
			`limits { c2s = { rate = "3kb/s" } } -> { c2s = { rate = "4kb/s" } }`},
		{"other modules", "modules_enabled = { 'a' }\n" + external, "modules_enabled = { 'b' } modules_disabled = { 'limits' }\n" + external, ""},
		{"another way to write a time", "c2s_timeout = 120\n" + external, "c2s_timeout = '2 minutes'\n" + external, ""},
		{"order of hosts", "c2s_direct_tls_ports = 5223\n" + external + b, "c2s_direct_tls_ports = 5223\n" + b + external, "default host of direct TLS a.example -> b.example"},
		{"order of hosts without direct TLS", external + b, b + external, ""},
		{"first host added", "gatehouse_websocket_ports = 5281\n" + external, "gatehouse_websocket_ports = 5281\n" + b + external, "default host of direct TLS a.example -> b.example; host b.example added"},
		{"credentials", "gatehouse_admin = './x' gatehouse_websocket_ports = 5281\n" + tokens + "gatehouse_credentials = 'admin' gatehouse_credentials_user = 'a' gatehouse_credentials_password = 'hush56789abcdef1' gatehouse_credentials_bearer = 'hush56789abcdef1'",
			"gatehouse_admin = './x' gatehouse_websocket_ports = 5281\n" + tokens + "gatehouse_credentials = 'web' gatehouse_credentials_user = 'b' gatehouse_credentials_password = 'hush56789abcdef2' gatehouse_credentials_bearer = 'hush56789abcdef2' gatehouse_credentials_rate = 5",
			`a.example: gatehouse_credentials "admin" -> "web"; a.example: gatehouse_credentials_user "a" -> "b"; a.example: gatehouse_credentials_password changed; a.example: gatehouse_credentials_bearer changed; a.example: gatehouse_credentials_rate 30 -> 5`},
		{"host added and removed", external, b, "host b.example added; host a.example removed"},
		{"host left to Prosody", external + b, external + b + "authentication = 'internal_hashed'", "host b.example removed"},
		{"host taken over", external + b + "enabled = false", external + b, "host b.example added"},
		{"component", external + "Component 'c' 'muc'\n", external, ""},
		{"function", "ssl = { verify = function() end }\n" + external, "ssl = { verify = function() return 1 end }\n" + external, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := writeFiles(t, "auth.sh", "#!/bin/sh\n", "auth2.sh", "#!/bin/sh\n")
			if got := changes(loadAt(t, dir, test.before), loadAt(t, dir, test.after)); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// loadAt loads a config in a directory.
func loadAt(t *testing.T, dir, source string) *Config {
	t.Helper()
	path := filepath.Join(dir, "prosody.cfg.lua")
	writeFile(t, path, source)
	c, _, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func changes(before, after *Config) string {
	var list []string
	for _, c := range Diff(before, after) {
		list = append(list, c.String())
	}
	return strings.Join(list, "; ")
}

func TestDiff_certificates(t *testing.T) {
	days := func(n int) string {
		return "valid until " + time.Now().Add(time.Duration(n)*24*time.Hour).UTC().Format(time.DateOnly)
	}
	dir := writeFiles(t, "auth.sh", "#!/bin/sh\n", "certs/README", "")
	put := func(n int) {
		cert, key := makeCert(t, "ec", time.Duration(n)*24*time.Hour, "a.example")
		writeFile(t, dir+"/certs/a.crt", cert)
		writeFile(t, dir+"/certs/a.key", key)
	}
	none := loadAt(t, dir, external)
	put(10)
	first := loadAt(t, dir, external)
	if err := os.Chtimes(dir+"/certs/a.crt", time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	touched := loadAt(t, dir, external)
	put(20)
	second := loadAt(t, dir, external)
	put(20)
	third := loadAt(t, dir, external)
	named := loadAt(t, dir, "ssl = { certificate = 'certs/a.crt', key = 'certs/a.key' }\n"+external)
	for _, test := range []struct {
		name          string
		before, after *Config
		want          string
	}{
		{"found", none, first, "a.example: certificate none -> " + days(10)},
		{"touched", first, touched, ""},
		{"renewed", first, second, "a.example: certificate " + days(10) + " -> " + days(20)},
		{"renewed on the same day", second, third, "a.example: certificate changed"},
		{"lost", first, none, "a.example: certificate " + days(10) + " -> none"},
		{"named", third, named, `ssl unset -> { certificate = "certs/a.crt", key = "certs/a.key" }; certificate none -> ` + days(20)},
	} {
		if got := changes(test.before, test.after); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}

// TestDiff_commandResolvesAnew: the same words are another program once a file of that name is there.
func TestDiff_commandResolvesAnew(t *testing.T) {
	source := strings.Replace(external, "./auth.sh", "./auth.sh -x", 1)
	dir := writeFiles(t, "auth.sh", "#!/bin/sh\n")
	before := loadAt(t, dir, source)
	if err := os.WriteFile(dir+"/auth.sh -x", []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := `a.example: external_auth_command "` + dir + `/auth.sh" -> "` + dir + `/auth.sh -x"`
	if got := changes(before, loadAt(t, dir, source)); got != want && got != "a.example: external_auth_command changed" {
		t.Errorf("got %s, want %s", got, want)
	}
}
