package webserver

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A client is what is known of who asks.
type client struct {
	addr   netip.AddrPort // not valid if the connection below has none; port 0 if a proxy did not tell it
	proxy  bool           // addr is from a header
	secure bool           // encrypted on its way here, as far as anybody trustworthy says
}

// clientOf finds the client behind trusted proxies, as Prosody's mod_http does: from the right, up to the first address that
// is no trusted proxy. Two things differ. What is no address ends the search and is not passed over, since to the left of it
// stands what the client may have written; and if all addresses are trusted, it is the leftmost and not the nearest.
//
// The error is of a Forwarded header that cannot be read. It must end the request: the client can write the part that makes
// it so, and would else pass for the proxy.
func (s *settings) clientOf(r *http.Request) (client, error) {
	c := client{secure: r.TLS != nil || s.AlwaysSecure}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return c, nil
	}
	c.addr = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	if !s.trusts(c.addr.Addr()) {
		return c, nil
	}
	if s.Forwarded {
		hops, err := parseForwarded(strings.Join(r.Header.Values("Forwarded"), ","))
		if err != nil {
			return client{}, err
		}
		encrypted := len(hops) > 0
		for _, hop := range slices.Backward(hops) {
			encrypted = encrypted && isEncrypted(hop.proto)
			if !c.behind(hop.node) || !s.trusts(c.addr.Addr()) {
				break
			}
		}
		c.secure = c.secure || encrypted
		return c, nil
	}
	if proto := r.Header.Values("X-Forwarded-Proto"); len(proto) == 1 && isEncrypted(proto[0]) {
		c.secure = true
	}
	rest, node, more := strings.Join(r.Header.Values("X-Forwarded-For"), ","), "", true
	for more && s.trusts(c.addr.Addr()) {
		rest, node, more = cutLast(rest)
		if node = strings.TrimSpace(node); node != "" && !c.behind(node) {
			break
		}
	}
	return c, nil
}

// isEncrypted knows how proxies name the scheme of a WebSocket's handshake: most do so by that of HTTP, Traefik by its own.
func isEncrypted(proto string) bool {
	return strings.EqualFold(proto, "https") || strings.EqualFold(proto, "wss")
}

// behind makes node the client's address, if it is one.
func (c *client) behind(node string) bool {
	addr, ok := parseNode(node)
	if ok {
		c.addr, c.proxy = addr, true
	}
	return ok
}

func (s *settings) trusts(addr netip.Addr) bool {
	for _, p := range s.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// cutLast takes the last element off a list with commas.
func cutLast(list string) (rest, last string, more bool) {
	if i := strings.LastIndexByte(list, ','); i >= 0 {
		return list[:i], list[i+1:], true
	}
	return "", list, false
}

// parseNode reads an address as proxies write it: RFC 7239 §6 without the quotes, and an IPv6 address without brackets too.
// What is hidden ("unknown", "_name") is no address, and neither is one with a zone, which means something on the proxy only.
func parseNode(node string) (netip.AddrPort, bool) {
	host, port := node, ""
	if inner, ok := strings.CutPrefix(node, "["); ok {
		host, port, ok = strings.Cut(inner, "]")
		if !ok || !strings.Contains(host, ":") {
			return netip.AddrPort{}, false
		}
		if port != "" {
			if port, ok = strings.CutPrefix(port, ":"); !ok || port == "" {
				return netip.AddrPort{}, false
			}
		}
	} else if strings.Count(node, ":") == 1 {
		host, port, _ = strings.Cut(node, ":")
		if port == "" {
			return netip.AddrPort{}, false
		}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" {
		return netip.AddrPort{}, false
	}
	var number uint64
	if port != "" && !strings.HasPrefix(port, "_") {
		if number, err = strconv.ParseUint(port, 10, 16); err != nil {
			return netip.AddrPort{}, false
		}
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), true // #nosec G115 -- parsed as 16 bits
}
