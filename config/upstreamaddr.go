package config

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// maxUpstreamAddresses bounds gatehouse_upstream: each address is tried and watched.
const maxUpstreamAddresses = 64

// upstreamAddresses reads gatehouse_upstream, and says whether a server behind is wanted: false and an empty list take back
// what all hosts have.
func (s section) upstreamAddresses() (addresses []UpstreamAddr, wanted bool) {
	const name = "gatehouse_upstream"
	if o, _ := s.lookup(name); o.Value.Kind == luaconf.Bool && !o.Value.Bool {
		return nil, false
	}
	texts, ok := s.strings(name)
	if ok && len(texts) == 0 || !s.has(name) {
		return nil, false
	}
	if len(texts) > maxUpstreamAddresses {
		s.problem(name, "has %d addresses, and %d are the most", len(texts), maxUpstreamAddresses)
		return nil, true
	}
	for _, text := range texts {
		at, why := s.upstreamAddr(text)
		switch {
		case why != "":
			s.problem(name, "%q %s", clip(text), why)
		case !slices.Contains(addresses, at):
			addresses = append(addresses, at)
		}
	}
	return addresses, true
}

// upstreamAddr reads one address, or says why it is none.
func (s section) upstreamAddr(text string) (at UpstreamAddr, why string) {
	const want = `; want "host:port" such as "127.0.0.1:15222", or the path of a socket such as "/run/prosody/c2s.sock"`
	path, socket := strings.CutPrefix(text, "unix:")
	if socket || strings.HasPrefix(text, "/") || strings.HasPrefix(text, "./") || strings.HasPrefix(text, "../") {
		if path == "" {
			return at, "has no path" + want
		}
		at.Network = "unix"
		at.Addr, why = s.socketPath(path)
		return at, why
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return at, "is no host with a port" + want
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return at, "has no port number from 1 to 65535" + want
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" || host == "*" || err == nil && ip.IsUnspecified():
		return at, "names no machine; if it is this one, write 127.0.0.1:" + port
	case err == nil:
		host = ip.Unmap().String()
	case strings.EqualFold(host, "localhost"):
		// Not left to a resolver: what goes to this machine needs no TLS.
		host = "127.0.0.1"
	default:
		if host, err = idna.ToASCII(strings.ToLower(host)); err != nil || !hostName(host) {
			return at, "has no good host name" + want
		}
	}
	return UpstreamAddr{"tcp", net.JoinHostPort(host, port)}, ""
}

// hostName says whether a text may be a host name, as the DNS and Docker have them, or is an IP address.
func hostName(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	text = strings.TrimSuffix(text, ".")
	if len(text) > 253 {
		return false
	}
	for _, label := range strings.Split(text, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if c != '-' && c != '_' && !('a' <= c && c <= 'z') && !('0' <= c && c <= '9') {
				return false
			}
		}
	}
	return true
}

// ip is the address if it is not a name or a socket.
func (a UpstreamAddr) ip() netip.Addr {
	at, _ := netip.ParseAddrPort(a.Addr)
	return at.Addr()
}

// local says that what goes there does not leave this machine.
func (a UpstreamAddr) local() bool { return a.Network == "unix" || a.ip().IsLoopback() }

// ownPort finds the client port of ours that an address leads to. Only what can be known without asking the system counts:
// a wildcard takes what comes to the loopback addresses of its family.
func ownPort(listeners []Listener, at UpstreamAddr) (Listener, bool) {
	_, port, err := net.SplitHostPort(at.Addr)
	if at.Network != "tcp" || err != nil || !at.ip().IsValid() {
		return Listener{}, false
	}
	family := map[bool]string{true: "tcp4", false: "tcp6"}[at.ip().Is4()]
	for _, l := range listeners {
		if l.Addr == at.Addr || l.Network == family && l.Addr == ":"+port && at.ip().IsLoopback() {
			return l, true
		}
	}
	return Listener{}, false
}
