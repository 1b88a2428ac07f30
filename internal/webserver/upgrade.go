package webserver

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/coder/websocket"

	"gatehouse.im/gatehouse/internal/admission"
)

// subprotocol is XMPP's (RFC 7395 §3.1).
const subprotocol = "xmpp"

// What a session holds while it is idle, instead of net/http's 4 KiB each. A read into something larger passes by the
// buffer, and so does most of a longer write.
const (
	readBuffer  = 512
	writeBuffer = 1024
)

func wantsUpgrade(r *http.Request) bool {
	return r.Header.Get("Sec-Websocket-Key") != "" || hasToken(r.Header.Values("Upgrade"), "websocket")
}

// hasToken looks in lists with commas, without regard to case.
func hasToken(lists []string, token string) bool {
	for _, list := range lists {
		for t := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// upgrade makes a WebSocket of the request and starts its session, or answers why not.
func (s *Server) upgrade(now *settings, w http.ResponseWriter, r *http.Request) {
	who, err := now.clientOf(r)
	tell := func(err error) {
		now.Logger.Info("refused a WebSocket", "remote", remoteOf(who, r), "cause", fmt.Sprintf("%.300s", err.Error()))
	}
	refuse := func(status int, err error) {
		tell(err)
		http.Error(w, "No WebSocket: "+err.Error()+".", status)
	}
	if err != nil {
		refuse(http.StatusBadRequest, err)
		return
	}
	if s.isClosed() {
		http.Error(w, "The server is being shut down.", http.StatusServiceUnavailable)
		return
	}
	if err := now.allowOrigin(r); err != nil {
		refuse(http.StatusForbidden, err)
		return
	}
	if !hasToken(r.Header.Values("Sec-Websocket-Protocol"), subprotocol) {
		refuse(http.StatusBadRequest, fmt.Errorf("the client does not offer the subprotocol %q (RFC 7395)", subprotocol))
		return
	}

	var place *admission.Place
	if f := frontOf(r); f != nil {
		place = f.below.place
	}
	if !place.From(net.TCPAddrFromAddrPort(who.addr)) {
		http.Error(w, "There are too many connections from your address.", http.StatusServiceUnavailable)
		return
	}
	if who.secure {
		place.Secure() // a handshake with a proxy is as good as one with us
	}
	sock := &socket{}
	sock.left.Store(strangerBytes)
	c := &Conn{Secure: who.secure, Host: strings.Clone(r.Host), TLS: r.TLS, sock: sock, place: place}
	ws, err := websocket.Accept(&hijacker{w, sock}, r, &websocket.AcceptOptions{
		Subprotocols:       []string{subprotocol},
		InsecureSkipVerify: true, // allowOrigin has looked
		CompressionMode:    websocket.CompressionDisabled,
		OnPingReceived:     sock.onPing,
		OnPongReceived:     sock.onPong,
	})
	if err != nil { // and answered
		tell(err)
		return
	}
	ws.SetReadLimit(-1)
	c.ws = ws
	c.Local, c.Remote = sock.LocalAddr(), sock.RemoteAddr()
	if who.proxy {
		c.Remote = net.TCPAddrFromAddrPort(who.addr)
	}
	s.start(now, c)
}

// Remote says who asks, as far as the proxies in between are trusted: an address, with a port if that is known.
func (s *Server) Remote(r *http.Request) string {
	who, err := s.settings.Load().clientOf(r)
	if err != nil {
		return r.RemoteAddr
	}
	return remoteOf(who, r)
}

// remoteOf is who asks, for the log.
func remoteOf(who client, r *http.Request) string {
	if who.addr.IsValid() {
		return who.addr.String()
	}
	return r.RemoteAddr
}

// start runs a session, unless the server is closed.
func (s *Server) start(now *settings, c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.CloseNow()
		return
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	accept, logger := now.Accept, now.Logger
	every, wait := now.PingEvery, now.PingWait
	go func() {
		defer func() {
			code := GoingAway
			// A fault in one connection must not end the others.
			if p := recover(); p != nil {
				code = InternalError
				logger.Error("internal fault in a connection; please report it",
					"remote", c.Remote.String(), "fault", fmt.Sprint(p), "stack", string(debug.Stack()))
			}
			_ = c.Close(code, "")
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			s.wg.Done()
		}()
		if every > 0 {
			c.startPings(every, wait)
		}
		accept(c)
	}()
}

// A hijacker hands the library a connection of ours when it takes over that of net/http, whose buffers are then garbage.
type hijacker struct {
	http.ResponseWriter
	sock *socket
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	// The time limits of the request end with it.
	_ = nc.SetDeadline(time.Time{})
	h.sock.Conn = nc
	h.sock.early = append([]byte(nil), early...)
	h.sock.buffer = bufio.NewReaderSize(h.sock, readBuffer)
	return h.sock, bufio.NewReadWriter(h.sock.buffer, bufio.NewWriterSize(h.sock, writeBuffer)), nil
}
