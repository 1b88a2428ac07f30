package upstream

import (
	"bufio"
	"net"
	"testing"

	"github.com/pires/go-proxyproto"
)

func TestOpen_proxyHeader(t *testing.T) {
	_, serverTLS, clientTLS := certificates(t)
	v4 := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 50412}
	local4 := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 5222}
	v6 := &net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 50412}
	local6 := &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 5223}
	tests := []struct {
		name          string
		version       int
		client, local net.Addr
		from          string // as the server sees it
	}{
		{"v1", 1, v4, local4, "192.0.2.7:50412"},
		{"v2", 2, v4, local4, "192.0.2.7:50412"},
		{"v1 IPv6", 1, v6, local6, "[2001:db8::7]:50412"},
		{"v2 IPv6", 2, v6, local6, "[2001:db8::7]:50412"},
		{"v2 mixed", 2, v4, local6, "192.0.2.7:50412"},
		{"v1 probe", 1, nil, nil, "the probe"},
		{"v2 probe", 2, nil, nil, "the probe"},
		{"v1 unix", 1, &net.UnixAddr{Name: "@", Net: "unix"}, &net.UnixAddr{Name: "/x", Net: "unix"}, ""},
		{"v1 bad port", 1, &net.TCPAddr{IP: v4.IP, Port: 1 << 20}, local4, ""},
	}
	for _, tt := range tests {
		for _, mode := range []Mode{None, DirectTLS} {
			t.Run(tt.name+" "+string(mode), func(t *testing.T) {
				u := start(t, func(c *Config) {
					c.Mode, c.TLS, c.ProxyProtocol = mode, clientTLS, tt.version
				}, serve(t, func(p *peer) {
					r := bufio.NewReader(p.Conn)
					h, err := proxyproto.Read(r)
					if err != nil || int(h.Version) != tt.version {
						t.Errorf("%+v, %v", h, err)
						return
					}
					got := ""
					if h.SourceAddr != nil {
						got = h.SourceAddr.String()
					}
					if tt.client == nil && got == p.Conn.RemoteAddr().String() {
						got = "the probe"
					}
					if got != tt.from {
						t.Errorf("from %q, want %q", got, tt.from)
					}
					p.Conn = buffered{p.Conn, r}
					if mode == DirectTLS {
						p.startTLS(serverTLS)
					}
					p.login()
				}))
				conn, err := u.Open(t.Context(), "alice", "example.org", secret, tt.client, tt.local)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				echoes(t, conn)
			})
		}
	}
}

// buffered is a connection some of which has been read ahead.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }
