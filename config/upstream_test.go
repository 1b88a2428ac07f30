package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// makeCA returns a self-signed authority and its key as PEM.
func makeCA(t *testing.T, valid time.Duration, usage x509.KeyUsage) (cert, key string) {
	t.Helper()
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "logins"},
		NotBefore:             time.Now().Add(-48 * time.Hour),
		NotAfter:              time.Now().Add(valid),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              usage,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

const (
	// asked gives a server behind a way to ask about tickets.
	asked = "gatehouse_extauth_socket = 'x.sock'\n"
	// behind is a host with a server behind, complete.
	behind = asked + external + "gatehouse_upstream = '127.0.0.1:15222'\n"
)

func TestLoad_upstream(t *testing.T) {
	ca, key := makeCA(t, time.Hour, x509.KeyUsageCertSign)
	trusted, _ := makeCA(t, time.Hour, x509.KeyUsageCertSign)
	tests := []struct{ name, source, want string }{
		{"none", external, "standalone"},
		{"defaults", behind, "tcp 127.0.0.1:15222; ticket, none, a.example, system, 5s, proxy 0"},
		{"for all hosts", asked + "gatehouse_upstream = '127.0.0.1:15222'\n" + external, "tcp 127.0.0.1:15222; ticket, none, a.example, system, 5s, proxy 0"},
		{"taken back", "gatehouse_upstream = '127.0.0.1:15222'\n" + external + "gatehouse_upstream = false", "standalone"},
		{"taken back by a list", "gatehouse_upstream = '127.0.0.1:15222'\n" + external + "gatehouse_upstream = {}", "standalone"},
		{"local in many ways", behind + "gatehouse_upstream = { 'LocalHost:1', '127.9.9.9:2', '[::1]:3', '[::ffff:127.0.0.1]:4', '/run/c2s', 'unix:/run/d', 'localhost:1' }",
			"tcp 127.0.0.1:1, tcp 127.9.9.9:2, tcp [::1]:3, tcp 127.0.0.1:4, unix /run/c2s, unix /run/d; ticket, none, a.example, system, 5s, proxy 0"},
		{"elsewhere", behind + "gatehouse_upstream = '10.0.0.5:5222'", "tcp 10.0.0.5:5222; ticket, starttls, a.example, system, 5s, proxy 0"},
		{"a name", behind + "gatehouse_upstream = 'Prosody_1.Bücher.example:5222'", "tcp prosody_1.xn--bcher-kva.example:5222; ticket, starttls, a.example, system, 5s, proxy 0"},
		{"one of two elsewhere", behind + "gatehouse_upstream = { '127.0.0.1:15222', '[2001:db8::1]:5222' }",
			"tcp 127.0.0.1:15222, tcp [2001:db8::1]:5222; ticket, starttls, a.example, system, 5s, proxy 0"},
		{"in the clear, in as many words", behind + "gatehouse_upstream = 'prosody:5222' gatehouse_upstream_tls = 'none' gatehouse_upstream_allow_unencrypted = true",
			"tcp prosody:5222; ticket, none, a.example, system, 5s, proxy 0"},
		{"TLS", behind + "gatehouse_upstream_tls = 'direct' gatehouse_upstream_tls_name = 'Bücher.example' gatehouse_upstream_trust = 'trusted.pem'",
			"tcp 127.0.0.1:15222; ticket, direct, xn--bcher-kva.example, trusted.pem, 5s, proxy 0"},
		{"host of another alphabet", strings.Replace(behind, "a.example", "Bücher.example", 1), "tcp 127.0.0.1:15222; ticket, none, xn--bcher-kva.example, system, 5s, proxy 0"},
		{"numbers", behind + "gatehouse_upstream_timeout = 0.5 gatehouse_upstream_proxy_protocol = '2'", "tcp 127.0.0.1:15222; ticket, none, a.example, system, 500ms, proxy 2"},
		{"no proxy protocol", behind + "gatehouse_upstream_proxy_protocol = 'false'", "tcp 127.0.0.1:15222; ticket, none, a.example, system, 5s, proxy 0"},
		{"token", behind + "gatehouse_upstream_auth = 'token' gatehouse_upstream_token_secret = '0123456789abcdef' gatehouse_upstream_otp_seed = 'MFRGG'",
			"tcp 127.0.0.1:15222; token, none, a.example, system, 5s, proxy 0; 0123456789abcdef abc"},
		{"external", behind + "gatehouse_upstream_auth = 'external' gatehouse_upstream_ca = { certificate = 'ca.crt', key = 'ca.key' }",
			"tcp 127.0.0.1:15222; external, starttls, a.example, system, 5s, proxy 0; ca.crt"},
		{"password", behind + "gatehouse_upstream_auth = 'password'", "tcp 127.0.0.1:15222; password, none, a.example, system, 5s, proxy 0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, warnings, problems := load(t, test.source, "ca.crt", ca, "ca.key", key, "trusted.pem", trusted)
			if problems != "" || strings.Contains(warnings, "a.example") {
				t.Fatalf("problems %q, warnings %q", problems, warnings)
			}
			if got := strings.ReplaceAll(describeUpstream(c.Hosts[0].Upstream), c.Path[:strings.LastIndex(c.Path, "/")+1], ""); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func describeUpstream(u *Upstream) string {
	if u == nil {
		return "standalone"
	}
	var at []string
	for _, a := range u.Addresses {
		at = append(at, a.Network+" "+a.Addr)
	}
	trust := "system"
	if u.Trust != nil {
		trust = u.TrustFile
	}
	text := fmt.Sprintf("%s; %s, %s, %s, %s, %s, proxy %d", strings.Join(at, ", "), u.Auth, u.TLS, u.TLSName, trust, u.Timeout, u.ProxyProtocol)
	if u.Token != nil {
		text += fmt.Sprintf("; %s %s", u.Token.Secrets[0], u.Token.Seeds[0])
	}
	if u.CA != nil {
		text += "; " + u.CA.CertFile
	}
	return text
}

func TestLoad_upstreamProblems(t *testing.T) {
	ca, key := makeCA(t, time.Hour, x509.KeyUsageCertSign)
	weak, weakKey := makeCA(t, time.Hour, x509.KeyUsageDigitalSignature)
	leaf, leafKey := makeCert(t, "ec", time.Hour, "a.example")
	const (
		host = "prosody.cfg.lua:3: host a.example: "
		want = `; want "host:port" such as "127.0.0.1:15222", or the path of a socket such as "/run/prosody/c2s.sock"`
	)
	tests := []struct{ name, source, want string }{
		{"no port", "gatehouse_upstream = 'prosody'", host + `gatehouse_upstream: "prosody" is no host with a port` + want},
		{"a bare IPv6 address", "gatehouse_upstream = '::1'", host + `gatehouse_upstream: "::1" is no host with a port` + want},
		{"port 0", "gatehouse_upstream = '127.0.0.1:0'", host + `gatehouse_upstream: "127.0.0.1:0" has no port number from 1 to 65535` + want},
		{"a port name", "gatehouse_upstream = '127.0.0.1:xmpp-client'", host + `gatehouse_upstream: "127.0.0.1:xmpp-client" has no port number from 1 to 65535` + want},
		{"a URL", "gatehouse_upstream = 'xmpp://prosody:5222'", host + `gatehouse_upstream: "xmpp://prosody:5222" is no host with a port` + want},
		{"spaces", "gatehouse_upstream = 'a b:5222'", host + `gatehouse_upstream: "a b:5222" has no good host name` + want},
		{"no machine", "gatehouse_upstream = ':15222'", host + `gatehouse_upstream: ":15222" names no machine; if it is this one, write 127.0.0.1:15222`},
		{"every machine", "gatehouse_upstream = { '0.0.0.0:1', '[::]:2' }", host + `gatehouse_upstream: "0.0.0.0:1" names no machine; if it is this one, write 127.0.0.1:1
` + host + `gatehouse_upstream: "[::]:2" names no machine; if it is this one, write 127.0.0.1:2`},
		{"no path", "gatehouse_upstream = 'unix:'", host + `gatehouse_upstream: "unix:" has no path` + want},
		{"a directory", "gatehouse_upstream = '/run/'", host + `gatehouse_upstream: "/run/" is a directory; want the path of a socket in it`},
		{"empty", "gatehouse_upstream = ''", host + `gatehouse_upstream: "" is no host with a port` + want},
		{"true", "gatehouse_upstream = true", host + `gatehouse_upstream: want strings, got true`},
		{"too many", "local all = {} for i = 1, 65 do all[i] = '127.0.0.1:' .. i end gatehouse_upstream = all", host + `gatehouse_upstream: has 65 addresses, and 64 are the most`},
		{"all at once", "gatehouse_upstream = 'x' gatehouse_upstream_auth = 'magic' gatehouse_upstream_timeout = 0 gatehouse_upstream_proxy_protocol = true",
			host + `gatehouse_upstream: "x" is no host with a port` + want + "\n" +
				host + `gatehouse_upstream_auth: want "ticket" or "token" or "external" or "password", got "magic"` + "\n" +
				host + `gatehouse_upstream_timeout: want a positive number of seconds, got 0` + "\n" +
				host + `gatehouse_upstream_proxy_protocol: want false, 1 or 2, got true`},
		{"version 3", "gatehouse_upstream_proxy_protocol = 3", host + `gatehouse_upstream_proxy_protocol: want false, 1 or 2, got 3`},
		{"TLS of another kind", "gatehouse_upstream_tls = true", host + "gatehouse_upstream_tls: want a string, got true"},
		{"a name that none has", "gatehouse_upstream_tls = 'direct' gatehouse_upstream_tls_name = 'a b'", host + `gatehouse_upstream_tls_name: want the name in the server's certificate, got "a b"`},
		{"in the clear", "gatehouse_upstream = { '127.0.0.1:15222', '10.0.0.5:5222' } gatehouse_upstream_tls = 'none'",
			host + `gatehouse_upstream_tls: is "none", but 10.0.0.5:5222 is not on this machine: whoever is on the way could read messages and come in as anybody; ` +
				`use "starttls" or "direct", or, on a network that nobody else is in, gatehouse_upstream_allow_unencrypted = true`},
		{"its own port", "gatehouse_upstream = 'localhost:5222'",
			host + "gatehouse_upstream: 127.0.0.1:5222 is a port of gatehouse itself (c2s_ports), so that a client would go round in circles; " +
				"give the server behind a port of its own, such as 127.0.0.1:15222"},
		{"its own port, IPv6", "gatehouse_upstream = '[::1]:5222'",
			host + "gatehouse_upstream: [::1]:5222 is a port of gatehouse itself (c2s_ports), so that a client would go round in circles; " +
				"give the server behind a port of its own, such as 127.0.0.1:15222"},
		{"trust that is not there", "gatehouse_upstream_trust = 'no.pem'", host + "gatehouse_upstream_trust: no.pem: no such file or directory"},
		{"trust of something else", "gatehouse_upstream_trust = 'ca.key'", host + "gatehouse_upstream_trust: ca.key: no certificate in it, in PEM (-----BEGIN CERTIFICATE-----)"},
		{"trust in nothing", "gatehouse_upstream_trust = ''", host + "gatehouse_upstream_trust: want a file with certificates in PEM"},
		{"token without keys", "gatehouse_upstream_auth = 'token' token_secret = '0123456789abcdef' otp_seed = 'MFRGG'",
			"prosody.cfg.lua:2: host a.example: gatehouse_upstream_token_secret: is missing; `gatehouse token keys` prints good values\n" +
				"prosody.cfg.lua:2: host a.example: gatehouse_upstream_otp_seed: is missing; `gatehouse token keys` prints good values"},
		{"token with bad keys", "gatehouse_upstream_auth = 'token' gatehouse_upstream_token_secret = '' gatehouse_upstream_otp_seed = '1'",
			host + "gatehouse_upstream_token_secret: secret 1 is empty, so that anybody could make tokens; `gatehouse token keys` prints good ones\n" +
				host + "gatehouse_upstream_otp_seed: seed 1 is not base32 (letters A-Z and digits 2-7)"},
		{"external without authority", "gatehouse_upstream_auth = 'external'",
			`prosody.cfg.lua:2: host a.example: gatehouse_upstream_ca: is missing; gatehouse_upstream_auth = "external" signs certificates with it: { certificate = "ca.crt", key = "ca.key" }`},
		{"authority without key", "gatehouse_upstream_auth = 'external' gatehouse_upstream_ca = 'ca.crt'",
			host + `gatehouse_upstream_ca: want a table with two files, { certificate = "ca.crt", key = "ca.key" }, got "ca.crt"`},
		{"authority that is not there", "gatehouse_upstream_auth = 'external' gatehouse_upstream_ca = { certificate = 'no.crt', key = 'ca.key' }",
			host + `gatehouse_upstream_ca: certificate no.crt: no such file or directory`},
		{"a host's certificate", "gatehouse_upstream_auth = 'external' gatehouse_upstream_ca = { certificate = 'leaf.crt', key = 'leaf.key' }",
			host + `gatehouse_upstream_ca: leaf.crt may not sign certificates: it is none of an authority (CA:TRUE, keyCertSign)`},
		{"an authority that signs none", "gatehouse_upstream_auth = 'external' gatehouse_upstream_ca = { certificate = 'weak.crt', key = 'weak.key' }",
			host + `gatehouse_upstream_ca: weak.crt may not sign certificates: it is none of an authority (CA:TRUE, keyCertSign)`},
		{"external without TLS", "gatehouse_upstream_auth = 'external' gatehouse_upstream_tls = 'none' gatehouse_upstream_ca = { certificate = 'ca.crt', key = 'ca.key' }",
			host + `gatehouse_upstream_tls: is "none", and there is no certificate to know gatehouse by without TLS: gatehouse_upstream_auth = "external" needs "starttls" or "direct"`},
		{"no password to pass on", "authentication = 'token' token_secret = '0123456789abcdef' otp_seed = 'MFRGG' gatehouse_upstream_auth = 'password'",
			host + `gatehouse_upstream_auth: "password" passes on the password that a client logs in with, and this host asks for none; use "ticket"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			source := strings.TrimSuffix(behind, "gatehouse_upstream = '127.0.0.1:15222'\n") + test.source
			if !strings.Contains(test.source, "gatehouse_upstream = ") {
				source += " gatehouse_upstream = '127.0.0.1:15222'"
			}
			_, _, problems := load(t, source, "ca.crt", ca, "ca.key", key, "weak.crt", weak, "weak.key", weakKey, "leaf.crt", leaf, "leaf.key", leafKey)
			if problems != test.want {
				t.Errorf("got\n%s\nwant\n%s", problems, test.want)
			}
		})
	}
}

// TestLoad_upstreamBesideUs has addresses that look like a port of gatehouse itself, and are none.
func TestLoad_upstreamBesideUs(t *testing.T) {
	for _, source := range []string{
		"interfaces = '192.0.2.1'\n" + behind + "gatehouse_upstream = '127.0.0.1:5222'",
		"interfaces = '127.0.0.1'\n" + behind + "gatehouse_upstream = { '[::1]:5222', '127.0.0.2:5222' }",
		"interfaces = '*'\n" + behind + "gatehouse_upstream = '[::1]:5222'",
		behind + "gatehouse_upstream = '10.0.0.5:5222'",
		behind + "gatehouse_upstream = '/run/:5222'",
	} {
		if _, _, problems := load(t, source); problems != "" {
			t.Errorf("%s\n%s", source, problems)
		}
	}
	_, _, problems := load(t, "interfaces = '192.0.2.1'\n"+behind+"gatehouse_upstream = '192.0.2.1:5222'")
	if !strings.Contains(problems, "192.0.2.1:5222 is a port of gatehouse itself") {
		t.Errorf("an address of our own: %q", problems)
	}
}

func TestLoad_upstreamWarnings(t *testing.T) {
	old, oldKey := makeCA(t, -time.Hour, x509.KeyUsageCertSign)
	const host = "prosody.cfg.lua:4: host a.example: "
	const noWay = "gatehouse_upstream: the server behind has no way to ask gatehouse about tickets, so that it will refuse every login; " +
		"set gatehouse_extauth_socket, or gatehouse_admin with gatehouse_auth_api_user and gatehouse_auth_api_password"
	const api = "gatehouse_auth_api_user = 'u' gatehouse_auth_api_password = '0123456789abcdef'\n"
	tests := []struct{ name, source, want string }{
		{"nobody asks", external + "gatehouse_upstream = '127.0.0.1:15222'", "prosody.cfg.lua:2: host a.example: " + noWay},
		{"nobody asks, on a host of two", "gatehouse_upstream = '127.0.0.1:15222'\n" + external + strings.Replace(external, "a.", "b.", 1), "prosody.cfg.lua:1: " + noWay},
		{"asked over HTTP", "gatehouse_admin = '127.0.0.1:5280' " + api + external + "gatehouse_upstream = '127.0.0.1:15222'", ""},
		{"asked over HTTP nowhere", api + external + "gatehouse_upstream = '127.0.0.1:15222'",
			"prosody.cfg.lua:1: gatehouse_auth_api_password: does nothing without gatehouse_admin: the auth API is on its addresses, under /auth/"},
		{"nobody needs to ask", external + "gatehouse_upstream = '127.0.0.1:15222' gatehouse_upstream_auth = 'password'", ""},
		{"no server behind", external + "gatehouse_upstream_auth = 'ticket'", "prosody.cfg.lua:2: host a.example: gatehouse_upstream_auth: does nothing without gatehouse_upstream, which names the server behind"},
		{"for hosts with a server behind", "gatehouse_upstream_timeout = 3\n" + external, ""},
		{"TLS name without TLS", behind + "gatehouse_upstream_tls_name = 'x'", host + `gatehouse_upstream_tls_name: does nothing while gatehouse_upstream_tls is "none"`},
		{"expired authority", behind + "gatehouse_upstream_auth = 'external' gatehouse_upstream_ca = { certificate = 'old.crt', key = 'old.key' }",
			host + "gatehouse_upstream_ca: old.crt expired on " + time.Now().Add(-time.Hour).UTC().Format(time.DateOnly) + ", so that the server will refuse what it signs"},
		{"a token is no password", behind + "gatehouse_upstream_auth = 'password' token_secret = '0123456789abcdef' otp_seed = 'MFRGG'",
			host + `gatehouse_upstream_auth: "password" has nothing to pass on for a client that logs in by X-TOKEN, which fails; use "ticket", or disable_sasl_mechanisms = { "X-TOKEN" }`},
		{"a token in PLAIN is none", behind + "gatehouse_upstream_auth = 'password' token_secret = '0123456789abcdef' otp_seed = 'MFRGG' gatehouse_token_in_plain = true disable_sasl_mechanisms = 'X-TOKEN'",
			host + `gatehouse_upstream_auth: "password" has nothing to pass on for a client that logs in by a token (gatehouse_token_in_plain), which fails; use "ticket"`},
		{"the example's secret", behind + "gatehouse_upstream_auth = 'token' gatehouse_upstream_token_secret = 'hush' gatehouse_upstream_otp_seed = 'MFRGG'",
			host + "gatehouse_upstream_token_secret: secret 1 has 4 bytes, which can be guessed; use 32"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, warnings, problems := load(t, test.source, "old.crt", old, "old.key", oldKey)
			if problems != "" {
				t.Fatalf("problems: %s", problems)
			}
			if !matches(warnings, test.want) {
				t.Errorf("got\n%s\nwant\n%s", warnings, test.want)
			}
		})
	}
}

func TestUpstream_sources(t *testing.T) {
	ca, key := makeCA(t, time.Hour, x509.KeyUsageCertSign)
	c, _, problems := load(t, behind+"gatehouse_upstream_auth = 'external' gatehouse_upstream_trust = 'trusted.pem'\n"+
		"gatehouse_upstream_ca = { certificate = 'ca.crt', key = 'ca.key' }", "ca.crt", ca, "ca.key", key, "trusted.pem", ca)
	if problems != "" {
		t.Fatal(problems)
	}
	dir := c.Path[:strings.LastIndex(c.Path, "/")]
	for _, name := range []string{"ca.crt", "ca.key", "trusted.pem"} {
		if !slices.Contains(c.Sources.Files, dir+"/"+name) {
			t.Errorf("%s is not watched: %v", name, c.Sources.Files)
		}
	}
}

func TestDiff_upstreamFiles(t *testing.T) {
	dir := writeFiles(t, "auth.sh", "#!/bin/sh\n")
	put := func(hours int) string {
		ca, key := makeCA(t, time.Duration(hours)*time.Hour, x509.KeyUsageCertSign)
		writeFile(t, dir+"/ca.crt", ca)
		writeFile(t, dir+"/ca.key", key)
		return "valid until " + time.Now().Add(time.Duration(hours)*time.Hour).UTC().Format(time.DateOnly)
	}
	settings := "gatehouse_upstream_auth = 'external' gatehouse_upstream_trust = 'ca.crt' gatehouse_upstream_ca = { certificate = 'ca.crt', key = 'ca.key' }\n"
	b := strings.Replace(external, "a.example", "b.example", 1) + "gatehouse_upstream = '127.0.0.1:15222'\n"
	old := put(100)
	first, firstAll := loadAt(t, dir, behind+settings), loadAt(t, dir, settings+behind+b)
	same := loadAt(t, dir, behind+settings)
	next := put(200)
	second, secondAll := loadAt(t, dir, behind+settings), loadAt(t, dir, settings+behind+b)
	if got := changes(first, same); got != "" {
		t.Errorf("nothing: %s", got)
	}
	if got, want := changes(first, second), "a.example: gatehouse_upstream_trust changed; a.example: gatehouse_upstream_ca "+old+" -> "+next; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := changes(firstAll, secondAll), "gatehouse_upstream_trust changed; gatehouse_upstream_ca "+old+" -> "+next; got != want {
		t.Errorf("of all hosts: got\n%s\nwant\n%s", got, want)
	}
	if got, want := changes(loadAt(t, dir, external), loadAt(t, dir, external+"gatehouse_upstream = '127.0.0.1:1'")), `a.example: gatehouse_upstream {} -> "127.0.0.1:1"`; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestUpstream_keepsSecrets shows everything that a config says in every way, and looks for its keys.
func TestUpstream_keepsSecrets(t *testing.T) {
	const source = "gatehouse_auth_api_user = 'u' gatehouse_auth_api_password = 'hush-password-0123'\n" + behind +
		"gatehouse_upstream_auth = 'token' gatehouse_upstream_token_secret = 'hush-secret-0123456' gatehouse_upstream_otp_seed = 'HUSHHUSH'\n"
	dir := writeFiles(t, "auth.sh", "#!/bin/sh\n")
	c := loadAt(t, dir, source)
	other := loadAt(t, dir, strings.NewReplacer("hush-", "hush2-", "HUSHHUSH", "HUSHHUSHHUSH").Replace(source))
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("loaded", "api", c.AuthAPI, "upstream", c.Hosts[0].Upstream, "token", c.Hosts[0].Upstream.Token)
	shown := log.String() + changes(c, other) + fmt.Sprint(c.Dump(true))
	if regexp.MustCompile(`(?i)hush`).MatchString(shown) || !strings.Contains(shown, "gatehouse_auth_api_password changed") {
		t.Error(shown)
	}
}

// TestExample_showsTheDefaultsBehind takes the options of a server behind out of their comment, all at once.
func TestExample_showsTheDefaultsBehind(t *testing.T) {
	text, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	commented := regexp.MustCompile(`(?m)^\t--     (gatehouse_upstream_[a-z_]+ = .*)$`).FindAllStringSubmatch(string(text), -1)
	if len(commented) < 6 {
		t.Fatalf("only %d options in comments", len(commented))
	}
	host := "VirtualHost 'localhost' authentication = 'external' external_auth_command = './auth.sh' gatehouse_upstream = '127.0.0.1:15222'\n"
	all := host
	for _, m := range commented {
		all += m[1] + "\n"
	}
	want, _, _ := load(t, host)
	got, _, problems := load(t, all)
	if problems != "" || describeUpstream(got.Hosts[0].Upstream) != describeUpstream(want.Hosts[0].Upstream) {
		t.Errorf("the example does not show the defaults: %s", problems)
	}
}

// TestUpstream_equal: what differs in any field is another server, but for where it was set.
func TestUpstream_equal(t *testing.T) {
	ca, key := makeCA(t, time.Hour, x509.KeyUsageCertSign)
	dir := writeFiles(t, "auth.sh", "#!/bin/sh\n", "ca.crt", ca, "ca.key", key)
	load := func() *Upstream {
		return loadAt(t, dir, external+"gatehouse_upstream = '192.0.2.1:5000' gatehouse_upstream_auth = 'external' "+
			"gatehouse_upstream_ca = { certificate = 'ca.crt', key = 'ca.key' } gatehouse_upstream_trust = 'ca.crt'").Hosts[0].Upstream
	}
	if !load().Equal(load()) || !(*Upstream)(nil).Equal(nil) || load().Equal(nil) {
		t.Error("the same is not")
	}
	for i := range reflect.TypeFor[Upstream]().NumField() {
		u := load()
		u.Token = new(Token)
		field := reflect.ValueOf(u).Elem().Field(i)
		name := reflect.TypeFor[Upstream]().Field(i).Name
		switch field.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Bool, reflect.Struct:
			if field.IsZero() {
				field.SetBool(true) // there is no other kind without a value here
			} else {
				field.SetZero()
			}
		case reflect.String:
			field.SetString("x")
		default:
			field.SetInt(99)
		}
		other := load()
		other.Token = new(Token)
		if equal := u.Equal(other); equal != (name == "Pos" || name == "TrustFile") {
			t.Errorf("another %s: equal %v", name, equal)
		}
	}
}
