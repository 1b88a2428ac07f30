package integration

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// while is as long as a test waits to see that nothing happens.
const while = 600 * time.Millisecond

// reached says whether somebody listens at an address.
func (e *effects) reached(address string) func(e *effects) string {
	return func(*effects) string {
		c, err := net.DialTimeout("tcp", address, patience)
		if err != nil {
			return outcomeOf(err)
		}
		_ = c.Close()
		return "open"
	}
}

// portEffects are of the options of ports, of what clients may do there, and of certificates.
func portEffects(e *effects) []optionEffect {
	on2 := func(port int) string { return fmt.Sprint("127.0.0.2:", e.ports[port]) }
	opens := func(option string, before, after any, address string, with options) optionEffect {
		return optionEffect{option: option, before: before, after: after, with: with, see: e.reached(address), want: [2]string{notOpen, "open"}}
	}
	// moves is an option of interfaces: the port is on another address of this machine, too.
	moves := func(option string, port int, with options) optionEffect {
		o := opens(option, "127.0.0.1", []any{"127.0.0.1", "127.0.0.2"}, on2(port), with)
		return o
	}
	port := func(n int) []any { return []any{e.ports[n]} }
	web := options{"gatehouse_websocket_ports": port(3)}
	prosody := options{"modules_enabled": []any{"websocket"}, "http_ports": port(3), "https_ports": port(4), "local_interfaces": "127.0.0.1"}
	wss := webDial{secure: true}
	status := func(d webDial, port int) func(e *effects) string {
		return func(e *effects) string {
			ws, err := d.to(e.t, loopback(e.ports[port]))
			if err != nil {
				return outcomeOf(err)
			}
			ws.cut()
			return fmt.Sprint(ws.answer.StatusCode)
		}
	}
	offers := func(d webDial) func(e *effects) string {
		return func(e *effects) string {
			c, err := d.client(e.t, loopback(e.ports[3]))
			if err != nil {
				return outcomeOf(err)
			}
			defer c.ws.cut()
			f, err := c.open("localhost")
			if err != nil {
				return outcomeOf(err)
			}
			return mechanismsIn(f)
		}
	}
	fromPage := wss
	fromPage.header = map[string]string{"Origin": "https://shop.example"}
	proxied := webDial{header: map[string]string{"X-Forwarded-Proto": "https"}}
	atChat := wss
	atChat.path = "/chat"
	trusting := options{"gatehouse_proxy_protocol_from": nil}
	openPlain := options{"c2s_require_encryption": false}
	table := []optionEffect{
		{option: "c2s_require_encryption", inHost: true, after: false, see: (*effects).starttls, want: [2]string{"required", "optional"}},
		{option: "require_encryption", after: false, see: (*effects).starttls, want: [2]string{"required", "optional"}},
		{option: "allow_unencrypted_plain_auth", inHost: true, after: true, host: openPlain, want: [2]string{"", "PLAIN"},
			see: func(e *effects) string { return mechanismsIn(e.plainly()) }},

		opens("c2s_ports", port(0), []any{e.ports[0], e.ports[2]}, loopback(e.ports[2]), nil),
		opens("c2s_direct_tls_ports", port(1), []any{e.ports[1], e.ports[2]}, loopback(e.ports[2]), nil),
		opens("legacy_ssl_ports", nil, port(2), loopback(e.ports[2]), nil),
		moves("interfaces", 0, nil),
		moves("interface", 0, options{"interfaces": nil}),
		moves("c2s_interfaces", 0, nil),
		moves("c2s_interface", 0, nil),
		moves("c2s_direct_tls_interfaces", 1, nil),
		moves("c2s_direct_tls_interface", 1, nil),
		moves("legacy_ssl_interfaces", 2, options{"legacy_ssl_ports": port(2)}),
		moves("legacy_ssl_interface", 2, options{"legacy_ssl_ports": port(2)}),
		opens("use_ipv4", false, nil, e.clients(), options{"interfaces": nil, "use_ipv6": e.ipv6()}),
		{option: "gatehouse_proxy_protocol_from", after: "127.0.0.1", with: trusting, want: [2]string{"turned away", "served"}, see: func(e *effects) string {
			c, err := dialProxied(e.t, e.clients(), "PROXY TCP4 192.0.2.1 192.0.2.2 1 5222\r\n")
			if err != nil {
				return "turned away"
			}
			_ = c.Close()
			return "served"
		}},

		opens("gatehouse_websocket_ports", nil, port(3), loopback(e.ports[3]), nil),
		moves("gatehouse_websocket_interfaces", 3, web),
		opens("http_ports", []any{}, port(3), loopback(e.ports[3]), prosody),
		opens("https_ports", []any{}, port(4), loopback(e.ports[4]), prosody),
		moves("http_interfaces", 3, prosody),
		moves("http_interface", 3, prosody),
		moves("local_interfaces", 3, prosody),
		moves("https_interfaces", 4, prosody),
		moves("https_interface", 4, prosody),
		{option: "http_paths", after: map[string]any{"websocket": "/chat"}, with: web, see: status(atChat, 3), want: [2]string{"404", "101"}},
		{option: "gatehouse_websocket_origins", after: "https://shop.example", with: web, see: status(fromPage, 3), want: [2]string{"403", "101"}},
		{option: "cross_domain_websocket", after: true, with: web, see: status(fromPage, 3), want: [2]string{"403", "101"}},
		{option: "gatehouse_websocket_url", inHost: true, after: "wss://chat.example/ws", with: web, see: (*effects).hostMeta, want: [2]string{"its own", "chat.example"}},
		{option: "consider_websocket_secure", after: true, with: prosody, see: offers(webDial{}), want: [2]string{"", "PLAIN"}},
		{option: "trusted_proxies", after: "192.0.2.1", with: prosody, see: offers(proxied), want: [2]string{"PLAIN", ""}},
		{option: "http_legacy_x_forwarded", after: false, with: prosody, see: offers(proxied), want: [2]string{"PLAIN", ""}},

		{option: "c2s_timeout", after: 0.3, see: func(e *effects) string { return e.silence(e.clients(), xmpptest.Header("localhost")) }, want: [2]string{"open", "closed"}},
		{option: "gatehouse_tls_handshake_timeout", after: 0.3, see: func(e *effects) string { return e.silence(e.directly(), "") }, want: [2]string{"open", "closed"}},
		{option: "gatehouse_connections", after: 2, see: (*effects).visitors, want: [2]string{"open open open", "closed closed open"}},
		{option: "gatehouse_unauthed_connections", after: 2, see: (*effects).visitors, want: [2]string{"open open open", "closed open open"}},
		{option: "gatehouse_unauthed_connections_per_address", after: 2, see: (*effects).visitors, want: [2]string{"open open open", "open open closed"}},
		{option: "limits", before: map[string]any{"c2s": map[string]any{"rate": "100kb/s"}}, after: map[string]any{"c2s": map[string]any{"rate": "1kb/s", "burst": 1}},
			want: [2]string{"fast", "slow"}, see: func(e *effects) string {
				return lasting(func() { e.password("alice", strings.Repeat("x", 1900)) }, while)
			}},
		{option: "c2s_unauthed_stanza_size_limit", after: 30000, want: [2]string{"stream error policy-violation", "malformed-request"}, see: func(e *effects) string {
			got := e.password("alice", strings.Repeat("x", 12000))
			if strings.Contains(got, "policy-violation") {
				return "stream error policy-violation"
			}
			return got
		}},
		{option: "c2s_stanza_size_limit", before: 10000, after: 30000, see: (*effects).longMessage, want: [2]string{"closed", "open"}},
		{option: "c2s_tcp_keepalives", after: false, see: (*effects).keepalive, want: [2]string{"probed", "not probed"}},
		{option: "tcp_keepalives", after: false, see: (*effects).keepalive, want: [2]string{"probed", "not probed"}},

		{option: "ssl", inHost: true, after: map[string]any{"protocol": "tlsv1_3"}, see: e.oldTLS("localhost"), want: [2]string{"let in", "refused"}},
		{option: "c2s_ssl", inHost: true, after: map[string]any{"protocol": "tlsv1_3"}, see: e.oldTLS("localhost"), want: [2]string{"let in", "refused"}},
		{option: "tls_profile", after: "modern", see: e.oldTLS("stays.example"), want: [2]string{"let in", "refused"}},
		{option: "c2s_direct_tls_ssl", after: e.named("certs", "port.example"), see: e.showsFor(""), want: [2]string{"[localhost] certs", "[port.example] certs"}},
		{option: "legacy_ssl_ssl", after: e.named("certs", "port.example"), see: e.showsFor(""), want: [2]string{"[localhost] certs", "[port.example] certs"}},
		{option: "certificates", before: "certs", after: "certs2", see: e.showsFor("localhost"), want: [2]string{"[localhost] certs", "[localhost] certs2"}},
		{option: "certificate", inHost: true, before: "certs/localhost.crt", after: "certs2/localhost.crt", with: options{"certificates": "ca"}, see: e.showsFor("localhost"), want: [2]string{"[localhost] certs", "[localhost] certs2"}},
	}
	if e.ipv6() == nil {
		return append(table, optionEffect{option: "use_ipv6", after: false, with: options{"interfaces": nil}, want: [2]string{"open", notOpen},
			see: e.reached(fmt.Sprintf("[::1]:%d", e.ports[0]))})
	}
	return append(table, optionEffect{option: "use_ipv6", after: false, elsewhere: "this machine has no IPv6; it is read as use_ipv4 is: TestDiff_everyOption"})
}

// ipv6 is false where this machine has none, and nil where it has.
func (e *effects) ipv6() any {
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = ln.Close()
	return nil
}

// plainly are the features before TLS.
func (e *effects) plainly() *xmpptest.Element {
	c, err := xmpptest.Dial(e.clients())
	if err != nil {
		e.t.Error(err)
		return nil
	}
	defer func() { _ = c.Close() }()
	c.Timeout = patience
	f, err := c.Open("localhost")
	if err != nil {
		e.t.Error(err)
	}
	return f
}

func (e *effects) starttls() string {
	f := e.plainly()
	if f == nil || f.Child("starttls") == nil {
		return "none"
	}
	return map[bool]string{true: "required", false: "optional"}[f.Child("starttls").Child("required") != nil]
}

func (e *effects) hostMeta() string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: insecureTLS("localhost")}, Timeout: patience}
	answer, err := client.Get(fmt.Sprintf("https://localhost:%d/.well-known/host-meta", e.ports[3]))
	if err != nil {
		return outcomeOf(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := bufio.NewReader(answer.Body).ReadString(0)
	return map[bool]string{true: "chat.example", false: "its own"}[strings.Contains(text, "wss://chat.example/ws")]
}

// ended says whether the other side closes a connection within a time.
func ended(c net.Conn, within time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(within))
	for b := make([]byte, 1024); ; {
		if _, err := c.Read(b); err != nil {
			timeout, ok := err.(net.Error)
			return !ok || !timeout.Timeout()
		}
	}
}

// silence is what becomes of somebody who says something and then nothing any more.
func (e *effects) silence(address, text string) string {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return outcomeOf(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = fmt.Fprint(c, text)
	return map[bool]string{true: "closed", false: "open"}[ended(c, while)]
}

// visitors says what becomes of three clients, one after the other. They are alone.
func (e *effects) visitors() string {
	until(e.t, "nobody is there", patience, func() bool {
		now := e.status(e.t).Connections
		return now["login"]+now["handshake"]+now["session"]+now["relay"] == 0
	})
	var all [3]net.Conn
	for i := range all {
		c, err := net.Dial("tcp", e.clients())
		if err != nil {
			return outcomeOf(err)
		}
		defer func() { _ = c.Close() }()
		_, _ = fmt.Fprint(c, xmpptest.Header("localhost"))
		all[i] = c
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, _ = c.Read(make([]byte, 1)) // it is served, or not
	}
	var list [len(all)]string
	var waiting sync.WaitGroup
	for i, c := range all {
		waiting.Go(func() { list[i] = map[bool]string{true: "closed", false: "open"}[ended(c, while/2)] })
	}
	waiting.Wait()
	return strings.Join(list[:], " ")
}

// longMessage is what becomes of a session that sends 20,000 bytes.
func (e *effects) longMessage() string {
	c, _ := session(e.t, e.clients(), "localhost", e.someone("user"), "secret", "desk")
	defer func() { _ = c.Close() }()
	_ = c.Send("<message to='localhost'><body>" + strings.Repeat("x", 20000) + "</body></message>")
	for {
		if _, err := c.ReadElement(); err != nil {
			return "closed"
		}
		if c.Ping() == nil {
			return "open"
		}
	}
}

// keepalive says whether the system probes a connection of the daemon's that is idle: /proc/net/tcp knows its timer.
func (e *effects) keepalive() string {
	c, err := xmpptest.Dial(e.clients())
	if err != nil {
		return outcomeOf(err)
	}
	defer func() { _ = c.Close() }()
	c.Timeout = patience
	if _, err := c.Open("localhost"); err != nil { // it has been accepted, and nothing is under way
		return outcomeOf(err)
	}
	theirs := fmt.Sprintf(":%04X", e.ports[0])
	ours := fmt.Sprintf(":%04X", c.Conn().LocalAddr().(*net.TCPAddr).Port)
	for end := time.Now().Add(patience); ; {
		text, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			e.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 6 || !strings.HasSuffix(f[1], theirs) || !strings.HasSuffix(f[2], ours) {
				continue
			}
			switch { // 01 is a retransmission, and passes
			case strings.HasPrefix(f[5], "02"):
				return "probed"
			case strings.HasPrefix(f[5], "00"):
				return "not probed"
			}
		}
		if time.Now().After(end) {
			return "unknown"
		}
	}
}

// oldTLS is whether TLS 1.2 is good enough for a host.
func (e *effects) oldTLS(host string) func(e *effects) string {
	return func(e *effects) string {
		config := insecureTLS(host)
		config.MaxVersion = tls.VersionTLS12
		c, err := xmpptest.DialTLS(e.directly(), config)
		if err != nil {
			return "refused"
		}
		_ = c.Close()
		return "let in"
	}
}

// named is an ssl table.
func (e *effects) named(dir, host string) any {
	return map[string]any{"certificate": e.dir + "/" + dir + "/" + host + ".crt", "key": e.dir + "/" + dir + "/" + host + ".key"}
}

// shown2 is the certificate that somebody is shown who asks for a host by direct TLS, or for none: its names, and the
// directory that it is from.
func (e *effects) showsFor(host string) func(e *effects) string {
	return func(e *effects) string {
		c, err := tls.Dial("tcp", e.directly(), insecureTLS(host))
		if err != nil {
			return outcomeOf(err)
		}
		defer func() { _ = c.Close() }()
		shown := c.ConnectionState().PeerCertificates[0]
		for _, dir := range []string{"certs", "certs2"} {
			pair, err := tls.LoadX509KeyPair(e.dir+"/"+dir+"/"+shown.DNSNames[0]+".crt", e.dir+"/"+dir+"/"+shown.DNSNames[0]+".key")
			if err == nil && pair.Leaf.Equal(shown) {
				return fmt.Sprint(shown.DNSNames, " ", dir)
			}
		}
		return "another"
	}
}
