package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gatehouse.im/gatehouse/internal/webserver"
	"gatehouse.im/gatehouse/server"
)

// messages is a WebSocket as package server wants it.
type messages struct{ *webserver.Conn }

func (m messages) LocalAddr() net.Addr  { return m.Local }
func (m messages) RemoteAddr() net.Addr { return m.Remote }
func (m messages) Close() error         { return m.Conn.Close(webserver.NormalClosure, "") }

// startWeb opens a port for wss at p, and returns how to log in there as the
// n-th user. The caller closes the client.
func startWeb(b *testing.B, p *inProcess) (login func(n int) (*websocket.Conn, error)) {
	web := webserver.New(webserver.Config{
		PingEvery: time.Minute, PingWait: time.Minute,
		Accept: func(c *webserver.Conn) {
			p.server.ServeMessages(messages{c}, server.Secured{Encrypted: true, TLS: c.TLS})
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go pprof.Do(context.Background(), pprof.Labels("side", "server"), func(context.Context) {
		served <- web.Serve(ln, p.tls)
	})
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		// First the sessions, then what they run on.
		if err := errors.Join(p.server.Shutdown(ctx), web.Shutdown(ctx)); err != nil {
			b.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			b.Error(err)
		}
	})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: p.client, DisableKeepAlives: true}}
	url := "wss://" + ln.Addr().String() + "/xmpp-websocket"
	return func(n int) (*websocket.Conn, error) {
		ws, _, err := websocket.Dial(context.Background(), url, &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"xmpp"}})
		if err != nil {
			return nil, err
		}
		if err := webLogin(ws, n); err != nil {
			return nil, errors.Join(err, ws.CloseNow())
		}
		return ws, nil
	}
}

// webLogin logs in and binds.
func webLogin(ws *websocket.Conn, n int) error {
	user := fmt.Sprint("u", n%200)
	const open = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='" + domain + "' version='1.0'/>"
	auth := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00pass:" + user))
	for _, step := range []struct {
		send string
		want []string
	}{
		{open, []string{"<open", "<stream:features"}},
		{"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + auth + "</auth>", []string{"<success"}},
		{open, []string{"<open", "<stream:features"}},
		{fmt.Sprintf("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r%d</resource></bind></iq>", n), []string{"<iq"}},
	} {
		if err := ws.Write(context.Background(), websocket.MessageText, []byte(step.send)); err != nil {
			return err
		}
		for _, want := range step.want {
			_, got, err := ws.Read(context.Background())
			if err != nil {
				return err
			}
			if !strings.HasPrefix(string(got), want) {
				return fmt.Errorf("got %s, want %s", got, want)
			}
		}
	}
	return nil
}

// BenchmarkWebSocketLogin is BenchmarkLogin over wss.
func BenchmarkWebSocketLogin(b *testing.B) {
	login := startWeb(b, startInProcess(b, nil))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		ws, err := login(i)
		if err != nil {
			b.Fatal(err)
		}
		if err := ws.Write(context.Background(), websocket.MessageText, []byte("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")); err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, _, err = ws.Read(context.Background())
		}
		if websocket.CloseStatus(err) != websocket.StatusNormalClosure {
			b.Fatal(err)
		}
	}
}

// BenchmarkWebSocketSession is BenchmarkSession over wss.
func BenchmarkWebSocketSession(b *testing.B) {
	login := startWeb(b, startInProcess(b, nil))
	heap, stacks := memory()
	for i := 0; b.Loop(); i++ {
		ws, err := login(i)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = ws.CloseNow() })
	}
	reportMemory(b, heap, stacks)
}
