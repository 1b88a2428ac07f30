package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/webserver"
	"gatehouse.im/gatehouse/server"
)

// A client on a WebSocket that is silent for pingEvery is asked whether it is
// still there, and has pingWait to say so. Proxies between end what is silent for
// a minute.
const (
	pingEvery = 50 * time.Second
	pingWait  = 30 * time.Second
)

// web is what WebSocket ports serve.
type web struct {
	*webserver.Server
	daemon  *daemon
	minting *minting
}

func newWeb(d *daemon) *web {
	w := &web{Server: webserver.New(webserver.Config{Admission: d.builder.admission, Logger: d.logger}), daemon: d}
	w.minting = newMinting(config.CredentialsWeb, w.Remote, d.logger)
	return w
}

// configure makes requests to come go by cfg.
func (w *web) configure(cfg *config.Config) {
	origins := cfg.WebSocket.Origins
	if cfg.WebSocket.AnyOrigin {
		origins = []string{"*"}
	}
	urls := make(map[string]string)
	for _, h := range cfg.Hosts {
		urls[asciiName(h.Name)] = h.WebSocketURL
	}
	w.minting.configure(cfg)
	w.SetConfig(webserver.Config{
		Paths:          cfg.WebSocket.Paths,
		URL:            func(host string) string { return urls[host] },
		Origins:        origins,
		TrustedProxies: cfg.WebSocket.TrustedProxies,
		Forwarded:      cfg.WebSocket.Forwarded,
		AlwaysSecure:   cfg.WebSocket.ConsiderSecure,
		PingEvery:      pingEvery,
		PingWait:       pingWait,
		Element:        cfg.UnauthedStanzaLimit,
		Accept: func(c *webserver.Conn) {
			w.daemon.server.ServeMessages(socket{c}, server.Secured{Encrypted: c.Secure, TLS: c.TLS, Place: c.Place()})
		},
		Next:      w.minting.before(http.NotFoundHandler()),
		Handshake: w.daemon.metrics.Handshake,
		Logger:    w.daemon.logger,
	})
}

// serve answers requests until ln is closed. Each TLS handshake goes by the
// certificates of its moment.
func (w *web) serve(ln net.Listener, secure bool) error {
	if !secure {
		return w.Serve(ln, nil)
	}
	return w.Serve(ln, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			return w.daemon.parts.Load().webTLS.GetConfigForClient(hello)
		},
	})
}

// socket is a WebSocket as package server wants it.
type socket struct{ *webserver.Conn }

func (s socket) LocalAddr() net.Addr  { return s.Local }
func (s socket) RemoteAddr() net.Addr { return s.Remote }
func (s socket) Close() error         { return s.Conn.Close(webserver.NormalClosure, "") }
