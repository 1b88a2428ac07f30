package ticket

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func issue(t *testing.T, tickets *Tickets, user, host string) string {
	t.Helper()
	ticket, err := tickets.Issue(user, host)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// redeem is of tickets that are this process's own, where nothing can fail.
func redeem(t *testing.T, tickets *Tickets, ticket, user, host string) bool {
	t.Helper()
	good, err := tickets.Redeem(ticket, user, host)
	if err != nil {
		t.Error(err)
	}
	return good
}

func TestTickets_haveTheirShape(t *testing.T) {
	tickets := New(nil)
	seen := make(map[string]bool)
	for range 1000 {
		ticket := issue(t, tickets, "alice", "example.com")
		if !LooksLike(ticket) {
			t.Fatal("a ticket does not look like one")
		}
		secret, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(ticket, "ght_"))
		if err != nil || len(secret) != 32 {
			t.Fatalf("%d bytes of secret, %v", len(secret), err)
		}
		if seen[ticket] || bytes.Equal(secret, make([]byte, 32)) {
			t.Fatal("a ticket is not random")
		}
		seen[ticket] = true
	}
}

func TestTickets_redeem(t *testing.T) {
	for name, c := range map[string]struct {
		after      time.Duration
		user, host string
		change     func(string) string
		want       bool
	}{
		"at once":        {0, "alice", "example.com", nil, true},
		"just in time":   {TTL - 1, "alice", "example.com", nil, true},
		"a moment late":  {TTL, "alice", "example.com", nil, false},
		"another user":   {0, "bob", "example.com", nil, false},
		"another host":   {0, "alice", "example.net", nil, false},
		"moved boundary": {0, "alice@example", "com", nil, false},
		"no user":        {0, "", "example.com", nil, false},
		"cut":            {0, "alice", "example.com", func(s string) string { return s[:len(s)-1] }, false},
		"longer":         {0, "alice", "example.com", func(s string) string { return s + "A" }, false},
		"without prefix": {0, "alice", "example.com", func(s string) string { return s[len(prefix):] }, false},
		"other prefix":   {0, "alice", "example.com", func(s string) string { return "GHT_" + s[len(prefix):] }, false},
		"nothing":        {0, "alice", "example.com", func(string) string { return "" }, false},
		"same bits, other spelling": {0, "alice", "example.com", func(s string) string {
			const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			last := strings.IndexByte(alphabet, s[len(s)-1])
			return s[:len(s)-1] + alphabet[last+1:last+2] // its lowest two bits are not used
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tickets := New(nil)
				ticket := issue(t, tickets, "alice", "example.com")
				time.Sleep(c.after)
				if c.change != nil {
					ticket = c.change(ticket)
				}
				if got := redeem(t, tickets, ticket, c.user, c.host); got != c.want {
					t.Errorf("got %v, want %v", got, c.want)
				}
			})
		})
	}
}

func TestTickets_areGoodOnce(t *testing.T) {
	tickets := New(nil)
	first, second := issue(t, tickets, "alice", "example.com"), issue(t, tickets, "alice", "example.com")
	for i, want := range []bool{true, false, false} {
		if got := redeem(t, tickets, first, "alice", "example.com"); got != want {
			t.Errorf("time %d: got %v, want %v", i, got, want)
		}
	}
	if !redeem(t, tickets, second, "alice", "example.com") {
		t.Error("a ticket is not good after another one of the same user was used")
	}
}

func TestTickets_shownByAnotherAreUsedUp(t *testing.T) {
	tickets := New(nil)
	ticket := issue(t, tickets, "alice", "example.com")
	if redeem(t, tickets, ticket, "mallory", "example.com") {
		t.Error("good for another user")
	}
	if redeem(t, tickets, ticket, "alice", "example.com") {
		t.Error("good after another user has shown it")
	}
}

func TestTickets_oneOfManyWins(t *testing.T) {
	tickets := New(nil)
	for range 200 {
		ticket := issue(t, tickets, "alice", "example.com")
		var won atomic.Int32
		var wg sync.WaitGroup
		start := make(chan struct{})
		for range 8 {
			wg.Go(func() {
				<-start
				if redeem(t, tickets, ticket, "alice", "example.com") {
					won.Add(1)
				}
			})
		}
		close(start)
		wg.Wait()
		if n := won.Load(); n != 1 {
			t.Fatalf("%d redeemed one ticket", n)
		}
	}
}

func TestTickets_areBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tickets := New(nil)
		first := issue(t, tickets, "alice", "example.com")
		time.Sleep(TTL / 2)
		for range maxTickets - 1 {
			issue(t, tickets, "alice", "example.com")
		}
		if _, err := tickets.Issue("alice", "example.com"); !errors.Is(err, ErrFull) {
			t.Fatalf("one too many: %v", err)
		}
		if !redeem(t, tickets, first, "alice", "example.com") {
			t.Fatal("the first was lost")
		}
		issue(t, tickets, "alice", "example.com") // in the place of the first
		if _, err := tickets.Issue("alice", "example.com"); !errors.Is(err, ErrFull) {
			t.Fatalf("one too many again: %v", err)
		}
		time.Sleep(TTL)
		issue(t, tickets, "alice", "example.com")
		if n := len(tickets.byHash); n != 1 || tickets.order.Len() != 1 {
			t.Errorf("%d tickets and %d in order are kept after all but one expired", n, tickets.order.Len())
		}
	})
}

func TestLooksLike(t *testing.T) {
	good := "ght_" + strings.Repeat("aZ09-_x", 6) + "A"
	for password, want := range map[string]bool{
		good:                        true,
		"":                          false,
		"ght_":                      false,
		good[:len(good)-1]:          false,
		good + "A":                  false,
		good[:len(good)-1] + "=":    false,
		good[:len(good)-1] + "+":    false,
		good[:len(good)-1] + "/":    false,
		good[:len(good)-1] + "\x00": false,
		good[:len(good)-2] + "é":    false,
		"GHT_" + good[4:]:           false,
		" " + good:                  false,
		good + "\n":                 false,
	} {
		if got := LooksLike(password); got != want {
			t.Errorf("%q: got %v", password, got)
		}
	}
}

func FuzzRedeem(f *testing.F) {
	f.Add("ght_"+strings.Repeat("A", 43), "alice", "example.com")
	f.Add("", "", "")
	f.Add("ght_", "alice@example", "com")
	f.Fuzz(func(t *testing.T, password, user, host string) {
		tickets := New(nil)
		ticket, err := tickets.Issue("alice", "example.com")
		if err != nil {
			t.Fatal(err)
		}
		if redeem(t, tickets, password, user, host) || redeem(t, tickets, password, "alice", "example.com") {
			t.Fatal("redeemed what was never issued")
		}
		mine := user+"@"+host == "alice@example.com"
		if redeem(t, tickets, ticket, user, host) != mine {
			t.Fatal("the ticket is not good for its owner only")
		}
		if LooksLike(password) && len(password) != len(ticket) {
			t.Fatal("looks like a ticket, and has another length")
		}
	})
}

func BenchmarkIssueRedeem(b *testing.B) {
	tickets := New(nil)
	b.ReportAllocs()
	for b.Loop() {
		ticket, _ := tickets.Issue("alice", "example.com")
		if good, _ := tickets.Redeem(ticket, "alice", "example.com"); !good {
			b.Fatal("refused")
		}
	}
}
