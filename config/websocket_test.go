package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestLoad_webSocketPorts(t *testing.T) {
	const on = "modules_enabled = { 'roster'; 'websocket' } "
	const host = "VirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh' "
	const silent = "c2s_ports = 0 interfaces = '127.0.0.1' "
	tests := []struct{ name, source, want, trouble string }{
		{"none", external, "", ""},
		{"ours", "gatehouse_websocket_ports = { 5281, '443' }\n" + external,
			"tcp4 :5281 tls; tcp4 :443 tls; tcp6 :5281? tls; tcp6 :443? tls", ""},
		{"ours, where", "interfaces = '192.0.2.1' gatehouse_websocket_interfaces = { '127.0.0.1' } gatehouse_websocket_ports = 5281\n" + external,
			"tcp4 127.0.0.1:5281 tls", ""},
		{"ours, as c2s", "interfaces = '192.0.2.1' gatehouse_websocket_ports = 5281\n" + external, "tcp4 192.0.2.1:5281 tls", ""},
		{"ours alone", "c2s_ports = {} gatehouse_websocket_ports = 5281 use_ipv6 = false\n" + external, "tcp4 :5281 tls", ""},

		{"Prosody's", on + "http_ports = { 5280 } https_ports = { 5281 }\n" + external,
			"tcp4 127.0.0.1:5280; tcp6 [::1]:5280?; tcp4 :5281 tls; tcp6 :5281? tls", ""},
		{"Prosody's, where", on + "http_ports = 5280 https_ports = 5281 http_interfaces = '*' https_interfaces = '::1'\n" + external,
			"tcp4 :5280; tcp6 [::1]:5281 tls", ""},
		{"Prosody's, by old names", on + "http_ports = 5280 https_ports = 5281 http_interface = '127.0.0.2' https_interface = '127.0.0.3'\n" + external,
			"tcp4 127.0.0.2:5280; tcp4 127.0.0.3:5281 tls", ""},
		{"Prosody's, local", on + "http_ports = 5280 interfaces = '192.0.2.1' local_interfaces = '127.0.0.2'\n" + external, "tcp4 127.0.0.2:5280", ""},
		{"Prosody's, no IPv4", on + "http_ports = 5280 use_ipv4 = false\n" + external, "tcp6 [::1]:5280?", ""},
		{"Prosody's, none", on + "http_ports = {}\n" + external, "", ""},
		{"of a host", "http_ports = 5280 use_ipv6 = false\n" + host + on, "tcp4 127.0.0.1:5280", ""},
		{"of a host, the module of all", on + "http_ports = 5280 use_ipv6 = false\n" + host + "modules_enabled = { 'x' }", "tcp4 127.0.0.1:5280", ""},
		{"of a host that is Prosody's", "http_ports = 5280\n" + external + "VirtualHost 'b' " + on, "", ""},
		{"of one host", "http_ports = 5280 use_ipv6 = false\n" + host + "\n" + strings.Replace(host, "a.example", "b.example", 1) + on, "tcp4 127.0.0.1:5280", ""},
		{"no host", on + "http_ports = 5280 use_ipv6 = false\nVirtualHost 'b'", "tcp4 127.0.0.1:5280", "prosody.cfg.lua: " + nothingToServe},
		{"no host, no port", on + "\nVirtualHost 'b'", "", "prosody.cfg.lua: " + nothingToServe},
		{"without the module", "http_ports = 5280 https_ports = 5281\n" + external, "", ""},
		{"disabled", on + "http_ports = 5280 modules_disabled = { 'websocket' }\n" + external, "", ""},
		{"disabled for the host", on + "http_ports = 5280\n" + host + "modules_disabled = { 'websocket' }", "", ""},
		{"odd lists", "modules_enabled = { 1, {}, { 'websocket' } } modules_disabled = function() end http_ports = 5280\n" + external, "", ""},
		{"ours instead of Prosody's", on + "http_ports = 5280 gatehouse_websocket_ports = 5281 use_ipv6 = false\n" + external, "tcp4 :5281 tls", ""},
		{"left to Prosody", on + "http_ports = 5280 gatehouse_websocket_ports = {}\n" + external, "", ""},
		{"nobody's", on + "\n" + external, "", `prosody.cfg.lua:1: modules_enabled: has "websocket", but no port is named, and gatehouse takes none unasked (Prosody would listen on 5280 and 5281); set gatehouse_websocket_ports = { 5281 }, or {} to leave WebSocket to Prosody`},
		{"nobody's, of a host", external + on, "", `prosody.cfg.lua:2: host a.example: modules_enabled: has "websocket", but no port is named, and gatehouse takes none unasked (Prosody would listen on 5280 and 5281); set gatehouse_websocket_ports = { 5281 }, or {} to leave WebSocket to Prosody`},

		{"a port of c2s", "\ngatehouse_websocket_ports = { 5222 } interfaces = '127.0.0.1'\n" + external, "",
			"prosody.cfg.lua:2: gatehouse_websocket_ports: 127.0.0.1:5222 is used by c2s_ports already"},
		{"a port of direct TLS", "c2s_direct_tls_ports = 443 interfaces = '127.0.0.1'\ngatehouse_websocket_ports = 443\n" + external, "",
			"prosody.cfg.lua:2: gatehouse_websocket_ports: 127.0.0.1:443 is used by c2s_direct_tls_ports already"},
		{"all addresses over one of c2s", "c2s_interfaces = '127.0.0.1' gatehouse_websocket_ports = { 5222 } gatehouse_websocket_interfaces = '*'\n" + external, "",
			"prosody.cfg.lua:1: gatehouse_websocket_ports: :5222 is used by c2s_ports already"},
		{"one address under all of c2s", "gatehouse_websocket_ports = { 5222 } gatehouse_websocket_interfaces = '::1'\n" + external, "",
			"prosody.cfg.lua:1: gatehouse_websocket_ports: [::1]:5222 is used by c2s_ports already"},
		{"both of Prosody's", on + "http_ports = 5280\nhttps_ports = 5280 https_interfaces = '127.0.0.1'\n" + external, "",
			`prosody.cfg.lua:2: https_ports: 127.0.0.1:5280 is used by http_ports already; gatehouse takes the port because modules_enabled has "websocket", and does not where gatehouse_websocket_ports is set`},
		{"the admin's", "gatehouse_admin = '127.0.0.1:5281' interfaces = '*'\ngatehouse_websocket_ports = 5281\n" + external, "",
			"prosody.cfg.lua:2: gatehouse_websocket_ports: 127.0.0.1:5281 is used by gatehouse_admin already"},
		{"the admin's, of c2s", "gatehouse_admin = '[::1]:5222' interfaces = '::1' c2s_ports = 5222\n" + external, "",
			"prosody.cfg.lua:1: c2s_ports: [::1]:5222 is used by gatehouse_admin already"},
		{"the admin's, of Prosody", on + "gatehouse_admin = '127.0.0.1:5280' http_ports = 5280\n" + external, "",
			`prosody.cfg.lua:1: http_ports: 127.0.0.1:5280 is used by gatehouse_admin already; gatehouse takes the port because modules_enabled has "websocket", and does not where gatehouse_websocket_ports is set`},
		{"beside the admin", "gatehouse_admin = { '127.0.0.1:5281', '127.0.0.1:0', './x.sock' } gatehouse_websocket_ports = { 5281, 0 } gatehouse_websocket_interfaces = { '127.0.0.2', '::1' }\n" + external,
			"tcp4 127.0.0.2:5281 tls; tcp4 127.0.0.2:0 tls; tcp6 [::1]:5281 tls; tcp6 [::1]:0 tls", ""},
		{"any port, for all", silent + "gatehouse_websocket_ports = { 0, 0 } https_ports = 0\n" + external, "tcp4 127.0.0.1:0 tls; tcp4 127.0.0.1:0 tls", ""},
		{"no number", "gatehouse_websocket_ports = 'https'\n" + external, "", `prosody.cfg.lua:1: gatehouse_websocket_ports: want port numbers from 0 to 65535, got "https"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, warnings, problems := load(t, test.source)
			if got := strings.Trim(warnings+"\n"+problems, "\n"); got != test.trouble {
				t.Errorf("got\n%s\nwant\n%s", got, test.trouble)
			}
			var got []string
			for _, l := range c.Listeners {
				if !l.WebSocket {
					continue
				}
				s := l.Network + " " + l.Addr
				if l.Optional {
					s += "?"
				}
				if l.DirectTLS {
					s += " tls"
				}
				got = append(got, s)
				if l.Pos.IsZero() || l.Pos != c.Pos("*", l.Option) {
					t.Errorf("%s: %s is at %v", s, l.Option, l.Pos)
				}
			}
			if strings.Join(got, "; ") != test.want {
				t.Errorf("got %s, want %s", strings.Join(got, "; "), test.want)
			}
		})
	}
}

func TestLoad_webSocket(t *testing.T) {
	const port = "gatehouse_websocket_ports = 5281 "
	const loopback = "[127.0.0.1/32 ::1/128]"
	tests := []struct{ name, source, want, trouble string }{
		{"no ports", "consider_websocket_secure = 'x' trusted_proxies = function() end cross_domain_websocket = { {} }\n" + external, "[] any=false secure=false [] forwarded=false", ""},
		{"no ports, origins", "gatehouse_websocket_origins = '*'\n" + external, "[] any=false secure=false [] forwarded=false",
			"prosody.cfg.lua:1: gatehouse_websocket_origins: does nothing without gatehouse_websocket_ports"},
		{"defaults", port + "\n" + external, "[] any=false secure=false " + loopback + " forwarded=false", ""},
		{"proxies", port + "consider_websocket_secure = true trusted_proxies = { '10.0.0.0/8', '::ffff:192.0.2.1' } http_legacy_x_forwarded = false\n" + external,
			"[] any=false secure=true [10.0.0.0/8 192.0.2.1/32] forwarded=true", ""},
		{"no proxies", port + "trusted_proxies = {}\n" + external, "[] any=false secure=false [] forwarded=false", ""},
		{"bad proxies", port + "trusted_proxies = { 'proxy.example', '10.0.0.0/33' }\n" + external, "",
			`prosody.cfg.lua:1: trusted_proxies: want IP addresses or networks such as "10.0.0.7" or "10.0.0.0/24", got "proxy.example"
prosody.cfg.lua:1: trusted_proxies: want IP addresses or networks such as "10.0.0.7" or "10.0.0.0/24", got "10.0.0.0/33"`},
		{"everybody a proxy", port + "trusted_proxies = '::/0'\n" + external, "[] any=false secure=false [::/0] forwarded=false",
			"prosody.cfg.lua:1: trusted_proxies: ::/0 is everybody: whoever connects may say that he comes from any address"},
		{"secure", port + "consider_websocket_secure = 'maybe'\n" + external, "", `prosody.cfg.lua:1: consider_websocket_secure: want true or false, got "maybe"`},

		{"origins", port + "gatehouse_websocket_origins = { 'https://Example.org', 'http://localhost:8080/', 'capacitor://localhost', 'null', 'file://', 'https://[::1]:8443' }\n" + external,
			"[https://example.org http://localhost:8080 capacitor://localhost null file:// https://[::1]:8443] any=false secure=false " + loopback + " forwarded=false", ""},
		{"any origin", port + "gatehouse_websocket_origins = '*'\n" + external, "[] any=true secure=false " + loopback + " forwarded=false", ""},
		{"our origins go first", port + "cross_domain_websocket = true gatehouse_websocket_origins = {}\n" + external, "[] any=false secure=false " + loopback + " forwarded=false", ""},
		{"no origins", port + "gatehouse_websocket_origins = { 'example.org', 'https://', 'https://example.org/chat', 'https://u@example.org', 'https://*.example.org', 'https://a?b', '' }\n" + external, "",
			`prosody.cfg.lua:1: gatehouse_websocket_origins: want origins such as "https://example.org" or "https://example.org:8443", or "*" for all, got "example.org"
prosody.cfg.lua:1: gatehouse_websocket_origins: want origins such as "https://example.org" or "https://example.org:8443", or "*" for all, got "https://"
prosody.cfg.lua:1: gatehouse_websocket_origins: want origins such as "https://example.org" or "https://example.org:8443", or "*" for all, got "https://example.org/chat"
prosody.cfg.lua:1: gatehouse_websocket_origins: want origins such as "https://example.org" or "https://example.org:8443", or "*" for all, got "https://u@example.org"
prosody.cfg.lua:1: gatehouse_websocket_origins: want origins such as "https://example.org" or "https://example.org:8443", or "*" for all, got "https://*.example.org"
prosody.cfg.lua:1: gatehouse_websocket_origins: want origins such as "https://example.org" or "https://example.org:8443", or "*" for all, got "https://a?b"
prosody.cfg.lua:1: gatehouse_websocket_origins: want origins such as "https://example.org" or "https://example.org:8443", or "*" for all, got ""`},
		{"Prosody's, all", port + "cross_domain_websocket = true\n" + external, "[] any=true secure=false " + loopback + " forwarded=false", ""},
		{"Prosody's, all in a list", port + "cross_domain_websocket = { '*' }\n" + external, "[] any=true secure=false " + loopback + " forwarded=false", ""},
		{"Prosody's, none", port + "cross_domain_websocket = false\n" + external, "[] any=false secure=false " + loopback + " forwarded=false", ""},
		{"Prosody's, one", port + "cross_domain_websocket = 'https://a.example'\n" + external, "[https://a.example] any=false secure=false " + loopback + " forwarded=false", ""},
		{"Prosody's, of hosts", port + "cross_domain_websocket = { 'https://a.example' }\n" + external + "cross_domain_websocket = { 'https://b.example' }",
			"[https://a.example https://b.example] any=false secure=false " + loopback + " forwarded=false", ""},
		{"Prosody's, all for a host", port + "\n" + external + "cross_domain_websocket = true", "[] any=false secure=false " + loopback + " forwarded=false",
			"prosody.cfg.lua:3: host a.example: cross_domain_websocket: true counts in the global section only, and is not used"},
		{"Prosody's, nonsense", port + "cross_domain_websocket = { 'a.example', 7 }\n" + external, "[] any=false secure=false " + loopback + " forwarded=false",
			`prosody.cfg.lua:1: cross_domain_websocket: "a.example" is no origin such as "https://example.org", and is not used
prosody.cfg.lua:1: cross_domain_websocket: 7 is no origin such as "https://example.org", and is not used`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, warnings, problems := load(t, test.source)
			if got := strings.Trim(warnings+"\n"+problems, "\n"); got != test.trouble {
				t.Errorf("got\n%s\nwant\n%s", got, test.trouble)
			}
			w := c.WebSocket
			got := fmt.Sprintf("%v any=%t secure=%t %v forwarded=%t", w.Origins, w.AnyOrigin, w.ConsiderSecure, w.TrustedProxies, w.Forwarded)
			if problems == "" && got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestLoad_webSocketPaths(t *testing.T) {
	const port = "gatehouse_websocket_ports = 5281 "
	const host = "VirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh' "
	b := strings.Replace(host, "a.example", "b.example", 1)
	tests := []struct{ name, source, want, trouble string }{
		{"no port", "http_paths = { websocket = '/chat' }\n" + host, "[]", ""},
		{"default", port + host, "[/xmpp-websocket /ws]", ""},
		{"other paths", port + "http_paths = { bosh = '/b' }\n" + host, "[/xmpp-websocket /ws]", ""},
		{"no table", port + "http_paths = 'x'\n" + host, "[/xmpp-websocket /ws]", ""},
		{"one", port + "http_paths = { websocket = '/chat' }\n" + host + b, "[/chat /xmpp-websocket /ws]", ""},
		{"as Prosody mends it", port + "http_paths = { websocket = 'chat/ws/' }\n" + host, "[/chat/ws /xmpp-websocket /ws]", ""},
		{"root", port + "http_paths = { websocket = '/' }\n" + host, "[/ /xmpp-websocket /ws]", ""},
		{"ours", port + "http_paths = { websocket = '/ws' }\n" + host, "[/ws /xmpp-websocket]", ""},
		{"by host", port + "http_paths = { websocket = '/$host/ws' }\n" + host + b + "http_paths = { websocket = '/b' }", "[/a.example/ws /b /xmpp-websocket /ws]", ""},
		{"a host without", port + "http_paths = { websocket = '/all' }\n" + host + "http_paths = {}", "[/all /xmpp-websocket /ws]", ""},
		{"no path", port + "http_paths = { websocket = '/a?b' }\n" + host, "[/xmpp-websocket /ws]",
			`prosody.cfg.lua:1: http_paths: websocket: want a path such as "/chat", got "/a?b"; it is not used`},
		{"no string", port + "http_paths = { websocket = {} }\n" + host, "[/xmpp-websocket /ws]",
			`prosody.cfg.lua:1: http_paths: websocket: want a path such as "/chat", got an empty table; it is not used`},
	}
	for _, test := range tests {
		c, warnings, problems := load(t, test.source)
		if warnings+problems != test.trouble || fmt.Sprint(c.WebSocket.Paths) != test.want {
			t.Errorf("%s: got %v, %s%s", test.name, c.WebSocket.Paths, warnings, problems)
		}
	}
}

func TestLoad_webSocketURL(t *testing.T) {
	tests := []struct{ url, trouble string }{
		{"wss://chat.example.org/xmpp-websocket", ""},
		{"wss://example.org:5281/ws?x=1", ""},
		{"ws://localhost:5280/ws", "ws://localhost:5280/ws is not encrypted; clients on other machines want wss://"},
		{"https://example.org/ws", `want a URL such as "wss://example.org/xmpp-websocket", got "https://example.org/ws"`},
		{"wss:///ws", `want a URL such as "wss://example.org/xmpp-websocket", got "wss:///ws"`},
		{"wss://u:p@example.org/ws", `want a URL such as "wss://example.org/xmpp-websocket", got "wss://u:p@example.org/ws"`},
		{"wss://example.org/ws#a", `want a URL such as "wss://example.org/xmpp-websocket", got "wss://example.org/ws#a"`},
		{"wss://example.org/<ws>", `want a URL such as "wss://example.org/xmpp-websocket", got "wss://example.org/<ws>"`},
		{"", `want a URL such as "wss://example.org/xmpp-websocket", got ""`},
	}
	for _, test := range tests {
		c, warnings, problems := load(t, external+fmt.Sprintf("gatehouse_websocket_url = %q", test.url))
		if got := strings.TrimPrefix(warnings+problems, "prosody.cfg.lua:2: host a.example: gatehouse_websocket_url: "); got != test.trouble {
			t.Errorf("%q: got\n%s\nwant\n%s", test.url, got, test.trouble)
		}
		if problems == "" && c.Hosts[0].WebSocketURL != test.url {
			t.Errorf("got %q, want %q", c.Hosts[0].WebSocketURL, test.url)
		}
	}
}
