package main

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

// wroteAll is a connection whose other side has sent all that it will.
type wroteAll struct {
	net.Conn
	from  net.Addr
	bytes io.Reader
}

func (c wroteAll) Read(p []byte) (int, error) { return c.bytes.Read(p) }
func (c wroteAll) RemoteAddr() net.Addr       { return c.from }

// oneConn is a listener with one connection.
type oneConn struct {
	net.Listener
	conn net.Conn
}

func (l oneConn) Accept() (net.Conn, error) { return l.conn, nil }

// FuzzProxied: from whoever is no load balancer of ours each byte is the client's own, and so is the address; from one who is,
// what comes after a header reaches the server whole, and no client has an address that no header names.
func FuzzProxied(f *testing.F) {
	const hello = "<?xml version='1.0'?><stream:stream>"
	for _, header := range []string{
		"", "PROXY TCP4 198.51.100.7 192.0.2.1 4711 5222\r\n", "PROXY TCP6 2001:db8::7 2001:db8::1 4711 5222\r\n", "PROXY UNKNOWN\r\n",
		"PROXY TCP4 198.51.100.7 192.0.2.1 4711 70000\r\n", "PROXY TCP4 2001:db8::7 192.0.2.1 4711 5222\r\n", "PROXY TCP4 \r\n", "PROXY",
		"PROXY TCP4 198.51.100.7 192.0.2.1 4711 5222\r\nPROXY TCP4 198.51.100.8 192.0.2.1 4711 5222\r\n",
		"\r\n\r\n\x00\r\nQUIT\n", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x07\xc0\x00\x02\x01\x12\x67\x14\x66",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff\xc6\x33\x64\x07", "\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\x0c\xc6\x33\x64\x07\xc0\x00\x02\x01\x12\x67\x14\x66",
	} {
		f.Add(true, []byte(header+hello))
		f.Add(false, []byte(header+hello))
	}
	balancer, stranger := netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("203.0.113.9:1")
	p := &ports{}
	p.proxies.Store(&[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	f.Fuzz(func(t *testing.T, believed bool, sent []byte) {
		peer := stranger
		if believed {
			peer = balancer
		}
		conn := wroteAll{from: net.TCPAddrFromAddrPort(peer), bytes: bytes.NewReader(sent)}
		conn.Conn, _ = net.Pipe() // for deadlines
		defer func() { _ = conn.Conn.Close() }()
		nc, err := (&port{Listener: oneConn{conn: conn}, ports: p}).Accept()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(nc)
		if !believed && (err != nil || !bytes.Equal(got, sent) || nc.RemoteAddr() != conn.from) {
			t.Fatalf("a stranger sent %q; it became %q from %v, %v", sent, got, nc.RemoteAddr(), err)
		}
		if !bytes.HasSuffix(sent, got) {
			t.Fatalf("of %q became %q", sent, got)
		}
		header := sent[:len(sent)-len(got)]
		if err == nil && len(header) > 0 && !bytes.HasPrefix(header, []byte("PROXY ")) && !bytes.HasPrefix(header, proxyproto.SIGV2) {
			t.Fatalf("%q was taken for a header", header)
		}
		tcp, ok := nc.RemoteAddr().(*net.TCPAddr)
		if !ok || tcp.AddrPort() == peer || !bytes.HasPrefix(header, []byte("PROXY ")) {
			return
		}
		if fields := strings.Fields(string(header)); !tcp.IP.Equal(net.ParseIP(fields[2])) {
			t.Fatalf("%v by %q", tcp, header)
		}
	})
}
