package webserver_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/webserver"
)

// ask sends a request as it stands and reads the answer.
func (s *site) ask(t testing.TB, request string) (*http.Response, string) {
	t.Helper()
	nc := s.connect(t)
	defer nc.Close()
	if _, err := io.WriteString(nc, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), &http.Request{Method: strings.Fields(request)[0]})
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, ""
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func get(path, headers string) string {
	return "GET " + path + " HTTP/1.1\r\n" + headers + "Connection: close\r\n\r\n"
}

func TestServer_paths(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "next "+r.URL.Path) })
	tests := []struct {
		name    string
		config  webserver.Config
		request string
		status  int
		body    string // a part of it
	}{
		{"page", webserver.Config{}, get("/xmpp-websocket", "Host: a\r\n"), 200, "It works!"},
		{"ejabberd's path", webserver.Config{}, get("/ws/", "Host: a\r\n"), 200, "point your WebSocket client to this URL"},
		{"not secure", webserver.Config{}, get("/ws", "Host: a\r\n"), 200, "not considered secure!"},
		{"head", webserver.Config{}, strings.Replace(get("/ws", "Host: a\r\n"), "GET", "HEAD", 1), 200, ""},
		{"post", webserver.Config{}, strings.Replace(get("/ws", "Host: a\r\n"), "GET", "POST", 1), 405, ""},
		{"elsewhere", webserver.Config{}, get("/", "Host: a\r\n"), 404, ""},
		{"traversal", webserver.Config{}, get("/../ws", "Host: a\r\n"), 404, ""},
		{"own paths", webserver.Config{Paths: []string{"/chat/"}}, get("/chat", "Host: a\r\n"), 200, "It works!"},
		{"no other then", webserver.Config{Paths: []string{"/chat"}}, get("/ws", "Host: a\r\n"), 404, ""},
		{"next", webserver.Config{Next: next}, get("/credentials", "Host: a\r\n"), 200, "next /credentials"},
		{"no host", webserver.Config{}, "GET /ws HTTP/1.0\r\n\r\n", 200, "It works!"},
		{"no host at all", webserver.Config{}, "GET /.well-known/host-meta HTTP/1.0\r\n\r\n", 400, ""},
		{"host-meta post", webserver.Config{}, strings.Replace(get("/.well-known/host-meta", "Host: a\r\n"), "GET", "POST", 1), 405, ""},
		{"large header", webserver.Config{}, get("/ws", "Host: a\r\nX: "+strings.Repeat("x", 40<<10)+"\r\n"), 431, ""},
		{"no upgrade in 1.0", webserver.Config{}, strings.Replace(handshake, "1.1", "1.0", 1) + "\r\n", 426, ""},
		{"other version", webserver.Config{}, strings.Replace(handshake, "Version: 13", "Version: 8", 1) + "\r\n", 400, "only 13"},
		{"bad key", webserver.Config{}, strings.Replace(handshake, "AAA=", "AA=", 1) + "\r\n", 400, "Sec-WebSocket-Key"},
		{"no subprotocol", webserver.Config{}, strings.Replace(handshake, "Protocol: xmpp", "Protocol: mqtt, xmppx", 1) + "\r\n", 400, "does not offer the subprotocol \"xmpp\""},
		{"subprotocol of several", webserver.Config{}, strings.Replace(handshake, "Protocol: xmpp", "Protocol: mqtt ,\txmpp", 1) + "\r\n", 101, ""},
		{"upgrade by post", webserver.Config{}, strings.Replace(handshake, "GET", "POST", 1) + "Content-Length: 0\r\n\r\n", 405, ""},
		{"deflate offered", webserver.Config{}, handshake + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 101, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.config.Accept = echo
			s := serve(t, false, test.config)
			resp, body := s.ask(t, test.request)
			if resp.StatusCode != test.status || !strings.Contains(body, test.body) {
				t.Errorf("got %s, %q", resp.Status, body)
			}
		})
	}
}

func TestServer_pageOverTLS(t *testing.T) {
	s := serve(t, true, webserver.Config{Accept: echo})
	if _, body := s.ask(t, get("/ws", "Host: chat.example\r\n")); strings.Contains(body, "not considered secure") {
		t.Errorf("got %q", body)
	}
}

func TestServer_hostMeta(t *testing.T) {
	own := func(host string) string {
		if host == "chat.example" {
			return "wss://web.example/<&\">"
		}
		return ""
	}
	tests := []struct {
		name    string
		secure  bool
		config  webserver.Config
		headers string
		want    string
	}{
		{"plain", false, webserver.Config{}, "Host: Chat.example:5280\r\n", "ws://chat.example:5280/xmpp-websocket"},
		{"tls", true, webserver.Config{}, "Host: chat.example\r\n", "wss://chat.example/xmpp-websocket"},
		{"behind TLS", false, webserver.Config{TrustedProxies: loopback}, "Host: chat.example\r\nX-Forwarded-Proto: https\r\n", "wss://chat.example/xmpp-websocket"},
		{"configured", false, webserver.Config{URL: own}, "Host: CHAT.example:80\r\n", "wss://web.example/<&\">"},
		{"not configured", false, webserver.Config{URL: own}, "Host: other.example\r\n", "ws://other.example/xmpp-websocket"},
		{"path", false, webserver.Config{Paths: []string{"/a", "/ws"}}, "Host: [::1]:5280\r\n", "ws://[::1]:5280/a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.config.Accept = echo
			s := serve(t, test.secure, test.config)
			resp, body := s.ask(t, get("/.well-known/host-meta.json", test.headers))
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("got %s, %v", resp.Status, resp.Header)
			}
			var jrd struct {
				Links []struct{ Rel, Href string }
			}
			if err := json.Unmarshal([]byte(body), &jrd); err != nil {
				t.Fatalf("%v in %q", err, body)
			}
			if len(jrd.Links) != 1 || jrd.Links[0].Rel != "urn:xmpp:alt-connections:websocket" || jrd.Links[0].Href != test.want {
				t.Errorf("got %q", body)
			}
			resp, body = s.ask(t, get("/.well-known/host-meta", test.headers))
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/xrd+xml" || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("got %s, %v", resp.Status, resp.Header)
			}
			var xrd struct {
				XMLName xml.Name `xml:"http://docs.oasis-open.org/ns/xri/xrd-1.0 XRD"`
				Link    []struct {
					Rel  string `xml:"rel,attr"`
					Href string `xml:"href,attr"`
				}
			}
			if err := xml.Unmarshal([]byte(body), &xrd); err != nil {
				t.Fatalf("%v in %q", err, body)
			}
			if len(xrd.Link) != 1 || xrd.Link[0].Rel != "urn:xmpp:alt-connections:websocket" || xrd.Link[0].Href != test.want {
				t.Errorf("got %q", body)
			}
		})
	}
}

func TestServer_hostMetaNonsense(t *testing.T) {
	s := serve(t, false, webserver.Config{Accept: echo})
	for _, host := range []string{"a'b", "a;b", "a$b", strings.Repeat("a", 300), "%41", "a,b"} {
		if resp, body := s.ask(t, get("/.well-known/host-meta", "Host: "+host+"\r\n")); resp.StatusCode != 400 {
			t.Errorf("%q: got %s, %q", host, resp.Status, body)
		}
	}
}

func TestServer_origin(t *testing.T) {
	list := []string{"https://Web.example", "https://other.example:8443/", "capacitor://localhost", "null"}
	tests := []struct {
		name    string
		origins []string
		host    string
		origin  string
		ok      bool
	}{
		{"none", nil, "chat.example", "", true},
		{"same", nil, "chat.example", "https://chat.example", true},
		{"same, case", nil, "CHAT.example", "https://chat.EXAMPLE", true},
		{"same, plain", nil, "chat.example", "http://chat.example", true},
		{"same, port", nil, "chat.example:5281", "https://chat.example:5281", true},
		{"default port there", nil, "chat.example", "https://chat.example:443", true},
		{"default port here", nil, "chat.example:443", "https://chat.example", true},
		{"another port", nil, "chat.example:5281", "https://chat.example", false},
		{"default port of another scheme", nil, "chat.example:443", "http://chat.example", false},
		{"another host", nil, "chat.example", "https://evil.example", false},
		{"longer host", nil, "chat.example", "https://chat.example.evil.example", false},
		{"in the user", nil, "chat.example", "https://chat.example@evil.example", false},
		{"user here", nil, "chat.example", "https://evil@chat.example", false},
		{"with a path", nil, "chat.example", "https://chat.example/x", false},
		{"null", nil, "chat.example", "null", false},
		{"another scheme", nil, "chat.example", "ftp://chat.example", false},
		{"no scheme", nil, "chat.example", "chat.example", false},
		{"no scheme, slashes", nil, "chat.example", "//chat.example", false},
		{"two", nil, "chat.example", "https://chat.example\r\nOrigin: https://chat.example", false},
		{"bad URL", nil, "chat.example", "https://chat.example:x", false},
		{"listed", list, "chat.example", "https://web.example", true},
		{"listed, port", list, "chat.example", "https://web.example:443", true},
		{"listed with a port", list, "chat.example", "https://other.example:8443", true},
		{"listed with another", list, "chat.example", "https://other.example", false},
		{"listed with another scheme", list, "chat.example", "http://web.example", false},
		{"app", list, "chat.example", "capacitor://localhost", true},
		{"null listed", list, "chat.example", "null", true},
		{"same besides a list", list, "chat.example", "https://chat.example", true},
		{"any", []string{"*"}, "chat.example", "https://evil.example", true},
		{"any and null", []string{"*"}, "chat.example", "null", true},
		{"a star is no pattern", []string{"https://*.example"}, "chat.example", "https://a.example", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			s := serve(t, false, webserver.Config{Accept: echo, Origins: test.origins, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			request := strings.Replace(handshake, "Host: chat.example", "Host: "+test.host, 1)
			if test.origin != "" {
				request += "Origin: " + test.origin + "\r\n"
			}
			resp, body := s.ask(t, request+"\r\n")
			want := http.StatusForbidden
			if test.ok {
				want = http.StatusSwitchingProtocols
			}
			if resp.StatusCode != want {
				t.Errorf("got %s, %q", resp.Status, body)
			}
			if refused := strings.Contains(log.String(), "refused a WebSocket"); refused == test.ok {
				t.Errorf("log: %q", log.String())
			}
		})
	}
}

func TestServer_proxies(t *testing.T) {
	prefixes := func(list ...string) (p []netip.Prefix) {
		for _, s := range list {
			p = append(p, netip.MustParsePrefix(s))
		}
		return p
	}
	local := prefixes("127.0.0.1/32")
	wide := prefixes("127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32")
	const here = "127.0.0.1" // with the port of the connection
	tests := []struct {
		name    string
		trust   []netip.Prefix
		rfc7239 bool
		secure  bool // Config.AlwaysSecure
		headers string
		remote  string
		isSafe  bool
	}{
		{"nothing", local, false, false, "", here, false},
		{"considered secure", local, false, true, "", here, true},
		{"considered secure, not a proxy", nil, false, true, "X-Forwarded-For: 192.0.2.1\r\n", here, true},
		{"untrusted", nil, false, false, "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n", here, false},
		{"trusts others", prefixes("10.0.0.0/8"), false, false, "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n", here, false},
		{"untrusted, Forwarded", nil, true, false, "Forwarded: for=192.0.2.1;proto=https\r\n", here, false},
		{"one", local, false, false, "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n", "192.0.2.1:0", true},
		{"plain", local, false, false, "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n", "192.0.2.1:0", false},
		{"no proto", local, false, false, "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1:0", false},
		{"proto alone", local, false, false, "X-Forwarded-Proto: HTTPS\r\n", here, true},
		{"proto of the WebSocket", local, false, false, "X-Forwarded-Proto: wss\r\n", here, true},
		{"two protos", local, false, false, "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n", here, false},
		{"list of protos", local, false, false, "X-Forwarded-Proto: https, http\r\n", here, false},
		{"spoofed", local, false, false, "X-Forwarded-For: 198.51.100.7, 192.0.2.1\r\n", "192.0.2.1:0", false},
		{"spoofed as the proxy", local, false, false, "X-Forwarded-For: 198.51.100.7, 127.0.0.1, 192.0.2.1\r\n", "192.0.2.1:0", false},
		{"two proxies", wide, false, false, "X-Forwarded-For: 198.51.100.7, 192.0.2.1, 10.1.2.3\r\n", "192.0.2.1:0", false},
		{"two lines", wide, false, false, "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 10.1.2.3\r\n", "192.0.2.1:0", false},
		{"all trusted", wide, false, false, "X-Forwarded-For: 10.9.9.9, 10.1.2.3\r\n", "10.9.9.9:0", false},
		{"empty elements", wide, false, false, "X-Forwarded-For: 192.0.2.1,, 10.1.2.3 ,\r\n", "192.0.2.1:0", false},
		{"with a port", local, false, false, "X-Forwarded-For: 192.0.2.1:4711\r\n", "192.0.2.1:4711", false},
		{"IPv6", local, false, false, "X-Forwarded-For: 2001:db9::1\r\n", "[2001:db9::1]:0", false},
		{"IPv6 in brackets", local, false, false, "X-Forwarded-For: [2001:db9::1]:99\r\n", "[2001:db9::1]:99", false},
		{"mapped", wide, false, false, "X-Forwarded-For: 192.0.2.1, ::ffff:10.0.0.1\r\n", "192.0.2.1:0", false},
		{"garbage", local, false, false, "X-Forwarded-For: 192.0.2.1, x\r\n", here, false},
		{"unknown", local, false, false, "X-Forwarded-For: 192.0.2.1, unknown\r\n", here, false},
		{"garbage behind a proxy", wide, false, false, "X-Forwarded-For: 192.0.2.1, x, 10.1.2.3\r\n", "10.1.2.3:0", false},
		{"zone", local, false, false, "X-Forwarded-For: fe80::1%eth0\r\n", here, false},
		{"bad ports", local, false, false, "X-Forwarded-For: 192.0.2.1:99999\r\n", here, false},
		{"no port", local, false, false, "X-Forwarded-For: [2001:db8::1]:\r\n", here, false},
		{"unclosed bracket", local, false, false, "X-Forwarded-For: [2001:db8::1\r\n", here, false},
		{"IPv4 in brackets", local, false, false, "X-Forwarded-For: [192.0.2.1]\r\n", here, false},
		{"the other header", local, false, false, "Forwarded: for=192.0.2.1;proto=https\r\n", here, false},
		{"the other headers", local, true, false, "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n", here, false},
		{"Forwarded", local, true, false, "Forwarded: for=192.0.2.1;proto=https;by=203.0.113.43\r\n", "192.0.2.1:0", true},
		{"Forwarded, quoted", local, true, false, "Forwarded: Proto=HTTPS ; For=\"[2001:db9:cafe::17]:4711\"\r\n", "[2001:db9:cafe::17]:4711", true},
		{"Forwarded, plain", local, true, false, "Forwarded: for=192.0.2.1;proto=http\r\n", "192.0.2.1:0", false},
		{"Forwarded, spoofed", local, true, false, "Forwarded: for=198.51.100.7;proto=https, for=192.0.2.1\r\n", "192.0.2.1:0", false},
		{"Forwarded, spoofed line", local, true, false, "Forwarded: for=198.51.100.7\r\nForwarded: for=192.0.2.1;proto=https\r\n", "192.0.2.1:0", true},
		{"Forwarded twice", wide, true, false, "Forwarded: for=192.0.2.1;proto=https, for=10.1.2.3;proto=https\r\n", "192.0.2.1:0", true},
		{"Forwarded in plain text on the way", wide, true, false, "Forwarded: for=192.0.2.1;proto=https, for=10.1.2.3;proto=http\r\n", "192.0.2.1:0", false},
		{"Forwarded, hidden", local, true, false, "Forwarded: for=198.51.100.7, for=_hidden;proto=https\r\n", here, true},
		{"Forwarded without for", local, true, false, "Forwarded: for=198.51.100.7, proto=https\r\n", here, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, conns := serveHeld(t, false, webserver.Config{TrustedProxies: test.trust, Forwarded: test.rfc7239, AlwaysSecure: test.secure})
			c := s.upgrade(t, test.headers, "")
			conn := <-conns
			want := test.remote
			if want == here {
				want = c.LocalAddr().String()
			}
			if got := conn.Remote.String(); got != want {
				t.Errorf("remote is %s, not %s", got, want)
			}
			if conn.Secure != test.isSafe || conn.TLS != nil {
				t.Errorf("secure: %v, TLS: %v", conn.Secure, conn.TLS)
			}
			if conn.Local.String() != s.addr || conn.Host != "chat.example" {
				t.Errorf("local is %s, host %q", conn.Local, conn.Host)
			}
		})
	}
}

// A client that makes the header unreadable does not pass for the proxy.
func TestServer_unreadableForwarded(t *testing.T) {
	s := serve(t, false, webserver.Config{Accept: echo, TrustedProxies: loopback, Forwarded: true})
	for _, h := range []string{`for="1.2.3.4, for=192.0.2.1`, `for=192.0.2.1;for=192.0.2.2`, `for`, `for=`, `=x`, `for="\`, `for=a b`, `for="a"b`} {
		resp, body := s.ask(t, handshake+"Forwarded: "+h+"\r\n\r\n")
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "cannot read the header Forwarded") {
			t.Errorf("%s: got %s, %q", h, resp.Status, body)
		}
	}
	other := serve(t, false, webserver.Config{Accept: echo, Forwarded: true})
	if resp, body := other.ask(t, handshake+"Forwarded: for=\"\r\n\r\n"); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("of nobody's concern: got %s, %q", resp.Status, body)
	}
}

func TestServer_tlsConnection(t *testing.T) {
	s, conns := serveHeld(t, true, webserver.Config{})
	c := s.upgrade(t, "", "")
	conn := <-conns
	if !conn.Secure || conn.TLS == nil || conn.TLS.ServerName != "chat.example" || conn.Remote.String() != c.LocalAddr().String() {
		t.Errorf("got %v, %v, %v", conn.Secure, conn.TLS, conn.Remote)
	}
}

// A new configuration is for those who come, and nobody who is there notices.
func TestServer_SetConfig(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	s := serve(t, false, webserver.Config{Accept: echo})
	c := s.upgrade(t, "", "")
	isEcho(t, c, "a")
	s.SetConfig(webserver.Config{Paths: []string{"/new"}, Logger: quiet, Accept: func(c *webserver.Conn) { _ = say(c, "new") }})
	isEcho(t, c, "b")
	if resp, _ := s.ask(t, handshake+"\r\n"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("got %s", resp.Status)
	}
	nc := s.connect(t)
	n := &raw{Conn: nc, in: bufio.NewReader(nc), t: t}
	n.send(strings.Replace(handshake, "/xmpp-websocket", "/new", 1) + "\r\n")
	if _, err := http.ReadResponse(n.in, nil); err != nil {
		t.Fatal(err)
	}
	if got := n.expect(whole); got != "new" {
		t.Errorf("got %q", got)
	}
	isEcho(t, c, "c")
}

// Header bytes that trickle in do not hold a connection.
func TestServer_slowHandshake(t *testing.T) {
	eachWay(t, func(t *testing.T, secure bool) {
		t.Parallel()
		s := serve(t, secure, webserver.Config{Accept: echo})
		c := s.connect(t)
		begun := time.Now()
		if _, err := io.WriteString(c, handshake); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(c)
		if err != nil && !errors.Is(err, net.ErrClosed) {
			t.Log(err) // a reset is as good
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
		if bytes.Contains(answer, []byte("101")) {
			t.Errorf("got %q", answer)
		}
	})
}

// A fault in one session is logged and ends that one.
func TestServer_panic(t *testing.T) {
	var log bytes.Buffer
	s := serve(t, false, webserver.Config{
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Accept: func(c *webserver.Conn) {
			if m, _ := message(c); m == "boom" {
				panic(m)
			}
			echo(c)
		},
	})
	other := s.upgrade(t, "", frame(whole, ""))
	c := s.upgrade(t, "", frame(whole, "boom"))
	if got := c.closed(); got != webserver.InternalError {
		t.Errorf("closed with %d", got)
	}
	c.Close()
	until(t, "the session is gone", func() bool { return s.Sessions() == 1 })
	if !strings.Contains(log.String(), "internal fault in a connection; please report it") {
		t.Errorf("log: %q", log.String())
	}
	isEcho(t, other, "a")
}
