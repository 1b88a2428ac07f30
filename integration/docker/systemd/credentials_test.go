package systemd

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// TestCredentials: a secret and a key that only root may read reach the service as credentials, as docs/install.md has it,
// and a renewed one does when it is restarted. A reload works as without them.
func TestCredentials(t *testing.T) {
	documented := func(language, first string) string {
		return strings.ReplaceAll(block(t, "install.md", language, first), "example.org", host)
	}
	config := documented("lua", "certificates = ENV_CREDENTIALS_DIRECTORY\n") + `
	authentication = "external"
	external_auth_command = "` + scriptFile + `"
	otp_seed = "JBSWY3DPEHPK3PXP"
`
	dropIn := strings.TrimPrefix(documented("ini", "[Service]\nLoadCredential="), "[Service]\n")
	lent := strings.TrimSpace(documented("sh", "CREDENTIALS_DIRECTORY="))
	onEach(t, serving, func(t *testing.T, m *machine) {
		keys := letsEncrypt(t, m)
		renew := func(secret string) *xmpptest.Pair {
			m.write(t, "/etc/gatehouse/token_secret", "root", "600", secret)
			return m.certify(t, keys, "root", "600", host)
		}
		// serves logs in with a token of the present secret, and returns it.
		serves := func(what string, pair *xmpptest.Pair) (token string) {
			t.Helper()
			token = m.sh(t, "CREDENTIALS_DIRECTORY=/run/credentials/gatehouse.service gatehouse token mint --config "+configFile+" alice@"+host)
			c, err := xmpptest.Dial(m.clients)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Secure(host, trust); err != nil {
				t.Fatal(err)
			}
			block, _ := pem.Decode(pair.CertPEM)
			if shown := c.Conn().(*tls.Conn).ConnectionState().PeerCertificates[0]; !bytes.Equal(shown.Raw, block.Bytes) {
				t.Errorf("%s it shows another certificate", what)
			}
			if answer, err := answered(c.Auth("X-TOKEN", []byte("\x00alice\x00"+token))); err != nil || answer != "success" {
				t.Errorf("%s a login with a token: %s, %v", what, answer, err)
			}
			return token
		}
		pair := renew("one secret of the web application")
		m.setUp(t, config, dropIn)
		m.sh(t, "systemctl start gatehouse")
		serves("at first", pair)
		m.write(t, scriptFile, "root", "755", script("other"))
		m.sh(t, "systemctl reload gatehouse")
		m.answers(t, host, "alice", "other", "success")
		serves("after a reload", pair)

		pair = renew("another secret of the web application")
		m.sh(t, "systemctl restart gatehouse")
		serves("after a restart", pair)

		m.write(t, configFile, "root:gatehouse", "640", strings.Replace(config, "external_auth_command", "external_auth_comand", 1))
		m.fails(t, "systemctl reload gatehouse")
		m.answers(t, host, "alice", "other", "success")
		out := m.sh(t, lent+" --config "+configFile+" 2>&1 || true")
		if !strings.Contains(out, "external_auth_command") || strings.Contains(out, "token_secret:") {
			t.Errorf("gatehouse check says\n%s", out)
		}
	})
}
