package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoad_authAPI(t *testing.T) {
	const long = "0123456789abcdef"
	tests := []struct{ name, source, want, trouble string }{
		{"none", "", "", ""},
		{"both", "gatehouse_admin = '127.0.0.1:5280' gatehouse_auth_api_user = 'prosody' gatehouse_auth_api_password = '" + long + "'", "prosody " + long, ""},
		{"no password", "gatehouse_auth_api_user = 'prosody'", "", "prosody.cfg.lua:1: gatehouse_auth_api_user: needs gatehouse_auth_api_password as well: who asks must give both"},
		{"no user", "gatehouse_auth_api_password = 'x'", "", "prosody.cfg.lua:1: gatehouse_auth_api_password: needs gatehouse_auth_api_user as well: who asks must give both"},
		{"colon", "gatehouse_admin = '127.0.0.1:5280' gatehouse_auth_api_user = 'a:b' gatehouse_auth_api_password = '" + long + "'", "",
			`prosody.cfg.lua:1: gatehouse_auth_api_user: want a name without colons and control characters, got "a:b"`},
		{"empty user", "gatehouse_admin = '127.0.0.1:5280' gatehouse_auth_api_user = '' gatehouse_auth_api_password = '" + long + "'", "",
			`prosody.cfg.lua:1: gatehouse_auth_api_user: want a name without colons and control characters, got ""`},
		{"empty password", "gatehouse_admin = '127.0.0.1:5280' gatehouse_auth_api_user = 'a' gatehouse_auth_api_password = ''", "",
			"prosody.cfg.lua:1: gatehouse_auth_api_password: is empty, or has control characters; `gatehouse token keys` prints a good secret"},
		{"line end in the password", "gatehouse_admin = '127.0.0.1:5280' gatehouse_auth_api_user = 'a' gatehouse_auth_api_password = '" + long + "\\n'", "",
			"prosody.cfg.lua:1: gatehouse_auth_api_password: is empty, or has control characters; `gatehouse token keys` prints a good secret"},
		{"short password", "gatehouse_admin = '127.0.0.1:5280' gatehouse_auth_api_user = 'a' gatehouse_auth_api_password = 'hush'", "a hush",
			"prosody.cfg.lua:1: gatehouse_auth_api_password: has 4 bytes, which can be guessed, and who knows it may try any password; use 32"},
		{"of a host", "\nVirtualHost 'b.example' gatehouse_auth_api_user = 'x'", "",
			"prosody.cfg.lua:2: host b.example: gatehouse_auth_api_user: is read from the global section only; move it above the first VirtualHost"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, warnings, problems := load(t, test.source+"\n"+external)
			if got := strings.Trim(warnings+"\n"+problems, "\n"); got != test.trouble {
				t.Errorf("got\n%s\nwant\n%s", got, test.trouble)
			}
			got := ""
			if c.AuthAPI != nil {
				got = c.AuthAPI.User + " " + c.AuthAPI.Password
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestLoad_extauthSocket(t *testing.T) {
	c, _, problems := load(t, "gatehouse_extauth_socket = './run/x.sock'\n"+external)
	if problems != "" || c.ExtauthSocket == nil || c.ExtauthSocket.Network != "unix" || c.ExtauthSocket.Addr != filepath.Join(filepath.Dir(c.Path), "run/x.sock") ||
		c.ExtauthSocket.Pos.Line != 1 {
		t.Errorf("%s %+v", problems, c.ExtauthSocket)
	}
	if c, _, _ := load(t, external); c.ExtauthSocket != nil {
		t.Errorf("a socket out of nothing: %+v", c.ExtauthSocket)
	}
	for source, want := range map[string]string{
		"gatehouse_extauth_socket = ''":                                            `want the path of a socket such as "/run/gatehouse/extauth.sock"`,
		"gatehouse_extauth_socket = '/run/'":                                       `"/run/" is a directory; want the path of a socket in it`,
		"gatehouse_extauth_socket = '/" + strings.Repeat("x", 107) + "'":           "is too long for a socket: 108 bytes",
		"gatehouse_admin = '/run/x.sock' gatehouse_extauth_socket = '/run/x.sock'": "/run/x.sock is used by gatehouse_admin already; they have different rights, so give it a path of its own",
	} {
		_, _, problems := load(t, source+"\n"+external)
		if !strings.HasPrefix(problems, "prosody.cfg.lua:1: gatehouse_extauth_socket: ") || !strings.Contains(problems, want) {
			t.Errorf("%s: got %q, want %q", source, problems, want)
		}
	}
}

func TestLoad_proxyProtocolFrom(t *testing.T) {
	tests := []struct{ value, want, trouble string }{
		{"{}", "[]", ""},
		{"'10.0.0.7'", "[10.0.0.7/32]", ""},
		{"{ '10.1.2.3/8', '2001:db8::1', '2001:db8::/32', '::ffff:192.0.2.0/120', '::ffff:192.0.2.9', '10.0.0.0/8' }",
			"[10.0.0.0/8 2001:db8::1/128 2001:db8::/32 192.0.2.0/24 192.0.2.9/32]", ""},
		{"'0.0.0.0/0'", "[0.0.0.0/0]", "0.0.0.0/0 is everybody: whoever connects may say that he comes from any address"},
		{"'lb.example'", "", `want IP addresses or networks such as "10.0.0.7" or "10.0.0.0/24", got "lb.example"`},
		{"{ '10.0.0.0/33', 'fe80::1%eth0', '::ffff:0:0/90', '' }", "", `want IP addresses or networks such as "10.0.0.7" or "10.0.0.0/24", got "10.0.0.0/33"
want IP addresses or networks such as "10.0.0.7" or "10.0.0.0/24", got "fe80::1%eth0"
want IP addresses or networks such as "10.0.0.7" or "10.0.0.0/24", got "::ffff:0:0/90"
want IP addresses or networks such as "10.0.0.7" or "10.0.0.0/24", got ""`},
	}
	for _, test := range tests {
		c, warnings, problems := load(t, "gatehouse_proxy_protocol_from = "+test.value+"\n"+external)
		got := strings.ReplaceAll(warnings+problems, "prosody.cfg.lua:1: gatehouse_proxy_protocol_from: ", "")
		if got != test.trouble || problems == "" && fmt.Sprint(c.ProxyProtocolFrom) != test.want {
			t.Errorf("%s: %v, %q; want %s, %q", test.value, c.ProxyProtocolFrom, got, test.want, test.trouble)
		}
	}
}
