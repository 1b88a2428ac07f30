package config

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestLoad_credentials(t *testing.T) {
	const long = "0123456789abcdef"
	const admin = "gatehouse_admin = './admin.sock'\n"
	const bearer = "gatehouse_credentials_bearer = '" + long + "' "
	const basic = "gatehouse_credentials_user = 'webapp' gatehouse_credentials_password = '" + long + "' "
	tests := []struct{ name, source, want, trouble string }{
		{"none", tokens, "", ""},
		{"secrets alone", tokens + bearer, "", ""},
		{"off", admin + "gatehouse_credentials = 'admin' " + bearer + tokens + "gatehouse_credentials = false", "", ""},
		{"bearer", admin + tokens + "gatehouse_credentials = 'admin' " + bearer, `admin "" "" "0123456789abcdef" 30`, ""},
		{"basic", admin + tokens + "gatehouse_credentials = { 'admin' } " + basic, `admin "webapp" "0123456789abcdef" "" 30`, ""},
		{"both, for all", admin + "gatehouse_credentials = 'admin' gatehouse_credentials_rate = '5' " + basic + bearer + tokens, `admin "webapp" "0123456789abcdef" "0123456789abcdef" 5`, ""},
		{"web", "gatehouse_websocket_ports = 5281\n" + tokens + "gatehouse_credentials = 'web' " + bearer, `web "" "" "0123456789abcdef" 30`, ""},
		{"beside a script", admin + external + "gatehouse_credentials = 'admin' " + bearer + "token_secret = '0123456789abcdef' otp_seed = 'XVGR73KMZH2M4XMY'",
			`admin "" "" "0123456789abcdef" 30`, ""},
		{"in PLAIN only", admin + tokens + "gatehouse_token_in_plain = true disable_sasl_mechanisms = { 'X-TOKEN' } gatehouse_credentials = 'admin' " + bearer,
			`admin "" "" "0123456789abcdef" 30`, ""},

		{"web without TLS, for a proxy", "modules_enabled = { 'websocket' } http_ports = 5280\n" + tokens + "gatehouse_credentials = 'web' " + bearer, `web "" "" "0123456789abcdef" 30`, ""},

		{"elsewhere", admin + tokens + "gatehouse_credentials = 'c2s' " + bearer, "", `gatehouse_credentials: want "admin" or "web", got "c2s"`},
		{"true", admin + tokens + "gatehouse_credentials = true " + bearer, "", `gatehouse_credentials: want a string, got true`},
		{"two places", admin + tokens + "gatehouse_credentials = { 'admin', 'web' } " + bearer, "", `gatehouse_credentials: want "admin" or "web", got a list of 2`},
		{"no secret", admin + tokens + "gatehouse_credentials = 'admin'", "", "gatehouse_credentials: needs gatehouse_credentials_bearer, or gatehouse_credentials_user with gatehouse_credentials_password: who has them gets tokens for every user of the host"},
		{"no user", admin + tokens + "gatehouse_credentials = 'admin' gatehouse_credentials_password = '" + long + "'", "", "gatehouse_credentials_password: needs gatehouse_credentials_user as well"},
		{"no password", admin + tokens + "gatehouse_credentials = 'admin' gatehouse_credentials_user = 'webapp'", "", "gatehouse_credentials_user: needs gatehouse_credentials_password as well"},
		{"colon", admin + tokens + "gatehouse_credentials = 'admin' " + strings.Replace(basic, "webapp", "web:app", 1), "", `gatehouse_credentials_user: want a name without colons and control characters, got "web:app"`},
		{"short password", admin + tokens + "gatehouse_credentials = 'admin' " + strings.Replace(basic, long, "hush", 1), "",
			"gatehouse_credentials_password: has 4 bytes, and who guesses it can log in as anybody; 16 are the least, and `gatehouse token keys` prints a good secret"},
		{"short bearer", admin + tokens + "gatehouse_credentials = 'admin' gatehouse_credentials_bearer = ''", "",
			"gatehouse_credentials_bearer: has 0 bytes, and who guesses it can log in as anybody; 16 are the least, and `gatehouse token keys` prints a good secret"},
		{"line end in the password", admin + tokens + "gatehouse_credentials = 'admin' " + strings.Replace(basic, long, long+"\\n", 1), "",
			"gatehouse_credentials_password: has characters that cannot be sent in a header; `gatehouse token keys` prints a good secret"},
		{"space in the bearer", admin + tokens + "gatehouse_credentials = 'admin' " + strings.Replace(bearer, long, long+" x", 1), "",
			"gatehouse_credentials_bearer: has characters that cannot be sent in a header; `gatehouse token keys` prints a good secret"},
		{"no tokens", admin + external + "gatehouse_credentials = 'admin' " + bearer, "",
			"gatehouse_credentials: the host has no tokens to give: set token_secret and otp_seed, or gatehouse_credentials = false for it"},
		{"tokens of no use", admin + external + "gatehouse_credentials = 'admin' " + bearer + "token_secret = '0123456789abcdef' otp_seed = 'XVGR73KMZH2M4XMY' disable_sasl_mechanisms = 'X-TOKEN'", "",
			"gatehouse_credentials: nobody could log in by a token: X-TOKEN is disabled, and gatehouse_token_in_plain is not set"},
		{"no admin", "\n" + tokens + "gatehouse_credentials = 'admin' " + bearer, "", `gatehouse_credentials: "admin" needs gatehouse_admin, which says where to listen`},
		{"no web", "\n" + tokens + "gatehouse_credentials = 'web' " + bearer, "", `gatehouse_credentials: "web" needs gatehouse_websocket_ports, which says where to listen`},
		{"no rate", admin + tokens + "gatehouse_credentials = 'admin' gatehouse_credentials_rate = 0 " + bearer, "", "gatehouse_credentials_rate: want a whole number from 1 to 100000, got 0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, warnings, problems := load(t, test.source)
			if got := strings.TrimPrefix(problems, "prosody.cfg.lua:3: host a.example: "); got != test.trouble || warnings != "" && test.name != "off" {
				t.Errorf("got\n%s%s\nwant\n%s", warnings, got, test.trouble)
			}
			if problems != "" {
				return
			}
			got := ""
			if x := c.Hosts[0].Credentials; x != nil {
				got = fmt.Sprintf("%s %q %q %q %d", x.Where, x.User, x.Password, x.Bearer, x.Rate)
				var b bytes.Buffer
				slog.New(slog.NewTextHandler(&b, nil)).Info("x", "credentials", x)
				if strings.Contains(b.String(), long) || !strings.Contains(b.String(), "credentials.where="+x.Where) {
					t.Errorf("in the log it is %s", b.String())
				}
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestLoad_credentialsWithoutTLS(t *testing.T) {
	_, warnings, problems := load(t, "modules_enabled = { 'websocket' } http_ports = 5280 http_interfaces = { '127.0.0.1', '192.0.2.1' }\n"+tokens+
		"gatehouse_credentials = 'web' gatehouse_credentials_bearer = '0123456789abcdef'")
	want := "prosody.cfg.lua:3: host a.example: gatehouse_credentials: 192.0.2.1:5280 is a WebSocket port without TLS (http_ports): " +
		"whoever is on the way there reads the secret, and can log in as anybody"
	if warnings != want || problems != "" {
		t.Errorf("got %s%s", warnings, problems)
	}
}
