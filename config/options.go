package config

import (
	"slices"
	"strings"
)

// OptionInfo describes one option that gatehouse reads.
type OptionInfo struct {
	Name string
	// Type and Default are as a person would say them in Lua; an empty Default means that there is none.
	Type    string
	Default string
	Meaning string
	// Global says that the option counts in the global section only, above the first VirtualHost.
	Global bool
}

// Options are all the options that gatehouse reads. What is not among them belongs to Prosody. docs/options.md shows this
// list, and a test keeps the two equal.
var Options = []OptionInfo{
	{"authentication", "string", "", `"external" or "external_insecure": passwords are checked by a script; "token": X-TOKEN. A host with any other value is left to Prosody.`, false},
	{"enabled", "boolean", "true", "false leaves the host alone.", false},

	{"external_auth_command", "string or list", "", "The script. A string is a path if there is such a file, otherwise it is split like a shell command line (quotes and backslashes; there is no shell). A list is a program and its arguments as they are. Bare names are found in PATH, relative paths are relative to the config file, whose directory is the script's working directory.", false},
	{"external_auth_protocol", "string", `"generic"`, `"generic" (lines) or "ejabberd" (length-prefixed).`, false},
	{"external_auth_timeout", "number of seconds", "5", "How long a query may take, waiting for a free script included. Fractions are allowed.", false},
	{"external_auth_processes", "whole number", "1", "How many scripts run side by side; 1 in blocking mode.", false},
	{"external_auth_blocking", "boolean", "false", "One query at a time for the host.", false},
	{"gatehouse_external_auth_start_timeout", "number of seconds", "30", "How long the first answer of a script that was just started may take.", false},
	{"gatehouse_external_auth_pty", "boolean", "", "Whether the script gets a pseudo-terminal; true for the generic protocol, and not possible with ejabberd's.", false},
	{"gatehouse_external_auth_queue", "whole number", "1000", "How many queries may wait for a free script; further ones fail at once.", false},
	{"gatehouse_auth_cache", "boolean", "false", "The script's verdicts on passwords are remembered for a while (docs/cache.md). Equal queries that are in flight at the same time are put to it once in any case.", false},
	{"gatehouse_auth_cache_yes", "number of seconds", "300", "How long a yes counts without asking again. That long a password may work that was changed, or whose account was removed, elsewhere than through gatehouse. 0: always ask.", false},
	{"gatehouse_auth_cache_no", "number of seconds", "0", "How long a no counts without asking again.", false},
	{"gatehouse_auth_cache_outage", "number of seconds", "0", "How long after it was given a yes counts if the script cannot say: it is down, hangs or is overloaded. 0: not at all.", false},
	{"gatehouse_auth_cache_entries", "whole number", "10000", "How many yeses are remembered for the host; and as many noes, but no more than 1000.", false},

	{"token_secret", "string or list", "", "The HMAC key of tokens, as raw bytes. A list holds several, the newest first.", false},
	{"otp_seed", "string or list", "", "The key of the one-time passwords of tokens, in base32. A list holds several, the newest first.", false},
	{"gatehouse_token_in_plain", "boolean", "false", "A PLAIN password that has the shape of a token is judged as a token, for clients that know no X-TOKEN.", false},
	{"gatehouse_token_check_user", "boolean", "false", "After a good token the script is asked whether the user exists (isuser).", false},

	{"gatehouse_credentials", "string or false", "false", `Where a web application asks for its users' tokens, as Converse.js's credentials_url has it: "admin", on the addresses of gatehouse_admin, or "web", on the WebSocket ports; POST /credentials. Who may ask can log in as any user of the host.`, false},
	{"gatehouse_credentials_user", "string", "", "The user name of the web application (Basic authentication), with gatehouse_credentials_password.", false},
	{"gatehouse_credentials_password", "string", "", "The password that goes with gatehouse_credentials_user, 16 bytes at least.", false},
	{"gatehouse_credentials_bearer", "string", "", "The secret of the web application (bearer authentication), instead of user and password or besides, 16 bytes at least.", false},
	{"gatehouse_credentials_rate", "whole number", "30", "How many tokens one user may get a minute.", false},

	{"gatehouse_upstream", "string or list", "{}", `The XMPP server behind, which gets the clients once they have logged in: "host:port" or the path of a unix socket ("/run/c2s.sock", "unix:c2s.sock"; relative to the config file). Of a list the first address that works is taken. Without it, or with false, gatehouse serves a minimal session itself.`, false},
	{"gatehouse_upstream_auth", "string", `"ticket"`, `How that server knows who the client is. "ticket": PLAIN with a password for one use, about which it asks gatehouse (gatehouse_extauth_socket, gatehouse_auth_api_user); "token": an X-TOKEN that gatehouse mints; "external": a client certificate that gatehouse signs; "password": the client's own password, passed on.`, false},
	{"gatehouse_upstream_tls", "string", "", `How the way there is secured: "none", "starttls" or "direct" (TLS from the first byte). "none" by default when all the addresses are on this machine, else "starttls"; always "starttls" with "external".`, false},
	{"gatehouse_upstream_tls_name", "string", "", "The name that the server's certificate must have; the name of the host by default.", false},
	{"gatehouse_upstream_trust", "string", "", "A file with the authorities (PEM) that may sign that certificate; the system's by default.", false},
	{"gatehouse_upstream_allow_unencrypted", "boolean", "false", `gatehouse_upstream_tls may be "none" to another machine. Whoever is on the way reads messages, and may come in as anybody.`, false},
	{"gatehouse_upstream_timeout", "number of seconds", "5", "How long it may take to connect there, secure the connection and log in, all addresses together.", false},
	{"gatehouse_upstream_proxy_protocol", "false or a number, 1 or 2", "false", "The client's address is told to the server by a PROXY protocol header of this version.", false},
	{"gatehouse_upstream_token_secret", "string or list", "", `For gatehouse_upstream_auth = "token": token_secret of the server. Of a list the first is used.`, false},
	{"gatehouse_upstream_otp_seed", "string or list", "", `For gatehouse_upstream_auth = "token": otp_seed of the server. Of a list the first is used.`, false},
	{"gatehouse_upstream_ca", "table", "", `For gatehouse_upstream_auth = "external": the private authority that signs a certificate for each login, { certificate = "ca.crt", key = "ca.key" }. The server must trust nothing else for clients' certificates.`, false},
	{"gatehouse_extauth_socket", "string", "", "Where `gatehouse extauth` asks about passwords and tickets: the path of a unix socket, relative to the config file, which its owner and group may use (mode 0660).", true},
	{"gatehouse_auth_api_user", "string", "", "The user name of those who ask about passwords and tickets over HTTP, on the addresses of gatehouse_admin, under /auth/.", true},
	{"gatehouse_auth_api_password", "string", "", "The password that goes with gatehouse_auth_api_user.", true},

	{"gatehouse_guard", "boolean", "true", "Who fails to log in again and again has to wait, and is then turned away without the script being asked (docs/guard.md).", false},
	{"gatehouse_guard_attempts", "whole number", "10", "How many wrong passwords of one user are let through from one address; 0: any number. An address is a /64 in IPv6.", true},
	{"gatehouse_guard_address_attempts", "whole number", "50", "The same from one address for all users together, but for those who have logged in from there lately.", true},
	{"gatehouse_guard_user_attempts", "whole number", "50", "The same for one user from all addresses together, but for those from where the user has logged in lately.", true},
	{"gatehouse_guard_half_life", "number of seconds", "1800", "The time in which half of what was counted is forgotten.", true},
	{"gatehouse_guard_delay", "number of seconds", "5", "How long an attempt is held back before it is made, at most. It begins at half of the numbers above. 0 to 60.", true},
	{"gatehouse_guard_allow", "list", `{ "127.0.0.0/8", "::1" }`, "IP addresses and networks from where nothing is counted and nobody turned away. It is the client's own address that counts, whatever proxies stand between.", true},

	{"c2s_require_encryption", "boolean", "true", "Nothing but STARTTLS is possible on an unencrypted stream. `require_encryption` stands in for it.", false},
	{"require_encryption", "boolean", "true", "The default of c2s_require_encryption.", false},
	{"allow_unencrypted_plain_auth", "boolean", "false", "Passwords and tokens may be sent without encryption.", false},
	{"disable_sasl_mechanisms", "list", "{}", `Mechanisms that are not offered: "PLAIN", "X-TOKEN".`, false},
	{"allow_registration", "boolean", "false", "In-band registration is answered: the script tells whether a name is taken.", false},
	{"conflict_resolve", "string", `"kick_old"`, `What happens when a resource is taken: "kick_old", "kick_new", "increment" or "random".`, false},

	{"c2s_ports", "list of numbers", "{ 5222 }", "Ports for clients with STARTTLS.", true},
	{"c2s_direct_tls_ports", "list of numbers", "{}", "Ports for clients that begin with TLS.", true},
	{"legacy_ssl_ports", "list of numbers", "{}", "The old name of c2s_direct_tls_ports.", true},
	{"interfaces", "list", `{ "*", "::" }`, `Addresses to listen on; "*" is all of IPv4, "::" all of IPv6. The name "interface" works too.`, true},
	{"interface", "list", "", "The old name of interfaces.", true},
	{"c2s_interfaces", "list", "", "The same for c2s_ports only.", true},
	{"c2s_interface", "list", "", "The old name of c2s_interfaces.", true},
	{"c2s_direct_tls_interfaces", "list", "", "The same for c2s_direct_tls_ports only.", true},
	{"c2s_direct_tls_interface", "list", "", "The old name of c2s_direct_tls_interfaces.", true},
	{"legacy_ssl_interfaces", "list", "", "The same for legacy_ssl_ports only.", true},
	{"legacy_ssl_interface", "list", "", "The old name of legacy_ssl_interfaces.", true},
	{"use_ipv4", "boolean", "true", "false takes \"*\" out of the default of interfaces.", true},
	{"use_ipv6", "boolean", "true", "false takes \"::\" out of the default of interfaces.", true},
	{"gatehouse_proxy_protocol_from", "list", "{}", `Load balancers whose connections begin with a PROXY protocol header (version 1 or 2): IP addresses or networks, "10.0.0.0/24". Nobody else's header is taken.`, true},
	{"gatehouse_websocket_ports", "list of numbers", "{}", `Ports for clients that speak XMPP over WebSocket with TLS (wss), at the paths /xmpp-websocket and /ws, by the certificates of the hosts. Where it is set, even to {}, http_ports and https_ports are left to Prosody.`, true},
	{"gatehouse_websocket_interfaces", "list", "", "interfaces for gatehouse_websocket_ports only.", true},
	{"http_ports", "list of numbers", "", `With "websocket" in modules_enabled, and if the file names the ports: ports for WebSocket without TLS, for a proxy in front. Otherwise they are Prosody's.`, true},
	{"https_ports", "list of numbers", "", `With "websocket" in modules_enabled, and if the file names the ports: ports for WebSocket with TLS. Otherwise they are Prosody's.`, true},
	{"http_interfaces", "list", `{ "127.0.0.1", "::1" }`, "interfaces for http_ports only; local_interfaces stands in for it.", true},
	{"http_interface", "list", "", "The old name of http_interfaces.", true},
	{"local_interfaces", "list", "", "The default of http_interfaces.", true},
	{"https_interfaces", "list", "", "interfaces for https_ports only.", true},
	{"https_interface", "list", "", "The old name of https_interfaces.", true},
	{"http_paths", "table", "", `websocket in it is one more path of the WebSocket, { websocket = "/chat" }; $host in it is the name of the host. The rest is Prosody's.`, false},
	{"gatehouse_websocket_origins", "list", "{}", `Web pages that may connect by WebSocket besides those of the same host and port: their origins, "https://example.org", or "*" for all. It goes before cross_domain_websocket.`, true},
	{"cross_domain_websocket", "boolean or list", "false", "The same as Prosody 0.11 has it; true is all pages, in the global section only. Prosody 0.12 and later let all pages connect whatever it says.", false},
	{"gatehouse_websocket_url", "string", "", `The WebSocket URL that /.well-known/host-meta tells clients of the host, "wss://example.org/xmpp-websocket"; made from what the client asks for without it.`, false},
	{"consider_websocket_secure", "boolean", "false", "A WebSocket counts as encrypted even where gatehouse sees no TLS: a proxy in front has done it.", true},
	{"trusted_proxies", "list", `{ "127.0.0.1", "::1" }`, `Proxies in front of the WebSocket ports, as IP addresses or networks. They tell where a client is (X-Forwarded-For), and that it came by TLS (X-Forwarded-Proto); nobody else is believed.`, true},
	{"http_legacy_x_forwarded", "boolean", "true", "false: those proxies send Forwarded (RFC 7239) instead of the two X-Forwarded headers, as in Prosody 13.0.", true},
	{"c2s_timeout", "number of seconds", "30", "How long a client may take to log in. A string such as \"2 minutes\" is understood as well.", true},
	{"gatehouse_tls_handshake_timeout", "number of seconds", "10", "How long a TLS handshake may take of that.", true},
	{"gatehouse_connections", "whole number", "", "How many clients may be connected; further ones are closed at once, before TLS. 0 for any number; by default what the process's open files are enough for (docs/limits.md).", true},
	{"gatehouse_unauthed_connections", "whole number", "20000", "How many of them may be there that have not logged in; 0 for any number.", true},
	{"gatehouse_unauthed_connections_per_address", "whole number", "1000", "How many of those may come from one IPv4 address, or one IPv6 /64; 0 for any number. Behind a load balancer this needs gatehouse_proxy_protocol_from, behind a web proxy trusted_proxies.", true},
	{"limits", "table", "", `How fast a client may send, until a server behind has it: { c2s = { rate = "10kb/s", burst = "2s" } }, as in mod_limits. If modules_enabled has "limits", 10kb/s without it. Where there is a modules_enabled without "limits", it is left alone.`, true},
	{"c2s_unauthed_stanza_size_limit", "whole number", "10000", "The largest element in bytes before the login, 1000 to 65536.", true},
	{"c2s_stanza_size_limit", "whole number", "262144", "The largest element in bytes after the login, 10000 at least.", true},
	{"c2s_tcp_keepalives", "boolean", "true", "The system probes idle connections. `tcp_keepalives` stands in for it.", true},
	{"tcp_keepalives", "boolean", "true", "The default of c2s_tcp_keepalives.", true},

	{"ssl", "table", "", "TLS settings: `certificate`, `key`, `certificates` (a list of tables with both), `protocol` (\"tlsv1_2+\" or \"tlsv1_3\"). Ciphers and curves are gatehouse's own.", false},
	{"c2s_ssl", "table", "", "The same for client connections; it goes before ssl.", false},
	{"c2s_direct_tls_ssl", "table", "", "The same for direct TLS connections that name no host of ours.", true},
	{"legacy_ssl_ssl", "table", "", "The old name of c2s_direct_tls_ssl.", true},
	{"tls_profile", "string", `"intermediate"`, `"modern" asks for TLS 1.3; "intermediate", "old" and "legacy" all mean TLS 1.2 and up.`, true},
	{"certificates", "string", `"certs"`, "The directory where certificates are looked for.", true},
	{"certificate", "string", "", "A certificate file, or a directory to look for one in, instead of certificates.", false},

	{"log", "string or table", "", `Where log lines go, as in Prosody: a file name, "*console" (standard error) or "*syslog"; or a table of such by level, { info = "/var/log/x.log", error = "*syslog" }, or of sinks, { { to = "file", filename = "...", levels = { min = "warn" } } }. Relative file names are relative to gatehouse_data_dir, for Prosody to its own data directory. Standard error from level info up without it. Sinks that gatehouse does not know are left to Prosody.`, true},
	{"gatehouse_log", "string or table", "", "The same for gatehouse alone; it goes before log.", true},
	{"gatehouse_log_format", "string", "", `"text", "json" or "journald" (fields of the journal). Without it: text on a terminal and in files, journald where standard error is the journal, JSON elsewhere.`, true},
	{"debug", "boolean", "false", "Log at level debug where log does not name a level.", true},
	{"gatehouse_admin", "string or list", "", `Where metrics and the status page are served: a loopback address with a port ("127.0.0.1:5280"), or the path of a socket, relative to the config file. Nowhere without it.`, true},
	{"gatehouse_shutdown_timeout", "number of seconds", "10", "How long the end of the daemon may take, for clients and queries in flight.", true},
	{"gatehouse_data_dir", "string", "", "Where tokens that were used, what the guard has counted and gatehouse's own certificates are kept. Relative to the config file; $STATE_DIRECTORY, else /var/lib/gatehouse for root, else ~/.local/state/gatehouse.", true},
	{"gatehouse_state", "string or false", "false", `A Redis that several gatehouses share, so that a token is good once at all of them, and failed logins count together: "redis://user:password@host:6379/0", "rediss://..." (TLS), "unix:///run/redis/redis.sock"; Sentinels and Clusters as docs/several-fronts.md has them. Without it, both are kept in gatehouse_data_dir.`, true},
	{"gatehouse_self_signed", "boolean", "false", "A host without a certificate gets one that gatehouse makes.", true},
}

// notSecret are options of ours that only sound like secrets.
var notSecret = []string{"gatehouse_credentials", "gatehouse_credentials_user", "gatehouse_credentials_rate"}

// isSecret says whether an option's value must not be shown. Prosody's own secrets are known by the ends of their names.
func isSecret(option string) bool {
	option = strings.ToLower(option)
	for _, word := range []string{"secret", "password", "passwd", "seed", "token", "credential", "passphrase", "private", "api_key", "apikey"} {
		if strings.Contains(option, word) {
			return !strings.HasPrefix(option, "gatehouse_token_") && !slices.Contains(notSecret, option)
		}
	}
	return strings.HasSuffix(option, "_key") || strings.HasSuffix(option, "_pass") || option == nameState
}

// moduleOptions are read by Prosody's side, mod_auth_gatehouse: they stand in a file that both programs read.
var moduleOptions = []string{"gatehouse_auth_url", "gatehouse_auth_timeout", "gatehouse_auth_token", "gatehouse_auth_allow_unencrypted"}

// checkNames looks for misspelled options and for global ones in a host. Only what begins with gatehouse_ must be known;
// next to a known name it is a guess, since the file belongs to Prosody as well.
func (l *loader) checkNames() {
	known := make(map[string]OptionInfo, len(Options))
	for _, o := range Options {
		known[o.Name] = o
	}
	for _, h := range l.eval.Hosts {
		for name := range h.Options {
			s := section{l, h.Name}
			info, ok := known[name]
			switch {
			case ok && info.Global && h.Name != "*":
				s.warn(name, "is read from the global section only; move it above the first VirtualHost")
			case ok, slices.Contains(moduleOptions, name):
			case strings.HasPrefix(name, "gatehouse_"):
				s.problem(name, "gatehouse has no such option%s", didYouMean(name))
			case strings.HasPrefix(name, "external_auth") || strings.HasPrefix(name, "token_s") || strings.HasPrefix(name, "otp_"):
				if guess := didYouMean(name); guess != "" {
					s.warn(name, "gatehouse knows no such option%s", guess)
				}
			default:
				if ours := misspelled(name); ours != "" {
					s.warn(name, "gatehouse knows no such option, did you mean %s?", ours)
				}
			}
		}
	}
}

// didYouMean returns ", did you mean ...?" for the nearest option within a third of the name, or nothing. The prefix that
// many share does not count.
func didYouMean(name string) string {
	best, distance := "", len(strings.TrimPrefix(name, "gatehouse_"))/3+1
	for _, o := range Options {
		if d := editDistance(name, o.Name); d < distance {
			best, distance = o.Name, d
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}

// misspelled returns the option whose name differs by a letter or two, of those that cannot be taken for one of Prosody's.
func misspelled(name string) string {
	for _, o := range Options {
		ours := strings.HasPrefix(o.Name, "gatehouse_") || strings.HasPrefix(o.Name, "external_auth")
		if ours && len(name)-len(o.Name) <= 2 && len(o.Name)-len(name) <= 2 && editDistance(name, o.Name) <= 2 {
			return o.Name
		}
	}
	return ""
}

// editDistance is the number of letters to insert, delete or replace (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		previous := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := previous
			if a[i] != b[j] {
				cost++
			}
			previous = row[j+1]
			row[j+1] = min(cost, row[j]+1, previous+1)
		}
	}
	return row[len(b)]
}
