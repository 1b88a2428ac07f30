package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// errFingerprint says that the certificate is not the one that was named.
var errFingerprint = errors.New("it has another fingerprint")

// errNoCertificate cannot happen in TLS 1.2 and 1.3 with the suites that Go has.
var errNoCertificate = errors.New("the server has shown no certificate")

// handshake makes the connection a TLS one. The certificate is judged while the
// handshake is under way, and nothing of ours is sent when it fails.
func (l *login) handshake(ctx context.Context, direct bool) error {
	started := time.Now()
	config := &tls.Config{
		ServerName: asciiHost(l.Host),
		MinVersion: tls.VersionTLS12,
		// Not that it doesn't matter: verify below does it, since here a
		// certificate that fails could not be shown.
		InsecureSkipVerify: true, // #nosec G402 -- VerifyConnection verifies
		VerifyConnection: func(cs tls.ConnectionState) error {
			report, err := l.verify(cs)
			report.Took = time.Since(started)
			l.trace(report)
			return err
		},
	}
	if direct {
		config.NextProtos = []string{"xmpp-client"} // XEP-0368 §4
	}
	conn := tls.Client(l.conn, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		// Nobody can say goodbye on a connection in this state.
		_ = l.conn.Close()
		l.conn = nil
		return err
	}
	l.conn, l.tls = conn, conn
	l.reader.Reset(conn)
	return nil
}

// verify judges the certificate as the options say. The error is nil if the
// login may go on; the report says what is wrong with it even then.
func (l *login) verify(cs tls.ConnectionState) (Encrypted, error) {
	report := Encrypted{
		Version: tls.VersionName(cs.Version),
		Cipher:  tls.CipherSuiteName(cs.CipherSuite),
		ALPN:    printable(cs.NegotiatedProtocol),
	}
	if cs.CurveID != 0 { // not known with every cipher of TLS 1.2
		report.Exchange = cs.CurveID.String()
	}
	if len(cs.PeerCertificates) == 0 {
		return report, errNoCertificate
	}
	leaf := cs.PeerCertificates[0]
	sum := sha256.Sum256(leaf.Raw)
	report.Names = certificateNames(leaf)
	report.Issuer = printable(leaf.Issuer.String())
	report.SelfSigned = bytes.Equal(leaf.RawIssuer, leaf.RawSubject)
	report.Expires = leaf.NotAfter
	report.Fingerprint = hex.EncodeToString(sum[:])
	report.Key = keyName(leaf)

	if l.Fingerprint != "" {
		want, err := parseFingerprint(l.Fingerprint)
		if err != nil {
			return report, err
		}
		report.By = TrustFingerprint
		if !bytes.Equal(want, sum[:]) {
			report.By, report.Err = "", errFingerprint
		}
	} else if err := l.verifyChain(cs.PeerCertificates); err != nil {
		report.Err = safe(err)
	} else {
		report.By = TrustRoots
	}
	if report.Err != nil && !l.Insecure {
		return report, &certificateError{report.Err}
	}
	report.Accepted = true
	return report, nil
}

func (l *login) verifyChain(certs []*x509.Certificate) error {
	between := x509.NewCertPool()
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	_, err := certs[0].Verify(x509.VerifyOptions{
		Roots:         l.Roots,
		Intermediates: between,
		DNSName:       asciiHost(l.Host),
	})
	return err
}

// certificateError says that we do not trust the server.
type certificateError struct{ err error }

func (e *certificateError) Error() string { return "the certificate is not trusted: " + plain(e.err) }
func (e *certificateError) Unwrap() error { return e.err }

func keyName(c *x509.Certificate) string {
	switch key := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return c.PublicKeyAlgorithm.String()
}
