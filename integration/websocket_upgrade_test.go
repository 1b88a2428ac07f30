package integration

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// TestWebSocket_upgrade: who gets a WebSocket and who does not, on both kinds of ports.
func TestWebSocket_upgrade(t *testing.T) {
	t.Parallel()
	d := webDaemon(t, options{"gatehouse_websocket_origins": []any{"https://shop.example", "http://plain.example:8080"}})
	for _, way := range webWays(t, d) {
		t.Run(way.name, func(t *testing.T) {
			for _, c := range []struct {
				name, path string
				header     map[string]string
				status     int
				says       string
			}{
				{"as it should be", "", nil, 101, ""},
				{"ejabberd's path", "/ws", nil, 101, ""},
				{"with a slash", "/xmpp-websocket/", nil, 101, ""},
				{"several subprotocols", "", map[string]string{"Sec-WebSocket-Protocol": "mqtt, xmpp"}, 101, ""},
				{"no subprotocol", "", map[string]string{"Sec-WebSocket-Protocol": ""}, 400, "subprotocol"},
				{"another subprotocol", "", map[string]string{"Sec-WebSocket-Protocol": "mqtt"}, 400, "subprotocol"},
				{"another path", "/chat", nil, 404, ""},
				{"another version", "", map[string]string{"Sec-WebSocket-Version": "8"}, 400, ""},
				{"no version", "", map[string]string{"Sec-WebSocket-Version": ""}, 400, ""},
				{"no key", "", map[string]string{"Sec-WebSocket-Key": ""}, 400, ""},
				{"a key that is too short", "", map[string]string{"Sec-WebSocket-Key": "YQ=="}, 400, ""},
				{"no Upgrade", "", map[string]string{"Upgrade": ""}, 426, ""},
				{"no request for a WebSocket", "", map[string]string{"Upgrade": "", "Sec-WebSocket-Key": ""}, 200, "It works!"},
				{"compression is not used", "", map[string]string{"Sec-WebSocket-Extensions": "permessage-deflate"}, 101, ""},
				{"a page of the same origin", "", map[string]string{"Origin": "https://localhost"}, 101, ""},
				{"a page of an origin that may", "", map[string]string{"Origin": "https://SHOP.example:443"}, 101, ""},
				{"another one", "", map[string]string{"Origin": "http://plain.example:8080"}, 101, ""},
				{"a page of a stranger", "", map[string]string{"Origin": "https://evil.example"}, 403, "origin"},
				{"the right name, the wrong scheme", "", map[string]string{"Origin": "http://shop.example"}, 403, "origin"},
				{"the right name, another port", "", map[string]string{"Origin": "http://plain.example"}, 403, "origin"},
				{"a longer name", "", map[string]string{"Origin": "https://shop.example.evil.example"}, 403, "origin"},
				{"a page without an origin", "", map[string]string{"Origin": "null"}, 403, "origin"},
			} {
				o := way.dial
				o.path, o.header = c.path, c.header
				ws, err := o.to(t, way.address)
				if err != nil {
					t.Errorf("%s: %v", c.name, err)
					continue
				}
				if ws.answer.StatusCode != c.status {
					t.Errorf("%s: %s, want %d", c.name, ws.answer.Status, c.status)
					continue
				}
				if c.status == http.StatusSwitchingProtocols {
					h := ws.answer.Header
					if h.Get("Sec-Websocket-Protocol") != "xmpp" || h.Get("Sec-Websocket-Extensions") != "" {
						t.Errorf("%s: %v", c.name, h)
					}
					ws.cut()
					continue
				}
				body, err := io.ReadAll(ws.answer.Body)
				if err != nil || !strings.Contains(string(body), c.says) {
					t.Errorf("%s: %q, %v; want %q in it", c.name, body, err, c.says)
				}
			}
		})
	}
}

// offers opens a stream and says which mechanisms are on offer.
func offers(t testing.TB, o webDial, address string) string {
	t.Helper()
	c, err := o.client(t, address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	features, err := c.open("localhost")
	if err != nil {
		t.Fatal(err)
	}
	if features.Child("starttls") != nil {
		t.Errorf("STARTTLS is on offer: %s", features.Raw)
	}
	var names []string
	if mechanisms := features.Child("mechanisms"); mechanisms != nil {
		for _, m := range mechanisms.Children {
			names = append(names, m.Text)
		}
	}
	return strings.Join(names, " ")
}

// TestWebSocket_secure: passwords are asked for only where the way here is encrypted, or a proxy that is trusted says so,
// or the operator.
func TestWebSocket_secure(t *testing.T) {
	t.Parallel()
	const xfp = "X-Forwarded-Proto"
	stranger := options{"trusted_proxies": []any{"192.0.2.0/24"}}
	for _, c := range []struct {
		name   string
		config options
		header map[string]string
		right  string // on the port without TLS; with TLS it is always PLAIN
	}{
		{"nobody says anything", nil, nil, ""},
		{"the proxy says https", nil, map[string]string{xfp: "https"}, "PLAIN"},
		{"the proxy says http", nil, map[string]string{xfp: "http"}, ""},
		{"another header", nil, map[string]string{"Forwarded": "proto=https"}, ""},
		{"a stranger says https", stranger, map[string]string{xfp: "https"}, ""},
		{"the operator says so", options{"consider_websocket_secure": true}, nil, "PLAIN"},
		{"the proxy says https by RFC 7239", options{"http_legacy_x_forwarded": false}, map[string]string{"Forwarded": "for=203.0.113.7;proto=https"}, "PLAIN"},
		{"a header that it does not send", options{"http_legacy_x_forwarded": false}, map[string]string{xfp: "https"}, ""},
		{"encryption is not asked for", options{"c2s_require_encryption": false}, nil, ""},
		{"PLAIN without", options{"c2s_require_encryption": false, "allow_unencrypted_plain_auth": true}, nil, "PLAIN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ways := webWays(t, webDaemon(t, c.config))
			if got := offers(t, webDial{header: c.header}, ways[0].address); got != c.right {
				t.Errorf("on offer without TLS: %q, want %q", got, c.right)
			}
			if got := offers(t, webDial{header: c.header, secure: true}, ways[1].address); got != "PLAIN" {
				t.Errorf("on offer with TLS: %q", got)
			}
			if c.right == "" {
				got, err := webLogin(t, webDial{header: c.header}, ways[0].address, "localhost", "PLAIN", plain("alice", "secret"))
				if err != nil || got != "encryption-required" {
					t.Errorf("PLAIN all the same: %q, %v", got, err)
				}
			}
		})
	}
}

// TestWebSocket_remote: the log has the address of the client, as far as those say who are trusted.
func TestWebSocket_remote(t *testing.T) {
	t.Parallel()
	trusted := options{"trusted_proxies": []any{"127.0.0.1", "192.0.2.0/24"}}
	stranger := options{"trusted_proxies": []any{"192.0.2.0/24"}}
	proxied := options{"gatehouse_proxy_protocol_from": []any{"127.0.0.1"}}
	far := netip.MustParseAddrPort("203.0.113.9:40001")
	nearby := netip.MustParseAddrPort("192.0.2.9:40002")
	to := netip.MustParseAddrPort("198.51.100.1:443")
	for _, c := range []struct {
		name   string
		config options
		before string
		header map[string]string
		right  string // "" is the connection's own
	}{
		{"nobody in between", nil, "", nil, ""},
		{"a proxy", trusted, "", map[string]string{"X-Forwarded-For": "203.0.113.7"}, "203.0.113.7:0"},
		{"two proxies", trusted, "", map[string]string{"X-Forwarded-For": "198.51.100.66, 203.0.113.7, 192.0.2.1"}, "203.0.113.7:0"},
		{"IPv6", trusted, "", map[string]string{"X-Forwarded-For": "2001:db8::7"}, "[2001:db8::7]:0"},
		{"a stranger's word", stranger, "", map[string]string{"X-Forwarded-For": "203.0.113.7"}, ""},
		{"nonsense", trusted, "", map[string]string{"X-Forwarded-For": "alice"}, ""},
		{"Forwarded", options{"http_legacy_x_forwarded": false}, "", map[string]string{"Forwarded": `for="[2001:db8::7]:4711";proto=https`}, "[2001:db8::7]:4711"},
		{"the PROXY protocol, version 1", proxied, proxyHeader1(far, to), nil, far.String()},
		{"version 2", proxied, proxyHeader2(far, to), nil, far.String()},
		{"both, of a stranger", proxied, proxyHeader2(far, to), map[string]string{"X-Forwarded-For": "203.0.113.7"}, far.String()},
		{"both, of a proxy", options{"gatehouse_proxy_protocol_from": []any{"127.0.0.1"}, "trusted_proxies": []any{"192.0.2.0/24"}},
			proxyHeader1(nearby, to), map[string]string{"X-Forwarded-For": "203.0.113.7"}, "203.0.113.7:0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := webDaemon(t, options{"consider_websocket_secure": true}, c.config)
			for _, way := range webWays(t, d) {
				o := way.dial
				o.before, o.header = c.before, c.header
				client, err := o.client(t, way.address)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := client.open("localhost"); err != nil {
					t.Fatal(err)
				}
				if got, err := attempt(client.Client, "PLAIN", plain("alice", "wrong")); err != nil || got != "not-authorized" {
					t.Fatalf("%q, %v", got, err)
				}
				right := c.right
				if right == "" {
					right = client.ws.LocalAddr().String()
				}
				// What is between us and a proxy is not asked.
				tls := map[string]string{"ws": "proxy", "wss": `"TLS 1.3"`}[way.name]
				pattern := `(?m)^\S+ info login .*\bremote="?` + regexp.QuoteMeta(right) + `"? tls=` + tls + ` .*$`
				if _, err := d.waitFor(regexp.MustCompile(pattern)); err != nil {
					t.Errorf("%s: %v", way.name, err)
				}
				_ = client.Close()
			}
		})
	}
}

// TestWebSocket_badForwarded: a Forwarded header that cannot be read ends the request.
func TestWebSocket_badForwarded(t *testing.T) {
	t.Parallel()
	way := webWays(t, webDaemon(t, options{"http_legacy_x_forwarded": false}))[0]
	for _, bad := range []string{`for="203.0.113.7`, "for=a=b", "proto=https for=x"} {
		ws, err := webDial{header: map[string]string{"Forwarded": bad}}.to(t, way.address)
		if err != nil || ws.answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %v, %v", bad, ws.answer, err)
		}
	}
}

// TestWebSocket_proxyHeaderOfStranger: only who may send a PROXY header can, and it counts nowhere else.
func TestWebSocket_proxyHeaderOfStranger(t *testing.T) {
	t.Parallel()
	header := proxyHeader1(netip.MustParseAddrPort("203.0.113.9:40001"), netip.MustParseAddrPort("198.51.100.1:443"))
	for _, way := range webWays(t, webDaemon(t)) {
		o := way.dial
		o.before = header
		if ws, err := o.to(t, way.address); err == nil && ws.answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", way.name, ws.answer.Status)
		}
	}
}

// TestWebSocket_tlsVersions: TLS 1.2 and 1.3 by default, 1.3 alone where that is asked for, and nothing older; HTTP/1.1 is
// all that is agreed upon.
func TestWebSocket_tlsVersions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config  options
		allowed []uint16
	}{
		"default": {nil, []uint16{tls.VersionTLS12, tls.VersionTLS13}},
		"modern":  {options{"tls_profile": "modern"}, []uint16{tls.VersionTLS13}},
	} {
		way := webWays(t, webDaemon(t, c.config))[1]
		for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
			config := insecureTLS("localhost")
			config.MinVersion, config.MaxVersion = version, version
			config.NextProtos = []string{"h2", "http/1.1"}
			ws, err := webDial{secure: true, tls: config}.to(t, way.address)
			if allowed := slices.Contains(c.allowed, version); allowed != (err == nil) {
				t.Errorf("%s, %s: %v", name, tls.VersionName(version), err)
			}
			if err == nil {
				if proto := ws.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; proto != "http/1.1" || ws.answer.StatusCode != 101 {
					t.Errorf("%s, %s: %q, %s", name, tls.VersionName(version), proto, ws.answer.Status)
				}
			}
		}
	}
}

// TestWebSocket_certificates: by the name that the client asks for it sees the host's certificate, as on the other ports,
// and the one from after a reload from then on.
func TestWebSocket_certificates(t *testing.T) {
	t.Parallel()
	s, ports := newWebScene(t)
	certificate := func(name string) string {
		t.Helper()
		c, err := webDial{secure: true, host: name}.client(t, loopback(ports[1]))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return serialOf(xmpptest.New(c.ws.Conn))
	}
	direct := func(name string) string {
		t.Helper()
		c, err := xmpptest.DialTLS(s.direct(), insecureTLS(name))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return serialOf(c)
	}
	first := certificate("localhost")
	if want := direct("localhost"); first != want {
		t.Errorf("certificate %s, on the port for direct TLS %s", first, want)
	}
	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(xmpptest.ECDSA, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := pair.Write(s.dir, "another")
	if err != nil {
		t.Fatal(err)
	}
	s.hosts[0].options["ssl"] = map[string]any{"certificate": cert, "key": key}
	s.change(t, "")
	if second := certificate("localhost"); second == first || second != direct("localhost") {
		t.Errorf("after a reload: %s, before %s, on the port for direct TLS %s", second, first, direct("localhost"))
	}
}

// TestWebSocket_hostMeta: where the WebSocket is can be found out by the name of a host (XEP-0156), from any page.
func TestWebSocket_hostMeta(t *testing.T) {
	t.Parallel()
	for _, way := range webWays(t, webDaemon(t)) {
		for path, says := range map[string]string{
			"/.well-known/host-meta":      `urn:xmpp:alt-connections:websocket`,
			"/.well-known/host-meta.json": `"urn:xmpp:alt-connections:websocket"`,
		} {
			o := way.dial
			o.path = path
			ws, err := o.to(t, way.address)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(ws.answer.Body)
			if err != nil || ws.answer.StatusCode != 200 || !strings.Contains(string(body), says) ||
				!strings.Contains(string(body), "wss://localhost/xmpp-websocket") || ws.answer.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s %s: %s %v %q, %v", way.name, path, ws.answer.Status, ws.answer.Header, body, err)
			}
		}
	}
}

// newWebScene is a scene with a WebSocket port of each kind, the one without TLS first.
func newWebScene(t *testing.T, extra ...options) (*scene, []int) {
	t.Helper()
	ports := freePorts(t, 2)
	return newScene(t, append([]options{webPorts(ports[0], ports[1])}, extra...)...), ports
}

// ways are those to a scene's ports.
func sceneWays(ports []int) []webWay {
	return []webWay{
		{"ws", webDial{header: map[string]string{"X-Forwarded-Proto": "https"}}, loopback(ports[0])},
		{"wss", webDial{secure: true}, loopback(ports[1])},
	}
}
