package systemd

import (
	"crypto/tls"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

const (
	configFile = "/etc/gatehouse/gatehouse.cfg.lua"
	scriptFile = "/home/operator/auth.sh"
	dropIns    = "/etc/systemd/system/gatehouse.service.d"
	host       = "example.test"
)

// simple is a config with one host, whose script is the one of script.
const simple = `
VirtualHost "` + host + `"
	certificate = "/etc/gatehouse/certs/` + host + `.crt"
	authentication = "external"
	external_auth_command = "` + scriptFile + `"
`

// script answers yes to these passwords, and to no other.
func script(passwords ...string) string {
	return `#!/bin/sh
while IFS=: read -r command user host password; do
	case $password in ` + strings.Join(passwords, "|") + `) echo 1 ;; *) echo 0 ;; esac
done
`
}

// setUp gives the service a config, the script, a certificate for each of the hosts and a drop-in, if there is one, and
// does not start it. All of that is undone when the test ends.
func (m *machine) setUp(t *testing.T, config, dropIn string, hosts ...string) {
	t.Helper()
	m.write(t, "/etc/default/gatehouse", "root", "644", "GATEHOUSE_CONFIG="+configFile+"\n")
	m.write(t, configFile, "root:gatehouse", "640", config)
	m.write(t, scriptFile, "root", "755", script("secret"))
	for _, h := range append(hosts, host) {
		m.certify(t, "/etc/gatehouse/certs", "root:gatehouse", "640", h)
	}
	if dropIn != "" {
		m.write(t, dropIns+"/test.conf", "root", "644", "[Service]\n"+dropIn)
	}
	m.sh(t, "systemctl daemon-reload")
	t.Cleanup(func() {
		m.sh(t, "systemctl stop gatehouse.socket gatehouse.service; systemctl reset-failed gatehouse.socket gatehouse.service 2>/dev/null || true; "+
			"rm -rf "+dropIns+" /var/lib/gatehouse; systemctl daemon-reload")
	})
}

// certify makes a certificate, and returns it.
func (m *machine) certify(t *testing.T, dir, owner, mode, host string) *xmpptest.Pair {
	t.Helper()
	pair, err := ca.Issue(xmpptest.ECDSA, host)
	if err != nil {
		t.Fatal(err)
	}
	m.write(t, dir+"/"+host+".crt", owner, mode, string(pair.CertPEM))
	m.write(t, dir+"/"+host+".key", owner, mode, string(pair.KeyPEM))
	return pair
}

// TestService_start: with a config that is not right the service does not start, is not tried again, and says why; with one
// that is, it is started when it serves.
func TestService_start(t *testing.T) {
	onEach(t, serving, func(t *testing.T, m *machine) {
		m.setUp(t, simple, "")
		for _, bad := range []struct{ deed, why string }{
			{"rm " + configFile, configFile + ": no such file or directory"},
			{"echo 'VirtualHost(' >" + configFile + "; chgrp gatehouse " + configFile, configFile + ":1: "},
			{"echo 'VirtualHost \"x\"' >" + configFile + "; chmod 600 " + configFile, configFile + ": may not be read by "},
		} {
			m.sh(t, bad.deed)
			m.fails(t, "systemctl start gatehouse")
			for property, want := range map[string]string{"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0"} {
				if got := m.property(t, property); got != want {
					t.Errorf("after %s: %s is %s, want %s", bad.deed, property, got, want)
				}
			}
			if shown := m.sh(t, "systemctl status --no-pager gatehouse || true"); !strings.Contains(shown, bad.why) {
				t.Errorf("after %s systemctl status does not say %q:\n%s", bad.deed, bad.why, shown)
			}
		}
		m.sh(t, "rm "+configFile)
		m.write(t, configFile, "root:gatehouse", "640", "c2s_direct_tls_ports = { 443 }\n"+simple)
		m.sh(t, "systemctl start gatehouse")
		privileged, err := xmpptest.DialTLS(strings.TrimSuffix(m.clients, "5222")+"443", &tls.Config{RootCAs: ca.Pool(), ServerName: host})
		if err != nil {
			t.Fatal(err)
		}
		defer privileged.Close()
		m.answers(t, host, "alice", "secret", "success")
		m.answers(t, host, "alice", "wrong", "not-authorized")
		if got, want := m.property(t, "StatusText"), "serving 1 host(s) on 4 port(s)"; got != want {
			t.Errorf("the status is %q, want %q", got, want)
		}
	})
}

// TestService_exposure: systemd finds nothing to say about the units, but for the type that 252 does not know, and rates what
// it runs at most 2.0, of 10, and as docs/install.md says.
func TestService_exposure(t *testing.T) {
	onEach(t, serving, func(t *testing.T, m *machine) {
		verified := m.sh(t, "systemd-analyze verify --man=no gatehouse.service gatehouse.socket 2>&1 || true")
		const unknown = "/lib/systemd/system/gatehouse.service:17: Failed to parse service type, ignoring: notify-reload"
		if want := map[string]string{"bookworm": unknown, "trixie": ""}[m.release]; verified != want {
			t.Errorf("systemd-analyze verify says %q, want %q", verified, want)
		}
		out := m.sh(t, "systemd-analyze security --no-pager gatehouse.service")
		rating := regexp.MustCompile(`Overall exposure level for gatehouse\.service: ([0-9.]+)`).FindStringSubmatch(out)
		if rating == nil {
			t.Fatalf("no rating in %q", out)
		}
		if score, err := strconv.ParseFloat(rating[1], 64); err != nil || score > 2.0 {
			t.Errorf("rated %s, want at most 2.0\n%s", rating[1], out)
		}
		if said := "`systemd-analyze security gatehouse` says " + rating[1] + " of 10"; !strings.Contains(page(t, "install.md"), said) {
			t.Errorf("docs/install.md does not say that %s", said)
		}
	})
}

// TestService_scripts: scripts in three languages work within the unit's limits, over a terminal, from a directory under
// /home. The limits are there, and what docs/install.md says gives them back.
func TestService_scripts(t *testing.T) {
	// All print without flushing, which nobody would see soon if it were not for the terminal.
	scripts := map[string]string{
		"perl.test": `#!/usr/bin/perl
while (<STDIN>) { print /:secret$/ && -t STDIN ? "1\n" : "0\n" }
`,
		"python.test": `#!/usr/bin/env python3
import os, sys
for query in sys.stdin:
    print(int(query.endswith(":secret\n") and os.isatty(0)))
`,
		"sh.test": `#!/bin/sh
while IFS=: read -r command user host password; do
	case $password in
	secret) [ -t 0 ] ;;
	tmp) echo >/tmp/x && [ ! -e /tmp/seen-by-all ] ;;
	state) echo >/var/lib/gatehouse/x ;;
	logs) echo >/var/log/gatehouse/x ;;
	runtime) echo >/run/gatehouse/x ;;
	etc) echo >/etc/gatehouse/x ;;
	home) echo >/home/operator/x ;;
	srv) echo >/srv/accounts/x ;;
	processes) [ -e /proc/1 ] ;;
	devices) [ -e /dev/kmsg ] || [ -e /dev/fuse ] ;;
	sudo) [ "$(sudo -n id -u)" = 0 ] ;;
	*) false ;;
	esac && echo 1 || echo 0
done
`,
	}
	const may, not = "success", "not-authorized"
	onEach(t, serving, func(t *testing.T, m *machine) {
		var config strings.Builder
		var hosts []string
		for h, text := range scripts {
			hosts = append(hosts, h)
			m.write(t, "/home/operator/"+h, "root", "755", text)
			fmt.Fprintf(&config, "VirtualHost %q\ncertificate = \"/etc/gatehouse/certs/%s.crt\"\nauthentication = \"external\"\nexternal_auth_command = \"/home/operator/%s\"\n", h, h, h)
		}
		m.setUp(t, config.String(), "", hosts...)
		m.write(t, "/etc/sudoers.d/gatehouse", "root", "440", "gatehouse ALL=(ALL) NOPASSWD: ALL\n")
		m.sh(t, "install -d -o gatehouse /srv/accounts; chown gatehouse /home/operator; touch /tmp/seen-by-all; systemctl start gatehouse")
		for h := range scripts {
			m.answers(t, h, "alice", "secret", may)
			m.answers(t, h, "alice", "wrong", not)
		}
		for deed, want := range map[string]string{
			"tmp": may, "state": may, "logs": may, "runtime": may,
			"etc": not, "home": not, "srv": not, "processes": not, "devices": not, "sudo": not,
		} {
			m.answers(t, "sh.test", "alice", deed, want)
		}

		m.write(t, dropIns+"/test.conf", "root", "644", "[Service]\nReadWritePaths=/srv/accounts\nProtectHome=no\nReadWritePaths=/home/operator\n")
		m.sh(t, "cp /usr/share/doc/gatehouse/examples/scripts-with-sudo.conf "+dropIns+"; systemctl daemon-reload; systemctl restart gatehouse")
		for deed, want := range map[string]string{"secret": may, "srv": may, "home": may, "sudo": may, "etc": not} {
			m.answers(t, "sh.test", "alice", deed, want)
		}
	})
}
