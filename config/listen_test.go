package config

import (
	"strings"
	"testing"
	"time"
)

func TestLoad_listeners(t *testing.T) {
	tests := []struct{ name, source, want string }{
		{"default", "", "tcp4 :5222; tcp6 :5222?"},
		{"one number", "c2s_ports = 5223", "tcp4 :5223; tcp6 :5223?"},
		{"strings", "c2s_ports = { '5222', 0 }", "tcp4 :5222; tcp4 :0; tcp6 :5222?; tcp6 :0?"},
		{"direct TLS", "c2s_ports = {} c2s_direct_tls_ports = { 5223 } legacy_ssl_ports = 5224", "tcp4 :5223 tls; tcp6 :5223? tls; tcp4 :5224 tls; tcp6 :5224? tls"},
		{"interfaces", "interfaces = { '*', '::', '127.0.0.1', '::1', 'localhost' }", "tcp4 :5222; tcp6 :5222; tcp4 127.0.0.1:5222; tcp6 [::1]:5222"},
		{"one interface", "interface = '192.0.2.1'", "tcp4 192.0.2.1:5222"},
		{"per service", "interfaces = '127.0.0.1' c2s_direct_tls_interfaces = { '::1' } c2s_direct_tls_ports = { 5222 }", "tcp4 127.0.0.1:5222; tcp6 [::1]:5222 tls"},
		{"no IPv6", "use_ipv6 = false", "tcp4 :5222"},
		{"no IPv4", "use_ipv4 = false", "tcp6 :5222?"},
		{"same port twice", "c2s_ports = { 5222, 5222 }", "tcp4 :5222; tcp6 :5222?"},
		{"direct TLS by both names", "c2s_ports = {} c2s_direct_tls_ports = { 5223 } legacy_ssl_ports = { 5223 }", "tcp4 :5223 tls; tcp6 :5223? tls"},
		{"two random ports", "c2s_ports = 0 c2s_direct_tls_ports = 0 interfaces = '127.0.0.1'", "tcp4 127.0.0.1:0; tcp4 127.0.0.1:0 tls"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, _, problems := load(t, test.source+"\n"+external)
			if problems != "" {
				t.Fatal(problems)
			}
			var got []string
			for _, l := range c.Listeners {
				s := l.Network + " " + l.Addr
				if l.Optional {
					s += "?"
				}
				if l.DirectTLS {
					s += " tls"
				}
				got = append(got, s)
			}
			if strings.Join(got, "; ") != test.want {
				t.Errorf("got %s, want %s", strings.Join(got, "; "), test.want)
			}
		})
	}
}

func TestLoad_loginTimeout(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"60": time.Minute, "'2'": 2 * time.Second, "0.5": 500 * time.Millisecond, "'2 minutes'": 2 * time.Minute,
		"'90s'": 90 * time.Second, "'1 hour'": time.Hour, "'10 mins'": 10 * time.Minute,
	} {
		c, _, problems := load(t, "c2s_timeout = "+value+"\n"+external)
		if problems != "" || c.LoginTimeout != want {
			t.Errorf("%s: %s %v, want %v", value, problems, c, want)
		}
	}
	for _, value := range []string{"0", "-1", "'soon'", "'2 parsecs'", "{}", "true", "'9999 hours'"} {
		if _, _, problems := load(t, "c2s_timeout = "+value+"\n"+external); !strings.Contains(problems, "want a") {
			t.Errorf("%s: problems %q", value, problems)
		}
	}
}
