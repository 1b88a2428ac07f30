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
)

// controlSocket is the name of the socket in the data directory by which the
// program's other commands talk to the daemon.
const controlSocket = "gatehouse.sock"

// adminPorts are the daemon's HTTP listeners: the control socket, and what
// gatehouse_admin names. They belong to the goroutine that starts and reloads
// the daemon.
type adminPorts struct {
	logger  *slog.Logger
	handler map[admin.Access]http.Handler
	control config.AdminAddr
	serving sync.WaitGroup

	mu   sync.Mutex // guards open
	open map[config.AdminAddr]*adminPort
}

type adminPort struct {
	net.Listener
	server *http.Server
}

func newAdminPorts(d *daemon, dataDir string) *adminPorts {
	a := &adminPorts{
		logger:  d.logger,
		handler: make(map[admin.Access]http.Handler),
		control: config.AdminAddr{Network: "unix", Addr: filepath.Join(dataDir, controlSocket)},
		open:    make(map[config.AdminAddr]*adminPort),
	}
	for _, access := range []admin.Access{admin.ReadOnly, admin.Control} {
		a.handler[access] = admin.Handler(d.metrics, status{d}, access)
	}
	return a
}

// An adminChange is what a reload makes of the listeners: all that are wanted
// are open, and none of the others is closed yet.
type adminChange struct {
	ports  *adminPorts
	next   map[config.AdminAddr]*adminPort
	opened []*adminPort
}

// prepare opens the listeners that are wanted and not open yet: all, or none.
// Only without the control socket the daemon can go on.
func (a *adminPorts) prepare(ctx context.Context, wanted []config.AdminAddr, inherited inheritedSockets) (*adminChange, error) {
	c := &adminChange{ports: a, next: make(map[config.AdminAddr]*adminPort)}
	if err := c.add(ctx, a.control, inherited); err != nil {
		a.logger.Warn("no control socket; gatehouse reload does not work, SIGHUP does", "cause", err)
	}
	for _, w := range wanted {
		w.Pos = config.Pos{} // the same address on another line is the same
		if err := c.add(ctx, w, inherited); err != nil {
			c.discard()
			return nil, exit(exitUnavailable, "gatehouse_admin: %w", err)
		}
	}
	return c, nil
}

func (c *adminChange) add(ctx context.Context, at config.AdminAddr, inherited inheritedSockets) error {
	if c.next[at] != nil {
		return nil
	}
	if open := c.ports.list()[at]; open != nil && open.reachable() {
		c.next[at] = open
		return nil
	}
	access, mode := admin.ReadOnly, os.FileMode(0o660)
	if at == c.ports.control {
		access, mode = admin.Control, 0o600
	}
	ln, ok := inherited.take(at.Network, at.Addr)
	if !ok {
		var err error
		if at.Network == "unix" {
			ln, err = listenUnix(ctx, at.Addr, mode)
		} else {
			ln, err = new(net.ListenConfig).Listen(ctx, at.Network, at.Addr)
		}
		if err != nil {
			return err
		}
	}
	opened := &adminPort{ln, admin.NewServer(c.ports.handler[access], c.ports.logger)}
	c.next[at] = opened
	c.opened = append(c.opened, opened)
	return nil
}

// discard closes what prepare opened.
func (c *adminChange) discard() {
	for _, opened := range c.opened {
		opened.Close()
	}
}

// apply serves what is new and ends what is not wanted any more.
func (c *adminChange) apply() {
	a := c.ports
	before := a.list()
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

// close ends all listeners. Requests that are being answered are waited for until
// ctx ends.
func (a *adminPorts) close(ctx context.Context) {
	for _, open := range a.list() {
		if open.server.Shutdown(ctx) != nil {
			_ = open.server.Close()
		}
	}
	a.serving.Wait()
}

// list returns the listeners that are open.
func (a *adminPorts) list() map[config.AdminAddr]*adminPort {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open
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
	if err := makeDataDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	// To connect to an ordinary file fails as with a socket that nobody serves.
	if there, err := os.Lstat(path); err == nil && there.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("listen unix %s: there is a file that is no socket, and stays; name another path", path)
	}
	dialer := net.Dialer{Timeout: time.Second}
	if other, err := dialer.DialContext(ctx, "unix", path); err == nil {
		other.Close()
		return nil, fmt.Errorf("listen unix %s: another daemon serves it", path)
	} else if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOENT) {
		return nil, fmt.Errorf("listen: %w", err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".gh")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	private := filepath.Join(dir, "s")
	ln, err := new(net.ListenConfig).Listen(ctx, "unix", private)
	if err != nil {
		return nil, err
	}
	ul := ln.(*net.UnixListener)
	ul.SetUnlinkOnClose(false)
	s := &unixSocket{UnixListener: ul, path: path}
	if err := errors.Join(os.Chmod(private, mode), os.Rename(private, path)); err != nil {
		return nil, errors.Join(err, ul.Close())
	}
	if s.made, err = os.Lstat(path); err != nil {
		return nil, errors.Join(err, ul.Close())
	}
	return s, nil
}

// reachable says whether a socket is still where it was made: somebody may have
// cleaned up.
func (p *adminPort) reachable() bool {
	s, ok := p.Listener.(*unixSocket)
	return !ok || s.inPlace()
}

// unixSocket has the path where it is now as its address, and removes that when
// it is closed, unless another socket has taken its place.
type unixSocket struct {
	*net.UnixListener
	path string
	made os.FileInfo
}

func (s *unixSocket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

func (s *unixSocket) Close() error {
	if s.inPlace() {
		_ = os.Remove(s.path)
	}
	return s.UnixListener.Close()
}

func (s *unixSocket) inPlace() bool {
	now, err := os.Lstat(s.path)
	return err == nil && os.SameFile(now, s.made)
}
