package integration

import (
	"strings"
	"testing"
	"time"
)

// TestRelay_backPressure sends more to a client than it reads. What it has not read yet waits in the server behind, and
// not in gatehouse; and in the end it arrives.
func TestRelay_backPressure(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	lazy := r.alice(t, "lazy")
	if err := lazy.Ping(); err != nil {
		t.Fatal(err)
	}
	before := r.memory(t, "VmRSS")
	const count, size = 400, 30_000
	body := r.flood(t, count, size)
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

// TestRelay_shutdownUnread ends gatehouse while a client does not read, and much waits for it: it is not waited for.
func TestRelay_shutdownUnread(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	lazy := r.alice(t, "lazy")
	if err := lazy.Ping(); err != nil {
		t.Fatal(err)
	}
	r.flood(t, 300, 30_000)
	began := time.Now()
	r.reloadable.stop(t)
	took := time.Since(began)
	t.Logf("gatehouse has ended after %v", took)
	if took > 8*time.Second {
		t.Error("gatehouse waits for a client that does not read")
	}
}

// flood sends so many messages to the resource "lazy" of alice, and returns the body of each.
func (r *relay) flood(t testing.TB, count, size int) (body string) {
	t.Helper()
	bob, _ := session(t, r.address, "localhost", "bob", relayAccounts["bob"], "phone")
	body = strings.Repeat("x", size)
	for range count {
		if err := bob.Sendf("<message to='alice@localhost/lazy' type='chat'><body>%s</body></message>", body); err != nil {
			t.Fatal(err)
		}
	}
	if err := bob.Ping(); err != nil { // Prosody has seen all of it
		t.Fatal(err)
	}
	return body
}
