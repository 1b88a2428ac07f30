package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// AdminAddr is one address of this machine, for its operator: to serve metrics and the status page on, or to answer
// `gatehouse extauth`.
type AdminAddr struct {
	// Network is "tcp" or "unix".
	Network string
	// Addr is IP:port with a loopback address, or the absolute path of a socket, which fits sockaddr_un.
	Addr string
	// Pos is where the option was set.
	Pos Pos
}

// MaxSocketPath is the longest path of a unix socket: sun_path of unix(7) less its NUL.
const MaxSocketPath = 107

// admin reads gatehouse_admin. What the page shows (who logs in, from where) is for the operator alone, and there is no
// password on it: so nothing but loopback will do.
func (s section) admin() []AdminAddr {
	const name = "gatehouse_admin"
	names, _ := s.strings(name)
	var addrs []AdminAddr
	seen := make(map[AdminAddr]bool)
	for _, text := range names {
		at := AdminAddr{Pos: s.pos(name)}
		var why string
		if strings.Contains(text, "/") {
			at.Network = "unix"
			at.Addr, why = s.socketPath(text)
		} else {
			at.Network = "tcp"
			at.Addr, why = loopbackAddr(text)
		}
		switch {
		case why != "":
			s.problem(name, "%q %s", clip(text), why)
		case !seen[at]:
			seen[at] = true
			addrs = append(addrs, at)
		}
	}
	return addrs
}

// socketPath makes the path of a socket absolute, or says why that cannot be one.
func (s section) socketPath(text string) (path, why string) {
	path = s.resolve(text)
	switch {
	case strings.ContainsRune(path, 0):
		return "", "holds a NUL character, which no path can"
	case len(path) > MaxSocketPath:
		return "", "is too long for a socket: " + strconv.Itoa(len(path)) + " bytes as an absolute path, and the system takes " +
			strconv.Itoa(MaxSocketPath)
	case strings.HasSuffix(text, "/"):
		return "", "is a directory; want the path of a socket in it"
	}
	return path, ""
}

// loopbackAddr brings IP:port into the form that net.Listen takes, or says why it is not for an admin listener.
func loopbackAddr(text string) (addr, why string) {
	const want = `; want a loopback address with a port such as "127.0.0.1:5280", or the path of a socket such as "./admin.sock"`
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		if _, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil || text == "localhost" {
			return "", "has no port" + want
		}
		return "", "is no address" + want
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "", "has no port number from 0 to 65535" + want
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" || host == "*" || err == nil && !ip.Unmap().IsLoopback():
		return "", "can be reached from other machines, and whoever reaches it sees who logs in; " +
			"use 127.0.0.1 or [::1], and put a reverse proxy with a password in front"
	case err != nil:
		return "", "has a host name that may mean any machine; use 127.0.0.1 or [::1]"
	}
	return net.JoinHostPort(ip.Unmap().String(), port), ""
}
