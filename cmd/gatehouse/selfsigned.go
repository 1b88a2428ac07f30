package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

const selfSignedLife = 10 * 365 * 24 * time.Hour

// selfSigned returns the certificate that gatehouse signs itself for a host
// (gatehouse_self_signed). It is made once and kept in the data directory, so
// that a client that was told to trust it need not be told again.
func selfSigned(dataDir, host string) (tls.Certificate, error) {
	path := selfSignedPath(dataDir, host)
	dir := filepath.Dir(path)
	cert, err := tls.LoadX509KeyPair(path, path)
	switch {
	case err == nil && time.Now().Before(cert.Leaf.NotAfter):
		return cert, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return tls.Certificate{}, fmt.Errorf("self-signed certificate of %s: %w; move the file away to have a new one made", host, err)
	}
	both, err := makeSelfSigned(asciiName(host))
	if err != nil {
		return tls.Certificate{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return tls.Certificate{}, err
	}
	// Whole or not at all: a crash must not leave half a key.
	tmp, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return tls.Certificate{}, err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(both)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return tls.Certificate{}, err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return tls.Certificate{}, err
	}
	return tls.LoadX509KeyPair(path, path)
}

func selfSignedPath(dataDir, host string) string {
	return filepath.Join(dataDir, "self-signed", asciiName(host)+".pem")
}

// makeSelfSigned returns a certificate and its key in PEM.
func makeSelfSigned(name string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		DNSNames:              []string{name},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(selfSignedLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...), nil
}

// fingerprint is the SHA-256 of a certificate, as clients show it.
func fingerprint(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return hex.EncodeToString(sum[:])
}
