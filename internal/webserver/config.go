package webserver

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"gatehouse.im/gatehouse/internal/admission"
)

// DefaultPaths are where clients look for a WebSocket: Prosody's path, which is also the one that is announced, and ejabberd's.
var DefaultPaths = []string{"/xmpp-websocket", "/ws"}

// Config is what a [Server] goes by. The server keeps a copy; what it points to must not change.
type Config struct {
	// Paths of the WebSocket, each beginning with a slash. The first is the one that host-meta announces. None means
	// DefaultPaths.
	Paths []string

	// URL says which WebSocket URL host-meta announces to those who ask for host, which is in lower case and has no port.
	// If it is nil or returns nothing, the URL is made of the request.
	URL func(host string) string

	// Origins of pages that may connect besides those of the same host and port: "https://example.com", "*" for any
	// (Prosody's cross_domain_websocket).
	Origins []string

	// TrustedProxies are whose word about the client is taken (Prosody's trusted_proxies).
	TrustedProxies []netip.Prefix

	// Forwarded says that proxies send Forwarded and not X-Forwarded-For and X-Forwarded-Proto (Prosody's
	// http_legacy_x_forwarded = false). Only ever one of the two is believed: a proxy hands on the other as the client
	// wrote it.
	Forwarded bool

	// AlwaysSecure says that all that comes here is encrypted on its way (Prosody's consider_websocket_secure).
	AlwaysSecure bool

	// PingEvery is how long a client may be silent before it is sent a ping, and PingWait how long after that the
	// connection is taken for dead. Zero means no pings.
	PingEvery, PingWait time.Duration

	// Element is how many bytes an element may have before the login (Prosody's c2s_unauthed_stanza_size_limit); 0 is the
	// usual 10000. Larger ones need more memory under TLS.
	Element int

	// Accept has a connection until it returns, in a goroutine of the connection's own. Afterwards the connection is closed,
	// if Accept has not done that.
	Accept func(*Conn)

	// Next answers requests for other paths. Nil answers 404.
	Next http.Handler

	// Admission counts connections, and says whether there may be another one. Only what [New] is given counts. Nil is a
	// counter without limits.
	Admission *admission.Counter

	// Handshake is told of each TLS handshake that is over: what it took, and why it failed. It may be nil.
	Handshake func(took time.Duration, err error)

	// Logger is told who was refused (info), and what goes wrong with connections (debug).
	Logger *slog.Logger
}

// settings is a Config made ready.
type settings struct {
	Config
	paths   map[string]bool
	origins map[string]bool // in the form of normalOrigin
}

func newSettings(config Config) *settings {
	if len(config.Paths) == 0 {
		config.Paths = DefaultPaths
	}
	s := &settings{Config: config, paths: make(map[string]bool), origins: make(map[string]bool)}
	for _, path := range config.Paths {
		s.paths[strings.TrimSuffix(path, "/")] = true
	}
	for _, origin := range config.Origins {
		s.origins[normalOrigin(origin)] = true
	}
	return s
}
