package main

import (
	"strings"
	"testing"
)

// TestCheckCmd_hiddenClients: where a proxy on the same machine hides who the clients are, and nowhere else.
func TestCheckCmd_hiddenClients(t *testing.T) {
	const (
		warns     = "only a proxy on this machine comes there"
		proxy     = `have it send the PROXY protocol and set gatehouse_proxy_protocol_from = { "127.0.0.1" }`
		otherwise = `, or gatehouse_guard_allow = {}, gatehouse_guard_address_attempts = 0, gatehouse_unauthed_connections_per_address = 0`
	)
	for _, c := range []struct {
		name, config string
		want, not    []string
	}{
		{"public", ``, nil, []string{warns}},
		{"one public address", `interfaces = '192.0.2.1'`, nil, []string{warns}},
		{"a public address and loopback", `interfaces = { '127.0.0.1', '192.0.2.1' }`, nil, []string{warns}},
		{"loopback", `interfaces = '127.0.0.1'`, []string{
			"prosody.cfg.lua:3: interfaces: 127.0.0.1:5222: " + warns + ", and does not say whose connection it is, so that " +
				"the guard counts no wrong passwords, and no more than 1000 clients can be at their login; " + proxy + otherwise}, nil},
		{"IPv6", "interfaces = '::1'\nc2s_ports = { 5222 }", []string{"prosody.cfg.lua:3: interfaces: [::1]:5222: ", `gatehouse_proxy_protocol_from = { "::1" }`}, nil},
		{"PROXY protocol", `interfaces = '127.0.0.1' gatehouse_proxy_protocol_from = '127.0.0.1'`, nil, []string{warns}},
		{"PROXY protocol by one of two", `interfaces = { '::1', '127.0.0.1' } gatehouse_proxy_protocol_from = '127.0.0.0/8'`, nil, []string{warns}},
		{"another loopback address", `interfaces = '127.0.0.2'`, []string{"127.0.0.2:5222: ", proxy}, nil},
		{"PROXY protocol from elsewhere", `interfaces = '127.0.0.1' gatehouse_proxy_protocol_from = '10.0.0.1'`, []string{proxy}, nil},
		{"one port of two", `c2s_direct_tls_ports = { 5223 } c2s_direct_tls_interfaces = '127.0.0.1'`,
			[]string{"c2s_direct_tls_interfaces: 127.0.0.1:5223: ", proxy}, []string{otherwise, ":5222: "}},
		{"loopback is not exempt", `interfaces = '127.0.0.1' gatehouse_guard_allow = {}`,
			[]string{"so that 50 wrong passwords of one turn others away, and no more", ", or gatehouse_guard_address_attempts = 0, gatehouse_unauthed"}, []string{"counts no"}},
		{"no guard", `interfaces = '127.0.0.1' gatehouse_guard = false`, []string{"so that no more than 1000", ", or gatehouse_unauthed_connections_per_address = 0"}, []string{"guard"}},
		{"taken care of", `interfaces = '127.0.0.1' gatehouse_guard_allow = {} gatehouse_guard_address_attempts = 0 gatehouse_unauthed_connections_per_address = 0`,
			nil, []string{warns}},
		{"a web proxy", `gatehouse_websocket_ports = { 5281 } gatehouse_websocket_interfaces = '127.0.0.1'`, nil, []string{warns}},
		{"a web proxy that is not believed", `gatehouse_websocket_ports = { 5281 } gatehouse_websocket_interfaces = '127.0.0.1' trusted_proxies = '10.0.0.1'`,
			[]string{"gatehouse_websocket_interfaces: 127.0.0.1:5281: ", `; set trusted_proxies = { "127.0.0.1" }`}, []string{"PROXY protocol", otherwise}},
		{"Prosody's HTTP port", `modules_enabled = { 'websocket' } http_ports = { 5280 } trusted_proxies = {}`,
			[]string{"prosody.cfg.lua:3: http_ports: 127.0.0.1:5280, [::1]:5280: ", `set trusted_proxies = { "127.0.0.1" }`}, nil},
		{"a trial", `interfaces = '127.0.0.1' VirtualHost 'localhost' authentication = 'external' external_auth_command = './auth.sh'`, nil, []string{warns}},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := "\nVirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh'"
			if strings.Contains(c.config, "VirtualHost") {
				host = ""
			}
			dir := checkDir(t, map[string]string{"auth.sh": yesScript, "prosody.cfg.lua": selfSignedHead + c.config + host})
			code, _, stderr := checked(t, dir, "--quiet")
			if code != 0 {
				t.Errorf("exit code %d", code)
			}
			for _, want := range c.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("no %q in\n%s", want, stderr)
				}
			}
			for _, not := range c.not {
				if strings.Contains(stderr, not) {
					t.Errorf("%q in\n%s", not, stderr)
				}
			}
		})
	}
}
