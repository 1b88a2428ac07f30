package systemd

import (
	"slices"
	"strings"
	"testing"
)

// letsEncrypt makes a place for a certificate as certbot does, where only root may enter, and returns the directory that the files
// are to be written to, by the name of the host.
func letsEncrypt(t *testing.T, m *machine) string {
	t.Helper()
	m.sh(t, `install -d -m 755 /etc/letsencrypt
		install -d -m 700 /etc/letsencrypt/live /etc/letsencrypt/archive
		install -d /etc/letsencrypt/live/`+host+` /etc/letsencrypt/archive/`+host+`
		ln -sfn ../../archive/`+host+`/`+host+`.crt /etc/letsencrypt/live/`+host+`/fullchain.pem
		ln -sfn ../../archive/`+host+`/`+host+`.key /etc/letsencrypt/live/`+host+`/privkey.pem`)
	t.Cleanup(func() { m.sh(t, "rm -rf /etc/letsencrypt") })
	return "/etc/letsencrypt/archive/" + host
}

// TestRights: what pages have root do so that the service may read keys and configs, and other servers may ask it, is enough,
// and no more than that.
func TestRights(t *testing.T) {
	onEach(t, serving, func(t *testing.T, m *machine) {
		const live = "/etc/letsencrypt/live/" + host
		m.setUp(t, `
gatehouse_extauth_socket = "/run/gatehouse/extauth.sock"
VirtualHost "`+host+`"
	ssl = { certificate = "`+live+`/fullchain.pem", key = "`+live+`/privkey.pem" }
	authentication = "external"
	external_auth_command = "`+scriptFile+`"
`, "")
		m.certify(t, letsEncrypt(t, m), "root", "600", host)
		// What each of the pages takes for granted.
		m.sh(t, "useradd --system ejabberd; rm -f /etc/prosody/logins.*")
		t.Cleanup(func() {
			m.sh(t, "gpasswd --delete gatehouse ssl-cert || true; gpasswd --delete gatehouse prosody || true; userdel ejabberd; rm -f /etc/prosody/logins.*")
		})
		// readable are those of the files that a user may read.
		readable := func(user string, files []string) []string {
			t.Helper()
			return strings.Fields(m.sh(t, "for file in "+strings.Join(files, " ")+"; do runuser -u "+user+` -- cat "$file" >/dev/null 2>&1 && echo "$file" || true; done`))
		}
		ask := "echo auth:alice:" + host + ":secret | runuser -u ejabberd -- gatehouse extauth --socket /run/gatehouse/extauth.sock --protocol generic || true"

		m.fails(t, "systemctl start gatehouse") // it may not read the key
		m.sh(t, block(t, "operate.md", "sh", "adduser gatehouse ssl-cert\nchgrp"))
		if out := m.sh(t, "systemctl start gatehouse; gatehouse check --user gatehouse --config "+configFile); strings.Contains(out, "may not") {
			t.Errorf("gatehouse check says\n%s", out)
		}
		m.answers(t, host, "alice", "secret", "success")
		if got := m.sh(t, ask); got == "1" {
			t.Errorf("a user outside of the group is answered")
		}
		m.sh(t, block(t, "relay-ticket-ejabberd.md", "sh", "adduser ejabberd gatehouse"))
		if got := m.sh(t, ask); got != "1" {
			t.Errorf("ejabberd's user is told %q", got)
		}

		m.sh(t, block(t, "migrate.md", "sh", "adduser gatehouse prosody\n")+block(t, "relay-external.md", "sh", "openssl req -x509 "))
		shared := []string{"/etc/prosody/prosody.cfg.lua", "/etc/ssl/private/ssl-cert-snakeoil.key", live + "/privkey.pem"}
		files := append(shared, "/etc/prosody/logins.key")
		if got := readable("gatehouse", files); !slices.Equal(got, shared) {
			t.Errorf("without the last step gatehouse may read %q", got)
		}
		m.sh(t, block(t, "relay-external.md", "sh", "chgrp gatehouse "))
		if got := readable("gatehouse", files); !slices.Equal(got, files) {
			t.Errorf("gatehouse may read %q, want %q", got, files)
		}
		if got := readable("nobody", files); len(got) > 0 {
			t.Errorf("nobody may read %q", got)
		}
	})
}
