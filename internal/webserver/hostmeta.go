package webserver

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"net"
	"net/http"
	"strings"
)

// relWebSocket is how XEP-0156 names a link to a WebSocket.
const relWebSocket = "urn:xmpp:alt-connections:websocket"

// A link is an element of a host-meta document, in both of its forms.
type link struct {
	Rel  string `json:"rel" xml:"rel,attr"`
	Href string `json:"href" xml:"href,attr"`
}

// serveHostMeta answers with XEP-0156's document for the host that was asked for: XRD (RFC 6415 §3) or JSON (§A). Any page
// may read it (XEP-0156 §3.2).
func (s *settings) serveHostMeta(w http.ResponseWriter, r *http.Request, asJSON bool) {
	href, err := s.socketURL(r)
	if err != nil {
		http.Error(w, "No answer: "+err.Error()+".", http.StatusBadRequest)
		return
	}
	links := []link{{Rel: relWebSocket, Href: href}}
	var body []byte
	if asJSON {
		w.Header().Set("Content-Type", "application/json")
		body, err = json.Marshal(map[string]any{"links": links})
	} else {
		w.Header().Set("Content-Type", "application/xrd+xml")
		body, err = xml.Marshal(struct {
			XMLName xml.Name `xml:"http://docs.oasis-open.org/ns/xri/xrd-1.0 XRD"`
			Links   []link   `xml:"Link"`
		}{Links: links})
		body = append([]byte(xml.Header), body...)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	_, _ = w.Write(body)
}

// socketURL is the WebSocket's URL for the host that r asks for.
func (s *settings) socketURL(r *http.Request) (string, error) {
	if !plainHost(r.Host) {
		return "", errors.New("the request names no host")
	}
	if s.URL != nil {
		if u := s.URL(hostName(r.Host)); u != "" {
			return u, nil
		}
	}
	c, err := s.clientOf(r)
	if err != nil {
		return "", err
	}
	scheme := "ws://"
	if c.secure {
		scheme = "wss://"
	}
	return scheme + strings.ToLower(r.Host) + s.Paths[0], nil
}

// hostName is a Host header without its port, in lower case.
func hostName(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		hostport = host
	}
	return strings.ToLower(hostport)
}

// plainHost says whether a Host header is one that can stand in a URL. It is what a stranger wrote.
func plainHost(host string) bool {
	const others = ".-_:[]"
	for _, b := range []byte(host) {
		if (b < '0' || b > '9') && (b|0x20 < 'a' || b|0x20 > 'z') && strings.IndexByte(others, b) < 0 {
			return false
		}
	}
	return host != "" && len(host) <= 255+len(":65535")
}
