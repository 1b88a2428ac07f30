package main

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// inheritedSockets are the listening sockets that the service manager opened
// for us (systemd.socket(5), sd_listen_fds(3)). Whoever wants to listen on an
// address asks take first. They stay open for the life of the process: the
// manager has them open anyway, so nobody else could listen there when a reload
// wants a port back. They are not safe for use by several goroutines.
type inheritedSockets []inheritedSocket

type inheritedSocket struct {
	file *os.File // its name is the socket unit's FileDescriptorName
	addr net.Addr
	// at is where a TCP socket is bound; both says that it is a wildcard that
	// takes IPv4 and IPv6.
	at   netip.AddrPort
	both bool
	// taken is set once somebody had it.
	taken bool
}

// inherited returns the sockets that were passed to this process; mostly there
// are none. It clears the LISTEN_ variables, so that neither a second call nor
// a script finds them. A descriptor that is no listening stream socket is an
// error, and then there are none.
func inherited() (inheritedSockets, error) {
	files := activation.Files(true)
	_ = os.Unsetenv("LISTEN_PIDFDID") // a companion of LISTEN_PID, which go-systemd does not know
	var all inheritedSockets
	var errs []error
	for _, f := range files {
		s, err := inherit(f)
		if err != nil {
			errs = append(errs, exit(exitConfig, "the socket %q that systemd passed: %w; its unit needs ListenStream= and Accept=no", f.Name(), err))
		}
		all = append(all, s)
	}
	if len(errs) > 0 {
		for _, f := range files {
			_ = f.Close()
		}
		return nil, errors.Join(errs...)
	}
	return all, nil
}

func inherit(f *os.File) (inheritedSocket, error) {
	accepts, err := socketOption(f, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return inheritedSocket{}, err
	}
	if accepts == 0 {
		return inheritedSocket{}, errors.New("it does not listen")
	}
	ln, err := net.FileListener(f)
	if err != nil {
		return inheritedSocket{}, err
	}
	_ = ln.Close() // a copy, made to see what it is
	s := inheritedSocket{file: f, addr: ln.Addr()}
	if tcp, ok := ln.Addr().(*net.TCPAddr); ok {
		s.at = tcp.AddrPort()
	}
	if s.at.Addr() == netip.IPv6Unspecified() {
		only, err := socketOption(f, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		if err != nil {
			return inheritedSocket{}, err
		}
		s.both = only == 0
	}
	return s, nil
}

func socketOption(f *os.File, level, option int) (value int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, option) })
	return value, errors.Join(failed, err)
}

// take returns a listener on the socket that is bound to an address, if there is
// one. The network is "tcp4", "tcp6" or "unix"; the address is
// IP:port, :port for the wildcard of the family, or a path. A wildcard socket
// of both families (systemd's `ListenStream=5222`) serves either, with a
// listener for each, and each gets some of the clients of both.
//
// The caller closes the listener; the socket itself stays open, and so does the
// path of a Unix socket, which belongs to the socket unit.
func (all inheritedSockets) take(network, addr string) (net.Listener, bool) {
	for i := range all {
		s := &all[i]
		if !s.serves(network, addr) {
			continue
		}
		if ln, err := net.FileListener(s.file); err == nil {
			s.taken = true
			return ln, true
		}
	}
	return nil, false
}

func (s *inheritedSocket) serves(network, addr string) bool {
	if network == "unix" {
		return s.addr.Network() == "unix" && filepath.Clean(s.addr.String()) == filepath.Clean(addr)
	}
	wanted, ok := parseListenAddr(network, addr)
	return ok && (s.at == wanted || s.both && wanted.Addr().IsUnspecified() && wanted.Port() == s.at.Port())
}

// parseListenAddr reads what net.Listen takes, with an IP address or nothing as
// the host.
func parseListenAddr(network, addr string) (netip.AddrPort, bool) {
	if strings.HasPrefix(addr, ":") {
		wildcard := "0.0.0.0"
		if network == "tcp6" {
			wildcard = "[::]"
		}
		addr = wildcard + addr
	}
	at, err := netip.ParseAddrPort(addr)
	return at, err == nil
}

// closeRest closes the sockets that nobody took, and warns of them: the manager
// lets clients in there who wait for an answer that nobody gives.
func (all inheritedSockets) closeRest(logger *slog.Logger) {
	for _, s := range all {
		if s.taken {
			continue
		}
		logger.Warn("systemd passed a socket that the config does not ask for; nobody answers there",
			"address", s.addr.String(), "socket", s.file.Name())
		_ = s.file.Close()
	}
}
