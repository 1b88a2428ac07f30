package config

import (
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// services are the kinds of client ports, as mod_c2s registers them with Prosody's portmanager.
var services = []struct {
	name        string
	defaultPort []int
	directTLS   bool
}{
	{"c2s", []int{5222}, false},
	{"c2s_direct_tls", nil, true},
	{"legacy_ssl", nil, true},
}

// listeners reads the ports and interfaces.
func (l *loader) listeners(s section) []Listener {
	var all []Listener
	taken := make(map[string]Listener)
	for _, service := range services {
		option := service.name + "_ports"
		ports := service.defaultPort
		if s.has(option) {
			ports = s.ports(option)
		}
		if len(ports) == 0 {
			continue
		}
		for _, at := range s.interfaces(service.name) {
			for _, port := range ports {
				addr := net.JoinHostPort(at.host, strconv.Itoa(port))
				key := at.network + " " + addr
				// c2s_direct_tls_ports and its old name often say the same.
				if other, ok := taken[key]; ok && port != 0 {
					if other.DirectTLS != service.directTLS {
						s.problem(option, "%s is used by %s already", addr, other.Option)
					}
					continue
				}
				listener := Listener{Addr: addr, Network: at.network, DirectTLS: service.directTLS,
					Optional: at.optional, Option: option, Pos: s.pos(option)}
				taken[key] = listener
				all = append(all, listener)
			}
		}
	}
	if len(all) == 0 && len(l.problems) == 0 {
		s.problem("c2s_ports", "there is no port to listen on; c2s_ports = { 5222 } is the default")
	}
	return all
}

func (s section) ports(option string) []int {
	values, _ := s.list(option)
	var ports []int
	for _, v := range values {
		n, ok := asNumber(v)
		if !ok || n != math.Trunc(n) || n < 0 || n > 65535 {
			s.problem(option, "want port numbers from 0 to 65535, got %s", describe(option, v))
			continue
		}
		ports = append(ports, int(n))
	}
	return ports
}

type listenAddr struct {
	host, network string
	optional      bool
}

// interfaces returns the addresses of a service. The first option that is set counts, as in Prosody's portmanager.
func (s section) interfaces(service string) []listenAddr {
	for _, option := range []string{service + "_interfaces", service + "_interface", "interfaces", "interface"} {
		names, ok := s.strings(option)
		if !ok {
			continue
		}
		var list []listenAddr
		for _, name := range names {
			at, ok := parseInterface(name)
			if !ok {
				s.problem(option, `want IP addresses, "*" or "::", got %q`, clip(name))
				continue
			}
			list = append(list, at)
		}
		return list
	}
	var list []listenAddr
	if s.bool("use_ipv4", true) {
		list = append(list, listenAddr{"", "tcp4", false})
	}
	if s.bool("use_ipv6", true) {
		list = append(list, listenAddr{"", "tcp6", true})
	}
	return list
}

func parseInterface(name string) (listenAddr, bool) {
	switch name {
	case "*", "0.0.0.0":
		return listenAddr{"", "tcp4", false}, true
	case "::":
		return listenAddr{"", "tcp6", false}, true
	case "localhost":
		return listenAddr{"127.0.0.1", "tcp4", false}, true
	}
	ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
	switch {
	case err != nil:
		return listenAddr{}, false
	case ip.Is4():
		return listenAddr{ip.String(), "tcp4", false}, true
	}
	return listenAddr{ip.String(), "tcp6", false}, true
}

// periods are the units of get_option_period in Prosody 13.0 (util.human.io).
var periods = map[string]time.Duration{
	"s": time.Second, "second": time.Second, "sec": time.Second,
	"min": time.Minute, "minute": time.Minute, "mins": time.Minute,
	"h": time.Hour, "hour": time.Hour, "hr": time.Hour,
}

// period is a number of seconds, or a string such as "2 minutes".
func (s section) period(name string, otherwise time.Duration) time.Duration {
	v, ok := s.scalar(name, "a number of seconds")
	if !ok {
		return otherwise
	}
	if v.Kind == luaconf.String {
		text := strings.ToLower(strings.TrimSpace(v.Str))
		digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz ")
		unit := strings.TrimSpace(text[len(digits):])
		length, known := periods[unit]
		if !known {
			length, known = periods[strings.TrimSuffix(unit, "s")]
		}
		if n, err := strconv.ParseFloat(digits, 64); err == nil && known && n > 0 && n*length.Seconds() <= maxSeconds {
			return time.Duration(n * float64(length))
		}
	}
	return s.seconds(name, otherwise)
}
