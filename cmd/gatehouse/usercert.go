package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"time"
)

// userCertLife is how long a certificate made for one login is good: both clocks
// may differ by as much.
const userCertLife = time.Minute

// Of RFC 6120 §13.7.1.4: the name of a user in a certificate.
var (
	oidXMPPAddr       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
)

// userCertificate makes the client certificate of one login, signed by ca: the
// bare JID stands in it as an xmppAddr, where Prosody's mod_auth_ccert and
// ejabberd look for it (XEP-0178).
func userCertificate(ca *tls.Certificate, bareJID string, now time.Time) (*tls.Certificate, error) {
	san, err := xmppAddr(bareJID)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "gatehouse user"},
		NotBefore:    now.Add(-userCertLife),
		NotAfter:     now.Add(userCertLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		// COMPAT: Prosody's LuaSec wants a client's certificate to be fit for a
		// server as well. There is no name of a server in it.
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		ExtraExtensions: []pkix.Extension{{Id: oidSubjectAltName, Value: san}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Leaf, &key.PublicKey, ca.PrivateKey)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: append([][]byte{der}, ca.Certificate...), PrivateKey: key}, nil
}

// xmppAddr is the SubjectAltName of a JID (RFC 5280 §4.2.1.6, otherName).
func xmppAddr(jid string) ([]byte, error) {
	value, err := asn1.MarshalWithParams(jid, "utf8,explicit,tag:0")
	if err != nil {
		return nil, err
	}
	id, err := asn1.Marshal(oidXMPPAddr)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal([]asn1.RawValue{{
		Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: append(id, value...),
	}})
}
