package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"gatehouse.im/gatehouse/config"
)

// checkHidden finds ports where a proxy hides who the clients are: only programs on
// this machine reach them, and nobody is believed who might say whose connection
// it is. The guard and the limit for each address then take everybody for one.
func (r *report) checkHidden(cfg *config.Config) {
	hidden, all := hiddenPorts(cfg)
	if len(hidden) == 0 || !slices.ContainsFunc(cfg.Hosts, isPublic) {
		return
	}
	var harm, remedy []string
	if slices.ContainsFunc(cfg.Hosts, func(h *config.Host) bool { return h.Guard }) {
		allowed := contains(cfg.Guard.Allow, hidden[0])
		if allowed {
			harm = append(harm, "the guard counts no wrong passwords")
			remedy = append(remedy, "gatehouse_guard_allow = {}")
		}
		if cfg.Guard.AddressAttempts > 0 {
			if !allowed {
				harm = append(harm, fmt.Sprintf("%d wrong passwords of one turn others away", cfg.Guard.AddressAttempts))
			}
			remedy = append(remedy, "gatehouse_guard_address_attempts = 0")
		}
	}
	if cfg.Limits.PerAddress > 0 {
		harm = append(harm, fmt.Sprintf("no more than %d clients can be at their login", cfg.Limits.PerAddress))
		remedy = append(remedy, "gatehouse_unauthed_connections_per_address = 0")
	}
	if len(harm) == 0 {
		return
	}
	var names []string
	for _, l := range hidden {
		names = append(names, l.Addr)
	}
	msg := fmt.Sprintf("%s: only a proxy on this machine comes there, and does not say whose connection it is, so that %s; ",
		strings.Join(names, ", "), strings.Join(harm, ", and "))
	if hidden[0].WebSocket {
		msg += fmt.Sprintf("set trusted_proxies = { %q }", peer(hidden[0]))
	} else {
		msg += fmt.Sprintf("have it send the PROXY protocol and set gatehouse_proxy_protocol_from = { %q }", peer(hidden[0]))
	}
	if all { // what would be wrong for the clients of other ports
		msg += ", or " + strings.Join(remedy, ", ")
	}
	option := interfacesOption(cfg, hidden[0])
	p := config.Problem{Pos: cfg.Pos("*", option), Option: option, Msg: msg}
	if p.Pos.IsZero() {
		p.Pos.File = cfg.Path // http_ports are on loopback unasked
	}
	r.add(warning, p)
}

// interfacesOption is the one that put a listener where it is.
func interfacesOption(cfg *config.Config, l config.Listener) string {
	service := strings.TrimSuffix(l.Option, "_ports")
	for _, option := range []string{service + "_interfaces", service + "_interface", "interfaces", "interface", "local_interfaces"} {
		if !cfg.Pos("*", option).IsZero() {
			return option
		}
	}
	return l.Option
}

// hiddenPorts returns the listeners at whose port nobody but a proxy on this machine
// can come, and nobody is believed; all says that there are no others.
func hiddenPorts(cfg *config.Config) (hidden []config.Listener, all bool) {
	open := make(map[string]bool) // by port
	for _, l := range cfg.Listeners {
		at, err := netip.ParseAddr(listenerHost(l))
		believed := contains(cfg.ProxyProtocolFrom, l) || l.WebSocket && contains(cfg.WebSocket.TrustedProxies, l)
		if err != nil || !at.IsLoopback() || believed {
			open[listenerPort(l)] = true
		}
	}
	for _, l := range cfg.Listeners {
		if !open[listenerPort(l)] {
			hidden = append(hidden, l)
		}
	}
	return hidden, len(open) == 0
}

// contains says whether who connects to a listener on loopback comes from one of
// the networks.
func contains(networks []netip.Prefix, l config.Listener) bool {
	from := peer(l)
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(from) })
}

// peer is where those come from who connect to a listener on loopback: all of
// 127.0.0.0/8 is reached from 127.0.0.1.
func peer(l config.Listener) netip.Addr {
	if l.Network == "tcp6" {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

func listenerHost(l config.Listener) string {
	host, _, _ := net.SplitHostPort(l.Addr)
	return host
}

func listenerPort(l config.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr)
	return port
}

// isPublic is false for the names of a trial on one machine (RFC 6761 section 6.3).
func isPublic(h *config.Host) bool {
	return h.Name != "localhost" && !strings.HasSuffix(h.Name, ".localhost")
}
