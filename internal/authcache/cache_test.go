package authcache

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// bubble runs a test with its own clock, a script that takes a second and a cache that remembers.
func bubble(t *testing.T, s Settings, f func(*testing.T, *fakeScript, *Cache[int])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		script := newFakeScript(time.Second)
		c := New(script.ask)
		defer c.Close()
		c.Set(s)
		f(t, script, c)
	})
}

func TestCache_lives(t *testing.T) {
	bubble(t, Settings{Yes: time.Minute, No: 10 * time.Second, Entries: 10}, func(t *testing.T, script *fakeScript, c *Cache[int]) {
		expect(t, c, "alice", "secret", "yes from script")
		expect(t, c, "alice", "wrong", "no from script")
		script.set("alice", "changed elsewhere")
		expect(t, c, "alice", "secret", "yes from cache")
		expect(t, c, "alice", "wrong", "no from cache")
		time.Sleep(9*time.Second - time.Nanosecond) // a life begins when the question is put
		expect(t, c, "alice", "wrong", "no from cache")
		time.Sleep(time.Nanosecond)
		expect(t, c, "alice", "wrong", "no from script")
		time.Sleep(48*time.Second - time.Nanosecond)
		expect(t, c, "alice", "secret", "yes from cache")
		time.Sleep(time.Nanosecond)
		expect(t, c, "alice", "secret", "no from script")
		expect(t, c, "alice", "changed elsewhere", "yes from script")
		time.Sleep(2 * time.Minute)
		if s := c.Stats(); s.Yes != 0 || s.No != 0 {
			t.Errorf("long after: %+v", s)
		}
	})
}

func TestCache_outage(t *testing.T) {
	bubble(t, Settings{Yes: time.Minute, No: time.Minute, Outage: time.Hour, Entries: 10}, func(t *testing.T, script *fakeScript, c *Cache[int]) {
		expect(t, c, "alice", "secret", "yes from script")
		expect(t, c, "bob", "hunter2", "yes from script")
		expect(t, c, "alice", "wrong", "no from script")
		time.Sleep(10 * time.Minute)
		script.set("bob", "moved on")
		expect(t, c, "bob", "hunter2", "no from script") // that ends the old yes
		time.Sleep(10 * time.Minute)
		script.fail(errDown)
		a, err := c.Authenticate(t.Context(), "alice", "example.org", "secret")
		if verdict(a, err) != "yes from outage" || a.Outage != errDown || a.Age != 20*time.Minute+5*time.Second || a.Note == 0 {
			t.Errorf("%+v, %v", a, err)
		}
		expect(t, c, "alice", "wrong", "error: the script is down")
		expect(t, c, "alice", "never seen", "error: the script is down")
		expect(t, c, "bob", "hunter2", "error: the script is down")
		time.Sleep(40*time.Minute - 10*time.Second) // the look comes a second after the question
		expect(t, c, "alice", "secret", "yes from outage")
		expect(t, c, "alice", "secret", "error: the script is down")
		script.fail(nil)
		expect(t, c, "alice", "secret", "yes from script")
		want := fmt.Sprint(map[Source]uint64{FromScript: 9, FromShared: 0, FromCache: 0, FromOutage: 2})
		if got := fmt.Sprint(c.Stats().Answers); got != want {
			t.Errorf("answers %s, want %s", got, want)
		}
	})
}

// A cache for outages only: the script is always asked.
func TestCache_outageOnly(t *testing.T) {
	bubble(t, Settings{Outage: time.Hour, Entries: 10}, func(t *testing.T, script *fakeScript, c *Cache[int]) {
		expect(t, c, "alice", "secret", "yes from script")
		expect(t, c, "alice", "secret", "yes from script")
		script.fail(errDown)
		expect(t, c, "alice", "secret", "yes from outage")
		c.Forget("alice")
		expect(t, c, "alice", "secret", "error: the script is down")
	})
}

func TestCache_forget(t *testing.T) {
	bubble(t, Settings{Yes: time.Hour, No: time.Hour, Outage: 2 * time.Hour, Entries: 10}, func(t *testing.T, _ *fakeScript, c *Cache[int]) {
		for range 2 {
			expect(t, c, "alice", "secret", "yes from script")
			expect(t, c, "alice", "wrong", "no from script")
			expect(t, c, "bob", "hunter2", "yes from script")
			if n := c.Forget("alice"); n != 2 {
				t.Errorf("forgot %d", n)
			}
			expect(t, c, "alice", "secret", "yes from script")
			expect(t, c, "alice", "wrong", "no from script")
			expect(t, c, "bob", "hunter2", "yes from cache")
			if n := c.Clear(); n != 3 {
				t.Errorf("cleared %d", n)
			}
		}
		if n := c.Forget("nobody") + c.Clear(); n != 0 {
			t.Errorf("forgot %d of nothing", n)
		}
	})
}

// Who changes the settings changes what is remembered already.
func TestSet(t *testing.T) {
	bubble(t, Settings{Yes: time.Hour, No: time.Hour, Entries: 10}, func(t *testing.T, script *fakeScript, c *Cache[int]) {
		expect(t, c, "alice", "secret", "yes from script")
		expect(t, c, "bob", "hunter2", "yes from script")
		expect(t, c, "alice", "wrong", "no from script")
		time.Sleep(time.Minute)
		c.Set(Settings{Yes: time.Hour, No: time.Second, Entries: 1})
		if s := c.Stats(); s.Yes != 1 || s.No != 0 {
			t.Errorf("%+v", s)
		}
		expect(t, c, "bob", "hunter2", "yes from cache")
		c.Set(Settings{Yes: time.Second, Entries: 1})
		expect(t, c, "bob", "hunter2", "yes from script")
		c.Set(Settings{})
		if s := c.Stats(); s.Yes != 0 || s.No != 0 {
			t.Errorf("%+v", s)
		}
		for range 2 {
			expect(t, c, "bob", "hunter2", "yes from script")
		}
		if script.count() != 6 {
			t.Errorf("asked %d times", script.count())
		}
	})
}

// A stranger's guesses do not push out what is good, whoever's name they bear; nor do a user's own many passwords.
func TestCache_bounds(t *testing.T) {
	bubble(t, Settings{Yes: time.Hour * 24, No: 24 * time.Hour, Entries: 5000}, func(t *testing.T, script *fakeScript, c *Cache[int]) {
		script.think = 0
		for n := range 3000 {
			script.set(fmt.Sprint("user", n), "pw")
			expect(t, c, fmt.Sprint("user", n), "pw", "yes from script")
		}
		for n := range 3000 {
			expect(t, c, "alice", fmt.Sprint("guess", n), "no from script")
			expect(t, c, fmt.Sprint("user", n), "guess", "no from script")
		}
		if s := c.Stats(); s.Yes != 3000 || s.No != maxNoes {
			t.Errorf("%+v", s)
		}
		expect(t, c, "user0", "pw", "yes from cache")
		for n := range 100 { // a script may take many passwords of one user
			script.set("alice", fmt.Sprint("pw", n))
			expect(t, c, "alice", fmt.Sprint("pw", n), "yes from script")
		}
		for n := 90; n < 100; n++ {
			expect(t, c, "alice", fmt.Sprint("pw", n), "yes from cache")
		}
		if s := c.Stats(); s.Yes != 3010 {
			t.Errorf("%+v", s)
		}
		for n := range 2500 {
			script.set(fmt.Sprint("more", n), "pw")
			expect(t, c, fmt.Sprint("more", n), "pw", "yes from script")
		}
		if s := c.Stats(); s.Yes != 5000 {
			t.Errorf("%+v", s)
		}
		expect(t, c, "user600", "pw", "yes from cache")
		expect(t, c, "user0", "pw", "yes from script")
		if len(c.yeses.entries) != 5000 || len(c.yeses.users) > 5000 || len(c.noes.entries) != maxNoes {
			t.Errorf("the store has %d, %d, %d", len(c.yeses.entries), len(c.yeses.users), len(c.noes.entries))
		}
	})
}

// The other verdict takes the place of the first.
func TestCache_oneVerdictAPassword(t *testing.T) {
	bubble(t, Settings{Yes: time.Minute, No: time.Minute, Outage: time.Hour, Entries: 10}, func(t *testing.T, script *fakeScript, c *Cache[int]) {
		for n := range 6 {
			password, want := "secret", "yes from "
			if n%2 == 1 {
				password, want = "other", "no from "
			}
			script.set("alice", password)
			expect(t, c, "alice", "secret", want+"script")
			expect(t, c, "alice", "secret", want+"cache")
			if s := c.Stats(); s.Yes+s.No != 1 {
				t.Errorf("%+v", s)
			}
			time.Sleep(time.Minute)
		}
	})
}
