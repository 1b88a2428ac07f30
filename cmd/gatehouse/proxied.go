package main

import (
	"net"
	"net/netip"
	"slices"

	"github.com/pires/go-proxyproto"
)

// Accept takes a connection from a load balancer (gatehouse_proxy_protocol_from)
// for that of the client whom its PROXY header tells of. Without a header it is
// the load balancer's own, which asks how we are. From all others a header is no
// XMPP, and ends the connection.
func (p *port) Accept() (net.Conn, error) {
	nc, err := p.Listener.Accept()
	if err != nil || !p.ports.believes(nc.RemoteAddr()) {
		return nc, err
	}
	return proxied{proxyproto.NewConn(nc, proxyproto.WithPolicy(proxyproto.USE))}, nil
}

// believes says whether an address may tell us that it speaks for others.
func (p *ports) believes(remote net.Addr) bool {
	from := p.proxies.Load()
	tcp, ok := remote.(*net.TCPAddr)
	if !ok || from == nil || len(*from) == 0 {
		return false
	}
	ip := tcp.AddrPort().Addr().Unmap()
	return slices.ContainsFunc(*from, func(prefix netip.Prefix) bool { return prefix.Contains(ip) })
}

// proxied is a connection that began with a PROXY header. The header is read with
// the first read, or when somebody asks for the address, within its deadlines.
type proxied struct{ *proxyproto.Conn }

// AddrLater implements admission.Later.
func (p proxied) AddrLater() {}

// CloseWrite ends our half of the connection.
func (p proxied) CloseWrite() error {
	if tcp, ok := p.TCPConn(); ok {
		return tcp.CloseWrite()
	}
	return nil
}

// SetKeepAliveConfig is that of the TCP connection.
func (p proxied) SetKeepAliveConfig(c net.KeepAliveConfig) error {
	if tcp, ok := p.TCPConn(); ok {
		return tcp.SetKeepAliveConfig(c)
	}
	return nil
}
