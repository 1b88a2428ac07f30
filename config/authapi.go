package config

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"unicode"
)

// AuthAPI are the credentials of those who may ask over HTTP whether a password or a ticket is good.
type AuthAPI struct {
	// User has no colon in it (gatehouse_auth_api_user), and Password is not empty (gatehouse_auth_api_password): they come
	// by Basic authentication, RFC 7617.
	User, Password string
	// Pos is where gatehouse_auth_api_password was set.
	Pos Pos
}

// LogValue keeps the password out of logs.
func (a *AuthAPI) LogValue() slog.Value { return slog.GroupValue(slog.String("user", a.User)) }

// authAPI reads the credentials; nil without them.
func (s section) authAPI(admin []AdminAddr) *AuthAPI {
	const nameUser, namePassword = "gatehouse_auth_api_user", "gatehouse_auth_api_password"
	if !s.has(nameUser) && !s.has(namePassword) {
		return nil
	}
	for name, other := range map[string]string{nameUser: namePassword, namePassword: nameUser} {
		if !s.has(name) {
			s.problem(other, "needs %s as well: who asks must give both", name)
			return nil
		}
	}
	a := &AuthAPI{s.string(nameUser, ""), s.string(namePassword, ""), s.pos(namePassword)}
	switch {
	case a.User == "" || strings.Contains(a.User, ":") || strings.ContainsFunc(a.User, unicode.IsControl):
		s.problem(nameUser, "want a name without colons and control characters, got %q", clip(a.User))
	case a.Password == "" || strings.ContainsFunc(a.Password, unicode.IsControl):
		s.problem(namePassword, "is empty, or has control characters; `gatehouse token keys` prints a good secret")
	case len(a.Password) < 16:
		s.warn(namePassword, "has %d bytes, which can be guessed, and who knows it may try any password; use 32", len(a.Password))
	}
	if len(admin) == 0 {
		s.warn(namePassword, "does nothing without gatehouse_admin: the auth API is on its addresses, under /auth/")
	}
	return a
}

// extauthSocket reads where `gatehouse extauth` asks; nil without it.
func (s section) extauthSocket(admin []AdminAddr) *AdminAddr {
	const name = "gatehouse_extauth_socket"
	if !s.has(name) {
		return nil
	}
	text := s.string(name, "")
	if text == "" {
		s.problem(name, `want the path of a socket such as "/run/gatehouse/extauth.sock"`)
		return nil
	}
	path, why := s.socketPath(text)
	if why != "" {
		s.problem(name, "%q %s", clip(text), why)
		return nil
	}
	if slices.ContainsFunc(admin, func(a AdminAddr) bool { return a.Addr == path }) {
		s.problem(name, "%s is used by gatehouse_admin already; they have different rights, so give it a path of its own", path)
	}
	return &AdminAddr{Network: "unix", Addr: path, Pos: s.pos(name)}
}

// networks reads who may tell clients' addresses: IP addresses, and networks.
func (s section) networks(name string) []netip.Prefix {
	texts, _ := s.strings(name)
	var from []netip.Prefix
	for _, text := range texts {
		prefix, ok := parsePrefix(text)
		switch {
		case !ok:
			s.problem(name, `want IP addresses or networks such as "10.0.0.7" or "10.0.0.0/24", got %q`, clip(text))
			continue
		case prefix.Bits() == 0:
			s.warn(name, "%s is everybody: whoever connects may say that he comes from any address", prefix)
		}
		if !slices.Contains(from, prefix) {
			from = append(from, prefix)
		}
	}
	return from
}

// parsePrefix reads an address or a network. IPv4 is IPv4, however it is written.
func parsePrefix(text string) (netip.Prefix, bool) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		ip, err := netip.ParseAddr(text)
		if err != nil || ip.Zone() != "" {
			return netip.Prefix{}, false
		}
		prefix = netip.PrefixFrom(ip, ip.BitLen())
	}
	if ip := prefix.Addr(); ip.Is4In6() {
		if prefix.Bits() < 96 {
			return netip.Prefix{}, false
		}
		prefix = netip.PrefixFrom(ip.Unmap(), prefix.Bits()-96)
	}
	return prefix.Masked(), true
}
