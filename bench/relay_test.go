package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"regexp"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/upstream"
	"gatehouse.im/gatehouse/server"
)

// behind is a server behind that plays its part from fixed strings.
type behind struct{ *upstream.Upstream }

func (b behind) Open(ctx context.Context, l server.UpstreamLogin) (net.Conn, error) {
	return b.Upstream.Open(ctx, l.User, l.Host, l.Password, l.Client, l.Local)
}

// startBehind starts one whose every user is let in. It is closed by b.
func startBehind(b *testing.B) behind {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go pprof.Do(context.Background(), pprof.Labels("side", "behind"), func(context.Context) {
		for {
			c, err := ln.Accept()
			if err != nil {
				return // closed
			}
			go serveFixed(c)
		}
	})
	up := upstream.New(upstream.Config{
		Addresses: []upstream.Address{{Network: "tcp", Addr: ln.Addr().String()}},
		Timeout:   5 * time.Second,
		Credentials: func(_ context.Context, _, _, password string) (upstream.Credential, error) {
			return upstream.Credential{Mechanism: upstream.Plain, Secret: password}, nil
		},
	})
	b.Cleanup(func() {
		up.Close()
		if err := ln.Close(); err != nil {
			b.Error(err)
		}
	})
	return behind{up}
}

var idAttr = regexp.MustCompile(`\bid=('[^']*'|"[^"]*")`)

// serveFixed answers each tag that ends a part of a login.
func serveFixed(c net.Conn) {
	defer c.Close()
	const header = "<?xml version='1.0'?><stream:stream from='" + domain + "' id='1' version='1.0' " +
		"xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><stream:features>"
	in := bufio.NewReader(c)
	loggedIn, id := false, ""
	for {
		tag, err := in.ReadString('>')
		if err != nil {
			return
		}
		answer := ""
		switch {
		case strings.Contains(tag, "<stream:stream") && !loggedIn:
			answer = header + "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>"
		case strings.Contains(tag, "<stream:stream"):
			answer = header + "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"
		case strings.HasSuffix(tag, "</auth>"):
			answer, loggedIn = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", true
		case strings.Contains(tag, "<iq "):
			id = idAttr.FindString(tag)
		case strings.HasSuffix(tag, "</iq>"):
			answer = "<iq type='result' " + id + "><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>u@" + domain + "/r</jid></bind></iq>"
		case strings.HasSuffix(tag, "</stream:stream>"):
			_, _ = io.WriteString(c, "</stream:stream>")
			return
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// BenchmarkRelayedLogin is BenchmarkLogin with a server behind.
func BenchmarkRelayedLogin(b *testing.B) { benchmarkLogin(b, startInProcess(b, startBehind(b))) }
