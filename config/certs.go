package config

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// maxCertBytes bounds a certificate or key file.
const maxCertBytes = 1 << 20

// certFile names a certificate and its key.
type certFile struct{ cert, key string }

// tlsTable are the settings of one ssl table, or of several laid over each other.
type tlsTable struct {
	cert, key         luaconf.Value
	certFrom, keyFrom string // the options that they are from
	pairs             []luaconf.Value
	pairsFrom         string
	protocol          string
}

// apply lays the table of an option over what is there, as util.sslconfig does.
func (t *tlsTable) apply(s section, option string) {
	o, ok := s.lookup(option)
	if !ok {
		return
	}
	if o.Value.Kind != luaconf.Table {
		s.problem(option, "want a table, as in { certificate = \"...\", key = \"...\" }, got %s", describe(option, o.Value))
		return
	}
	var ignored []string
	for _, key := range o.Value.Keys() {
		v := o.Value.Map[key]
		switch key {
		case "certificate":
			t.cert, t.certFrom = v, option
			t.pairs = nil
		case "key":
			t.key, t.keyFrom = v, option
		case "certificates":
			if v.Kind != luaconf.Table {
				s.problem(option, "certificates: want a list of tables with certificate and key, got %s", describe(key, v))
				continue
			}
			t.pairs, t.pairsFrom = v.List, option
		case "protocol":
			t.protocol = s.protocol(option, v, t.protocol)
		case "ciphers", "ciphersuites", "curve", "curveslist", "dhparam":
			ignored = append(ignored, key)
		}
	}
	if len(ignored) > 0 {
		s.warn(option, "%s: not used; gatehouse offers the ciphers and curves that Go's TLS considers good", strings.Join(ignored, ", "))
	}
}

// protocol checks a protocol name of LuaSec and of Prosody ("tlsv1_2+").
func (s section) protocol(option string, v luaconf.Value, otherwise string) string {
	switch strings.TrimSuffix(v.Str, "+") {
	case "tlsv1_3", "tlsv1_2":
		return v.Str
	case "tlsv1", "tlsv1_1", "sslv23", "sslv3", "sslv2", "any":
		s.warn(option, "protocol = %q: gatehouse speaks TLS 1.2 and up", clip(v.Str))
		return otherwise
	}
	s.problem(option, `protocol: want "tlsv1_2+" or "tlsv1_3", got %s`, describe("protocol", v))
	return otherwise
}

// hostTLS finds the TLS settings and certificates of a host. The order is that of Prosody's certmanager and mod_tls: the
// tables ssl and c2s_ssl, the host's before the global ones, and then what the certificates directory has.
func (l *loader) hostTLS(s section) (uint16, []Certificate) {
	global := section{l, "*"}
	var t tlsTable
	if global.enumProfile() == "modern" {
		t.protocol = "tlsv1_3"
	}
	t.apply(global, "ssl")
	t.apply(global, "c2s_ssl")
	for _, option := range []string{"ssl", "c2s_ssl"} {
		if h := l.eval.Host(s.host); h != nil {
			if _, own := h.Options[option]; own {
				t.apply(s, option)
			}
		}
	}
	certs, named := l.namedCertificates(s, t, s.problem)
	if !named {
		certs = l.findCertificates(s)
	}
	for _, c := range certs {
		l.checkCertificate(s, c)
	}
	return t.version(), certs
}

// version is the lowest version of TLS, as crypto/tls has it.
func (t *tlsTable) version() uint16 {
	if strings.HasPrefix(t.protocol, "tlsv1_3") {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

func (s section) enumProfile() string {
	return s.enum("tls_profile", "intermediate", "modern", "intermediate", "old", "legacy")
}

// portCertificates are for direct TLS connections that name no host of ours.
func (l *loader) portCertificates(s section) (uint16, []Certificate) {
	var t tlsTable
	if s.enumProfile() == "modern" {
		t.protocol = "tlsv1_3"
	}
	for _, option := range []string{"ssl", "legacy_ssl_ssl", "c2s_direct_tls_ssl"} {
		t.apply(s, option)
	}
	certs, _ := l.namedCertificates(s, t, func(option, format string, args ...any) {
		if option == "ssl" {
			// Prosody once came with a table of files that few had. Where a host uses it, the host says so.
			s.warn(option, format, args...)
			return
		}
		s.problem(option, format, args...)
	})
	return t.version(), certs
}

// namedCertificates loads what the tables name, and says whether they name anything. What is wrong goes to problem.
func (l *loader) namedCertificates(s section, t tlsTable, problem func(option, format string, args ...any)) ([]Certificate, bool) {
	type named struct {
		option    string
		cert, key luaconf.Value
	}
	var list []named
	for _, pair := range t.pairs {
		list = append(list, named{t.pairsFrom, pair.Map["certificate"], pair.Map["key"]})
	}
	if len(t.pairs) == 0 && t.cert.Kind != luaconf.Nil {
		list = append(list, named{t.certFrom, t.cert, t.key})
	}
	var certs []Certificate
	for _, n := range list {
		if n.cert.Kind != luaconf.String || n.key.Kind != luaconf.String {
			problem(n.option, "certificate and key must both be there, as strings with the path of a file")
			continue
		}
		c, err := l.certificate(certFile{l.resolve(n.cert.Str), l.resolve(n.key.Str)})
		if err != nil {
			problem(n.option, "%v", err)
			continue
		}
		c.Pos = s.pos(n.option)
		certs = append(certs, c)
	}
	return bestCertificates(certs), len(list) > 0
}

// certificate notes the two files and loads them.
func (l *loader) certificate(f certFile) (Certificate, error) {
	l.sources.file(f.cert)
	l.sources.file(f.key)
	return loadCertificate(f)
}

// loadCertificate reads a certificate chain and its key.
func loadCertificate(f certFile) (Certificate, error) {
	cert, err := readPEM(f.cert)
	if err != nil {
		return Certificate{}, fmt.Errorf("certificate %w", err)
	}
	key, err := readPEM(f.key)
	if err != nil {
		return Certificate{}, fmt.Errorf("key %w", err)
	}
	if encrypted(key) {
		return Certificate{}, fmt.Errorf("key %s has a passphrase, which nobody can type here; take it out with: openssl pkey -in %s -out NEW", f.key, f.key)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return Certificate{}, fmt.Errorf("certificate %s with key %s: %s", f.cert, f.key, strings.TrimPrefix(err.Error(), "tls: "))
	}
	return Certificate{CertFile: f.cert, KeyFile: f.key, TLS: pair}, nil
}

func readPEM(path string) ([]byte, error) {
	f, err := luaconf.OpenFile(path)
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("%s: may not be read by this user (uid %d); check the permissions", path, os.Geteuid())
		}
		return nil, fmt.Errorf("%s: %w", path, unwrapPath(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCertBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, unwrapPath(err))
	}
	if len(data) > maxCertBytes {
		return nil, fmt.Errorf("%s: larger than 1 MiB", path)
	}
	return data, nil
}

// encrypted says whether a PEM file has a key that needs a passphrase.
func encrypted(data []byte) bool {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return true
		}
	}
	return false
}

// bestCertificates keeps one certificate of each kind of key, ECDSA first: signing is five times cheaper there.
func bestCertificates(certs []Certificate) []Certificate {
	var ec, other []Certificate
	for _, c := range certs {
		if _, ok := c.TLS.Leaf.PublicKey.(*ecdsa.PublicKey); ok {
			ec = append(ec, c)
		} else {
			other = append(other, c)
		}
	}
	return append(ec[:min(len(ec), 1)], other[:min(len(other), 1)]...)
}

// checkCertificate warns of a certificate that clients will not like.
func (l *loader) checkCertificate(s section, c Certificate) {
	leaf, now := c.TLS.Leaf, time.Now()
	warn := func(format string, args ...any) {
		pos := c.Pos
		if pos.IsZero() {
			pos = s.place("certificates")
		}
		l.warnings = append(l.warnings, Problem{pos, s.host, "", fmt.Sprintf("certificate %s: ", c.CertFile) + fmt.Sprintf(format, args...)})
	}
	switch {
	case now.After(leaf.NotAfter):
		warn("expired on %s", leaf.NotAfter.Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		warn("is not valid before %s", leaf.NotBefore.Format(time.DateOnly))
	}
	if name, err := idna.ToASCII(s.host); err == nil && !namesHost(leaf, s.host, name) {
		warn("is not for this host, but for %s", strings.Join(certNames(leaf), ", "))
	}
}

// namesHost says whether a certificate is for a host, by its subject alternative names or, as Prosody has it, its common
// name.
func namesHost(leaf *x509.Certificate, host, ascii string) bool {
	if leaf.VerifyHostname(ascii) == nil {
		return true
	}
	for _, name := range certNames(leaf) {
		if name == host || name == "*."+parentOf(host) {
			return true
		}
	}
	return false
}

func parentOf(host string) string {
	_, parent, _ := strings.Cut(host, ".")
	return parent
}
