package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// cmdGenCert writes ecdsa.crt/.key and rsa.crt/.key, plus .pem files with both.
func cmdGenCert(args []string) error {
	fs := flag.NewFlagSet("gencert", flag.ExitOnError)
	dir := fs.String("dir", ".", "where to write")
	domain := fs.String("domain", "bench.test", "name in the certificate")
	fs.Parse(args)
	for _, k := range []string{"ecdsa", "rsa"} {
		var pub, priv any
		if k == "ecdsa" {
			p, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				return err
			}
			pub, priv = &p.PublicKey, p
		} else {
			p, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				return err
			}
			pub, priv = &p.PublicKey, p
		}
		tmpl := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: *domain},
			DNSNames: []string{*domain}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(5, 0, 0),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			BasicConstraintsValid: true, IsCA: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, pub, priv)
		if err != nil {
			return err
		}
		kd, err := x509.MarshalPKCS8PrivateKey(priv)
		if err != nil {
			return err
		}
		crt := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kd})
		for ext, b := range map[string][]byte{".crt": crt, ".key": key, ".pem": append(append([]byte(nil), crt...), key...)} {
			if err := os.WriteFile(filepath.Join(*dir, k+ext), b, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
