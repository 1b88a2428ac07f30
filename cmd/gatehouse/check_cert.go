package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatehouse.im/gatehouse/config"
)

const (
	day = 24 * time.Hour
	// expiryWarning is when a certificate that renews itself should have done so.
	expiryWarning = 21 * day
	minRSABits    = 2048
)

// certificates explains what a host shows to its clients.
func (r *report) certificates(cfg *config.Config, h *config.Host) {
	r.row("TLS", "%s", map[bool]string{true: "1.3", false: "1.2 and up"}[h.MinTLS == tls.VersionTLS13])
	for i, c := range h.Certificates {
		r.certificate(h, c, map[bool]string{true: "certificate"}[i == 0])
	}
	switch {
	case len(h.Certificates) > 0:
	case cfg.SelfSigned:
		r.row("certificate", "one that gatehouse signs itself (gatehouse_self_signed), kept in %s; clients must be told to trust it", cfg.DataDir)
	default:
		r.row("certificate", "%s", r.bad("NONE"))
		msg := "there is no certificate for it"
		if r.count(mistake) == 0 { // the way out is the same for all
			msg += fmt.Sprintf(": the ssl and c2s_ssl tables name none, and in %s there is none of this name with a key beside it "+
				"(%s.crt with %[2]s.key, or %[2]s/fullchain.pem with %[2]s/privkey.pem); for a test, gatehouse_self_signed = true makes one",
				cfg.CertificatesDir, h.Name)
		}
		r.add(mistake, config.Problem{Pos: h.Pos, Host: h.Name, Msg: msg})
	}
}

// certificate explains one chain and its key. What Load warns of (expired, not
// for this host) is not said twice.
func (r *report) certificate(h *config.Host, c config.Certificate, label string) {
	leaf := c.TLS.Leaf
	pos := c.Pos
	if pos.IsZero() {
		pos = h.Pos
	}
	find := func(l level, format string, args ...any) {
		r.add(l, config.Problem{Pos: pos, Host: h.Name, Msg: fmt.Sprintf("certificate %s: ", c.CertFile) + fmt.Sprintf(format, args...)})
	}
	names := leaf.DNSNames
	if len(names) == 0 {
		names = []string{leaf.Subject.CommonName + " (as its common name, which clients of today do not look at)"}
	}
	r.row(label, "for %s", clean(strings.Join(names, ", ")))
	issuer := "issued by " + issuerName(leaf)
	own := selfIssued(leaf)
	if own {
		issuer = "self-signed: clients must be told to trust it"
	}
	left := leaf.NotAfter.Sub(r.now)
	r.row("", "%s, %s", keyKind(leaf), clean(issuer))
	r.row("", "from %s until %s, %s", leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly), daysLeft(left))
	r.row("", "%s%s", r.short(c.CertFile), r.at(c.Pos))
	if left > 0 && left < expiryWarning {
		find(warning, "%s; has its renewal failed?", daysLeft(left))
	}
	if key, ok := leaf.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < minRSABits {
		find(danger, "an RSA key of %d bits can be broken, and many clients refuse it; make one of %d", key.N.BitLen(), minRSABits)
	}
	if len(c.TLS.Certificate) == 1 && !own && left > 0 {
		var unknown x509.UnknownAuthorityError
		if _, err := leaf.Verify(x509.VerifyOptions{CurrentTime: r.now}); errors.As(err, &unknown) {
			find(warning, "the file has no intermediate certificate, so most clients will not trust it; use the full chain (fullchain.pem)")
		}
	}
	r.key(c, find)
}

// key explains the file of a private key and who may read it.
func (r *report) key(c config.Certificate, find func(l level, format string, args ...any)) {
	steps, err := walk(c.KeyFile)
	if err != nil {
		find(warning, "key %v", err)
		return
	}
	file := steps[len(steps)-1]
	r.row("", "key %s, %s", r.short(c.KeyFile), file)
	if nobody.may(c.KeyFile, mayRead) == nil {
		find(danger, "everybody on this machine may read its key %s (%s); chmod 640 it, with the group of the server", c.KeyFile, file)
	}
	for _, path := range []string{c.CertFile, c.KeyFile} {
		if err := r.who.may(path, mayRead); err != nil && !r.who.self {
			find(warning, "%v, so serve would refuse to start", err)
		}
	}
}

func selfIssued(leaf *x509.Certificate) bool {
	return string(leaf.RawIssuer) == string(leaf.RawSubject) && leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil
}

func issuerName(leaf *x509.Certificate) string {
	name := leaf.Issuer.CommonName
	if org := strings.Join(leaf.Issuer.Organization, ", "); org != "" && name != org {
		name = strings.TrimSpace(name + " (" + org + ")")
	}
	return name
}

func keyKind(leaf *x509.Certificate) string {
	switch key := leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return leaf.PublicKeyAlgorithm.String()
}

// daysLeft says how long a certificate will still do.
func daysLeft(left time.Duration) string {
	switch days := int(left / day); {
	case left <= 0:
		return fmt.Sprintf("EXPIRED %s ago", plural(-days, "day"))
	case days == 0:
		return "less than a day left"
	default:
		return plural(days, "day") + " left"
	}
}
