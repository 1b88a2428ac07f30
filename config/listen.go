package config

import (
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A service is a kind of client ports, as Prosody's modules register them with its portmanager.
type service struct {
	name        string
	defaultPort []int
	directTLS   bool
	webSocket   bool
	// private says that the default is to listen on loopback.
	private bool
}

var services = []service{
	{name: "c2s", defaultPort: []int{5222}},
	{name: "c2s_direct_tls", directTLS: true},
	{name: "legacy_ssl", directTLS: true},
	{name: "gatehouse_websocket", directTLS: true, webSocket: true},
}

// httpServices are Prosody's for all of HTTP. Those of its ports that the file names are ours if mod_websocket is on them.
var httpServices = []service{
	{name: "http", webSocket: true, private: true},
	{name: "https", webSocket: true, directTLS: true},
}

// listen reads the ports and interfaces. The hosts have been read: WebSocket may be enabled for some only.
func (l *loader) listen(c *Config) {
	s := section{l, "*"}
	failed := len(l.problems)
	for _, service := range slices.Concat(services, l.prosodysWebSocket(c)) {
		l.listenFor(c, service)
	}
	if len(c.Listeners) == 0 && len(l.problems) == failed {
		s.problem("c2s_ports", "there is no port to listen on; c2s_ports = { 5222 } is the default")
	}
}

// listenFor adds the listeners of one service.
func (l *loader) listenFor(c *Config, service service) {
	s := section{l, "*"}
	option := service.name + "_ports"
	ports := service.defaultPort
	if s.has(option) {
		ports = s.ports(option)
	}
	if len(ports) == 0 {
		return
	}
	for _, at := range s.interfaces(service) {
		for _, port := range ports {
			listener := Listener{Addr: net.JoinHostPort(at.host, strconv.Itoa(port)), Network: at.network,
				DirectTLS: service.directTLS, WebSocket: service.webSocket,
				Optional: at.optional, Option: option, Pos: s.pos(option)}
			if port == 0 || s.free(c, listener) {
				c.Listeners = append(c.Listeners, listener)
			}
		}
	}
}

// free says whether nobody else listens where a listener wants to. c2s_direct_tls_ports and its old name often say the same,
// which is no problem.
func (s section) free(c *Config, l Listener) bool {
	hint := ""
	if slices.ContainsFunc(httpServices, func(h service) bool { return l.Option == h.name+"_ports" }) {
		hint = `; gatehouse takes the port because modules_enabled has "websocket", and does not where gatehouse_websocket_ports is set`
	}
	for _, other := range c.Listeners {
		same := other.Addr == l.Addr && other.Network == l.Network
		if other.DirectTLS == l.DirectTLS && other.WebSocket == l.WebSocket {
			if same {
				return false
			}
			continue
		}
		if same || other.covers(l) || l.covers(other) {
			s.problem(l.Option, "%s is used by %s already%s", l.Addr, other.Option, hint)
			return false
		}
	}
	for _, a := range c.Admin {
		at, err := netip.ParseAddrPort(a.Addr)
		if a.Network != "tcp" || err != nil || at.Port() == 0 {
			continue
		}
		admin := Listener{Addr: a.Addr, Network: map[bool]string{true: "tcp4", false: "tcp6"}[at.Addr().Is4()]}
		if admin.Addr == l.Addr || l.covers(admin) {
			s.problem(l.Option, "%s is used by gatehouse_admin already%s", a.Addr, hint)
			return false
		}
	}
	return true
}

// covers says whether a listener is on all addresses, and so on that of the other one too.
func (l Listener) covers(other Listener) bool {
	_, port, _ := net.SplitHostPort(other.Addr)
	return l.Addr == ":"+port && l.Network == other.Network
}

// loopback says that nobody on another machine comes here.
func (l Listener) loopback() bool {
	at, err := netip.ParseAddrPort(l.Addr)
	return err == nil && at.Addr().IsLoopback()
}

// prosodysWebSocket returns those of httpServices whose ports are ours: all if mod_websocket is enabled, none if
// gatehouse_websocket_ports says where to listen instead. Only the ports that the file names count.
func (l *loader) prosodysWebSocket(c *Config) (ours []service) {
	global := section{l, "*"}
	if global.has("gatehouse_websocket_ports") {
		return nil
	}
	sections := []section{global}
	if len(c.Hosts) > 0 {
		sections = nil
		for _, h := range c.Hosts {
			sections = append(sections, section{l, h.Name})
		}
	}
	i := slices.IndexFunc(sections, func(s section) bool { return s.enables("websocket") })
	if i < 0 {
		return nil
	}
	for _, service := range httpServices {
		if global.has(service.name + "_ports") {
			ours = append(ours, service)
		}
	}
	if len(ours) == 0 && len(c.Hosts) > 0 {
		s := sections[i]
		if slices.Contains(global.words("modules_enabled"), "websocket") {
			s = global
		}
		s.warn("modules_enabled", `has "websocket", but no port is named, and gatehouse takes none unasked (Prosody would listen on 5280 and 5281); `+
			"set gatehouse_websocket_ports = { 5281 }, or {} to leave WebSocket to Prosody")
	}
	return ours
}

// enables says whether Prosody would load a module for a host: its own list adds to the global one.
func (s section) enables(module string) bool {
	enabled := slices.Concat(section{s.loader, "*"}.words("modules_enabled"), s.words("modules_enabled"))
	return slices.Contains(enabled, module) && !slices.Contains(s.words("modules_disabled"), module)
}

// words returns the strings of an option that is Prosody's: what else is in it is not our problem.
func (s section) words(name string) []string {
	o, _ := s.lookup(name)
	words := []string{o.Value.Str}
	for _, v := range o.Value.List {
		words = append(words, v.Str)
	}
	return words
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
func (s section) interfaces(service service) []listenAddr {
	general, loopback4, loopback6 := []string{"interfaces", "interface"}, "", ""
	if service.private {
		general, loopback4, loopback6 = []string{"local_interfaces"}, "127.0.0.1", "::1"
	}
	for _, option := range append([]string{service.name + "_interfaces", service.name + "_interface"}, general...) {
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
		list = append(list, listenAddr{loopback4, "tcp4", false})
	}
	if s.bool("use_ipv6", true) {
		list = append(list, listenAddr{loopback6, "tcp6", true})
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
	if d, ok := parsePeriod(v.Str); ok {
		return d
	}
	return s.seconds(name, otherwise)
}

// parsePeriod reads a number with a unit.
func parsePeriod(text string) (time.Duration, bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz ")
	unit := strings.TrimSpace(text[len(digits):])
	length, known := periods[unit]
	if !known {
		length, known = periods[strings.TrimSuffix(unit, "s")]
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !known || !(n > 0) || n*length.Seconds() > maxSeconds {
		return 0, false
	}
	return time.Duration(n * float64(length)), true
}
