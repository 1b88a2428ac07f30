package integration

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRelay_links takes each kind of way to the server behind. Where it is not what the config asks for, no ticket goes
// over it.
func TestRelay_links(t *testing.T) {
	t.Parallel()
	r := newRelay(t, "gatehouse")
	socket := filepath.Join(r.dir(), "prosody.sock")
	newTapAt(t, "unix", socket, r.backend.address)
	plainly := newTap(t, r.backend.address)
	secured := newTap(t, r.backend.direct)
	without := newTap(t, "") // offers no STARTTLS
	r.begin(t)
	for _, test := range []struct {
		name     string
		upstream string
		tls      any
		trust    bool
		tlsName  any
		right    string
		cause    string // in the log
	}{
		{"socket", socket, nil, false, nil, "success", ""},
		{"socket, by its URL", "unix:" + socket, nil, false, nil, "success", ""},
		{"STARTTLS", plainly.address, "starttls", true, nil, "success", ""},
		{"direct TLS", secured.address, "direct", true, nil, "success", ""},
		{"STARTTLS over a socket", socket, "starttls", true, nil, "success", ""},
		{"another name in the certificate", secured.address, "direct", true, "certificates.localhost", "success", ""},
		{"STARTTLS, an unknown authority", plainly.address, "starttls", false, nil, temporary, "not secure"},
		{"direct TLS, an unknown authority", secured.address, "direct", false, nil, temporary, "not secure"},
		{"a name that is not in the certificate", secured.address, "direct", true, "elsewhere.example", temporary, "not secure"},
		{"no STARTTLS there", without.address, "starttls", true, nil, temporary, "offers no STARTTLS"},
		{"no TLS there", plainly.address, "direct", true, nil, temporary, ""},
		{"TLS where none is expected", secured.address, "none", false, nil, temporary, ""},
	} {
		r.set("gatehouse_upstream", test.upstream)
		r.set("gatehouse_upstream_tls", test.tls)
		r.set("gatehouse_upstream_trust", nil)
		if test.trust {
			r.set("gatehouse_upstream_trust", r.backend.ca)
		}
		r.set("gatehouse_upstream_tls_name", test.tlsName)
		r.set("gatehouse_upstream_timeout", 2)
		r.reload(t)
		before := len(r.reloadable.log.String())
		got, took := r.login(t, "alice", relayAccounts["alice"])
		if got != test.right || took > 3*time.Second {
			t.Errorf("%s: %q after %v, want %q", test.name, got, took, test.right)
		}
		r.says(t, before, test.cause)
	}
	for _, way := range []*tap{plainly, secured, without} {
		if strings.Contains(way.sent.String(), "<auth") {
			t.Error("a ticket went over the way unencrypted")
		}
	}
}
