package integration

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// ask puts one question to a front, as the server behind does, and returns the answer.
func (f *front) ask(t testing.TB, query string) string {
	t.Helper()
	cmd := exec.Command(gatehouse, "extauth", "--protocol", "generic", "--socket", filepath.Join(f.dir, "extauth.sock"))
	cmd.Stdin = strings.NewReader(query + "\n")
	out, err := cmd.Output()
	if err != nil {
		return fmt.Sprint("cannot say: ", err)
	}
	return strings.TrimSpace(string(out))
}

// handOver begins a login by password at the front, whose server behind never answers, and returns the ticket that it got.
func (f *front) handOver(t testing.TB, behind *tap) string {
	t.Helper()
	c, err := dial(t, f.address, "starttls", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Sendf("<auth xmlns='%s' mechanism='PLAIN'>%s</auth>", xmpptest.NSSASL, encoded(plain("alice", "secret"))); err != nil {
		t.Fatal(err)
	}
	return behind.secret(t)
}

// TestState_tickets: a ticket that one front gave out is good at another, once. While the Redis hangs, one is good at the
// front that gave it out, and logins by password do not wait for the Redis.
func TestState_tickets(t *testing.T) {
	t.Parallel()
	s, url := startRedis(t)
	var fronts []*front
	var behind []*tap
	for range 2 {
		b := newTap(t, "")
		f := startFront(t, url, options{"gatehouse_upstream": b.address, "gatehouse_extauth_socket": "extauth.sock"})
		fronts, behind = append(fronts, f), append(behind, b)
	}
	ticket := fronts[0].handOver(t, behind[0])
	for i, want := range []string{"1", "0", "0"} {
		if got := fronts[(i+1)%2].ask(t, "auth:alice:localhost:"+ticket); got != want {
			t.Errorf("question %d: %q, want %q", i, got, want)
		}
	}
	s.Signal(t, syscall.SIGSTOP)
	defer s.Signal(t, syscall.SIGCONT)
	began := time.Now()
	ticket = fronts[1].handOver(t, behind[1])
	if took := time.Since(began); took > 900*time.Millisecond {
		t.Errorf("a login by password has waited for the Redis: %v", took)
	}
	if got := fronts[0].ask(t, "auth:alice:localhost:"+ticket); got == "1" {
		t.Errorf("elsewhere, while the Redis hangs: %q", got)
	}
	if got := fronts[1].ask(t, "auth:alice:localhost:"+ticket); got != "1" {
		t.Errorf("where it was given out: %q", got)
	}
	if got := fronts[1].ask(t, "auth:alice:localhost:"+ticket); got == "1" {
		t.Errorf("a second time: %q", got)
	}
}
