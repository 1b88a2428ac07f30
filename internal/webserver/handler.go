package webserver

import (
	"net/http"
	"strings"
)

const page = `<!DOCTYPE html>
<html lang="en"><head><title>XMPP over WebSocket</title></head><body>
<p>It works! Now point your WebSocket client to this URL.</p>
`

const insecure = `<p>This endpoint is not considered secure!</p>
`

// ServeHTTP answers one request. If that becomes a WebSocket, it returns, and the session goes on in its own goroutine.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := s.settings.Load()
	if f := frontOf(r); f != nil && f.tls != nil {
		state := f.tls.ConnectionState()
		r.TLS = &state
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch path := strings.TrimSuffix(r.URL.Path, "/"); {
	case now.paths[path]:
		if wantsUpgrade(r) {
			s.upgrade(now, w, r)
		} else if readOnly(w, r) {
			now.servePage(w, r)
		}
	case path == "/.well-known/host-meta", path == "/.well-known/host-meta.json":
		if readOnly(w, r) {
			now.serveHostMeta(w, r, strings.HasSuffix(path, ".json"))
		}
	case now.Next != nil:
		now.Next.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

// readOnly answers a request that wants more than to read.
func readOnly(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	http.Error(w, "There is nothing here but to read.", http.StatusMethodNotAllowed)
	return false
}

// servePage tells a human that the path is right.
func (s *settings) servePage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	text := page
	if c, err := s.clientOf(r); err != nil || !c.secure {
		text += insecure
	}
	_, _ = w.Write([]byte(text + "</body></html>\n"))
}
