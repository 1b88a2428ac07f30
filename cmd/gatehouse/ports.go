package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/server"
)

// ports are the client ports of a daemon. They belong to the goroutine that
// starts and reloads it, but for Addr.
type ports struct {
	server  *server.Server
	web     *web
	logger  *slog.Logger
	serving sync.WaitGroup                 // one for each port
	leaving sync.WaitGroup                 // one for each that makes room for another
	proxies atomic.Pointer[[]netip.Prefix] // whose PROXY headers are believed
	beside  func() []net.Listener          // what the daemon has open besides

	mu   sync.Mutex // guards open
	open []*port    // in the order of the config
}

// A port is one listener that serves clients.
type port struct {
	net.Listener
	ports   *ports
	key     portKey
	direct  atomic.Bool // TLS begins with the first byte
	removed atomic.Bool // closed because the config does not name it any more
}

// portKey tells the ports of a config apart: nth counts those whose number is 0,
// which means any. What changes its service is another port.
type portKey struct {
	network, addr string
	service       service
	nth           int
}

// A service is what is spoken on a port.
type service uint8

const (
	serviceXMPP service = iota // with STARTTLS or direct TLS, which may change
	serviceHTTP                // for WebSockets
	serviceHTTPS
)

func serviceOf(l config.Listener) service {
	switch {
	case !l.WebSocket:
		return serviceXMPP
	case l.DirectTLS:
		return serviceHTTPS
	}
	return serviceHTTP
}

func keysOf(wanted []config.Listener) []portKey {
	seen := make(map[portKey]int)
	keys := make([]portKey, len(wanted))
	for i, w := range wanted {
		key := portKey{network: w.Network, addr: w.Addr, service: serviceOf(w)}
		keys[i] = key
		keys[i].nth = seen[key]
		seen[key]++
	}
	return keys
}

// A portsChange is what a reload makes of the ports: all that are wanted are
// open, and none of the others is closed yet.
type portsChange struct {
	ports  *ports
	next   []*port
	direct []bool // of next
	opened []*port
	closed []*port
	// covered are those of next that the config names no more, but all addresses
	// instead of theirs. To close them would reset those who are connecting.
	covered []*port
}

// overlapTime is how long a port on all addresses stays open when one on fewer
// takes its place, so that those who were connecting to it come in.
const overlapTime = 200 * time.Millisecond

// prepare opens the ports that are wanted and not open yet: all, or none. inherited
// are sockets that systemd opened for us.
func (p *ports) prepare(ctx context.Context, wanted []config.Listener, inherited inheritedSockets) (_ *portsChange, err error) {
	p.leaving.Wait()
	c := &portsChange{ports: p}
	defer func() {
		if err != nil {
			c.discard()
		}
	}()
	keys := keysOf(wanted)
	for _, old := range p.list() {
		if slices.Contains(keys, old.key) {
			continue
		}
		cover := slices.IndexFunc(keys, old.key.coveredBy)
		if cover < 0 {
			c.closed = append(c.closed, old)
			continue
		}
		c.covered = append(c.covered, old)
		c.next = append(c.next, old)
		c.direct = append(c.direct, wanted[cover].DirectTLS)
	}
	for i, w := range wanted {
		next := p.find(keys[i])
		if next == nil {
			ln, err := c.listen(ctx, w, inherited)
			if err != nil && (w.Optional || errors.Is(err, syscall.EAFNOSUPPORT)) {
				p.logger.Warn("not listening on an address that this machine cannot serve", "address", w.Addr, "cause", err)
				continue
			}
			if err != nil {
				return nil, exit(exitUnavailable, "cannot listen on a client port: %w%s", err, listenHint(err, w.Option))
			}
			if ln == nil {
				continue // a socket of systemd's serves both families
			}
			next = &port{Listener: ln, ports: p, key: keys[i]}
			next.direct.Store(w.DirectTLS)
			c.opened = append(c.opened, next)
		}
		c.next = append(c.next, next)
		c.direct = append(c.direct, w.DirectTLS)
	}
	if len(c.next) == 0 {
		return nil, exit(exitUnavailable, "no client port could be opened")
	}
	return c, nil
}

// coveredBy says whether other has all addresses with the number of the port.
func (k portKey) coveredBy(other portKey) bool {
	host, number, _ := net.SplitHostPort(k.addr)
	otherHost, otherNumber, _ := net.SplitHostPort(other.addr)
	return host != "" && otherHost == "" && number == otherNumber && number != "0" && k.network == other.network && k.service == other.service
}

// listen opens one port. Where another one of ours is in the way, as with "*"
// instead of one address, both are open, so that no client finds none. A port that
// changes its service goes on with the same socket: whoever is connecting to it is
// not turned away, and one below 1024 needs no right.
func (c *portsChange) listen(ctx context.Context, w config.Listener, inherited inheritedSockets) (net.Listener, error) {
	if ln, ok := inherited.take(w.Network, w.Addr); ok {
		return ln, nil
	}
	for _, old := range c.closed {
		if old.key.network == w.Network && old.key.addr == w.Addr && !strings.HasSuffix(w.Addr, ":0") {
			return sameSocket(old.Listener)
		}
	}
	lc := net.ListenConfig{KeepAlive: -1} // package server sees to it
	ln, err := lc.Listen(ctx, w.Network, w.Addr)
	if !errors.Is(err, syscall.EADDRINUSE) || !c.yield(w.Addr) {
		return ln, err
	}
	lc.Control = func(_, _ string, rc syscall.RawConn) error { return sharePort(rc) }
	return lc.Listen(ctx, w.Network, w.Addr)
}

// sameSocket is a second listener on the socket of a first, which stays open as
// long as one of the two is.
func sameSocket(ln net.Listener) (net.Listener, error) {
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.FileListener(f)
}

// yield makes those ports that the config does not name any more, or not as
// client ports, and have the number of addr, share it with another socket of
// ours. (That two of the config need the same is a problem of the config.)
func (c *portsChange) yield(addr string) (found bool) {
	_, number, _ := net.SplitHostPort(addr)
	olds := c.ports.beside()
	for _, old := range slices.Concat(c.closed, c.covered) {
		olds = append(olds, old.Listener)
	}
	for _, old := range olds {
		ln, ok := old.(*net.TCPListener)
		if _, n, _ := net.SplitHostPort(old.Addr().String()); !ok || n != number {
			continue
		}
		if rc, err := ln.SyscallConn(); err == nil && sharePort(rc) == nil {
			found = true
		}
	}
	return found
}

// sharePort lets several sockets of one user have the same port (SO_REUSEPORT).
func sharePort(rc syscall.RawConn) (err error) {
	failed := rc.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return errors.Join(failed, err)
}

// discard closes what prepare opened.
func (c *portsChange) discard() {
	for _, opened := range c.opened {
		_ = opened.Close()
	}
}

// apply serves the new ports and closes those that are not wanted any more.
func (c *portsChange) apply() {
	p := c.ports
	p.mu.Lock()
	p.open = c.next
	p.mu.Unlock()
	for i, next := range c.next {
		next.direct.Store(c.direct[i])
	}
	for _, opened := range c.opened {
		p.serve(opened)
	}
	for _, old := range c.closed {
		if !slices.ContainsFunc(c.next, func(next *port) bool { return next.key.coveredBy(old.key) }) {
			p.close(old)
			continue
		}
		p.leaving.Go(func() {
			time.Sleep(overlapTime)
			p.close(old)
		})
	}
}

func (p *ports) close(old *port) {
	old.removed.Store(true)
	_ = old.Close()
	p.logger.Info("not listening any more", "address", old.Addr().String())
}

func (p *ports) serve(port *port) {
	p.serving.Add(1)
	go func() {
		defer p.serving.Done()
		err := p.accept(port)
		if !port.removed.Load() && !errors.Is(err, server.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
			p.logger.Error("a client port is lost", "address", port.Addr().String(), "cause", err)
		}
	}()
	p.logger.Info("listening", "address", port.Addr().String(), "tls", port.tls(), "service", port.key.service.String())
}

// accept serves clients until the port is closed.
func (p *ports) accept(port *port) error {
	if port.key.service == serviceXMPP {
		return p.server.Serve(port, port.direct.Load)
	}
	return p.web.serve(port, port.key.service == serviceHTTPS)
}

func (s service) String() string {
	if s == serviceXMPP {
		return "xmpp"
	}
	return "websocket"
}

// kind is for people.
func (p *port) kind() string {
	switch p.key.service {
	case serviceHTTPS:
		return "wss"
	case serviceHTTP:
		return "ws"
	}
	return p.tls()
}

// tls says where TLS begins.
func (p *port) tls() string {
	switch {
	case p.direct.Load():
		return "direct"
	case p.key.service == serviceHTTP:
		return "none"
	}
	return "starttls"
}

// list returns the ports that are open.
func (p *ports) list() []*port {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

func (p *ports) find(key portKey) *port {
	for _, open := range p.list() {
		if open.key == key {
			return open
		}
	}
	return nil
}

// addr returns the address of the first port for XMPP of its kind.
func (p *ports) addr(direct bool) string {
	for _, open := range p.list() {
		if open.key.service == serviceXMPP && open.direct.Load() == direct {
			return open.Addr().String()
		}
	}
	return ""
}

// listenHint says what to do about an error of bind(2).
func listenHint(err error, option string) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		if option == "http_ports" || option == "https_ports" {
			option = "gatehouse_websocket_ports"
		}
		return fmt.Sprintf("\nIs another server (Prosody, ejabberd) using it? Set %s to another port, or stop the other.", option)
	case errors.Is(err, syscall.EACCES):
		return fmt.Sprintf("\nThis user may not open a port below 1024. Set %s to another port, or give gatehouse CAP_NET_BIND_SERVICE.", option)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "\nThis machine has no such address. Set interfaces to one that it has, or to \"*\" or \"::\"."
	}
	return ""
}
