package integration

import (
	"sync"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// TestRelay_leavesNothing lets five hundred people in, who leave in every way. What gatehouse took for them of the machine
// it gives back.
func TestRelay_leavesNothing(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	people := func(n int) {
		var group sync.WaitGroup
		next := make(chan int)
		for range 8 {
			group.Go(func() {
				for i := range next {
					r.visit(t, i)
				}
			})
		}
		for i := range n {
			next <- i
		}
		close(next)
		group.Wait()
	}
	people(40)
	settled := r.usage(t)
	until(t, "it is quiet before", patience, func() bool {
		last := settled
		settled = r.usage(t)
		return settled == last && r.metric(t, `gatehouse_connections{state="relay"}`) == 0
	})
	people(500)
	var after usage
	until(t, "everything is given back", patience, func() bool {
		after = r.usage(t)
		return after.goroutines <= settled.goroutines && after.descriptors <= settled.descriptors &&
			after.children <= settled.children
	})
	t.Logf("before %+v, after %+v", settled, after)
}

// visit is one session, with an end that depends on n.
func (r *relay) visit(t *testing.T, n int) {
	c, err := dial(t, r.address, "starttls", "localhost")
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	secret, right := relayAccounts["bob"], "success"
	if n%6 == 5 { // leaves while Prosody is being asked
		if err := c.Sendf("<auth xmlns='%s' mechanism='PLAIN'>%s</auth>", xmpptest.NSSASL, encoded(plain("bob", secret))); err != nil {
			t.Error(err)
		}
		return
	}
	if n%6 == 0 {
		secret, right = "wrong", "not-authorized"
	}
	if got, err := attempt(c, "PLAIN", plain("bob", secret)); err != nil || got != right {
		t.Errorf("visit %d: %q, %v; want %q", n, got, err, right)
		return
	}
	if n%6 <= 1 {
		return // without a stream
	}
	_, err = c.Open("localhost")
	if err == nil && n%6 > 2 {
		_, err = c.Bind("")
	}
	if err == nil && n%6 == 4 {
		if err = c.Send("</stream:stream>"); err == nil {
			err = c.ExpectEnd()
		}
	}
	if err != nil {
		t.Errorf("visit %d: %v", n, err)
	}
}
