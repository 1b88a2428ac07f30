package systemd

import (
	"os"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// page returns a page of docs.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block returns a block of a page by its language and how it begins.
func block(t *testing.T, name, language, first string) string {
	t.Helper()
	_, after, found := strings.Cut(page(t, name), "```"+language+"\n"+first)
	rest, _, closed := strings.Cut(after, "```\n")
	if !found || !closed {
		t.Fatalf("docs/%s has no block of %s that begins with %q", name, language, first)
	}
	return first + rest
}

// steps returns a block of docs/install.md by how it begins, for a shell.
func steps(t *testing.T, first string) string {
	t.Helper()
	return block(t, "install.md", "sh", first)
}

// installs installs a version of the package as docs/install.md does, and returns what that prints.
func (m *machine) installs(t *testing.T, version string) string {
	t.Helper()
	out := m.sh(t, "DEBIAN_FRONTEND=noninteractive apt-get install --reinstall --yes "+inside(version)+" 2>&1")
	if got := m.sh(t, "dpkg-query --show --showformat='${Version}' gatehouse"); got != version {
		t.Fatalf("installed is %s, want %s", got, version)
	}
	return out
}

// TestPackage takes a machine that Prosody runs on from the installation over an upgrade to the purge, and back again.
func TestPackage(t *testing.T) {
	const (
		notStarted = "gatehouse is installed and not started."
		notRunning = "gatehouse is enabled and not running"
		ours       = "/etc/gatehouse/ours"
	)
	onEach(t, fresh, func(t *testing.T, m *machine) {
		has := func(what string, commands ...string) {
			t.Helper()
			for _, c := range commands {
				if _, err := m.run(c); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
		serves := func(what string) {
			t.Helper()
			has(what, "systemctl is-active gatehouse")
			m.answers(t, host, "alice", "secret", "success")
			m.answers(t, host, "alice", "wrong", "not-authorized")
		}

		out := m.installs(t, older)
		if !strings.Contains(out, notStarted) {
			t.Errorf("it does not say what to do next:\n%s", out)
		}
		has("after the installation",
			"[ $(systemctl is-enabled gatehouse) = disabled ]",
			"[ $(systemctl is-enabled gatehouse.socket) = disabled ]",
			"! systemctl is-active gatehouse gatehouse.socket",
			"systemctl is-active prosody",
			"getent passwd gatehouse | grep -q ':/var/lib/gatehouse:/usr/sbin/nologin$'",
			"[ $(stat --format %U:%G:%a /etc/gatehouse) = root:gatehouse:750 ]",
			"[ $(stat --format %U:%G:%a /usr/bin/gatehouse) = root:root:755 ]",
			"[ -e /usr/share/man/man8/gatehouse.8.gz ] && [ -e /usr/share/man/man5/gatehouse.cfg.5.gz ]",
			"[ -e /usr/share/doc/gatehouse/docs/install.md ]")

		// A host beside those of Prosody's, in its config, which only its group may read.
		m.write(t, "/etc/prosody/conf.d/gatehouse.cfg.lua", "root:prosody", "640", strings.ReplaceAll(simple, "/etc/gatehouse/certs", "/etc/prosody/certs"))
		m.certify(t, "/etc/prosody/certs", "root:prosody", "640", host)
		m.write(t, scriptFile, "root", "755", script("secret"))
		m.fails(t, "systemctl start gatehouse") // it may not read the config
		m.sh(t, "adduser gatehouse prosody")
		m.fails(t, "systemctl start gatehouse")
		if log := m.sh(t, "journalctl --sync; journalctl --unit gatehouse --output cat"); !strings.Contains(log, "Is another server (Prosody, ejabberd) using it?") {
			t.Errorf("the journal does not say who has the port:\n%s", log)
		}
		m.sh(t, steps(t, "adduser gatehouse prosody"))
		serves("after the steps of docs/install.md")

		m.sh(t, "echo '# ours' >>/etc/default/gatehouse; echo >"+ours)
		c, err := xmpptest.Dial(m.clients)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Login(host, "bob", "secret", "laptop", trust); err != nil {
			t.Fatal(err)
		}
		before := m.property(t, "MainPID")
		if out := m.installs(t, newer); strings.Contains(out, notStarted) || strings.Contains(out, notRunning) {
			t.Errorf("the upgrade says\n%s", out)
		}
		if err := c.ExpectError("system-shutdown"); err != nil {
			t.Errorf("a client is told of the upgrade: %v", err)
		}
		serves("after an upgrade")
		has("after an upgrade", "grep -q ours /etc/default/gatehouse")
		if now := m.property(t, "MainPID"); now == before {
			t.Error("the upgrade has not restarted it")
		}
		m.sh(t, "systemctl stop gatehouse")
		if out := m.installs(t, newer); !strings.Contains(out, notRunning) {
			t.Errorf("the upgrade of a stopped service says\n%s", out)
		}
		has("after an upgrade of a stopped service", "! systemctl is-active gatehouse")
		starts := "systemctl reset-failed gatehouse || true; systemctl start gatehouse" // so often within seconds
		m.sh(t, starts)

		const kept = "getent passwd gatehouse; [ -e " + ours + " ]; "
		m.sh(t, "apt-get remove --yes gatehouse")
		has("after a removal", kept+"[ -d /var/lib/gatehouse ]; grep -q ours /etc/default/gatehouse", "! systemctl cat gatehouse", "! pgrep -u gatehouse")
		if out := m.installs(t, newer); strings.Contains(out, notStarted) || !strings.Contains(out, notRunning) {
			t.Errorf("the installation of what was enabled before says\n%s", out)
		}
		m.sh(t, starts)
		serves("installed again")

		m.sh(t, "apt-get purge --yes gatehouse")
		has("after a purge", kept+"[ ! -e /var/lib/gatehouse ]; [ ! -e /var/log/gatehouse ]; [ ! -e /etc/default/gatehouse ]",
			"! pgrep -u gatehouse", "! find /etc/systemd -name 'gatehouse*' | grep .")
		if out := m.installs(t, newer); !strings.Contains(out, notStarted) {
			t.Errorf("the installation after a purge says\n%s", out)
		}
		m.sh(t, "systemctl enable gatehouse; "+starts)
		serves("after a purge and another installation")
		m.reboot(t)
		serves("after a reboot")
	})
}
