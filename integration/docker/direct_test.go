package docker

import (
	"crypto/tls"
	"os/exec"
	"path/filepath"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// TestDirect: clients that connect to the server itself, which asks gatehouse about them as it does about tickets.
func TestDirect(t *testing.T) {
	for _, h := range byTicket {
		t.Run(h.name, func(t *testing.T) {
			h.answersAt(t, h.server, "alice", password("alice"), "success", soon)
			h.answersAt(t, h.server, "alice", "wrong", "not-authorized", 2*soon)
			h.answersAt(t, h.server, "nobody", password("nobody"), "not-authorized", 2*soon)
		})
	}
}

// TestDirect_scriptDown: Prosody can say that it cannot say. ejabberd cannot, but it lets nobody in, and does afterwards.
func TestDirect_scriptDown(t *testing.T) {
	want := map[string]string{"prosody": "temporary-auth-failure", "ejabberd": "not-authorized"}
	for _, h := range byTicket {
		t.Run(h.name, func(t *testing.T) {
			t.Run("down", func(t *testing.T) {
				scriptDown(t)
				for range 4 {
					h.answersAt(t, h.server, "alice", password("alice"), want[h.server], scriptTimeout+2*soon)
				}
			})
			h.recovers(t, "gatehouse")
			h.recovers(t, h.server)
		})
	}
}

// TestDirect_gatehouseDown: while gatehouse is away the servers let nobody in, and afterwards they need no help.
func TestDirect_gatehouseDown(t *testing.T) {
	id, err := servers.container("gatehouse")
	must(t, err)
	must(t, servers.docker("stop", id))
	t.Cleanup(func() {
		must(t, servers.docker("start", id))
		must(t, servers.healthy("gatehouse"))
		for _, h := range byTicket {
			h.recovers(t, h.server)
			h.recovers(t, "gatehouse")
		}
	})
	for _, h := range byTicket {
		for range 5 {
			if answer, _, err := h.tryAt(h.server, "alice", password("alice")); err == nil && answer == "success" {
				t.Errorf("%s lets people in", h.server)
			}
		}
	}
}

// TestDirect_certificate: a server that takes certificates of users takes those that the authority of gatehouse has signed,
// and nobody else's.
func TestDirect_certificate(t *testing.T) {
	keys := filepath.Join(servers.dir, "keys", "users.key")
	ours := filepath.Join(servers.dir, "certs", "users.crt")
	foreign := t.TempDir()
	must(t, certifyUsers(filepath.Join(foreign, "users.crt"), filepath.Join(foreign, "users.key")))
	for h, port := range map[host]string{hosts[4]: "5222", hosts[5]: "5223"} {
		t.Run(h.name, func(t *testing.T) {
			address, err := servers.port(h.server, port)
			must(t, err)
			right := userCertificate(t, ours, keys, "alice@"+h.name)
			if answer, err := external(t, h, address, right, "alice"); answer != "success" {
				t.Errorf("a certificate of gatehouse's authority: %s, %v", answer, err)
			}
			for name, try := range map[string]struct {
				certificate tls.Certificate
				user        string
			}{
				"for somebody else":    {right, "bob"},
				"of another authority": {userCertificate(t, filepath.Join(foreign, "users.crt"), filepath.Join(foreign, "users.key"), "alice@"+h.name), "alice"},
				"of none":              {tls.Certificate{}, "alice"},
			} {
				if answer, err := external(t, h, address, try.certificate, try.user); answer == "success" {
					t.Errorf("a certificate %s comes in", name)
				} else {
					t.Logf("a certificate %s: %s, %v", name, answer, err)
				}
			}
		})
	}
}

// userCertificate makes a certificate for a bare JID, signed by an authority in two files.
func userCertificate(t *testing.T, authority, key, jid string) tls.Certificate {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "user.crt"), filepath.Join(dir, "user.key")
	openssl := exec.Command("openssl", "req", "-x509", "-CA", authority, "-CAkey", key, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
		"-noenc", "-days", "1", "-subj", "/CN=user", "-addext", "basicConstraints=critical,CA:FALSE",
		"-addext", "subjectAltName=otherName:1.3.6.1.5.5.7.8.5;UTF8:"+jid, "-out", certFile, "-keyout", keyFile)
	if text, err := openssl.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", openssl, err, text)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	must(t, err)
	return pair
}

// external logs in with a certificate (XEP-0178) and returns "success" or the condition of the failure, or the error that
// came before an answer: the server may end the handshake.
func external(t *testing.T, h host, address string, certificate tls.Certificate, user string) (string, error) {
	t.Helper()
	c, err := xmpptest.Dial(address)
	must(t, err)
	defer func() { _ = c.Close() }()
	config := trust.Clone()
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	if _, err := c.Secure(h.name, config); err != nil {
		return "", err
	}
	e, err := c.Auth("EXTERNAL", []byte(user+"@"+h.name))
	if err != nil {
		return "", err
	}
	if e.Is(xmpptest.NSSASL, "failure") {
		return e.Condition(), nil
	}
	return e.Name, nil
}
