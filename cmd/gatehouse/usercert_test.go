package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// openssl reads the name in a certificate as Prosody and ejabberd do, and finds
// it signed by the CA.
func TestUserCertificate_asOthersReadIt(t *testing.T) {
	dir := t.TempDir()
	caFile := filepath.Join(dir, "ca.pem")
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("openssl", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=front", "-days", "2",
		"-addext", "keyUsage=critical,keyCertSign", "-keyout", caFile+".key", "-out", caFile)
	ca, err := tls.LoadX509KeyPair(caFile, caFile+".key")
	if err != nil {
		t.Fatal(err)
	}
	const jid = "jürgen@xmpp.example"
	cert, err := userCertificate(&ca, jid, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	userFile := filepath.Join(dir, "user.pem")
	if err := os.WriteFile(userFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run("verify", "-purpose", "sslclient", "-CAfile", caFile, userFile); !strings.Contains(out, "OK") {
		t.Error(out)
	}
	if out := run("x509", "-in", userFile, "-noout", "-ext", "subjectAltName"); !strings.Contains(out, "othername: XmppAddr") &&
		!strings.Contains(out, "othername:") {
		t.Error(out)
	}
	if out := run("asn1parse", "-in", userFile, "-i"); !strings.Contains(out, "X509v3 Subject Alternative Name") {
		t.Error(out)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(leaf.NotAfter); left > userCertLife || left < userCertLife/2 {
		t.Errorf("good for %v", left)
	}
	san, err := xmppAddr(jid)
	if err != nil {
		t.Fatal(err)
	}
	der := filepath.Join(dir, "san.der")
	if err := os.WriteFile(der, san, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run("asn1parse", "-inform", "der", "-in", der, "-dump"); !strings.Contains(out, "1.3.6.1.5.5.7.8.5") &&
		!strings.Contains(out, "XmppAddr") || !strings.Contains(out, "UTF8STRING") {
		t.Error(out)
	}
}
