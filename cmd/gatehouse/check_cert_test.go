package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// testCertificate says what a certificate is like. The zero value is a
// self-signed one with an ECDSA key that expires now.
type testCertificate struct {
	left    time.Duration
	rsaBits int
	issuer  string // who signs; itself if empty
	chain   bool   // the issuer's certificate is in the file
	keyMode os.FileMode
}

// writeCertificate puts DIR/certs/NAME.crt and NAME.key there.
func writeCertificate(t *testing.T, dir, name string, c testCertificate) {
	t.Helper()
	newKey := func(bits int) crypto.Signer {
		var key crypto.Signer
		var err error
		if bits > 0 {
			key, err = rsa.GenerateKey(rand.Reader, bits)
		} else {
			key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		}
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-22 * day), NotAfter: time.Now().Add(c.left)}
	key := newKey(c.rsaBits)
	parent, signer := template, key
	if c.issuer != "" {
		parent = &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: c.issuer, Organization: []string{"Testers"}},
			NotBefore: template.NotBefore, NotAfter: template.NotAfter, IsCA: true, BasicConstraintsValid: true}
		signer = newKey(0)
	}
	create := func(of *x509.Certificate, public crypto.PublicKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, of, parent, public, signer)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	text := create(template, key.Public())
	if c.chain {
		text = append(text, create(parent, signer.Public())...)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certs := filepath.Join(dir, "certs")
	if err := os.MkdirAll(certs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(certs, name+".crt"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(certs, name+".key")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600); err != nil {
		t.Fatal(err)
	}
	if c.keyMode != 0 {
		if err := os.Chmod(path, c.keyMode); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCheckCmd_certificates(t *testing.T) {
	t.Setenv("GODEBUG", os.Getenv("GODEBUG")+",rsa1024min=0") // to make a key that is too short
	for _, c := range []struct {
		name        string
		certificate testCertificate
		want, not   []string
	}{
		{"good", testCertificate{left: 68*day + time.Hour, issuer: "Test CA", chain: true},
			[]string{`certificate  for a\.example\n +ECDSA P-256, issued by Test CA \(Testers\)\n +from \S+ until \S+, 68 days left\n +certs/a\.example\.crt\n +key certs/a\.example\.key, rw------- ME:ME\n`,
				"This file is good"},
			[]string{"What to look at"}},
		{"self-signed", testCertificate{left: 68 * day}, []string{`ECDSA P-256, self-signed: clients must be told`}, []string{"intermediate"}},
		{"without its chain", testCertificate{left: 68 * day, issuer: "Test CA"}, []string{`warning .*a\.example\.crt: the file has no intermediate certificate`}, nil},
		{"renewal has failed", testCertificate{left: 20 * day}, []string{`warning .*19 days left; has its renewal failed\?`}, nil},
		{"last day", testCertificate{left: time.Hour}, []string{`warning .*less than a day left; has its renewal failed`}, nil},
		{"expired", testCertificate{left: -36 * time.Hour}, []string{`EXPIRED 1 day ago`, `warning .*expired on`}, []string{"renewal", "intermediate"}},
		{"RSA", testCertificate{left: 68 * day, rsaBits: 2048}, []string{`RSA 2048, self-signed`}, []string{"DANGER"}},
		{"RSA that can be broken", testCertificate{left: 68 * day, rsaBits: 1024}, []string{`DANGER .*an RSA key of 1024 bits can be broken`}, nil},
		{"a key for everybody", testCertificate{left: 68 * day, keyMode: 0o644},
			[]string{`DANGER .*everybody on this machine may read its key DIR/certs/a\.example\.key \(rw-r--r-- ME:ME\); chmod 640`}, nil},
		{"a key for the group", testCertificate{left: 68 * day, keyMode: 0o640}, []string{"This file is good"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := checkDir(t, map[string]string{"auth.sh": yesScript,
				"prosody.cfg.lua": "VirtualHost 'a.example' authentication = 'external' external_auth_command = './auth.sh'\n"})
			writeCertificate(t, dir, "a.example", c.certificate)
			code, stdout, stderr := checked(t, dir)
			if code != 0 {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			for _, want := range c.want {
				if !regexp.MustCompile(want).MatchString(stdout) {
					t.Errorf("%q is missing", want)
				}
			}
			for _, not := range c.not {
				if regexp.MustCompile(not).MatchString(stdout) {
					t.Errorf("%q is there", not)
				}
			}
			if t.Failed() {
				t.Log(stdout)
			}
		})
	}
}
