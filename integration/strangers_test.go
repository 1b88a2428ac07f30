package integration

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// tortured says whether tests that have a short and a long form run the long one.
func tortured() bool { return os.Getenv("GATEHOUSE_TORTURE") == "long" }

// besieged is a daemon with a port of each kind, and where they are.
type besieged struct {
	*reloadable
	starttls, direct, ws, wss string
}

// besiege starts one for alice on localhost. People come from 127.0.0.1, strangers from 127.1.0.0/16; none of them is a
// proxy.
func besiege(t *testing.T, global ...options) *besieged {
	t.Helper()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	ports := freePorts(t, 4)
	all := append([]options{reloadOptions(dir, ports[0], ports[1]), webPorts(ports[2], ports[3]), {
		"trusted_proxies": []any{"127.9.9.9"}, "consider_websocket_secure": true,
	}}, global...)
	b := &besieged{reloadable: startReloadable(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path, "external_auth_processes": 2,
	}}}, all...))}
	for i, at := range []*string{&b.starttls, &b.direct, &b.ws, &b.wss} {
		*at = fmt.Sprintf("127.0.0.1:%d", ports[i])
	}
	return b
}

// strangerFrom connects from one of 200 addresses.
func strangerFrom(n int, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, 0, byte(1+n%200))}}
	return d.Dial("tcp", address)
}

// A slowloris is one way to be slow. It returns once it has stopped where it wanted to, or has been thrown out.
type slowloris struct {
	name string
	at   func(*besieged) string
	do   func(ctx context.Context, conn net.Conn) error
}

// sayThen sends text and then one byte of rest a second.
func sayThen(text, rest string) func(context.Context, net.Conn) error {
	return func(ctx context.Context, conn net.Conn) error {
		if _, err := io.WriteString(conn, text); err != nil {
			return err
		}
		return slowly(ctx, conn, rest)
	}
}

func slowly(ctx context.Context, w io.Writer, text string) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for _, b := range []byte(text) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if _, err := w.Write([]byte{b}); err != nil {
			return err
		}
	}
	return nil
}

// halfHello is how a ClientHello begins.
const halfHello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "0123456789abcdef"

var (
	endless  = strings.Repeat("a", 200)
	halfHTTP = "GET /xmpp-websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	slowKind = []slowloris{
		{"nothing sent", (*besieged).plain, sayThen("", "")},
		{"a byte a second", (*besieged).plain, sayThen("", " "+xmpptest.Header("localhost")+endless)},
		{"half a ClientHello", (*besieged).tls, sayThen(halfHello, endless)},
		{"TLS, then silence", (*besieged).tls, func(_ context.Context, conn net.Conn) error {
			return tls.Client(conn, insecureTLS("localhost")).Handshake()
		}},
		{"a header, then a byte a second", (*besieged).plain, sayThen(xmpptest.Header("localhost")+"<auth xmlns='", endless)},
		{"half an upgrade", (*besieged).http, sayThen(halfHTTP, endless)},
		{"half an upgrade inside TLS", (*besieged).https, func(ctx context.Context, conn net.Conn) error {
			over := tls.Client(conn, insecureTLS("localhost"))
			if err := over.Handshake(); err != nil {
				return err
			}
			_, err := io.WriteString(over, halfHTTP)
			return err
		}},
		{"never reads", (*besieged).plain, func(_ context.Context, conn net.Conn) error {
			if err := conn.(*net.TCPConn).SetReadBuffer(1024); err != nil {
				return err
			}
			_, err := io.WriteString(conn, xmpptest.Header("localhost")+strings.Repeat("<iq id='a' type='get'><query xmlns='jabber:iq:register'/></iq>", 400))
			return err
		}},
	}
)

func (b *besieged) plain() string { return b.starttls }
func (b *besieged) tls() string   { return b.direct }
func (b *besieged) http() string  { return b.ws }
func (b *besieged) https() string { return b.wss }

// siege keeps count strangers of every kind connected until the function that it returns is called: whoever is thrown out
// comes back. It returns once all are there.
func (b *besieged) siege(t *testing.T, count int) (over func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var strangers sync.WaitGroup
	var there, again atomic.Int64
	for n := range count {
		kind := slowKind[n%len(slowKind)]
		first := sync.OnceFunc(func() { there.Add(1) })
		strangers.Go(func() {
			for ctx.Err() == nil {
				conn, err := strangerFrom(n, kind.at(b))
				if err != nil {
					t.Errorf("%s: %v", kind.name, err)
					first()
					return
				}
				stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
				first()
				// To be thrown out is what strangers are for.
				if kind.do(ctx, conn) == nil && kind.name != "never reads" {
					_, _ = io.Copy(io.Discard, conn)
				} else if kind.name == "never reads" {
					waitClosed(ctx, conn)
				}
				stop()
				_ = conn.Close()
				again.Add(1)
			}
		})
	}
	over = sync.OnceFunc(func() {
		cancel()
		strangers.Wait()
		t.Logf("%d strangers came %d times", count, again.Load())
	})
	t.Cleanup(over)
	until(t, "all strangers are there", 2*patience, func() bool { return there.Load() == int64(count) })
	return over
}

// waitClosed waits until the other side has closed a connection that is not read: writes fail then.
func waitClosed(ctx context.Context, conn net.Conn) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if _, err := conn.Write([]byte(" ")); err != nil {
			return
		}
	}
}

// logins logs alice in again and again, so many times a second, and returns how many have come in in the time.
func (b *besieged) logins(t *testing.T, perSecond int, during time.Duration) int {
	t.Helper()
	slots := make(chan struct{}, 64)
	var people sync.WaitGroup
	var in atomic.Int64
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for end := time.Now().Add(during); time.Now().Before(end); <-tick.C {
		select {
		case slots <- struct{}{}:
		default:
			continue // nobody waits for ever: this one was not in time
		}
		people.Go(func() {
			defer func() { <-slots }()
			c, err := xmpptest.Dial(b.starttls)
			if err != nil {
				t.Errorf("a login: %v", err)
				return
			}
			defer func() { _ = c.Close() }()
			c.Timeout = patience
			if _, err := c.Login("localhost", "alice", "secret", "", insecureTLS("localhost")); err != nil {
				t.Errorf("a login: %v", err)
				return
			}
			in.Add(1)
		})
	}
	people.Wait()
	return int(in.Load())
}

// TestStrangers_siege: thousands who are slow in every way at once take little from those who log in, cost little memory
// each, and nothing once they are gone.
func TestStrangers_siege(t *testing.T) {
	count, rate, during, timeout := 1600, 10, 8*time.Second, 6
	if tortured() {
		count, rate, during, timeout = 10000, 60, 35*time.Second, 30 // the default
	}
	b := besiege(t, options{"c2s_timeout": timeout})
	b.logins(t, rate, time.Second)
	before := settled(t, b.reloadable)
	memory := b.memory(t, "VmRSS")
	alone := b.logins(t, rate, during)
	over := b.siege(t, count)
	besieging := 0.0
	until(t, "they besiege it", patience, func() bool {
		besieging = max(besieging, b.metric(t, "gatehouse_unauthed_connections"))
		return besieging >= float64(count)*0.6
	})
	meanwhile := b.logins(t, rate, during)
	peak := b.memory(t, "VmHWM")
	over()
	t.Logf("%d strangers: %d logins instead of %d in %v; %d KiB before, %d KiB at most", int(besieging), meanwhile, alone, during, memory, peak)
	if meanwhile*10 < alone*8 {
		t.Errorf("%d logins besieged, %d alone", meanwhile, alone)
	}
	if each := (peak - memory) / count; each > 64 {
		t.Errorf("%d KiB for a stranger", each)
	}
	until(t, "everything is given back", 2*patience, func() bool {
		after := settled(t, b.reloadable)
		return after.goroutines <= before.goroutines && after.descriptors <= before.descriptors && after.children <= before.children
	})
	for _, name := range []string{"unauthed_connections", "unauthed_addresses"} {
		if n := b.metric(t, "gatehouse_"+name); n != 0 {
			t.Errorf("%s is %v", name, n)
		}
	}
	if b.metric(t, `gatehouse_limit_reached_total{limit="login_time"}`) == 0 {
		t.Error("nobody was ended for being slow")
	}
}

// TestStrangers_tooMany: beyond the limits connections are closed before a byte is said, and it is counted; an address that
// is full keeps nobody else out, whatever stands between.
func TestStrangers_tooMany(t *testing.T) {
	t.Parallel()
	b := besiege(t, options{
		"gatehouse_unauthed_connections_per_address": 5, "gatehouse_unauthed_connections": 20,
		"gatehouse_proxy_protocol_from": []any{"127.8.8.8"}, "trusted_proxies": []any{"127.9.9.9"},
	})
	dial := func(from, address, first string) net.Conn {
		t.Helper()
		d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = io.WriteString(conn, first) // it may have been closed
		return conn
	}
	proxy := func(client string) string { return "PROXY TCP4 " + client + " 127.0.0.1 1000 5222\r\n" }
	forwarded := func(client string) string { return halfHTTP + webRest + "X-Forwarded-For: " + client + "\r\n\r\n" }
	closed := func(conn net.Conn) bool {
		_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := conn.Read(make([]byte, 1))
		return n == 0 && !errors.Is(err, os.ErrDeadlineExceeded)
	}
	answered := func(conn net.Conn) string {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		text := make([]byte, 12)
		_, _ = io.ReadFull(conn, text)
		return string(text)
	}
	for range 5 {
		if closed(dial("127.1.0.1", b.starttls, "")) {
			t.Fatal("closed too early")
		}
	}
	for address, first := range map[string]string{b.starttls: "", b.direct: halfHello, b.ws: halfHTTP, b.wss: halfHello} {
		if !closed(dial("127.1.0.1", address, first)) {
			t.Errorf("%s: a sixth from one address is let in", address)
		}
	}
	if !closed(dial("127.8.8.8", b.starttls, proxy("127.1.0.1"))) {
		t.Error("a sixth is let in behind a load balancer")
	}
	if got := answered(dial("127.9.9.9", b.ws, forwarded("127.1.0.1"))); got != "HTTP/1.1 503" {
		t.Errorf("a sixth behind a web proxy: %q", got)
	}
	if got := answered(dial("127.1.0.2", b.ws, forwarded("127.1.0.1"))); got != "HTTP/1.1 101" {
		t.Errorf("somebody says that he is another: %q", got)
	}
	if got := answered(dial("127.9.9.9", b.ws, forwarded("127.1.0.3"))); got != "HTTP/1.1 101" {
		t.Errorf("somebody else behind a web proxy: %q", got)
	}
	if closed(dial("127.8.8.8", b.starttls, proxy("127.1.0.4"))) {
		t.Error("somebody else is not let in behind a load balancer")
	}
	// Whoever has logged in does not count any more.
	for range 7 {
		session(t, b.starttls, "localhost", "alice", "secret", "")
	}
	for n := range 20 {
		dial(fmt.Sprintf("127.1.1.%d", 1+n), b.starttls, "")
	}
	if !closed(dial("127.1.2.1", b.starttls, "")) {
		t.Error("the twenty-first is let in")
	}
	for limit, at := range map[string]float64{"unauthed_connections_per_address": 6, "unauthed_connections": 1} {
		if n := b.metric(t, `gatehouse_limit_reached_total{limit="`+limit+`"}`); n < at {
			t.Errorf("%s was reached %v times", limit, n)
		}
	}
	if n := strings.Count(b.log.String(), "connections refused"); n == 0 || n > 10 {
		t.Errorf("%d lines in the log", n)
	}
}

// webRest ends halfHTTP, but for the empty line.
const webRest = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: xmpp\r\n"
