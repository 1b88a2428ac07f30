package guard

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// world is a guard with a judge behind it, who knows one password, in a bubble of synctest's time.
type world struct {
	t     *testing.T
	guard *Guard
	asked int // how often the judge was
	tried int // guesses
}

func newWorld(t *testing.T) *world { return &world{t: t, guard: New(Defaults())} }

const right = "right"

// login makes an attempt as a connection does, and says what became of it: "yes", "no", or the word of a Refusal.
func (w *world) login(from, user, secret string) (outcome string, waited time.Duration) {
	w.t.Helper()
	for {
		done, wait, err := w.guard.Try(netip.MustParseAddr(from), user, "a.example", secret, waited)
		var refusal Refusal
		switch {
		case errors.As(err, &refusal):
			return Reason(refusal).String(), waited
		case wait > 0:
			time.Sleep(wait)
			waited += wait
			continue
		}
		w.asked++
		done(secret == right, nil)
		if secret == right {
			return "yes", waited
		}
		return "no", waited
	}
}

func (w *world) want(what, from, user, secret, want string) time.Duration {
	w.t.Helper()
	got, waited := w.login(from, user, secret)
	if got != want {
		w.t.Errorf("%s: %s, want %s", what, got, want)
	}
	return waited
}

// guess has wrong passwords tried that never were before, and counts outcomes.
func (w *world) guess(n int, from, user string) map[string]int {
	w.t.Helper()
	outcomes := make(map[string]int)
	for range n {
		w.tried++
		outcome, _ := w.login(from, user, fmt.Sprint("guess ", w.tried))
		outcomes[outcome]++
	}
	return outcomes
}

func (w *world) wantOutcomes(what string, got map[string]int, want string) {
	w.t.Helper()
	if fmt.Sprint(got) != want {
		w.t.Errorf("%s: %v, want %s", what, got, want)
	}
}

const (
	home     = "192.0.2.1"
	attacker = "203.0.113.66"
)

var scenarios = map[string]func(*world){
	"a person tries five passwords": func(w *world) {
		for i := range 5 {
			if waited := w.want("wrong", home, "alice", fmt.Sprint(i), "no"); waited > 0 {
				w.t.Errorf("try %d waited %v", i+1, waited)
			}
			time.Sleep(10 * time.Second)
		}
		if waited := w.want("right", home, "alice", right, "yes"); waited > time.Second {
			w.t.Errorf("the right one waited %v", waited)
		}
		w.wantOutcomes("all is forgiven", w.guess(11, home, "alice"), "map[no:10 pair:1]")
	},
	"one address guesses one user": func(w *world) {
		began := time.Now()
		w.wantOutcomes("guesses", w.guess(100, attacker, "alice"), "map[no:10 pair:90]")
		if took := time.Since(began); took < 8*time.Second {
			w.t.Errorf("ten guesses took %v", took)
		}
		w.want("others from there", attacker, "bob", right, "yes")
		w.want("the user from elsewhere", home, "alice", right, "yes")
	},
	"half is forgotten with each half-life": func(w *world) {
		w.guess(20, attacker, "alice")
		time.Sleep(time.Minute)
		w.want("soon", attacker, "alice", "x", "pair")
		time.Sleep(29 * time.Minute)
		w.wantOutcomes("after a half-life", w.guess(20, attacker, "alice"), "map[no:5 pair:15]")
		time.Sleep(24 * time.Hour)
		w.wantOutcomes("a day later", w.guess(20, attacker, "alice"), "map[no:10 pair:10]")
	},
	"a guesser never gets far": func(w *world) {
		for range 7 * 24 * 60 { // the minutes of a week
			w.guess(1, attacker, "alice")
			time.Sleep(time.Minute)
		}
		if perDay := w.asked / 7; perDay < 300 || perDay > 350 {
			w.t.Errorf("%d guesses a day", perDay)
		}
	},
	"the old password in a phone at home": func(w *world) {
		for i := range 24 * 60 { // each minute of a day
			outcome, _ := w.login(home, "alice", "old")
			if outcome != "no" && outcome != "secret" {
				w.t.Fatalf("minute %d: %s", i, outcome)
			}
			if i%30 == 29 {
				if waited := w.want("the laptop", home, "alice", right, "yes"); waited > 0 {
					w.t.Errorf("the laptop waited %v", waited)
				}
				w.want("the sister", home, "bob", right, "yes")
			}
			time.Sleep(time.Minute)
		}
		w.want("a guest", home, "carol", right, "yes")
	},
	"the old password, where the new one never was": func(w *world) {
		for range 24 * 60 {
			_, _ = w.login(home, "alice", "old")
			time.Sleep(time.Minute)
		}
		w.want("the laptop", home, "alice", right, "yes")
	},
	"passwords sprayed over users": func(w *world) {
		w.want("who is at home there", attacker, "alice", right, "yes")
		outcomes := make(map[string]int)
		for i := range 10_000 {
			outcome, _ := w.login(attacker, fmt.Sprint("user", i), "123456")
			outcomes[outcome]++
		}
		// What fades while it waits lets some more through.
		if outcomes["no"] < 50 || outcomes["no"] > 60 || outcomes["no"]+outcomes["address"] != 10_000 {
			w.t.Errorf("%v", outcomes)
		}
		w.want("who is at home there", attacker, "alice", right, "yes")
		w.want("a user from elsewhere", home, "user7", right, "yes")
		w.want("another from there", attacker, "bob", right, "address")
	},
	"ten thousand addresses guess one user": func(w *world) {
		w.want("before", home, "alice", right, "yes")
		outcomes := make(map[string]int)
		for i := range 10_000 {
			outcome, _ := w.login(fmt.Sprintf("10.0.%d.%d", i/250, i%250), "alice", fmt.Sprint("guess ", i))
			outcomes[outcome]++
		}
		if outcomes["no"] < 50 || outcomes["no"] > 60 || outcomes["no"]+outcomes["user"] != 10_000 {
			w.t.Errorf("%v", outcomes)
		}
		if waited := w.want("at home", home, "alice", right, "yes"); waited > 0 {
			w.t.Errorf("at home it took %v", waited)
		}
		w.want("a typo at home", home, "alice", "rihgt", "no")
		w.want("on a journey", "198.51.100.9", "alice", right, "user")
		w.want("another user", "198.51.100.9", "bob", right, "yes")
		time.Sleep(time.Hour)
		w.want("on a journey, later", "198.51.100.9", "alice", right, "yes")
	},
	"an attacker with an account of his own": func(w *world) {
		outcomes := make(map[string]int)
		for i := range 200 {
			// The address would be free again if a success forgave all of it.
			w.want("his own", attacker, "mallory", right, "yes")
			outcome, _ := w.login(attacker, fmt.Sprint("user", i), "123456")
			outcomes[outcome]++
		}
		if outcomes["no"] > 60 {
			w.t.Errorf("%v", outcomes)
		}
		for i := range 200 {
			w.want("his own", attacker, "mallory", right, "yes")
			outcome, _ := w.login(attacker, "alice", fmt.Sprint("guess ", i))
			if outcome != "address" {
				w.t.Fatalf("guess %d: %s", i, outcome)
			}
		}
	},
	"success takes back what the pair has added": func(w *world) {
		for i := range 40 {
			w.want("a typo", home, fmt.Sprint("user", i), "x", "no")
			w.want("then right", home, fmt.Sprint("user", i), right, "yes")
		}
		for i := range 50 {
			w.want("others' typos", home, fmt.Sprint("another", i), "x", "no")
		}
	},
	"a /64 is one address": func(w *world) {
		outcomes := make(map[string]int)
		for i := range 30 {
			outcome, _ := w.login(fmt.Sprintf("2001:db8:0:1:%x::%x", i, i), "alice", fmt.Sprint(i))
			outcomes[outcome]++
		}
		w.wantOutcomes("guesses", outcomes, "map[no:10 pair:20]")
		w.want("the next /64", "2001:db8:0:2::1", "alice", right, "yes")
	},
	"IPv4 is IPv4, however it comes": func(w *world) {
		w.guess(20, "192.0.2.1", "alice")
		w.want("in IPv6's clothes", "::ffff:192.0.2.1", "alice", "x", "pair")
	},
	"loopback is not counted": func(w *world) {
		w.wantOutcomes("guesses", w.guess(500, "127.0.0.9", "alice"), "map[no:500]")
		w.wantOutcomes("guesses", w.guess(500, "::ffff:127.0.0.9", "alice"), "map[no:500]")
		w.wantOutcomes("guesses", w.guess(500, "::1", "alice"), "map[no:500]")
	},
	"who cannot say is not counted": func(w *world) {
		for i := range 100 {
			done, wait, err := w.guard.Try(netip.MustParseAddr(home), "alice", "a.example", fmt.Sprint(i), 0)
			if wait != 0 || err != nil {
				w.t.Fatalf("attempt %d: %v, %v", i, wait, err)
			}
			done(false, errors.New("the script is down"))
		}
		if n := w.guard.Stats().Counters; n != 0 {
			w.t.Errorf("%d counters are left", n)
		}
	},
	"other settings, and nothing is forgotten": func(w *world) {
		w.guess(8, attacker, "alice")
		s := Defaults()
		s.PerPair = 3
		w.guard.Set(s)
		w.want("fewer", attacker, "alice", "x", "pair")
		s.PerPair = 0
		w.guard.Set(s)
		w.wantOutcomes("no limit for pairs", w.guess(30, attacker, "alice"), "map[no:30]")
		s = Settings{HalfLife: time.Minute}
		w.guard.Set(s)
		w.wantOutcomes("no limit at all", w.guess(300, attacker, "alice"), "map[no:300]")
		s.Allow = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
		s.PerPair = 1
		w.guard.Set(s)
		w.want("allowed", attacker, "alice", "x", "no")
	},
	"forgiven": func(w *world) {
		w.guess(20, attacker, "alice")
		w.guess(20, attacker, "bob")
		w.want("before", attacker, "alice", right, "pair")
		if n, err := w.guard.Forgive(netip.Addr{}, "alice", "a.example"); n == 0 || err != nil {
			w.t.Error("nothing to forgive a user")
		}
		w.want("a user", attacker, "alice", right, "yes")
		w.want("not the other", attacker, "bob", right, "pair")
		if n, err := w.guard.Forgive(netip.MustParseAddr(attacker), "", ""); n == 0 || err != nil {
			w.t.Error("nothing to forgive an address")
		}
		w.want("an address", attacker, "bob", right, "yes")
		if n, err := w.guard.Forgive(netip.Addr{}, "", ""); n != 0 || err != nil {
			w.t.Errorf("nobody in particular had %d", n)
		}
	},
	"known for a month": func(w *world) {
		flood := func() {
			for i := range 200 {
				_, _ = w.login(fmt.Sprintf("10.1.0.%d", i), "alice", fmt.Sprint(i))
			}
		}
		w.want("at home", home, "alice", right, "yes")
		time.Sleep(29 * 24 * time.Hour)
		flood()
		w.want("29 days later", home, "alice", right, "yes")
		time.Sleep(31 * 24 * time.Hour)
		flood()
		w.want("31 days later", home, "alice", right, "user")
	},
	"known at eight addresses": func(w *world) {
		for i := range 9 {
			w.want("login", fmt.Sprintf("192.0.2.%d", i), "alice", right, "yes")
			time.Sleep(time.Hour)
		}
		for i := range 200 {
			_, _ = w.login(fmt.Sprintf("10.1.0.%d", i), "alice", fmt.Sprint(i))
		}
		w.want("the first", "192.0.2.0", "alice", right, "user")
		for i := 1; i < 9; i++ {
			w.want("a later one", fmt.Sprintf("192.0.2.%d", i), "alice", right, "yes")
		}
	},
}

func TestGuard_scenarios(t *testing.T) {
	for name, play := range scenarios {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { play(newWorld(t)) })
		})
	}
}
