package integration

import (
	"encoding/xml"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// What Mozilla's intermediate profile allows of what gatehouse and OpenSSL have names for; below it
// nothing may be had.
var (
	intermediate13 = []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
	intermediate12 = []string{
		"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
		"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
		"ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
	}
	intermediateGroups = []string{"x25519", "secp256r1 (NIST P-256)", "secp384r1 (NIST P-384)"}
)

// sslscan is the part of its report that says what a port does.
type sslscan struct {
	Error     string `xml:"error"`
	Protocols []struct {
		Type    string `xml:"type,attr"`
		Version string `xml:"version,attr"`
		Enabled bool   `xml:"enabled,attr"`
	} `xml:"ssltest>protocol"`
	Renegotiation []struct {
		Supported bool `xml:"supported,attr"`
	} `xml:"ssltest>renegotiation"`
	Heartbleed []struct {
		Vulnerable bool `xml:"vulnerable,attr"`
	} `xml:"ssltest>heartbleed"`
	Ciphers []struct {
		Version string `xml:"sslversion,attr"`
		Name    string `xml:"cipher,attr"`
		Bits    int    `xml:"bits,attr"`
	} `xml:"ssltest>cipher"`
	Groups []struct {
		Version string `xml:"sslversion,attr"`
		Name    string `xml:"name,attr"`
	} `xml:"ssltest>group"`
}

// scan runs sslscan on a port of 127.0.0.1. It connects by the name localhost, which is what it asks for in the stream, too.
func scan(t *testing.T, address string, args ...string) sslscan {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report.xml")
	args = append(args, "--ipv4", "--no-colour", "--timeout=20", "--sni-name=localhost", "--xml="+file, "localhost:"+port)
	out, err := exec.Command("sslscan", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report sslscan
	if err := xml.Unmarshal(text, &report); err != nil || report.Error != "" {
		t.Fatalf("%v %s\n%s", err, report.Error, text)
	}
	return report
}

// check compares a report with the profile. Both lists must be whole, so that a scan that found nothing is no good news.
func (r sslscan) check(t *testing.T, versions, ciphers []string) {
	t.Helper()
	var enabled []string
	for _, p := range r.Protocols {
		if p.Enabled {
			enabled = append(enabled, strings.ToUpper(p.Type)+"v"+p.Version)
		}
	}
	if len(r.Protocols) != 6 || !slices.Equal(enabled, versions) {
		t.Errorf("%d protocols tried, enabled %q, want %q of 6", len(r.Protocols), enabled, versions)
	}
	var names []string
	for _, c := range r.Ciphers {
		names = append(names, c.Name)
		if !slices.Contains(versions, c.Version) || c.Bits < 128 {
			t.Errorf("%s %s with %d bits", c.Version, c.Name, c.Bits)
		}
	}
	slices.Sort(names)
	if want := slices.Sorted(slices.Values(ciphers)); !slices.Equal(names, want) {
		t.Errorf("ciphers\n%q, want\n%q", names, want)
	}
	for _, version := range versions {
		var groups []string
		for _, g := range r.Groups {
			if g.Version == version {
				groups = append(groups, g.Name)
			}
		}
		slices.Sort(groups)
		if want := slices.Sorted(slices.Values(intermediateGroups)); !slices.Equal(groups, want) {
			t.Errorf("%s: groups %q, want %q", version, groups, want)
		}
	}
	if len(r.Renegotiation) != 1 || r.Renegotiation[0].Supported {
		t.Errorf("renegotiation: %+v", r.Renegotiation)
	}
	for _, h := range r.Heartbleed {
		if h.Vulnerable {
			t.Error("heartbleed")
		}
	}
}

// TestTLS_scan has Debian's sslscan look at each kind of port: nothing below Mozilla's intermediate profile may be had there,
// whatever kind of key the certificate has and whatever an old config asks for; with tlsv1_3 or the modern profile it is TLS
// 1.3 alone.
func TestTLS_scan(t *testing.T) {
	t.Parallel()
	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	both := []string{"TLSv1.2", "TLSv1.3"}
	with := func(key string) []string {
		ciphers := slices.Clone(intermediate13)
		for _, name := range intermediate12 {
			if strings.HasPrefix(name, "ECDHE-"+key+"-") {
				ciphers = append(ciphers, name)
			}
		}
		return ciphers
	}
	cases := map[string]struct {
		key      xmpptest.KeyType
		ssl      options // beside the certificate
		global   options
		versions []string
		ciphers  []string
	}{
		"ecdsa": {xmpptest.ECDSA, nil, nil, both, with("ECDSA")},
		"rsa":   {xmpptest.RSA, nil, nil, both, with("RSA")},
		"old settings": {xmpptest.RSA, options{
			"protocol": "sslv23", "ciphers": "ALL:eNULL", "curve": "secp160r1", "options": []any{},
		}, options{"tls_profile": "legacy"}, both, with("RSA")},
		"tlsv1_3": {xmpptest.ECDSA, options{"protocol": "tlsv1_3"}, nil, both[1:], intermediate13},
		"modern":  {xmpptest.ECDSA, nil, options{"tls_profile": "modern"}, both[1:], intermediate13},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			pair, err := ca.Issue(c.key, "localhost")
			if err != nil {
				t.Fatal(err)
			}
			certificate, key, err := pair.Write(dir, "localhost")
			if err != nil {
				t.Fatal(err)
			}
			ssl := map[string]any{"certificate": certificate, "key": key}
			for name, value := range c.ssl {
				ssl[name] = value
			}
			s := installScript(t, dir, "auth", accounts("alice", "secret"))
			d := start(t, writeConfig(t, dir, []host{{"localhost", options{
				"authentication": "external", "external_auth_command": s.path, "ssl": ssl,
			}}}, baseOptions(dir), webPorts(0, 0), c.global))
			t.Run("starttls", func(t *testing.T) {
				scan(t, d.address(t, "starttls"), "--starttls-xmpp").check(t, c.versions, c.ciphers)
			})
			t.Run("direct", func(t *testing.T) {
				scan(t, d.address(t, "direct")).check(t, c.versions, c.ciphers)
			})
			t.Run("wss", func(t *testing.T) {
				scan(t, webWays(t, d)[1].address).check(t, c.versions, c.ciphers)
			})
		})
	}
}
