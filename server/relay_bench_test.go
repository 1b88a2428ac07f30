package server_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
	"gatehouse.im/gatehouse/server"
)

// BenchmarkRelay_roundTrip is what one message to the server behind and one back
// costs, both ends of it in this process.
func BenchmarkRelay_roundTrip(b *testing.B) {
	ca, err := xmpptest.NewCA()
	if err != nil {
		b.Fatal(err)
	}
	pair, err := ca.Issue(xmpptest.ECDSA, host)
	if err != nil {
		b.Fatal(err)
	}
	behindLn, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer behindLn.Close()
	tc := &tls.Config{Certificates: []tls.Certificate{pair.TLS}}
	a := &accounts{passwords: map[string]string{"alice": "secret"}}
	up := &behind{ln: behindLn}
	s := server.New(&server.Config{
		Hosts:     map[string]*server.Host{host: {Name: host, Password: a, Users: a, TLS: tc, Upstream: up, RequireEncryption: true}},
		DirectTLS: tc, LoginTimeout: time.Minute, StanzaLimit: 10000, UnauthedStanzaLimit: 10000, Logger: slog.New(slog.DiscardHandler),
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = s.Serve(ln, func() bool { return true }) }()
	defer func() { _ = s.Shutdown(context.Background()) }()
	c, err := xmpptest.DialTLS(ln.Addr().String(), withName(ca.ClientConfig()))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Open(host); err != nil {
		b.Fatal(err)
	}
	if e, err := c.AuthPlain("alice", "secret"); err != nil || e.Name != "success" {
		b.Fatal(e, err)
	}
	leg, err := behindLn.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer leg.Close()
	_ = c.Conn().SetDeadline(time.Time{})
	message, got := []byte(strings.Repeat("x", 200)), make([]byte, 200)
	b.ReportAllocs()
	for b.Loop() {
		_, err1 := c.Conn().Write(message)
		_, err2 := io.ReadFull(leg, got)
		_, err3 := leg.Write(message)
		_, err4 := io.ReadFull(c.Conn(), got)
		if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
			b.Fatal(err1, err2, err3, err4)
		}
	}
}
