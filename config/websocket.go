package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// WebSocket is what the WebSocket ports (Listener.WebSocket) have in common. It is the zero value where there is none.
type WebSocket struct {
	// Paths are where the WebSocket is, each beginning with a slash, the one to announce first: those that the file names
	// (websocket in http_paths), then /xmpp-websocket and /ws.
	Paths []string
	// Origins are the pages that may connect besides those of the same host: as browsers write them, "https://example.org",
	// in lower case (gatehouse_websocket_origins, else cross_domain_websocket).
	Origins []string
	// AnyOrigin says that all pages may connect: "*" or true among those.
	AnyOrigin bool
	// ConsiderSecure says that all that comes is encrypted on its way, whatever we see of it (consider_websocket_secure).
	ConsiderSecure bool
	// TrustedProxies are whose word is taken on where a client is, and whether it came by TLS (trusted_proxies, loopback).
	// IPv4 networks are of IPv4.
	TrustedProxies []netip.Prefix
	// Forwarded says that those proxies send Forwarded (RFC 7239), and not X-Forwarded-For and X-Forwarded-Proto
	// (http_legacy_x_forwarded = false).
	Forwarded bool
}

// webSocket reads what counts for WebSocket ports. Without any it reads nothing: the options that are Prosody's may then hold
// what they like.
func (l *loader) webSocket(c *Config) {
	s := section{l, "*"}
	if !slices.ContainsFunc(c.Listeners, func(at Listener) bool { return at.WebSocket }) {
		if texts, _ := s.strings("gatehouse_websocket_origins"); len(texts) > 0 {
			s.warn("gatehouse_websocket_origins", "does nothing without gatehouse_websocket_ports")
		}
		return
	}
	c.WebSocket = WebSocket{
		ConsiderSecure: s.bool("consider_websocket_secure", false),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("::1/128")},
		Forwarded:      !s.bool("http_legacy_x_forwarded", true),
	}
	c.WebSocket.Paths = l.webSocketPaths(c)
	if s.has("trusted_proxies") {
		c.WebSocket.TrustedProxies = s.networks("trusted_proxies")
	}
	if s.has("gatehouse_websocket_origins") {
		s.origins(&c.WebSocket)
		return
	}
	s.crossDomain(&c.WebSocket)
	for _, h := range c.Hosts {
		if own := l.eval.Host(h.Name).Options["cross_domain_websocket"]; own.Value.Kind != luaconf.Nil {
			section{l, h.Name}.crossDomain(&c.WebSocket)
		}
	}
}

// webSocketPaths reads http_paths as mod_http does: a host's own goes before that of all, and may hold $host. What one host
// has is a path of all of them, for they share the ports.
func (l *loader) webSocketPaths(c *Config) (paths []string) {
	const name = "http_paths"
	global := section{l, "*"}
	for _, h := range c.Hosts {
		s := section{l, h.Name}
		o, _ := s.lookup(name)
		v := o.Value.Map["websocket"]
		if v.Kind == luaconf.Nil {
			o, _ = global.lookup(name)
			v = o.Value.Map["websocket"]
		}
		if v.Kind == luaconf.Nil {
			continue
		}
		path := strings.ReplaceAll("/"+strings.TrimPrefix(strings.TrimSuffix(v.Str, "/"), "/"), "$host", h.Name)
		if v.Kind != luaconf.String || strings.ContainsAny(path, "?#%$ ") || strings.ContainsFunc(path, unicode.IsControl) {
			s.warn(name, `websocket: want a path such as "/chat", got %s; it is not used`, describe(name, v))
			continue
		}
		paths = append(paths, path)
	}
	var all []string
	for _, path := range append(paths, "/xmpp-websocket", "/ws") {
		if !slices.Contains(all, path) {
			all = append(all, path)
		}
	}
	return all
}

// origins reads gatehouse_websocket_origins.
func (s section) origins(w *WebSocket) {
	const name = "gatehouse_websocket_origins"
	texts, _ := s.strings(name)
	for _, text := range texts {
		if text == "*" {
			w.AnyOrigin = true
		} else if origin, ok := parseOrigin(text); ok {
			w.Origins = append(w.Origins, origin)
		} else {
			s.problem(name, `want origins such as "https://example.org" or "https://example.org:8443", or "*" for all, got %q`, clip(text))
		}
	}
}

// crossDomain reads cross_domain_websocket as Prosody 0.11 does: true or "*" are everybody, in the global section only, and
// what a host lists is added to that. (Later versions check nothing.)
func (s section) crossDomain(w *WebSocket) {
	const name = "cross_domain_websocket"
	values, _ := s.list(name)
	for _, v := range values {
		switch origin, ok := parseOrigin(v.Str); {
		case v.Kind == luaconf.Bool && !v.Bool:
		case (v.Kind == luaconf.Bool || v.Str == "*") && s.host == "*":
			w.AnyOrigin = true
		case v.Kind == luaconf.Bool || v.Str == "*":
			s.warn(name, "%s counts in the global section only, and is not used", describe(name, v))
		case ok:
			w.Origins = append(w.Origins, origin)
		default:
			s.warn(name, `%s is no origin such as "https://example.org", and is not used`, describe(name, v))
		}
	}
}

// parseOrigin brings an origin (RFC 6454 section 6.2) into lower case. Pages in files have "null" or "file://".
func parseOrigin(text string) (string, bool) {
	origin := strings.TrimSuffix(strings.ToLower(text), "/")
	switch origin {
	case "null":
		return origin, true
	case "file:/":
		return "file://", true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || u.User != nil || u.Path != "" || strings.ContainsAny(origin, "?#*") {
		return "", false
	}
	return origin, true
}

// webSocketURL reads gatehouse_websocket_url.
func (s section) webSocketURL() string {
	const name = "gatehouse_websocket_url"
	if !s.has(name) {
		return ""
	}
	text := s.string(name, "")
	// A fragment is not allowed (RFC 6455 section 3), nor is what XML and JSON would have to escape.
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "wss" && u.Scheme != "ws" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(text, "#<>\"'\\ "):
		s.problem(name, `want a URL such as "wss://example.org/xmpp-websocket", got %q`, clip(text))
		return ""
	case u.Scheme == "ws":
		s.warn(name, "%s is not encrypted; clients on other machines want wss://", text)
	}
	return text
}
