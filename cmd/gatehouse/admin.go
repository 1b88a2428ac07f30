package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/admin"
	"gatehouse.im/gatehouse/internal/authapi"
	"gatehouse.im/gatehouse/internal/httpserver"
)

// controlSocket is the name of the socket in the data directory by which the
// program's other commands talk to the daemon.
const controlSocket = "gatehouse.sock"

// adminPorts are the daemon's HTTP listeners: the control socket, what
// gatehouse_admin names, and gatehouse_extauth_socket. They belong to the
// goroutine that starts and reloads the daemon.
type adminPorts struct {
	logger   *slog.Logger
	control  config.AdminAddr
	handlers map[adminKind]http.Handler
	serving  sync.WaitGroup

	mu   sync.Mutex // guards open
	open map[config.AdminAddr]*adminPort
}

type adminPort struct {
	net.Listener
	kind   adminKind
	server *http.Server
}

// adminKind is what a listener is for.
type adminKind int

const (
	forControl adminKind = iota // by the program's own commands
	forPeople                   // the status page, metrics; and /auth/, for those who have the credentials
	forExtauth                  // questions of the servers behind
)

func newAdminPorts(d *daemon, dataDir string) *adminPorts {
	return &adminPorts{
		logger:  d.logger,
		control: config.AdminAddr{Network: "unix", Addr: filepath.Join(dataDir, controlSocket)},
		handlers: map[adminKind]http.Handler{
			forControl: withGuard(d.builder.guard, d.logger, withCacheClear(d, withTries(d, admin.Handler(d.metrics, status{d}, admin.Control)))),
			forPeople:  d.minting.before(withAuthAPI(d, admin.Handler(d.metrics, status{d}, admin.ReadOnly))),
			forExtauth: authapi.Handler(asked{d}, authapi.Trusted(), d.logger),
		},
		open: make(map[config.AdminAddr]*adminPort),
	}
}

// An adminChange is what a reload makes of the listeners: all that are wanted
// are open, and none of the others is closed yet.
type adminChange struct {
	ports   *adminPorts
	yield   func(addr string) bool // has client ports that are about to be closed share theirs
	next    map[config.AdminAddr]*adminPort
	opened  []*adminPort
	waiting []*unixSocket // of those opened: where one of ours for something else still is
}

// prepare opens the listeners that are wanted and not open yet: all, or none.
// Only without the control socket the daemon can go on. yield is
// [portsChange.yield].
func (a *adminPorts) prepare(ctx context.Context, cfg *config.Config, inherited inheritedSockets, yield func(addr string) bool) (*adminChange, error) {
	c := &adminChange{ports: a, yield: yield, next: make(map[config.AdminAddr]*adminPort)}
	if err := c.add(ctx, a.control, forControl, inherited); err != nil {
		a.logger.Warn("no control socket; gatehouse reload does not work, SIGHUP does", "cause", err)
	}
	for _, w := range cfg.Admin {
		if err := c.add(ctx, w, forPeople, inherited); err != nil {
			c.discard()
			return nil, exit(exitUnavailable, "gatehouse_admin: %w", err)
		}
	}
	if w := cfg.ExtauthSocket; w != nil {
		if err := c.add(ctx, *w, forExtauth, inherited); err != nil {
			c.discard()
			return nil, exit(exitUnavailable, "gatehouse_extauth_socket: %w", err)
		}
	}
	return c, nil
}

func (c *adminChange) add(ctx context.Context, at config.AdminAddr, kind adminKind, inherited inheritedSockets) error {
	at.Pos = config.Pos{} // the same address on another line is the same
	if taken := c.next[at]; taken != nil {
		if kind == forExtauth {
			return fmt.Errorf("%s is used already, by those who have other rights; name another path", at.Addr)
		}
		return nil
	}
	if open := c.ports.list()[at]; open != nil && open.kind == kind && open.reachable() {
		c.next[at] = open
		return nil
	}
	ln, err := c.listen(ctx, at, kind, inherited)
	if err != nil {
		return err
	}
	handler := c.ports.handlers[kind]
	server := admin.NewServer(handler, c.ports.logger)
	if kind != forControl {
		server = authapi.NewServer(handler, consoleConns(openFiles()), c.ports.logger)
	}
	opened := &adminPort{ln, kind, server}
	c.next[at] = opened
	c.opened = append(c.opened, opened)
	return nil
}

// listen opens a listener. Where one of ours is for something else, the new one
// takes its place when the change is applied: whoever is connected to the old one
// does not get the rights of the new.
func (c *adminChange) listen(ctx context.Context, at config.AdminAddr, kind adminKind, inherited inheritedSockets) (net.Listener, error) {
	if ln, ok := inherited.take(at.Network, at.Addr); ok {
		return ln, nil
	}
	if at.Network != "unix" {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, at.Network, at.Addr)
		if !errors.Is(err, syscall.EADDRINUSE) || !c.yield(at.Addr) {
			return ln, err
		}
		lc.Control = func(_, _ string, rc syscall.RawConn) error { return sharePort(rc) }
		return lc.Listen(ctx, at.Network, at.Addr)
	}
	mode := os.FileMode(0o660)
	if kind == forControl {
		mode = 0o600
	}
	old := c.ports.list()[at]
	if old == nil || !old.reachable() {
		return listenUnix(ctx, at.Addr, mode)
	}
	s, err := bindUnix(ctx, at.Addr, mode)
	if err != nil {
		return nil, err
	}
	c.waiting = append(c.waiting, s)
	return s, nil
}

// discard closes what prepare opened.
func (c *adminChange) discard() {
	for _, opened := range c.opened {
		_ = opened.Close()
	}
}

// apply serves what is new and ends what is not wanted any more.
func (c *adminChange) apply() {
	a := c.ports
	before := a.list()
	for _, s := range c.waiting {
		if err := s.place(); err != nil { // it was made beside it a moment ago
			a.logger.Error("an admin listener is lost", "address", s.path, "cause", err)
		}
	}
	a.mu.Lock()
	a.open = c.next
	a.mu.Unlock()
	for at, old := range before {
		if c.next[at] != old {
			_ = old.server.Close() // whoever looks at it asks again
			a.logger.Info("not listening any more", "address", old.Addr().String())
		}
	}
	for _, opened := range c.opened {
		a.logger.Info("admin listening", "address", opened.Addr().String())
		a.serving.Go(func() {
			if err := opened.server.Serve(opened); !errors.Is(err, http.ErrServerClosed) {
				a.logger.Error("an admin listener is lost", "address", opened.Addr().String(), "cause", err)
			}
		})
	}
}

// close ends all listeners. Requests that are being answered are waited for half
// a second, or until ctx ends.
func (a *adminPorts) close(ctx context.Context) {
	var all sync.WaitGroup
	for _, open := range a.list() {
		all.Go(func() { httpserver.End(ctx, open.server) })
	}
	all.Wait()
	a.serving.Wait()
}

// list returns the listeners that are open.
func (a *adminPorts) list() map[config.AdminAddr]*adminPort {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open
}

// listeners returns what is open.
func (a *adminPorts) listeners() []net.Listener {
	var list []net.Listener
	for _, open := range a.list() {
		list = append(list, open.Listener)
	}
	return list
}

// addresses returns where the listeners are, in order.
func (a *adminPorts) addresses() []string {
	var list []string
	for _, open := range a.list() {
		list = append(list, open.Addr().String())
	}
	slices.Sort(list)
	return list
}

// listenUnix makes a socket of a mode. The one that a daemon that was killed left
// at the path is replaced; one that answers is not, nor is anything else. The
// socket appears at the path with its mode, so that nobody slips in before.
func listenUnix(ctx context.Context, path string, mode os.FileMode) (net.Listener, error) {
	if len(path) > config.MaxSocketPath {
		return nil, fmt.Errorf("listen unix %s: too long for a socket, whose path has %d bytes at most", path, config.MaxSocketPath)
	}
	if err := makeDataDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	// To connect to an ordinary file fails as with a socket that nobody serves.
	if there, err := os.Lstat(path); err == nil && there.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("listen unix %s: there is a file that is no socket, and stays; name another path", path)
	}
	dialer := net.Dialer{Timeout: time.Second}
	if other, err := dialer.DialContext(ctx, "unix", path); err == nil {
		_ = other.Close()
		return nil, fmt.Errorf("listen unix %s: another daemon serves it", path)
	} else if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOENT) {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s, err := bindUnix(ctx, path, mode)
	if err != nil {
		return nil, err
	}
	if err := s.place(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// bindUnix makes a socket for a path, which is not there before it is placed.
func bindUnix(ctx context.Context, path string, mode os.FileMode) (_ *unixSocket, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".gh")
	if err != nil {
		return nil, err
	}
	s := &unixSocket{path: path, private: filepath.Join(dir, "s")}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	at := s.private
	if len(at) > config.MaxSocketPath { // which path need not be
		f, err := os.Open(dir)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		at = fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), filepath.Base(at))
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "unix", at)
	if err != nil {
		return nil, err
	}
	s.UnixListener = ln.(*net.UnixListener)
	s.SetUnlinkOnClose(false)
	if err := os.Chmod(s.private, mode); err != nil {
		return nil, errors.Join(err, s.UnixListener.Close())
	}
	if s.made, err = os.Lstat(s.private); err != nil {
		return nil, errors.Join(err, s.UnixListener.Close())
	}
	return s, nil
}

// reachable says whether a socket is still where it was made: somebody may have
// cleaned up.
func (p *adminPort) reachable() bool {
	s, ok := p.Listener.(*unixSocket)
	return !ok || s.inPlace()
}

// unixSocket has the path where it is to be as its address, and removes that when
// it is closed, unless another socket has taken its place.
type unixSocket struct {
	*net.UnixListener
	path    string
	private string // where it was made, alone in a directory; empty once it is placed
	made    os.FileInfo
}

// place puts the socket to its path, in the place of what is there.
func (s *unixSocket) place() error {
	err := os.Rename(s.private, s.path)
	s.unmake()
	return err
}

func (s *unixSocket) unmake() {
	if s.private != "" {
		_ = os.RemoveAll(filepath.Dir(s.private))
		s.private = ""
	}
}

func (s *unixSocket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

func (s *unixSocket) Close() error {
	s.unmake()
	if s.inPlace() {
		_ = os.Remove(s.path)
	}
	return s.UnixListener.Close()
}

func (s *unixSocket) inPlace() bool {
	now, err := os.Lstat(s.path)
	return err == nil && os.SameFile(now, s.made)
}
