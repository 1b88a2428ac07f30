package webserver_test

import (
	"io"
	"log/slog"
	"net"
	"testing"

	"gatehouse.im/gatehouse/internal/admission"
	"gatehouse.im/gatehouse/internal/webserver"
)

// Connections that cost nothing do not drive out those that have come through TLS, at a proxy or here.
func TestServer_whoMakesRoom(t *testing.T) {
	for _, test := range []struct {
		name    string
		secure  bool
		headers string
		stays   bool
	}{
		{"plain", false, "X-Forwarded-For: 192.0.2.1\r\n", false},
		{"TLS at the proxy", false, "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n", true},
		{"TLS here", true, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			places := admission.New(slog.New(slog.DiscardHandler), nil)
			places.SetLimits(admission.Limits{Unauthed: 6})
			s := serve(t, test.secure, webserver.Config{TrustedProxies: loopback, Admission: places, Accept: func(c *webserver.Conn) {
				for m, err := message(c); err == nil && say(c, m) == nil; m, err = message(c) {
				}
			}})
			c := s.upgrade(t, test.headers, "")
			isEcho(t, c, "hello")
			for n := range 10 {
				nc, err := net.Dial("tcp", s.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				until(t, "it is counted", func() bool { return places.Counts().Unauthed == min(n+2, 6) })
			}
			if test.stays {
				isEcho(t, c, "still here")
				return
			}
			if _, err := c.in.ReadByte(); err != io.EOF {
				t.Errorf("it is still there: %v", err)
			}
		})
	}
}
