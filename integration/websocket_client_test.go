package integration

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// Kinds of WebSocket frames (RFC 6455, 5.2).
const (
	frameMore   = 0x0 // goes on with the message before
	frameText   = 0x1
	frameBinary = 0x2
	frameClose  = 0x8
	framePing   = 0x9
	framePong   = 0xa
)

const nsFraming = "urn:ietf:params:xml:ns:xmpp-framing"

// webSocket is a client's end of one. It is ours and not a library's, so that it can break every rule. As a net.Conn each
// Write is a message, and Read gives the messages one after the other; deadlines are those of the connection below.
type webSocket struct {
	net.Conn
	in     *bufio.Reader
	answer *http.Response // to the upgrade
	rest   []byte         // of a message, for Read
	code   int            // of the server's closing frame; 0 before
	reason string
	silent bool // answers no ping and no closing frame
}

// webDial says how to come in.
type webDial struct {
	secure bool
	host   string // for TLS and the Host field; localhost if empty
	path   string // /xmpp-websocket if empty
	header map[string]string
	before string      // sent ahead of everything
	tls    *tls.Config // insecureTLS(host) if nil
}

// to makes the request and returns a webSocket whatever the answer is.
func (o webDial) to(t testing.TB, address string) (*webSocket, error) {
	t.Helper()
	if o.host == "" {
		o.host = "localhost"
	}
	if o.path == "" {
		o.path = "/xmpp-websocket"
	}
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, o.before); err != nil {
		return nil, err
	}
	if o.secure {
		if o.tls == nil {
			o.tls = insecureTLS(o.host)
		}
		conn = tls.Client(conn, o.tls)
	}
	w := &webSocket{Conn: conn, in: bufio.NewReader(conn)}
	if err := w.upgrade(o); err != nil {
		return nil, err
	}
	return w, conn.SetDeadline(time.Time{})
}

// upgrade sends the request (RFC 6455, 4.1). A header of "" is left out.
func (w *webSocket) upgrade(o webDial) error {
	var key [16]byte
	_, _ = rand.Read(key[:])
	header := map[string]string{
		"Host": o.host, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": base64.StdEncoding.EncodeToString(key[:]), "Sec-WebSocket-Protocol": "xmpp",
	}
	maps.Copy(header, o.header)
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\n", o.path)
	for name, value := range header {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(w.Conn, b.String()); err != nil {
		return err
	}
	var err error
	w.answer, err = http.ReadResponse(w.in, nil)
	return err
}

// frame sends one, masked as a client must.
func (w *webSocket) frame(final bool, kind byte, payload []byte) error {
	head := []byte{kind, 0x80}
	if final {
		head[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		head[1] |= byte(n)
	case n < 1<<16:
		head[1] |= 126
		head = binary.BigEndian.AppendUint16(head, uint16(n))
	default:
		head[1] |= 127
		head = binary.BigEndian.AppendUint64(head, uint64(n))
	}
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	head = append(head, mask[:]...)
	for i, c := range payload {
		head = append(head, c^mask[i%4])
	}
	_, err := w.Conn.Write(head)
	return err
}

// Write sends a message.
func (w *webSocket) Write(p []byte) (int, error) {
	if err := w.frame(true, frameText, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// readFrame returns the next one.
func (w *webSocket) readFrame() (final bool, kind byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(w.in, head[:]); err != nil {
		return false, 0, nil, err
	}
	if head[0]&0x70 != 0 || head[1]&0x80 != 0 {
		return false, 0, nil, fmt.Errorf("a server's frame begins with %x", head)
	}
	size := uint64(head[1])
	more := map[uint64]int{126: 2, 127: 8}[size]
	if more > 0 {
		var length [8]byte
		if _, err := io.ReadFull(w.in, length[8-more:]); err != nil {
			return false, 0, nil, err
		}
		size = binary.BigEndian.Uint64(length[:])
	}
	if size > 64<<20 {
		return false, 0, nil, fmt.Errorf("a frame of %d bytes", size)
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(w.in, payload)
	return head[0]&0x80 != 0, head[0] & 0xf, payload, err
}

// message returns the next one, and io.EOF once the server has said goodbye. Pings are answered, and goodbyes.
func (w *webSocket) message() (string, error) {
	var b bytes.Buffer
	for first := true; ; first = false {
		final, kind, payload, err := w.readFrame()
		if err != nil {
			return "", err
		}
		switch {
		case kind == frameClose:
			if len(payload) >= 2 {
				w.code, w.reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
			}
			if !w.silent {
				_ = w.frame(true, frameClose, payload) // we may have been first
			}
			return "", io.EOF
		case kind == framePing:
			if !w.silent {
				err = w.frame(true, framePong, payload)
			}
			first = true
		case first && kind == frameText, !first && kind == frameMore:
			b.Write(payload)
			if final {
				return b.String(), nil
			}
		default:
			err = fmt.Errorf("a frame of kind %d", kind)
		}
		if err != nil {
			return "", err
		}
	}
}

// Read implements net.Conn.
func (w *webSocket) Read(p []byte) (int, error) {
	for len(w.rest) == 0 {
		m, err := w.message()
		if err != nil {
			return 0, err
		}
		w.rest = []byte(m)
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// cut ends the TCP connection without a word.
func (w *webSocket) cut() {
	conn := w.Conn
	if over, ok := conn.(*tls.Conn); ok {
		conn = over.NetConn()
	}
	_ = conn.Close()
}

// webClient is an XMPP client on a WebSocket. Whatever it sends by one call is a message.
type webClient struct {
	*xmpptest.Client
	ws *webSocket
}

// client opens a WebSocket, which must be granted.
func (o webDial) client(t testing.TB, address string) (*webClient, error) {
	t.Helper()
	ws, err := o.to(t, address)
	if err != nil {
		return nil, err
	}
	if ws.answer.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("no WebSocket: %s", ws.answer.Status)
	}
	c := &webClient{xmpptest.New(ws), ws}
	c.Timeout = patience
	return c, nil
}

// open opens a stream, or a new one, and returns its features.
func (c *webClient) open(host string) (*xmpptest.Element, error) {
	if err := c.Sendf("<open xmlns='%s' to='%s' version='1.0'/>", nsFraming, xmpptest.Escape(host)); err != nil {
		return nil, err
	}
	if _, err := c.Expect("open"); err != nil {
		return nil, err
	}
	return c.Expect("features")
}

// bind opens the stream after the login and binds a resource.
func (c *webClient) bind(t testing.TB, host, resource string) string {
	t.Helper()
	if _, err := c.open(host); err != nil {
		t.Fatal(err)
	}
	jid, err := c.Bind(resource)
	if err != nil {
		t.Fatal(err)
	}
	return jid
}

// expectError waits for a stream error, <close/> and the end of the WebSocket.
func (c *webClient) expectError(condition string) error {
	e, err := c.ReadElement()
	switch {
	case err != nil:
		return fmt.Errorf("waiting for stream error %s: %w", condition, err)
	case !e.Is(xmpptest.NSStream, "error") || e.Condition() != condition:
		return fmt.Errorf("waiting for stream error %s: %s", condition, e.Raw)
	}
	return c.expectClose()
}

// expectClose waits for <close/> and the end of the WebSocket.
func (c *webClient) expectClose() error {
	e, err := c.ReadElement()
	if err != nil {
		return fmt.Errorf("waiting for <close/>: %w", err)
	}
	if !e.Is(nsFraming, "close") {
		return fmt.Errorf("waiting for <close/>: %s", e.Raw)
	}
	if e, err = c.ReadElement(); err != io.EOF || c.ws.code != 1000 {
		return fmt.Errorf("waiting for the closing frame: %v, %v, code %d %q", e, err, c.ws.code, c.ws.reason)
	}
	return nil
}

// webLogin makes one attempt on a WebSocket of its own, as authenticate does on a TCP connection.
func webLogin(t testing.TB, o webDial, address, host, mechanism, message string) (string, error) {
	t.Helper()
	c, err := o.client(t, address)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.open(host); err != nil {
		return "", err
	}
	return attempt(c.Client, mechanism, message)
}

// webSession logs in completely over a WebSocket.
func webSession(t testing.TB, o webDial, address, host, user, password, resource string) *webClient {
	t.Helper()
	c, err := o.client(t, address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.open(host); err != nil {
		t.Fatal(err)
	}
	if got, err := attempt(c.Client, "PLAIN", plain(user, password)); err != nil || got != "success" {
		t.Fatalf("login of %s: %q, %v", user, got, err)
	}
	if jid := c.bind(t, host, resource); jid != user+"@"+host+"/"+resource {
		t.Fatalf("bound %q", jid)
	}
	return c
}

// webPorts are options for a port of each kind.
func webPorts(plain, secure int) options {
	return options{
		"modules_enabled": []any{"websocket"},
		"http_ports":      []any{plain}, "http_interfaces": []any{"127.0.0.1"},
		"https_ports": []any{secure}, "https_interfaces": []any{"127.0.0.1"},
	}
}

// webWay is one of the two ways to a WebSocket port: with TLS, or with the word of a proxy that there was TLS.
type webWay struct {
	name    string
	dial    webDial
	address string
}

func webWays(t testing.TB, d *daemon) []webWay {
	t.Helper()
	log := d.log.String()
	address := func(tls string) string {
		pattern := `(?m)listening"?,?.*\baddress"?[=:]"?([0-9.:]+)"?,? ?"?tls"?[=:]"?` + tls + `"?,? ?"?service"?[=:]"?websocket\b`
		found := regexp.MustCompile(pattern).FindStringSubmatch(log)
		if found == nil {
			t.Fatalf("no WebSocket port with tls=%s in the log", tls)
		}
		return found[1]
	}
	return []webWay{
		{"ws", webDial{header: map[string]string{"X-Forwarded-Proto": "https"}}, address("none")},
		{"wss", webDial{secure: true}, address("direct")},
	}
}
