package integration

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// listener is somebody behind: an XMPP server that remembers how the last one came, and lets nobody in, or everybody, who
// can then bind a resource and ask for pings.
type listener struct {
	net.Listener
	certificate tls.Certificate
	admits      bool

	mu   sync.Mutex // guards came
	came arrival
}

// arrival is how somebody came.
type arrival struct {
	n         int    // how many did
	proxy     string // version of the PROXY header
	tls       string
	name      string // by SNI
	issuer    string // of the client's certificate
	mechanism string
	message   string
}

func newListener(t testing.TB, certificate tls.Certificate) *listener {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{Listener: ln, certificate: certificate}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { l.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		all.Wait()
	})
	return l
}

// buffered is a connection of which a part has been read.
type buffered struct {
	net.Conn
	in *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.in.Read(p) }

func (l *listener) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	var v arrival
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		v.n = l.came.n + 1
		l.came = v
	}()
	b := buffered{c, bufio.NewReader(c)}
	first, err := b.in.Peek(1)
	if err != nil {
		return
	}
	switch first[0] {
	case 'P':
		v.proxy = "1"
		_, _ = b.in.ReadString('\n')
	case '\r':
		v.proxy = "2"
		head, _ := b.in.Peek(16)
		if len(head) == 16 {
			_, _ = b.in.Discard(16 + int(head[14])<<8 + int(head[15]))
		}
	}
	if first, err = b.in.Peek(1); err == nil && first[0] == 0x16 {
		v.tls = "direct"
		if b = l.secure(b, &v); b.Conn == nil {
			return
		}
	}
	l.talk(b, &v)
}

func (l *listener) secure(b buffered, v *arrival) buffered {
	over := tls.Server(b, &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			v.name = hello.ServerName
			return &l.certificate, nil
		}})
	if over.Handshake() != nil {
		return buffered{}
	}
	if certs := over.ConnectionState().PeerCertificates; len(certs) > 0 {
		v.issuer = fmt.Sprintf("%x", certs[0].AuthorityKeyId)
	}
	return buffered{over, bufio.NewReader(over)}
}

// talk answers until the client has shown what it has.
func (l *listener) talk(b buffered, v *arrival) {
	for {
		piece, err := b.in.ReadString('>')
		switch {
		case err != nil:
			return
		case strings.Contains(piece, "<stream:stream"):
			offer := "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism><mechanism>X-TOKEN</mechanism><mechanism>EXTERNAL</mechanism></mechanisms>"
			if v.tls == "" {
				offer += "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
			}
			_, _ = fmt.Fprintf(b, "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='%s' id='1' version='1.0'>"+
				"<stream:features>%s</stream:features>", attribute(piece, "to"), offer)
		case strings.Contains(piece, "<starttls"):
			_, _ = fmt.Fprint(b, "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
			v.tls = "starttls"
			if b = l.secure(b, v); b.Conn == nil {
				return
			}
		case strings.Contains(piece, "<auth"):
			_, rest, _ := strings.Cut(piece, "mechanism=")
			v.mechanism = strings.Trim(strings.FieldsFunc(rest, func(r rune) bool { return r == ' ' || r == '>' })[0], `'"`)
			text, _ := b.in.ReadString('<')
			message, _ := base64.StdEncoding.DecodeString(strings.TrimSuffix(text, "<"))
			v.message = string(message)
			if l.admits {
				_, _ = fmt.Fprint(b, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
				serveBehind(b)
				return
			}
			_, _ = fmt.Fprint(b, "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure></stream:stream>")
			return
		}
	}
}

// attribute finds an attribute in a tag.
func attribute(tag, name string) string {
	found := regexp.MustCompile(`\b` + name + `=['"]([^'"]*)['"]`).FindStringSubmatch(tag)
	if found == nil {
		return ""
	}
	return found[1]
}

// serveBehind answers all requests until the client leaves.
func serveBehind(b buffered) {
	for {
		_ = b.SetDeadline(time.Time{})
		piece, err := b.in.ReadString('>')
		id := attribute(piece, "id")
		switch {
		case err != nil:
			return
		case strings.Contains(piece, "<stream:stream"):
			_, err = fmt.Fprint(b, "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='2' version='1.0'>"+
				"<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>")
		case strings.Contains(piece, "<iq") && id != "":
			body, _ := b.in.ReadString('>')
			answer := ""
			if strings.Contains(body, "xmpp-bind") {
				answer = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>somebody@far.example/desk</jid></bind>"
			}
			_, err = fmt.Fprintf(b, "<iq type='result' id='%s'>%s</iq>", id, answer)
		case strings.Contains(piece, "</stream:stream"):
			_, _ = fmt.Fprint(b, "</stream:stream>")
			return
		}
		if err != nil {
			return
		}
	}
}

// behindEffects are of the options of the server behind, and of those who ask about its clients.
func behindEffects(e *effects) []optionEffect {
	pair, err := tls.LoadX509KeyPair(filepath.Join(e.dir, "certs", "localhost.crt"), filepath.Join(e.dir, "certs", "localhost.key"))
	if err != nil {
		e.t.Fatal(err)
	}
	server, other := newListener(e.t, pair), newListener(e.t, pair)
	address := server.Addr().String()
	silent, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = silent.Close() })
	trust := filepath.Join(e.dir, "certs", "ca.pem")
	with := options{"gatehouse_admin": loopback(e.ports[5]), "gatehouse_auth_api_user": "app", "gatehouse_auth_api_password": canarySecret}
	// see has somebody log in, and returns what the server behind saw.
	see := func(what func(v arrival) string) func(e *effects) string {
		return func(e *effects) string {
			server.mu.Lock()
			server.came = arrival{}
			server.mu.Unlock()
			e.password(e.someone("user"), "secret")
			for end := time.Now().Add(while); ; time.Sleep(time.Millisecond) {
				server.mu.Lock()
				came := server.came
				server.mu.Unlock()
				if came.n > 0 || time.Now().After(end) {
					return what(came)
				}
			}
		}
	}
	behind := func(option string, before, after any, want [2]string, what func(v arrival) string, extra options) optionEffect {
		host := options{"gatehouse_upstream": address, "gatehouse_upstream_timeout": 2}
		for name, value := range extra {
			host[name] = value
		}
		return optionEffect{option: option, inHost: true, before: before, after: after, with: with, host: host, want: want, see: see(what)}
	}
	direct := options{"gatehouse_upstream_tls": "direct"}
	minting := options{"gatehouse_upstream_auth": "token", "gatehouse_upstream_token_secret": canarySecret, "gatehouse_upstream_otp_seed": seedOne}
	api := func(user, password string) func(e *effects) string {
		return func(e *effects) string {
			r, err := http.NewRequest(http.MethodGet, "http://"+loopback(e.ports[5])+"/auth/user_exists?user=alice&server=localhost", nil)
			if err != nil {
				e.t.Fatal(err)
			}
			r.SetBasicAuth(user, password)
			return e.request(r)
		}
	}
	usersCA := func(dir string) any {
		return map[string]any{"certificate": filepath.Join(e.dir, dir, "users.pem"), "key": filepath.Join(e.dir, dir, "users.key")}
	}
	return []optionEffect{
		behind("gatehouse_upstream", address, other.Addr().String(), [2]string{"1", "0"}, func(v arrival) string { return fmt.Sprint(v.n) }, nil),
		behind("gatehouse_upstream_auth", "ticket", "password", [2]string{"a ticket", "the password"}, func(v arrival) string {
			return map[bool]string{true: "the password", false: "a ticket"}[strings.HasSuffix(v.message, "\x00secret")]
		}, nil),
		behind("gatehouse_upstream_tls", nil, "direct", [2]string{"", "direct"}, func(v arrival) string { return v.tls }, nil),
		behind("gatehouse_upstream_tls_name", nil, "elsewhere.example", [2]string{"localhost", "elsewhere.example"}, func(v arrival) string { return v.name }, direct),
		behind("gatehouse_upstream_trust", nil, trust, [2]string{"", "PLAIN"}, func(v arrival) string { return v.mechanism }, direct),
		{option: "gatehouse_upstream_allow_unencrypted", after: true, elsewhere: "another machine: it lets a config pass, which is a reload as any other; TestDiff_everyOption"},
		{option: "gatehouse_upstream_timeout", inHost: true, before: 0.2, after: 1, host: options{"gatehouse_upstream": silent.Addr().String()},
			want: [2]string{"fast", "slow"}, with: with, see: func(e *effects) string {
				return lasting(func() { e.password("alice", "secret") }, 600*time.Millisecond)
			}},
		behind("gatehouse_upstream_proxy_protocol", nil, 2, [2]string{"", "2"}, func(v arrival) string { return v.proxy }, nil),
		behind("gatehouse_upstream_token_secret", canarySecret, otherSecret, [2]string{"the old", "the new"}, func(v arrival) string {
			return madeWith(v.message, func(secret string, _ bool) bool { return secret == canarySecret })
		}, minting),
		behind("gatehouse_upstream_otp_seed", seedOne, seedTwo, [2]string{"the old", "the new"}, func(v arrival) string {
			return madeWith(v.message, func(_ string, first bool) bool { return first })
		}, minting),
		behind("gatehouse_upstream_ca", usersCA("ca"), usersCA("ca2"), e.keyIDs("ca", "ca2"), func(v arrival) string { return v.issuer },
			options{"gatehouse_upstream_auth": "external", "gatehouse_upstream_trust": trust}),
		{option: "gatehouse_extauth_socket", after: "./extauth.sock", want: [2]string{"no socket", "open"}, see: func(e *effects) string {
			c, err := net.Dial("unix", filepath.Join(e.dir, "extauth.sock"))
			if err != nil {
				return "no socket"
			}
			_ = c.Close()
			return "open"
		}},
		{option: "gatehouse_auth_api_user", before: "app", after: "other", with: with, see: api("app", canarySecret), want: [2]string{"200", "401"}},
		{option: "gatehouse_auth_api_password", before: canarySecret, after: otherSecret, with: with, see: api("app", canarySecret), want: [2]string{"200", "401"}},
	}
}

// keyIDs are the subject key identifiers of two authorities.
func (e *effects) keyIDs(dirs ...string) (ids [2]string) {
	for i, dir := range dirs {
		pair, err := tls.LoadX509KeyPair(filepath.Join(e.dir, dir, "users.pem"), filepath.Join(e.dir, dir, "users.key"))
		if err != nil {
			e.t.Fatal(err)
		}
		ids[i] = fmt.Sprintf("%x", pair.Leaf.SubjectKeyId)
	}
	return ids
}

// madeWith says whether a token was made with the keys of before; right is asked for the secret that signed it, and whether
// the first seed made the one-time password.
func madeWith(message string, right func(secret string, first bool) bool) string {
	parts := strings.Split(message, "\x00")
	token := parts[len(parts)-1]
	if len(token) < 42 {
		return "no token: " + token
	}
	otp, nonce := token[:8], token[8:40]
	window := time.Now().Unix() / 30
	first := otp == oneTimePassword(seedOne, window) || otp == oneTimePassword(seedOne, window-1)
	secret := ""
	for _, s := range []string{canarySecret, otherSecret} {
		plan := &tokenPlan{SignJID: parts[1] + "@localhost"}
		if base64.StdEncoding.EncodeToString(plan.sign(s, otp, nonce)) == token[41:] {
			secret = s
		}
	}
	if secret == "" {
		return "a token of nobody's"
	}
	return map[bool]string{true: "the old", false: "the new"}[right(secret, first)]
}
