package upstream

import (
	"net"

	"github.com/pires/go-proxyproto"
)

// appendProxy appends a PROXY header (the PROXY protocol, versions 1 and 2, of
// haproxy's doc/proxy-protocol.txt) that tells who the client is and which of our
// addresses it chose. Without a pair of one kind that can be written the header
// is UNKNOWN, in version 2 LOCAL: the server then takes us for the client.
func appendProxy(b []byte, version int, client, local net.Addr) []byte {
	header, err := proxyproto.HeaderProxyFromAddrs(byte(version), client, local).Format()
	if err != nil {
		header, _ = proxyproto.HeaderProxyFromAddrs(byte(version), nil, nil).Format() // holds nothing that could be wrong
	}
	return append(b, header...)
}
