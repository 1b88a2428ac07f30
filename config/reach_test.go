package config

import (
	"testing"
	"time"
)

// TestLoad_optionsReachTheConfig sets options that no other test sets, each to something that is not its default.
func TestLoad_optionsReachTheConfig(t *testing.T) {
	cert, key := makeCert(t, "ec", time.Hour, "port.example")
	files := []string{"p.crt", cert, "p.key", key}
	tests := []struct {
		source string
		holds  func(c *Config, h *Host) bool
	}{
		{"c2s_tcp_keepalives = false\n" + external, func(c *Config, _ *Host) bool { return !c.TCPKeepalives }},
		{"tcp_keepalives = false\n" + external, func(c *Config, _ *Host) bool { return !c.TCPKeepalives }},
		{"tcp_keepalives = false c2s_tcp_keepalives = true\n" + external, func(c *Config, _ *Host) bool { return c.TCPKeepalives }},
		{"legacy_ssl_ports = 5223 legacy_ssl_interface = '127.0.0.1'\n" + external, lastListensOn("127.0.0.1:5223")},
		{"legacy_ssl_ports = 5223 legacy_ssl_interfaces = '127.0.0.2'\n" + external, lastListensOn("127.0.0.2:5223")},
		{"c2s_direct_tls_ports = 5223 c2s_direct_tls_interface = '127.0.0.3'\n" + external, lastListensOn("127.0.0.3:5223")},
		{"c2s_interface = '127.0.0.4'\n" + external, lastListensOn("127.0.0.4:5222")},
		{"c2s_interfaces = { '127.0.0.5' } interfaces = '127.0.0.6'\n" + external, lastListensOn("127.0.0.5:5222")},
		{"c2s_unauthed_stanza_size_limit = 5000\n" + external, func(c *Config, _ *Host) bool { return c.UnauthedStanzaLimit == 5000 }},
		{"legacy_ssl_ssl = { certificate = 'p.crt', key = 'p.key' }\n" + external, func(c *Config, _ *Host) bool { return len(c.Certificates) == 1 }},
		{external + "gatehouse_external_auth_queue = 7", func(_ *Config, h *Host) bool { return h.External.Queue == 7 }},
		{external + "gatehouse_external_auth_start_timeout = 90", func(_ *Config, h *Host) bool { return h.External.StartTimeout == 90*time.Second }},
		{external + "gatehouse_external_auth_pty = false", func(_ *Config, h *Host) bool { return !h.External.PTY }},
		{external + "gatehouse_auth_cache = false gatehouse_auth_cache_yes = 7", func(_ *Config, h *Host) bool { return h.External.Cache == nil }},
		{external + "gatehouse_auth_cache = true", func(_ *Config, h *Host) bool {
			return *h.External.Cache == AuthCache{Yes: 5 * time.Minute, Entries: 10_000}
		}},
		{external + "gatehouse_auth_cache = true gatehouse_auth_cache_yes = 0 gatehouse_auth_cache_no = 1.5 gatehouse_auth_cache_outage = 3600 gatehouse_auth_cache_entries = 7", func(_ *Config, h *Host) bool {
			return *h.External.Cache == AuthCache{No: 1500 * time.Millisecond, Outage: time.Hour, Entries: 7}
		}},
		{external + "allow_registration = true", func(_ *Config, h *Host) bool { return h.AllowRegistration }},
		{external + "allow_unencrypted_plain_auth = true", func(_ *Config, h *Host) bool { return h.AllowUnencryptedPlain }},
		{external + "require_encryption = false", func(_ *Config, h *Host) bool { return !h.RequireEncryption }},
	}
	for _, test := range tests {
		c, _, problems := load(t, test.source, files...)
		if problems != "" || !test.holds(c, c.Hosts[0]) {
			t.Errorf("%s\ndoes not reach the config; problems: %q", test.source, problems)
		}
	}
}

func lastListensOn(addr string) func(*Config, *Host) bool {
	return func(c *Config, _ *Host) bool { return c.Listeners[len(c.Listeners)-1].Addr == addr }
}
