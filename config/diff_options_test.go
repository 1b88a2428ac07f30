package config

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// optionChange is a change of one option that has an effect.
type optionChange struct {
	option string
	// before and after are the option's values in Lua; empty where it is not set.
	before, after string
	// global and host are the rest of the config, as Lua: above the host, and in it.
	global, host string
}

const (
	hush       = "hush-hush-hush-hush-hush"
	hushSeed   = "NB2XG2BNNB2XG2BNNB2XG2BNNB2XG2BN"
	someSeed   = "XVGR73KMZH2M4XMY"
	byToken    = "authentication = 'token' token_secret = '0123456789abcdef' otp_seed = '" + someSeed + "' "
	minting    = byToken + "gatehouse_credentials = 'admin' gatehouse_credentials_user = 'shop' gatehouse_credentials_password = '0123456789abcdef' "
	passedOn   = "gatehouse_upstream = '127.0.0.1:5000' "
	passedFar  = "gatehouse_upstream = '192.0.2.1:5000' "
	mintedFor  = passedOn + "gatehouse_upstream_auth = 'token' gatehouse_upstream_token_secret = '0123456789abcdef' gatehouse_upstream_otp_seed = '" + someSeed + "' "
	withAdmin  = "gatehouse_admin = './admin.sock' "
	withAPI    = withAdmin + "gatehouse_auth_api_user = 'prosody' gatehouse_auth_api_password = '0123456789abcdef' "
	webSockets = "gatehouse_websocket_ports = 5281 "
	prosodyWeb = "modules_enabled = { 'websocket' } http_ports = 5280 https_ports = 5281 "
)

// optionChanges has a change of each of Options.
func optionChanges() []optionChange {
	return []optionChange{
		{option: "authentication", before: "'external'", after: "'external_insecure'", host: "external_auth_command = './auth.sh'"},
		{option: "enabled", before: "true", after: "false"},
		{option: "external_auth_command", before: "'./auth.sh'", after: "'./auth2.sh'"},
		{option: "external_auth_command", before: "'./auth.sh'", after: "'./auth.sh --password=" + hush + "'"},
		{option: "external_auth_command", before: "{ './auth.sh', '" + hush + "' }", after: "{ './auth.sh', 'x" + hush + "' }"},
		{option: "external_auth_protocol", after: "'ejabberd'"},
		{option: "external_auth_timeout", after: "7"},
		{option: "external_auth_processes", after: "4"},
		{option: "external_auth_blocking", after: "true"},
		{option: "gatehouse_external_auth_start_timeout", after: "60"},
		{option: "gatehouse_external_auth_pty", before: "true", after: "false"},
		{option: "gatehouse_external_auth_queue", after: "10"},
		{option: "gatehouse_auth_cache", after: "true"},
		{option: "gatehouse_auth_cache_yes", after: "10", host: "gatehouse_auth_cache = true"},
		{option: "gatehouse_auth_cache_no", after: "10", host: "gatehouse_auth_cache = true"},
		{option: "gatehouse_auth_cache_outage", after: "1000", host: "gatehouse_auth_cache = true"},
		{option: "gatehouse_auth_cache_entries", after: "10", host: "gatehouse_auth_cache = true"},

		{option: "token_secret", before: "'0123456789abcdef'", after: "'" + hush + "'", host: "authentication = 'token' otp_seed = '" + someSeed + "'"},
		{option: "otp_seed", before: "'" + someSeed + "'", after: "'" + hushSeed + "'", host: "authentication = 'token' token_secret = '0123456789abcdef'"},
		{option: "gatehouse_token_in_plain", after: "true", host: byToken},
		{option: "gatehouse_token_check_user", after: "true", host: byToken + "external_auth_command = './auth.sh'"},

		{option: "gatehouse_credentials", before: "'admin'", after: "'web'", global: withAdmin + webSockets, host: minting},
		{option: "gatehouse_credentials_user", before: "'shop'", after: "'forum'", global: withAdmin, host: minting},
		{option: "gatehouse_credentials_password", before: "'0123456789abcdef'", after: "'" + hush + "'", global: withAdmin, host: minting},
		{option: "gatehouse_credentials_bearer", after: "'" + hush + "'", global: withAdmin, host: minting},
		{option: "gatehouse_credentials_rate", after: "5", global: withAdmin, host: minting},

		{option: "gatehouse_upstream", before: "'127.0.0.1:5000'", after: "'127.0.0.1:5001'"},
		{option: "gatehouse_upstream_auth", before: "'ticket'", after: "'password'", global: withAPI, host: passedOn},
		{option: "gatehouse_upstream_tls", after: "'direct'", host: passedFar},
		{option: "gatehouse_upstream_tls_name", after: "'b.example'", host: passedFar},
		{option: "gatehouse_upstream_trust", after: "'ca.crt'", host: passedFar},
		{option: "gatehouse_upstream_allow_unencrypted", after: "true", host: passedFar},
		{option: "gatehouse_upstream_timeout", after: "9", host: passedOn},
		{option: "gatehouse_upstream_proxy_protocol", after: "2", host: passedOn},
		{option: "gatehouse_upstream_token_secret", before: "'0123456789abcdef'", after: "'" + hush + "'", host: mintedFor},
		{option: "gatehouse_upstream_otp_seed", before: "'" + someSeed + "'", after: "'" + hushSeed + "'", host: mintedFor},
		{option: "gatehouse_upstream_ca", before: "{ certificate = 'ca.crt', key = 'ca.key' }", after: "{ certificate = 'ca2.crt', key = 'ca2.key' }",
			host: passedOn + "gatehouse_upstream_auth = 'external'"},
		{option: "gatehouse_extauth_socket", after: "'./extauth.sock'"},
		{option: "gatehouse_auth_api_user", before: "'prosody'", after: "'ejabberd'", global: withAPI},
		{option: "gatehouse_auth_api_password", before: "'0123456789abcdef'", after: "'" + hush + "'", global: withAPI},

		{option: "gatehouse_guard", after: "false"},
		{option: "gatehouse_guard_attempts", after: "3"},
		{option: "gatehouse_guard_address_attempts", after: "30"},
		{option: "gatehouse_guard_user_attempts", after: "30"},
		{option: "gatehouse_guard_half_life", after: "60"},
		{option: "gatehouse_guard_delay", after: "1"},
		{option: "gatehouse_guard_allow", after: "{}"},

		{option: "c2s_require_encryption", after: "false"},
		{option: "require_encryption", after: "false"},
		{option: "allow_unencrypted_plain_auth", after: "true", host: "c2s_require_encryption = false"},
		{option: "disable_sasl_mechanisms", after: "{ 'PLAIN' }", host: "token_secret = '0123456789abcdef' otp_seed = '" + someSeed + "'"},
		{option: "allow_registration", after: "true"},
		{option: "conflict_resolve", after: "'random'"},

		{option: "c2s_ports", before: "5222", after: "{ 5222, 5322 }"},
		{option: "c2s_direct_tls_ports", after: "5223"},
		{option: "legacy_ssl_ports", after: "5223"},
		{option: "interfaces", after: "'127.0.0.1'"},
		{option: "interface", after: "'127.0.0.1'"},
		{option: "c2s_interfaces", after: "'127.0.0.1'"},
		{option: "c2s_interface", after: "'127.0.0.1'"},
		{option: "c2s_direct_tls_interfaces", after: "'127.0.0.1'", global: "c2s_direct_tls_ports = 5223"},
		{option: "c2s_direct_tls_interface", after: "'127.0.0.1'", global: "c2s_direct_tls_ports = 5223"},
		{option: "legacy_ssl_interfaces", after: "'127.0.0.1'", global: "legacy_ssl_ports = 5223"},
		{option: "legacy_ssl_interface", after: "'127.0.0.1'", global: "legacy_ssl_ports = 5223"},
		{option: "use_ipv4", after: "false"},
		{option: "use_ipv6", after: "false"},
		{option: "gatehouse_proxy_protocol_from", after: "{ '192.0.2.0/24' }"},
		{option: "gatehouse_websocket_ports", after: "5281"},
		{option: "gatehouse_websocket_interfaces", after: "'127.0.0.1'", global: webSockets},
		{option: "http_ports", before: "5280", after: "5290", global: prosodyWeb},
		{option: "https_ports", before: "5281", after: "5291", global: prosodyWeb},
		{option: "http_interfaces", after: "'127.0.0.2'", global: prosodyWeb},
		{option: "http_interface", after: "'127.0.0.2'", global: prosodyWeb},
		{option: "local_interfaces", after: "'127.0.0.2'", global: prosodyWeb},
		{option: "https_interfaces", after: "'127.0.0.2'", global: prosodyWeb},
		{option: "https_interface", after: "'127.0.0.2'", global: prosodyWeb},
		{option: "http_paths", after: "{ websocket = '/chat' }", global: webSockets},
		{option: "gatehouse_websocket_origins", after: "'https://a.example'", global: webSockets},
		{option: "cross_domain_websocket", after: "true", global: webSockets},
		{option: "gatehouse_websocket_url", after: "'wss://a.example/ws'", global: webSockets},
		{option: "consider_websocket_secure", after: "true", global: webSockets},
		{option: "trusted_proxies", after: "'192.0.2.1'", global: webSockets},
		{option: "http_legacy_x_forwarded", after: "false", global: webSockets},
		{option: "c2s_timeout", after: "'2 minutes'"},
		{option: "gatehouse_tls_handshake_timeout", after: "5"},
		{option: "gatehouse_connections", after: "100"},
		{option: "gatehouse_unauthed_connections", after: "50"},
		{option: "gatehouse_unauthed_connections_per_address", after: "5"},
		{option: "limits", after: "{ c2s = { rate = '3kb/s' } }"},
		{option: "c2s_unauthed_stanza_size_limit", after: "20000"},
		{option: "c2s_stanza_size_limit", after: "20000"},
		{option: "c2s_tcp_keepalives", after: "false"},
		{option: "tcp_keepalives", after: "false"},

		{option: "ssl", after: "{ protocol = 'tlsv1_3' }"},
		{option: "c2s_ssl", after: "{ protocol = 'tlsv1_3' }"},
		{option: "c2s_direct_tls_ssl", after: "{ certificate = 'ca.crt', key = 'ca.key' }"},
		{option: "legacy_ssl_ssl", after: "{ certificate = 'ca.crt', key = 'ca.key' }"},
		{option: "tls_profile", after: "'modern'"},
		{option: "certificates", after: "'.'"},
		{option: "certificate", after: "'ca.crt'"},

		{option: "log", after: "'*syslog'"},
		{option: "gatehouse_log", after: "'*syslog'"},
		{option: "gatehouse_log_format", after: "'json'"},
		{option: "debug", after: "true"},
		{option: "gatehouse_admin", after: "'./admin.sock'"},
		{option: "gatehouse_shutdown_timeout", after: "20"},
		{option: "gatehouse_data_dir", after: "'data'"},
		{option: "gatehouse_state", before: "'redis://u:0123456789@127.0.0.1:6379/0'", after: "'redis://u:" + hush + "@127.0.0.1:6379/0'"},
		{option: "gatehouse_self_signed", after: "true"},
	}
}

// configs writes the two files: with the option in the global section, and for one that hosts may have, in the host.
func (c optionChange) configs(inHost bool) (before, after string) {
	write := func(value string) string {
		set := ""
		if value != "" {
			set = c.option + " = " + value + "\n"
		}
		host := c.host
		if c.option != "authentication" && !strings.Contains(host, "authentication = 'token'") {
			host = "authentication = 'external'\n" + host
			if c.option != "external_auth_command" {
				host += "\nexternal_auth_command = './auth.sh'"
			}
		}
		if inHost {
			return c.global + "\nVirtualHost 'a.example'\n" + host + "\n" + set
		}
		return c.global + "\n" + set + "VirtualHost 'a.example'\n" + host + "\n"
	}
	return write(c.before), write(c.after)
}

// TestDiff_everyOption: a change of any option is named, by the option and the host that it was made in, and a secret is
// not shown.
func TestDiff_everyOption(t *testing.T) {
	dir := writeFiles(t, "auth.sh", "#!/bin/sh\n", "auth2.sh", "#!/bin/sh\n", "certs/README", "")
	for _, name := range []string{"ca", "ca2"} {
		cert, key := makeCA(t, 1000*time.Hour, x509.KeyUsageCertSign)
		writeFile(t, dir+"/"+name+".crt", cert)
		writeFile(t, dir+"/"+name+".key", key)
	}
	all := optionChanges()
	for _, option := range Options {
		cases := slices.DeleteFunc(slices.Clone(all), func(c optionChange) bool { return c.option != option.Name })
		if len(cases) == 0 {
			t.Errorf("%s: there is no change of it in optionChanges; add one here, and its effect in the integration test TestReload_everyOption", option.Name)
		}
		for _, c := range cases {
			for _, inHost := range []bool{false, true} {
				if inHost && option.Global || !inHost && strings.Contains(c.host, c.option+" =") {
					continue
				}
				t.Run(fmt.Sprint(c.option, map[bool]string{true: " of a host", false: ""}[inHost]), func(t *testing.T) {
					c.check(t, dir, inHost)
				})
			}
		}
	}
}

func (c optionChange) check(t *testing.T, dir string, inHost bool) {
	before, after := c.configs(inHost)
	var found []string
	host := ""
	if inHost {
		host = "a.example"
	}
	text := ""
	for _, diff := range Diff(loadAt(t, dir, before), loadAt(t, dir, after)) {
		text += diff.String() + "; "
		switch {
		case diff.Option == OptionCertificate && !strings.Contains(diff.New, "ca.crt"): // what the files are
		case diff.Option == c.option, diff.Option == OptionHost && c.option == "enabled":
			found = append(found, diff.String())
		default:
			t.Errorf("another option is named: %s", diff)
		}
		if diff.Option == c.option && diff.Option != OptionCertificate && diff.Host != host {
			t.Errorf("it is said to be of host %q: %s", diff.Host, diff)
		}
	}
	if len(found) != 1 {
		t.Errorf("named %d times in %q", len(found), text)
	}
	for _, value := range []string{hush, hushSeed, "0123456789", someSeed} {
		if strings.Contains(text, value) {
			t.Errorf("a secret is shown: %s", text)
		}
	}
}
