package main

import (
	"bytes"
	"crypto/tls"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"gatehouse.im/gatehouse/config"
)

// cipherSuites are those of TLS 1.2 in Mozilla's intermediate profile that Go
// has; TLS 1.3 has no others.
var cipherSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// curves are those of the same profile. Go would take P-521 too, with which a
// stranger makes a handshake cost many times as much.
var curves = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}

// hostTLS is the TLS of one host: crypto/tls takes the first certificate that
// the client can use, so ECDSA comes before RSA, whose signatures cost more. It
// is old, which may be nil, if that says the same: clients can then go on with
// the sessions that they have.
func hostTLS(certs []tls.Certificate, minVersion uint16, old *tls.Config) *tls.Config {
	if old != nil && old.MinVersion == minVersion && sameCertificates(old.Certificates, certs) {
		return old
	}
	c := &tls.Config{ // #nosec G402 -- minVersion is 1.2 or 1.3
		Certificates:     certs,
		MinVersion:       minVersion,
		CipherSuites:     cipherSuites,
		CurvePreferences: curves,
	}
	// Where SNI picks the host, crypto/tls would lock the tickets of all hosts with
	// one key, for as long as the port is open: a session could be resumed at
	// another host (RFC 6066 §3 forbids it), or after the certificate was replaced.
	c.WrapSession, c.UnwrapSession = c.EncryptTicket, c.DecryptTicket
	return c
}

// sameCertificates says whether two lists hold the same chains in the same order.
func sameCertificates(a, b []tls.Certificate) bool {
	return slices.EqualFunc(a, b, func(a, b tls.Certificate) bool {
		return slices.EqualFunc(a.Certificate, b.Certificate, bytes.Equal)
	})
}

// The protocols that ALPN tells apart.
const (
	alpnXMPP = "xmpp-client" // XEP-0368
	alpnHTTP = "http/1.1"    // WebSocket's
)

// directTLS picks the host by SNI, or else fallback, and speaks one protocol.
func directTLS(hosts map[string]*tls.Config, fallback *tls.Config, alpn string) *tls.Config {
	withALPN := func(c *tls.Config) *tls.Config {
		c = c.Clone()
		c.NextProtos = []string{alpn}
		return c
	}
	byName := make(map[string]*tls.Config, len(hosts))
	for name, c := range hosts {
		byName[asciiName(name)] = withALPN(c)
	}
	direct := withALPN(fallback)
	front := direct.Clone()
	front.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if c, ok := byName[strings.ToLower(hello.ServerName)]; ok {
			return c, nil
		}
		return direct, nil
	}
	return front
}

// asciiName is a host's name as SNI and certificates have it (RFC 5890).
func asciiName(host string) string {
	if a, err := idna.Lookup.ToASCII(host); err == nil {
		return a
	}
	return host
}

// certificates returns what a host's config says, ready for crypto/tls.
func certificates(list []config.Certificate) []tls.Certificate {
	var certs []tls.Certificate
	for _, c := range list {
		certs = append(certs, c.TLS)
	}
	return certs
}
