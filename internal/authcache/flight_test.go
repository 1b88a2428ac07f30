package authcache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestFlight_equalQuestionsAreAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := newFakeScript(time.Second)
		c := New(script.ask)
		defer c.Close()
		var wg sync.WaitGroup
		var mu sync.Mutex
		got := make(map[string]int)
		for n := range 300 {
			// A wrong password and another user's are in flight with the right one.
			q := [][2]string{{"alice", "secret"}, {"alice", "wrong"}, {"bob", "secret"}}[n%3]
			wg.Go(func() {
				a, err := c.Authenticate(t.Context(), q[0], "example.org", q[1])
				mu.Lock()
				defer mu.Unlock()
				got[q[0]+" "+q[1]+" "+verdict(a, err)]++
				if a.Note == 0 {
					t.Error("no note")
				}
			})
		}
		wg.Wait()
		want := map[string]int{
			"alice secret yes from script": 1, "alice secret yes from shared": 99,
			"alice wrong no from script": 1, "alice wrong no from shared": 99,
			"bob secret no from script": 1, "bob secret no from shared": 99,
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || script.count() != 3 {
			t.Errorf("%v, asked %d times", got, script.count())
		}
		expect(t, c, "alice", "secret", "yes from script") // without a cache, the next one asks again
	})
}

func TestFlight_anErrorIsOneForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := newFakeScript(time.Second)
		script.fail(errDown)
		c := New(script.ask)
		defer c.Close()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				a, err := c.Authenticate(t.Context(), "alice", "example.org", "secret")
				if a.Yes || !errors.Is(err, errDown) {
					t.Errorf("%+v, %v", a, err)
				}
			})
		}
		wg.Wait()
		if script.count() != 1 {
			t.Errorf("asked %d times", script.count())
		}
	})
}

// The one who came first goes; the others do not notice.
func TestFlight_outlivesWhoStartedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := newFakeScript(time.Second)
		c := New(script.ask)
		defer c.Close()
		first, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := c.Authenticate(first, "alice", "example.org", "secret")
			gone <- err
		}()
		synctest.Wait()
		stays := make(chan string)
		go func() { stays <- verdict(c.Authenticate(t.Context(), "alice", "example.org", "secret")) }()
		synctest.Wait()
		if s := c.Stats(); s.InFlight != 1 || s.Waiting != 2 {
			t.Errorf("%+v", s)
		}
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("the first: %v", err)
		}
		if got := <-stays; got != "yes from shared" || script.count() != 1 {
			t.Errorf("the second: %s, asked %d times", got, script.count())
		}
	})
}

// Nobody waits any more: the question is cancelled, and who comes then does not get its end for an answer.
func TestFlight_endsWithItsLastCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := newFakeScript(time.Hour)
		c := New(script.ask)
		defer c.Close()
		var wg sync.WaitGroup
		for n := range 5 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n+1)*time.Second)
				defer cancel()
				_, err := c.Authenticate(ctx, "alice", "example.org", "secret")
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := c.Stats().InFlight; n != 0 {
			t.Errorf("%d flights can be joined", n)
		}
		synctest.Wait()
		if script.cancelled != 1 || script.running != 0 {
			t.Errorf("%d cancelled, %d running", script.cancelled, script.running)
		}
		script.think = time.Second
		expect(t, c, "alice", "secret", "yes from script")
	})
}

// A password is changed while it is being asked about: who came before may get the verdict of before, who comes after
// never does, and nothing is remembered of it.
func TestFlight_notJoinedAfterAChange(t *testing.T) {
	for name, forget := range map[string]func(*Cache[int]){
		"the user": func(c *Cache[int]) { c.Forget("alice") },
		"all":      func(c *Cache[int]) { c.Clear() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				script := newFakeScript(time.Second)
				c := New(script.ask)
				defer c.Close()
				c.Set(Settings{Yes: time.Hour, No: time.Hour, Outage: time.Hour, Entries: 10})
				before, other := make(chan string), make(chan string)
				go func() { before <- verdict(c.Authenticate(t.Context(), "alice", "example.org", "secret")) }()
				synctest.Wait()
				script.set("alice", "new")
				forget(c)
				go func() { other <- verdict(c.Authenticate(t.Context(), "alice", "example.org", "new")) }()
				expect(t, c, "alice", "secret", "no from script")
				if got := <-before; got != "yes from script" {
					t.Errorf("before: %s", got)
				}
				if got := <-other; got != "yes from script" {
					t.Errorf("the new password: %s", got)
				}
				expect(t, c, "alice", "secret", "no from cache")
				expect(t, c, "alice", "new", "yes from cache")
			})
		})
	}
}

// An abandoned question that is seen through, and answered after a later one, does not undo that.
func TestFlight_abandonedLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan bool)
		c := New(func(context.Context, string, string, string) (int, bool, error) { return 1, <-answers, nil })
		defer c.Close()
		c.Set(Settings{Yes: time.Hour, No: time.Hour, Entries: 10})
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_, _ = c.Authenticate(ctx, "alice", "example.org", "secret")
		}()
		synctest.Wait()
		cancel()
		<-gone
		second := make(chan string)
		go func() { second <- verdict(c.Authenticate(t.Context(), "alice", "example.org", "secret")) }()
		synctest.Wait()
		answers <- false
		answers <- false
		if got := <-second; got != "no from script" {
			t.Error(got)
		}
		synctest.Wait()
		if s := c.Stats(); s.No != 1 || s.Yes != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestFlight_panicReachesTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(func(context.Context, string, string, string) (int, bool, error) {
			time.Sleep(time.Second)
			panic("out of cheese")
		})
		defer c.Close()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				defer func() {
					if p := fmt.Sprint(recover()); !strings.Contains(p, "out of cheese") || !strings.Contains(p, "flight_test.go") {
						t.Errorf("recovered %q", p)
					}
				}()
				a, err := c.Authenticate(t.Context(), "alice", "example.org", "secret")
				t.Errorf("%+v, %v", a, err)
			})
		}
		wg.Wait()
	})
}

// Whoever comes when it is closed, or with more than can be hashed, is answered alone.
func TestAuthenticate_alone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := newFakeScript(time.Second)
		long := strings.Repeat("x", maxFields)
		script.set("alice", long)
		c := New(script.ask)
		c.Set(Settings{Yes: time.Hour, Entries: 10})
		expect(t, c, "alice", long, "yes from script")
		expect(t, c, "alice", long, "yes from script")
		c.Close()
		script.set("alice", "secret")
		for range 2 {
			expect(t, c, "alice", "secret", "yes from script")
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if got := verdict(c.Authenticate(ended, "alice", "example.org", "secret")); got != "error: not asked: context canceled" {
			t.Error(got)
		}
		if script.count() != 4 || c.Stats().Yes != 0 {
			t.Errorf("asked %d times; %+v", script.count(), c.Stats())
		}
	})
}

// Close waits for questions that are being answered.
func TestClose_waits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := newFakeScript(time.Minute)
		c := New(script.ask)
		got := make(chan string, 1)
		go func() { got <- verdict(c.Authenticate(t.Context(), "alice", "example.org", "secret")) }()
		synctest.Wait()
		began := time.Now()
		c.Close()
		if took := time.Since(began); took != time.Minute || script.running != 0 {
			t.Errorf("closed after %v, %d running", took, script.running)
		}
		if v := <-got; v != "yes from script" {
			t.Error(v)
		}
	})
}
