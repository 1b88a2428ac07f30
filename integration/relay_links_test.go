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

// TestRelay_backPressure sends more to a client than it reads. What it has not read yet waits in the server behind, and
// not in gatehouse; and in the end it arrives.
func TestRelay_backPressure(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	lazy := r.alice(t, "lazy")
	if err := lazy.Ping(); err != nil {
		t.Fatal(err)
	}
	bob, _ := session(t, r.address, "localhost", "bob", relayAccounts["bob"], "phone")
	const count, size = 400, 30_000
	before := r.memory(t, "VmRSS")
	body := strings.Repeat("x", size)
	for range count {
		if err := bob.Sendf("<message to='alice@localhost/lazy' type='chat'><body>%s</body></message>", body); err != nil {
			t.Fatal(err)
		}
	}
	if err := bob.Ping(); err != nil { // Prosody has seen all of it
		t.Fatal(err)
	}
	grown := r.memory(t, "VmRSS") - before
	t.Logf("gatehouse has grown by %d KiB for %d KiB that wait", grown, count*size/1024)
	if grown > count*size/1024/3 {
		t.Error("what a client does not read waits in gatehouse")
	}
	for n := range count {
		m, err := lazy.Expect("message")
		if err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
		if got := m.Child("body").Text; got != body {
			t.Fatalf("message %d has %d bytes", n, len(got))
		}
	}
}
