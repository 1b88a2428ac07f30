package config

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// makeCert returns a self-signed certificate and its key as PEM. kind is "ec" or "rsa".
func makeCert(t *testing.T, kind string, valid time.Duration, names ...string) (cert, key string) {
	t.Helper()
	var signer crypto.Signer = rsaKey()
	if kind == "ec" {
		ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signer = ec
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: names[0]},
		DNSNames:     names,
		NotBefore:    time.Now().Add(-48 * time.Hour),
		NotAfter:     time.Now().Add(valid),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

func TestLoad_certificates(t *testing.T) {
	year := 365 * 24 * time.Hour
	ecCert, ecKey := makeCert(t, "ec", year, "a.example")
	rsaCert, rsaPEM := makeCert(t, "rsa", year, "a.example")
	wildCert, wildKey := makeCert(t, "ec", year, "*.example")
	otherCert, otherKey := makeCert(t, "ec", year, "other.example")
	parentCert, parentKey := makeCert(t, "ec", year, "example")
	oldCert, oldKey := makeCert(t, "ec", -time.Hour, "a.example")
	aceCert, aceKey := makeCert(t, "ec", year, "xn--bcher-kva.example")
	encrypted := "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n"

	tests := []struct {
		name, source string
		files        []string
		want         string // certificate files, or the problem
		warning      string
	}{
		{"none", external, nil, "", ""},
		{"by file name", external, []string{"certs/a.example.crt", ecCert, "certs/a.example.key", ecKey}, "certs/a.example.crt", ""},
		{"fullchain", external, []string{"certs/a.example/fullchain.pem", ecCert, "certs/a.example/privkey.pem", ecKey}, "certs/a.example/fullchain.pem", ""},
		{"one file", external, []string{"certs/a.example.pem", ecCert + ecKey}, "certs/a.example.pem", ""},
		{"by the name inside", external, []string{"certs/live/site-0001/fullchain3.pem", ecCert, "certs/live/site-0001/privkey3.pem", ecKey}, "certs/live/site-0001/fullchain3.pem", ""},
		{"too deep", external, []string{"certs/1/2/3/x.crt", ecCert, "certs/1/2/3/x.key", ecKey}, "", ""},
		{"hidden directory", external, []string{"certs/.x/x.crt", ecCert, "certs/.x/x.key", ecKey}, "", ""},
		{"without key", external, []string{"certs/x.crt", ecCert}, "", ""},
		{"wildcard", external, []string{"certs/wild.crt", wildCert, "certs/wild.key", wildKey}, "certs/wild.crt", ""},
		{"parent domain", external, []string{"certs/example.crt", parentCert, "certs/example.key", parentKey}, "certs/example.crt", "is not for this host, but for example"},
		{"two kinds", external, []string{"certs/a-rsa.crt", rsaCert, "certs/a-rsa.key", rsaPEM, "certs/a.example.crt", ecCert, "certs/a.example.key", ecKey}, "certs/a.example.crt certs/a-rsa.crt", ""},
		{"other directory", "certificates = 'tls'\n" + external, []string{"tls/a.example.crt", ecCert, "tls/a.example.key", ecKey, "certs/a.example.crt", rsaCert, "certs/a.example.key", rsaPEM}, "tls/a.example.crt", ""},
		{"certificate option", external + "certificate = 'x/y.crt'", []string{"x/y.crt", ecCert, "x/y.key", ecKey}, "x/y.crt", ""},
		{"certificate option, directory", external + "certificate = 'x'", []string{"x/a.example.crt", ecCert, "x/a.example.key", ecKey}, "x/a.example.crt", ""},
		{"certificate option, missing", external + "certificate = 'x/y.crt'", nil, "prosody.cfg.lua:2: host a.example: certificate: x/y.crt: no such file or directory", ""},
		{"ssl of the host", external + "ssl = { certificate = 'x.crt', key = 'k.pem' }", []string{"x.crt", ecCert, "k.pem", ecKey, "certs/a.example.crt", rsaCert, "certs/a.example.key", rsaPEM}, "x.crt", ""},
		{"ssl of all", "ssl = { certificate = 'x.crt', key = 'k.pem' }\n" + external, []string{"x.crt", ecCert, "k.pem", ecKey}, "x.crt", ""},
		{"ssl of all that no host uses", "ssl = { certificate = 'none', key = 'none' }\n" + external + "ssl = { certificate = 'x.crt', key = 'k.pem' }", []string{"x.crt", ecCert, "k.pem", ecKey}, "x.crt", "prosody.cfg.lua:1: ssl: certificate none: no such file or directory"},
		{"c2s_ssl first", external + "c2s_ssl = { certificate = 'x.crt', key = 'k.pem' } ssl = { certificate = 'none', key = 'none' }", []string{"x.crt", ecCert, "k.pem", ecKey}, "x.crt", ""},
		{"list of certificates", external + "ssl = { certificates = { { certificate = 'r.crt', key = 'r.key' }, { certificate = 'x.crt', key = 'k.pem' } } }",
			[]string{"x.crt", ecCert, "k.pem", ecKey, "r.crt", rsaCert, "r.key", rsaPEM}, "x.crt r.crt", ""},
		{"international name", "VirtualHost 'B\u00dcCHER.example' authentication = 'external' external_auth_command = './auth.sh'", []string{"certs/x.crt", aceCert, "certs/x.key", aceKey}, "certs/x.crt", ""},
		{"for another host", external + "ssl = { certificate = 'x.crt', key = 'k.pem' }", []string{"x.crt", otherCert, "k.pem", otherKey}, "x.crt", "certificate x.crt: is not for this host, but for other.example"},
		{"expired", external, []string{"certs/a.example.crt", oldCert, "certs/a.example.key", oldKey}, "certs/a.example.crt", "certificate certs/a.example.crt: expired on "},
		{"expired beside a good one", external, []string{"certs/0.crt", oldCert, "certs/0.key", oldKey, "certs/1.crt", ecCert, "certs/1.key", ecKey}, "certs/1.crt", ""},
		{"no match", external, []string{"certs/a.example.crt", ecCert, "certs/a.example.key", otherKey},
			"prosody.cfg.lua:1: host a.example: certificates: certificate certs/a.example.crt with key certs/a.example.key: private key does not match public key", ""},
		{"no PEM", external, []string{"certs/a.example.crt", "x", "certs/a.example.key", "y"},
			"prosody.cfg.lua:1: host a.example: certificates: certificate certs/a.example.crt with key certs/a.example.key: failed to find any PEM data in certificate input", ""},
		{"passphrase", external + "ssl = { certificate = 'x.crt', key = 'k.pem' }", []string{"x.crt", ecCert, "k.pem", encrypted},
			"prosody.cfg.lua:2: host a.example: ssl: key k.pem has a passphrase, which nobody can type here; take it out with: openssl pkey -in k.pem -out NEW", ""},
		{"missing key", external + "ssl = { certificate = 'x.crt', key = 'k.pem' }", []string{"x.crt", ecCert}, "prosody.cfg.lua:2: host a.example: ssl: key k.pem: no such file or directory", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, warnings, problems := load(t, test.source, test.files...)
			if problems != "" {
				if problems != test.want {
					t.Errorf("problems:\n%s\nwant\n%s", problems, test.want)
				}
				return
			}
			var found []string
			for _, cert := range c.Hosts[0].Certificates {
				found = append(found, strings.TrimPrefix(cert.CertFile, filepath.Dir(c.Path)+"/"))
				if cert.TLS.Leaf == nil || cert.TLS.PrivateKey == nil {
					t.Errorf("%s is not loaded", cert.CertFile)
				}
			}
			if got := strings.Join(found, " "); got != test.want {
				t.Errorf("certificates %q, want %q", got, test.want)
			}
			if (warnings == "") != (test.warning == "") || !strings.Contains(warnings, test.warning) {
				t.Errorf("warnings %q, want %q", warnings, test.warning)
			}
		})
	}
}

func TestLoad_unreadableKey(t *testing.T) {
	cert, key := makeCert(t, "ec", time.Hour, "a.example")
	dir := writeFiles(t, "certs/a.example.crt", cert, "certs/a.example.key", key, "auth.sh", "#!/bin/sh\n", "prosody.cfg.lua", external)
	// Root reads everything, so the key is a link into nothing that Stat still sees as a file: a directory is refused.
	if err := os.Remove(filepath.Join(dir, "certs/a.example.key")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "certs/a.example.key"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "prosody.cfg.lua"), external+"ssl = { certificate = 'certs/a.example.crt', key = 'certs/a.example.key' }")
	_, _, err := Load(filepath.Join(dir, "prosody.cfg.lua"))
	if err == nil || !strings.Contains(err.Error(), "a.example.key: is a directory, not a file") {
		t.Errorf("Load: %v", err)
	}
}

func TestLoad_tlsVersion(t *testing.T) {
	for source, want := range map[string]uint16{
		external:                              tls.VersionTLS12,
		"tls_profile = 'modern'\n" + external: tls.VersionTLS13,
		"tls_profile = 'modern' ssl = { protocol = 'tlsv1_2+' }\n" + external:                tls.VersionTLS12,
		"ssl = { protocol = 'tlsv1_3' }\n" + external:                                        tls.VersionTLS13,
		external + "ssl = { protocol = 'tlsv1_3+' }":                                         tls.VersionTLS13,
		"ssl = { protocol = 'tlsv1_3' }\n" + external + "c2s_ssl = { protocol = 'tlsv1_2' }": tls.VersionTLS12,
	} {
		c, _, problems := load(t, source)
		if problems != "" || c.Hosts[0].MinTLS != want {
			t.Errorf("%s: %s, version %x", source, problems, c.Hosts[0].MinTLS)
		}
	}
}

func TestLoad_portCertificates(t *testing.T) {
	cert, key := makeCert(t, "ec", time.Hour, "port.example")
	c, _, problems := load(t, "c2s_direct_tls_ssl = { certificate = 'p.crt', key = 'p.key' }\n"+external, "p.crt", cert, "p.key", key)
	if problems != "" || len(c.Certificates) != 1 || len(c.Hosts[0].Certificates) != 0 {
		t.Errorf("%s: %d for ports", problems, len(c.Certificates))
	}
	if filepath.Base(c.CertificatesDir) != "certs" || !filepath.IsAbs(c.CertificatesDir) {
		t.Errorf("certificates are looked for in %q", c.CertificatesDir)
	}
	for source, want := range map[string]uint16{
		"c2s_direct_tls_ssl = { certificate = 'p.crt', key = 'p.key' }\n":                                tls.VersionTLS12,
		"c2s_direct_tls_ssl = { certificate = 'p.crt', key = 'p.key', protocol = 'tlsv1_3' }\n":          tls.VersionTLS13,
		"ssl = { protocol = 'tlsv1_3' } c2s_direct_tls_ssl = { certificate = 'p.crt', key = 'p.key' }\n": tls.VersionTLS13,
		"tls_profile = 'modern' ssl = { certificate = 'p.crt', key = 'p.key' }\n":                        tls.VersionTLS13,
	} {
		if c, _, problems := load(t, source+external, "p.crt", cert, "p.key", key); problems != "" || c.MinTLS != want {
			t.Errorf("%s: %s, TLS %x, want %x", source, problems, c.MinTLS, want)
		}
	}
	want := "prosody.cfg.lua:1: c2s_direct_tls_ssl: certificate none: no such file or directory"
	if _, _, problems := load(t, "c2s_direct_tls_ssl = { certificate = 'none', key = 'none' }\n"+external); problems != want {
		t.Errorf("problems %q, want %q", problems, want)
	}
}
