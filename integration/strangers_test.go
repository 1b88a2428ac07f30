package integration

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
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

func (b *besieged) plain() string { return b.starttls }
func (b *besieged) tls() string   { return b.direct }
func (b *besieged) http() string  { return b.ws }
func (b *besieged) https() string { return b.wss }

// dialFrom connects from an address of ours.
func dialFrom(from net.IP, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: from}}
	return d.Dial("tcp", address)
}

// strangerFrom connects from one of 200 addresses.
func strangerFrom(n int, address string) (net.Conn, error) {
	return dialFrom(net.IPv4(127, 1, 0, byte(1+n%200)), address)
}

// TestStrangers_tooMany: beyond the limits connections are closed before a byte is said, or the oldest one is, and it is counted; an address that
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
	oldest := dial("127.1.0.1", b.starttls, "")
	for range 4 {
		dial("127.1.0.1", b.starttls, "")
	}
	if closed(oldest) {
		t.Fatal("closed too early")
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
	if !closed(oldest) {
		t.Error("the oldest is still there when there are more than twenty")
	}
	if closed(dial("127.1.2.1", b.starttls, "")) {
		t.Error("there is no place for one more")
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
