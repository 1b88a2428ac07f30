package integration

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

const temporary = "temporary-auth-failure"

// works waits until the right password gets in again.
func (r *relay) works(t testing.TB) {
	t.Helper()
	until(t, "the right password gets in again", recovery, func() bool {
		got, _ := r.login(t, "alice", relayAccounts["alice"])
		if got != "success" && got != temporary {
			t.Fatalf("meanwhile: %q", got)
		}
		return got == "success"
	})
}

// TestRelay_backendStopped stops Prosody: who comes then hears at once that it is a passing trouble, and who has the
// wrong password hears so. Once Prosody is back, all is well.
func TestRelay_backendStopped(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	r.expect(t, "before", "alice", relayAccounts["alice"], "success")
	r.backend.signal(syscall.SIGTERM)
	for range 3 {
		got, took := r.login(t, "alice", relayAccounts["alice"])
		if got != temporary || took > time.Second {
			t.Errorf("without Prosody: %q after %v, want %q within a second", got, took, temporary)
		}
	}
	r.expect(t, "wrong password without Prosody", "alice", "wrong", "not-authorized")
	r.says(t, 0, "upstream is down")
	r.backend.start(t)
	r.works(t)
}

// TestRelay_backendPaused stops Prosody in its tracks: connections to it stand, and nobody answers.
func TestRelay_backendPaused(t *testing.T) {
	t.Parallel()
	r := newRelay(t, "gatehouse")
	const timeout = 2 * time.Second
	r.set("gatehouse_upstream_timeout", int(timeout.Seconds()))
	r.begin(t)
	c := r.alice(t, "phone")
	r.backend.signal(syscall.SIGSTOP)
	if err := c.Send("<iq type='get' id='patient' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>"); err != nil {
		t.Fatal(err)
	}
	got, took := r.login(t, "alice", relayAccounts["alice"])
	if got != temporary || took < timeout || took > timeout+time.Second {
		t.Errorf("while Prosody is paused: %q after %v, want %q after %v", got, took, temporary, timeout)
	}
	r.expect(t, "wrong password while Prosody is paused", "alice", "wrong", "not-authorized")
	r.backend.signal(syscall.SIGCONT)
	r.works(t)
	if answer, err := c.Expect("iq"); err != nil || answer.Attr("id") != "patient" {
		t.Errorf("who was in before: %v, %v", answer, err)
	}
}

// TestRelay_brokenOff ends the connection behind when the ticket was sent and not answered: gatehouse cannot know what has
// become of it.
func TestRelay_brokenOff(t *testing.T) {
	t.Parallel()
	r := newRelay(t, "gatehouse")
	deaf := newTap(t, "")
	r.set("gatehouse_upstream", []any{deaf.address, r.backend.address})
	r.begin(t)
	c, err := dial(t, r.address, "starttls", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	message := encoded(plain("alice", relayAccounts["alice"]))
	if err := c.Sendf("<auth xmlns='%s' mechanism='PLAIN'>%s</auth>", xmpptest.NSSASL, message); err != nil {
		t.Fatal(err)
	}
	deaf.secret(t)
	deaf.cut()
	began := time.Now()
	if answer, err := c.Expect("failure"); err != nil || answer.Condition() != temporary {
		t.Errorf("the login: %v, %v", answer, err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("the client heard of it after %v", took)
	}
	// The same stream may try again, and gets to the other server.
	if got, err := attempt(c, "PLAIN", plain("alice", relayAccounts["alice"])); err != nil || got != "success" {
		t.Errorf("the next try: %q, %v", got, err)
	}
}

// TestRelay_backendDies kills Prosody under a session: the client hears of it at once, and comes back when Prosody does.
func TestRelay_backendDies(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	c := r.alice(t, "phone")
	if err := c.Ping(); err != nil {
		t.Fatal(err)
	}
	r.backend.kill()
	expectLost(t, c)
	r.backend.start(t)
	r.works(t)
	if err := r.alice(t, "phone").Ping(); err != nil {
		t.Error(err)
	}
}

// expectLost wants the stream to end within a second, by remote-connection-failed or without a reason.
func expectLost(t testing.TB, c *xmpptest.Client) {
	t.Helper()
	began := time.Now()
	e, err := c.ReadElement()
	if err == nil && e.Is(xmpptest.NSStream, "error") {
		if e.Condition() != "remote-connection-failed" {
			t.Errorf("the stream ends with %s", e.Raw)
		}
		e, err = c.ReadElement()
	}
	if err != nil || !e.Footer {
		t.Errorf("no end of the stream: %v, %v", e, err)
	}
	if err := c.ExpectEOF(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("the client heard of it after %v", took)
	}
}

// TestRelay_legReset breaks the connection behind: the client is told why its stream ends.
func TestRelay_legReset(t *testing.T) {
	t.Parallel()
	r := newRelay(t, "gatehouse")
	way := newTap(t, r.backend.address)
	r.set("gatehouse_upstream", way.address)
	r.begin(t)
	c := r.alice(t, "phone")
	way.cut()
	if err := c.ExpectError("remote-connection-failed"); err != nil {
		t.Error(err)
	}
	r.expect(t, "afterwards", "alice", relayAccounts["alice"], "success")
}

// TestRelay_failOver has two ways to the server behind. While the first is closed the second one serves, and nobody
// notices; without both it is a passing trouble.
func TestRelay_failOver(t *testing.T) {
	t.Parallel()
	r := newRelay(t, "gatehouse")
	first, second := newTap(t, r.backend.address), newTap(t, r.backend.address)
	r.set("gatehouse_upstream", []any{first.address, second.address})
	r.begin(t)
	r.expect(t, "both open", "alice", relayAccounts["alice"], "success")
	if first.sent.String() == "" || second.sent.String() != "" {
		t.Error("the first way was not the one to be used")
	}
	lives := r.alice(t, "phone")
	first.close()
	for range 5 {
		r.expect(t, "the second open", "alice", relayAccounts["alice"], "success")
	}
	r.expect(t, "wrong password", "alice", "wrong", "not-authorized")
	if second.sent.String() == "" {
		t.Error("nobody came by the second way")
	}
	expectLost(t, lives)
	second.close()
	r.expect(t, "none open", "alice", relayAccounts["alice"], temporary)
}

// unbound is what Prosody's log says when a session of resource "phone" has ended.
const unbound = "Unbinding resource for alice@localhost/phone"

// TestRelay_shutdown ends gatehouse: clients are told so, and Prosody notices.
func TestRelay_shutdown(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	c := r.alice(t, "phone")
	r.reloadable.stop(t)
	if err := c.ExpectError("system-shutdown"); err != nil {
		t.Error(err)
	}
	until(t, "Prosody notices", patience, func() bool {
		return strings.Contains(r.backend.log.String(), unbound)
	})
}

// TestRelay_clientLeaves ends a session in each way: Prosody notices at once.
func TestRelay_clientLeaves(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	for n, leave := range []func(c *xmpptest.Client) error{
		func(c *xmpptest.Client) error { return c.Send("</stream:stream>") },
		func(c *xmpptest.Client) error { return c.Close() },
	} {
		c := r.alice(t, "phone")
		if err := leave(c); err != nil {
			t.Fatal(err)
		}
		until(t, "Prosody notices", 2*time.Second, func() bool {
			return strings.Count(r.backend.log.String(), unbound) == n+1
		})
	}
}

// TestRelay_crowdReturns kills Prosody under sixty sessions. All hear of it, all come back by themselves while it starts
// again, and none hears meanwhile that the password is wrong.
func TestRelay_crowdReturns(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	const people = 60
	clients := make([]*xmpptest.Client, people)
	for n := range clients {
		clients[n] = r.alice(t, fmt.Sprint("phone", n))
	}
	r.backend.kill()
	var group sync.WaitGroup
	defer group.Wait()
	for n, c := range clients {
		group.Go(func() {
			expectLost(t, c)
			for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
				got, err := authenticate(t, r.address, "localhost", "PLAIN", plain("alice", relayAccounts["alice"]))
				switch {
				case err == nil && got == "success":
					return
				case err != nil || got != temporary:
					t.Errorf("client %d on its way back: %q, %v", n, got, err)
					return
				}
			}
			t.Errorf("client %d does not get in again", n)
		})
	}
	r.backend.start(t)
}
