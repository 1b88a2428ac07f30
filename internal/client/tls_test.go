package client

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

func TestLogin_certificates(t *testing.T) {
	ca, stranger := authority(t), authority(t)
	good := certificate(t, ca, testHost)
	other := certificate(t, ca, "chat.example.net")
	foreign := certificate(t, stranger, testHost)
	expired, err := ca.IssueUntil(time.Now().Add(-time.Hour), xmpptest.RSA, testHost)
	if err != nil {
		t.Fatal(err)
	}
	in := sequence(hear("</auth>"), say(inSASL("<success/>")), bound, goodbye)
	for _, c := range []struct {
		name    string
		pair    *xmpptest.Pair
		options Options
		by      Trust
		err     string // what the report says is wrong with it
		in      bool
	}{
		{"trusted", good, Options{}, TrustRoots, "", true},
		{"by its fingerprint", foreign, Options{Fingerprint: fingerprintOf(foreign)}, TrustFingerprint, "", true},
		{"by its fingerprint with colons", foreign, Options{Fingerprint: withColons(fingerprintOf(foreign))}, TrustFingerprint, "", true},
		{"expired, by its fingerprint", expired, Options{Fingerprint: fingerprintOf(expired)}, TrustFingerprint, "", true},
		{"another fingerprint", good, Options{Fingerprint: fingerprintOf(foreign)}, "", "another fingerprint", false},
		{"unknown authority", foreign, Options{}, "", "no authority", false},
		{"another host", other, Options{}, "", "valid for chat.example.net, not example.org", false},
		{"expired", expired, Options{}, "", "expired", false},
		{"unknown authority, insecure", foreign, Options{Insecure: true}, "", "no authority", true},
		{"another host, insecure", other, Options{Insecure: true}, "", "valid for chat.example.net", true},
	} {
		for _, direct := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				c.options.Roots, c.options.DirectTLS = ca.Pool(), direct
				// The server goes on by itself, so that what the client sends
				// after a bad certificate would be heard.
				act := starttls("PLAIN")
				if direct {
					act = sequence(encrypt, open(offer("PLAIN")))
				}
				a := try(t, c.options, serverConfig(c.pair), sequence(act, in))
				report := find[Encrypted](t, a.steps)
				if report.By != c.by || report.Accepted != c.in {
					t.Errorf("verified by %q, accepted %v; want %q, %v", report.By, report.Accepted, c.by, c.in)
				}
				if (report.Err == nil) != (c.err == "") || report.Err != nil && !strings.Contains(report.Err.Error(), c.err) {
					t.Errorf("report says %v, want %q", report.Err, c.err)
				}
				if report.Fingerprint != fingerprintOf(c.pair) {
					t.Errorf("fingerprint %s", report.Fingerprint)
				}
				if c.in {
					if a.err != nil || a.playErr != nil {
						t.Errorf("client: %v; server: %v", a.err, a.playErr)
					}
					return
				}
				e := a.failure(t)
				if e.Refused || e.Stage != StageEncrypt || Explain(e) == "" {
					t.Errorf("error %v (%s)", e, Explain(e))
				}
				if strings.Contains(a.after, "auth") {
					t.Errorf("the client went on: %q", a.after)
				}
			})
		}
	}
}

func TestLogin_reportsTheCertificate(t *testing.T) {
	ca := authority(t)
	pair := certificate(t, ca, testHost, "evil\x1b[2J")
	certs := serverConfig(pair)
	certs.NextProtos = []string{"xmpp-client"}
	a := try(t, Options{Roots: ca.Pool(), DirectTLS: true}, certs, sequence(encrypt, open(offer("PLAIN"))))
	got := find[Encrypted](t, a.steps)
	if got.Names[0] != testHost || got.Names[1] != `evil\x1b[2J` {
		t.Errorf("names %q", got.Names)
	}
	if got.Version != "TLS 1.3" || got.ALPN != "xmpp-client" || got.Key != "ECDSA P-256" || got.SelfSigned ||
		!strings.Contains(got.Issuer, "test authority") || !got.Expires.Equal(pair.TLS.Leaf.NotAfter) {
		t.Errorf("got %+v", got)
	}
}

func TestLogin_noTLSAtAll(t *testing.T) {
	a := try(t, Options{DirectTLS: true}, nil, say(header))
	e := a.failure(t)
	var record tls.RecordHeaderError
	if e.Stage != StageEncrypt || !errors.As(e, &record) || !strings.Contains(Explain(e), "--direct-tls") {
		t.Errorf("error %v (%s)", e, Explain(e))
	}
}

func TestLogin_serverBreaksOffTheHandshake(t *testing.T) {
	certs := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return nil, errors.New("no certificate for that")
	}}
	e := try(t, Options{DirectTLS: true}, certs, encrypt).failure(t)
	if e.Stage != StageEncrypt || !strings.Contains(Explain(e), "broke off") {
		t.Errorf("error %v (%s)", e, Explain(e))
	}
}

func fingerprintOf(p *xmpptest.Pair) string {
	sum := sha256.Sum256(p.TLS.Certificate[0])
	return hex.EncodeToString(sum[:])
}

func withColons(s string) string {
	var parts []string
	for ; s != ""; s = s[2:] {
		parts = append(parts, strings.ToUpper(s[:2]))
	}
	return strings.Join(parts, ":")
}
