package integration

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
)

// Alerts of RFC 8446 §6.
const (
	alertHandshakeFailure     = 40
	alertIllegalParameter     = 47
	alertProtocolVersion      = 70
	alertUnsupportedExtension = 110
)

// A hello is a ClientHello that crypto/tls would not send. Empty fields are as an ordinary client of TLS 1.2 has them.
type hello struct {
	legacy      uint16 // legacy_version
	versions    []uint16
	suites      []uint16
	compression []byte
	groups      []tls.CurveID
	earlyData   bool
}

// A serverHello is what came back: an alert, or what was chosen.
type serverHello struct {
	alert       byte
	suite       uint16
	compression byte
}

// vector is b behind its length, in so many bytes.
func vector(size int, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b)))[4-size:], b...)
}

func numbers[T ~uint16](list []T) []byte {
	var b []byte
	for _, n := range list {
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	return b
}

// record is the hello in one record of TLS (RFC 8446 §4.1.2 and §5.1).
func (h hello) record(host string) []byte {
	if h.legacy == 0 {
		h.legacy = tls.VersionTLS12
	}
	if h.compression == nil {
		h.compression = []byte{0}
	}
	if h.groups == nil {
		h.groups = []tls.CurveID{tls.CurveP256}
	}
	var extensions []byte
	add := func(kind uint16, content []byte) {
		extensions = append(binary.BigEndian.AppendUint16(extensions, kind), vector(2, content)...)
	}
	add(0, vector(2, append([]byte{0}, vector(2, []byte(host))...)))
	add(10, vector(2, numbers(h.groups)))
	add(11, vector(1, []byte{0})) // uncompressed points
	add(13, vector(2, numbers([]tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256})))
	if h.versions != nil {
		add(43, vector(1, numbers(h.versions)))
		add(51, vector(2, nil)) // key shares: none yet
	}
	if h.earlyData {
		add(42, nil)
	}
	body := binary.BigEndian.AppendUint16(nil, h.legacy)
	body = append(body, bytes.Repeat([]byte{7}, 32)...) // random
	body = append(body, vector(1, nil)...)
	body = append(body, vector(2, numbers(h.suites))...)
	body = append(body, vector(1, h.compression)...)
	body = append(body, vector(2, extensions)...)
	message := append([]byte{1}, vector(3, body)...)
	return append([]byte{22, 3, 1}, vector(2, message)...)
}

// readServerHello reads the first record of a server's answer.
func readServerHello(r io.Reader) (serverHello, error) {
	var header [5]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return serverHello{}, err
	}
	b := make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(r, b); err != nil {
		return serverHello{}, err
	}
	const random = 4 + 2 + 32 // behind the header and the version
	switch {
	case header[0] == 21 && len(b) == 2:
		return serverHello{alert: b[1]}, nil
	case header[0] == 22 && len(b) > random && b[0] == 2 && len(b) >= random+1+int(b[random])+3:
		b = b[random+1+int(b[random]):]
		return serverHello{suite: binary.BigEndian.Uint16(b), compression: b[2]}, nil
	}
	return serverHello{}, fmt.Errorf("no answer to a ClientHello: % x % x", header, b)
}
