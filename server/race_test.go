package server_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
	"gatehouse.im/gatehouse/server"
)

// checkLeaks fails if the test leaves goroutines or descriptors behind. It must
// be called before the fixture is started.
func checkLeaks(t *testing.T) {
	t.Helper()
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	t.Cleanup(func() {
		for end := time.Now().Add(10 * time.Second); ; {
			g, f := runtime.NumGoroutine(), openFiles(t)
			if g <= goroutines && f <= files {
				return
			}
			if time.Now().After(end) {
				stacks := make([]byte, 1<<16)
				t.Fatalf("%d goroutines and %d files, had %d and %d\n%s", g, f, goroutines, files,
					stacks[:runtime.Stack(stacks, true)])
			}
			time.Sleep(time.Millisecond)
		}
	})
}

func openFiles(t *testing.T) int {
	t.Helper()
	return len(must(os.ReadDir("/proc/self/fd"))(t))
}

// dialClear is dial for goroutines that are not the test's own.
func (f *fixture) dialClear() (*xmpptest.Client, error) {
	c, err := xmpptest.Dial(f.addr)
	if err == nil {
		c.Timeout = 30 * time.Second
	}
	return c, err
}

// loginClear leads c to where it may bind.
func loginClear(c *xmpptest.Client, user, password string) (answer string, err error) {
	if _, err := c.Open(host); err != nil {
		return "", err
	}
	e, err := c.AuthPlain(user, password)
	if err != nil || e.Name != "success" {
		return e.Condition(), err
	}
	_, err = c.Open(host)
	return "success", err
}

// Of many logins at once each gets its own answer.
func TestServer_manyLoginsAtOnce(t *testing.T) {
	checkLeaks(t)
	f := start(t, clearText)
	const logins = 500
	f.accounts.mu.Lock()
	for i := range logins {
		f.accounts.passwords[fmt.Sprintf("u%d", i)] = fmt.Sprintf("p%d", i)
	}
	f.accounts.mu.Unlock()
	var all sync.WaitGroup
	for i := range logins {
		all.Go(func() {
			c, err := f.dialClear()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			user, password, want := fmt.Sprintf("u%d", i), fmt.Sprintf("p%d", i), "success"
			if i%2 == 1 {
				password, want = fmt.Sprintf("p%d", i-1), "not-authorized"
			}
			got, err := loginClear(c, user, password)
			if err != nil || got != want {
				t.Errorf("%s: %s, %v; want %s", user, got, err, want)
				return
			}
			if want != "success" {
				return
			}
			if jid, err := c.Bind("r"); err != nil || jid != user+"@"+host+"/r" {
				t.Errorf("%s: bound %s, %v", user, jid, err)
			}
			if err := c.Ping(); err != nil {
				t.Errorf("%s: %v", user, err)
			}
		})
	}
	all.Wait()
}

// Of many clients that bind the same resource one is left, and all others hear
// that they were replaced.
func TestBind_sameResourceAtOnce(t *testing.T) {
	checkLeaks(t)
	f := start(t, clearText)
	const clients = 50
	var all, ready sync.WaitGroup
	var left, replaced atomic.Int32
	ready.Add(clients)
	for range clients {
		all.Go(func() {
			c, err := f.dialClear()
			if err != nil {
				t.Error(err)
				ready.Done()
				return
			}
			defer c.Close()
			_, err = loginClear(c, "alice", "secret")
			ready.Done()
			if err != nil {
				t.Error(err)
				return
			}
			ready.Wait()
			if err := c.Send(aBind("same")); err != nil {
				t.Error(err)
				return
			}
			if e, err := c.Expect("iq"); err != nil || e.Attr("type") != "result" {
				t.Errorf("bind: %v, %v", e, err)
				return
			}
			// Whoever is replaced hears it now; the one who is left hears
			// nothing until all others have.
			for {
				e, err := c.ReadElementIn(50 * time.Millisecond)
				switch {
				case err == nil && e.Condition() == "conflict":
					replaced.Add(1)
					if err := c.ExpectEnd(); err != nil {
						t.Error(err)
					}
					return
				case err == nil || !errors.Is(err, os.ErrDeadlineExceeded):
					t.Errorf("%v, %v", e, err)
					return
				case replaced.Load() == clients-1:
					if err := c.Ping(); err != nil {
						t.Error(err)
					}
					left.Add(1)
					return
				}
			}
		})
	}
	all.Wait()
	if left.Load() != 1 || replaced.Load() != clients-1 {
		t.Errorf("%d left, %d replaced", left.Load(), replaced.Load())
	}
}

func TestBind_conflictPolicies(t *testing.T) {
	for policy, want := range map[server.Conflict]string{
		server.KickOld: "r", server.Increment: "r#1", server.Random: "", server.KickNew: "conflict",
	} {
		t.Run(string(policy), func(t *testing.T) {
			f := start(t, clearText, func(c *server.Config) { c.Hosts[host].Conflict = policy })
			first, second := f.dial(), f.dial()
			must(loginClear(first, "alice", "secret"))(t)
			must(loginClear(second, "alice", "secret"))(t)
			must(first.Bind("r"))(t)
			jid, err := second.Bind("r")
			_, resource, _ := strings.Cut(jid, "/")
			switch {
			case policy == server.KickNew:
				if err == nil || !strings.Contains(err.Error(), "<conflict ") {
					t.Fatalf("bound %s, %v", jid, err)
				}
				// It may try another one.
				must(second.Bind("s"))(t)
			case err != nil:
				t.Fatal(err)
			case policy == server.Random:
				if len(resource) != 12 {
					t.Errorf("bound %s", jid)
				}
			case resource != want:
				t.Errorf("bound %s", jid)
			}
			if policy == server.KickOld {
				if err := first.ExpectError("conflict"); err != nil {
					t.Error(err)
				}
			} else if err := first.Ping(); err != nil {
				t.Error(err)
			}
			if err := second.Ping(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A changed password ends all sessions of the user but the one that changed
// it, also those that are logged in and not bound yet, and nobody else's.
func TestPassword_changeEndsOtherSessions(t *testing.T) {
	f := start(t, clearText)
	changer, bound, unbound, other := f.dial(), f.dial(), f.dial(), f.dial()
	for _, c := range []*xmpptest.Client{changer, bound, unbound} {
		must(loginClear(c, "alice", "secret"))(t)
	}
	must(loginClear(other, "bob", "hunter2"))(t)
	must(changer.Bind("a"))(t)
	must(bound.Bind("b"))(t)
	must(other.Bind("a"))(t)
	changePassword(t, changer, "alice", "n\u00ad\uff45w") // prepared: "new"
	for _, c := range []*xmpptest.Client{bound, unbound} {
		if err := c.ExpectError("reset"); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []*xmpptest.Client{changer, other} {
		if err := c.Ping(); err != nil {
			t.Error(err)
		}
	}
	for password, want := range map[string]string{"secret": "not-authorized", "new": "success"} {
		if got, err := loginClear(f.dial(), "alice", password); got != want {
			t.Errorf("%s: %s, %v", password, got, err)
		}
	}
}

func changePassword(t *testing.T, c *xmpptest.Client, user, password string) {
	t.Helper()
	e := must(c.IQ("set", "", "<query xmlns='jabber:iq:register'><username>"+user+"</username><password>"+password+"</password></query>"))(t)
	if e.Attr("type") != "result" {
		t.Fatalf("password change: %s", e.Raw)
	}
}

// Logins by the old password that are on their way to a session while the
// password is changed do not outlive it.
func TestPassword_changeRacesBinds(t *testing.T) {
	checkLeaks(t)
	f := start(t, clearText)
	changer := f.dial()
	must(loginClear(changer, "alice", "secret"))(t)
	must(changer.Bind("changer"))(t)
	var all, in sync.WaitGroup
	const clients = 50
	in.Add(clients)
	for i := range clients {
		all.Go(func() {
			c, err := f.dialClear()
			if err != nil {
				t.Error(err)
				in.Done()
				return
			}
			defer c.Close()
			_, err = loginClear(c, "alice", "secret")
			in.Done()
			if err != nil {
				t.Error(err)
				return
			}
			if i%2 == 0 {
				_ = c.Send(aBind(fmt.Sprint(i))) // may come too late
			}
			for {
				e, err := c.ReadElement()
				if err != nil {
					t.Errorf("client %d lives on: %v", i, err)
					return
				}
				if e.Condition() == "reset" {
					return
				}
			}
		})
	}
	in.Wait()
	changePassword(t, changer, "alice", "new")
	all.Wait()
	if err := changer.Ping(); err != nil {
		t.Error(err)
	}
}

// What a client had sent before its session was ended, and nobody had looked
// at, does not count: else a thief could undo the change that throws him out.
func TestPassword_pipelinedChangesEndWithTheSession(t *testing.T) {
	f := start(t, clearText)
	gate := &gatedPasswords{accounts: f.accounts, entered: make(chan struct{}), open: make(chan struct{})}
	s := server.New(clearConfig(f.accounts, func(c *server.Config) { c.Hosts[host].Passwords = gate }))
	change := func(password string) string {
		return ask("set", "<query xmlns='jabber:iq:register'><username>alice</username><password>"+password+"</password></query>")
	}
	thief := newMemConn([]byte(expand.Replace("[hello]"+plainAuth("", "alice", "secret")+"[hello]"+aBind("thief")+
		change("theirs1")+change("theirs2")+change("theirs3"))), 1<<20)
	done := make(chan struct{})
	go func() { defer close(done); s.Run(thief) }()
	<-gate.entered // theirs1 is being set, the others are waiting
	owner := newMemConn([]byte(expand.Replace("[hello]"+plainAuth("", "alice", "secret")+"[hello]"+aBind("owner")+change("mine")+"[end]")), 1<<20)
	s.Run(owner)
	close(gate.open)
	<-done
	if got := gate.set(); len(got) != 2 {
		t.Errorf("passwords set: %q", got)
	}
}

// gatedPasswords holds the first change up.
type gatedPasswords struct {
	*accounts
	entered, open chan struct{}

	mu     sync.Mutex
	values []string
}

func (g *gatedPasswords) SetPass(_ context.Context, _, _, password string) (bool, error) {
	g.mu.Lock()
	g.values = append(g.values, password)
	first := len(g.values) == 1
	g.mu.Unlock()
	if first {
		close(g.entered)
		<-g.open
	}
	return true, nil
}

func (g *gatedPasswords) set() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.values
}

// A shutdown ends at once, whatever is going on: clients that have just been
// accepted, that log in, that bind, that replace each other.
func TestShutdown_racesWithEverything(t *testing.T) {
	for round := range 5 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			checkLeaks(t)
			s := server.New(clearConfig(&accounts{passwords: map[string]string{"alice": "secret"}}, nil))
			ln := must(net.Listen("tcp", "127.0.0.1:0"))(t)
			served := make(chan error, 1)
			go func() { served <- s.Serve(ln, startTLS) }()
			var all sync.WaitGroup
			var logins atomic.Int32
			stop := make(chan struct{})
			for i := range 20 {
				all.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						c, err := xmpptest.Dial(ln.Addr().String())
						if err != nil {
							return
						}
						if i%4 != 0 { // the others only connect
							if _, err := loginClear(c, "alice", "secret"); err == nil && i%4 > 1 {
								_, _ = c.Bind("same")
							}
						}
						logins.Add(1)
						if i%3 == 0 { // and some are still there
							_ = c.ExpectEOF()
						}
						_ = c.Close()
					}
				})
			}
			waitFor(t, func() bool { return logins.Load() > int32(20*round) })
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := s.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if err := <-served; !errors.Is(err, server.ErrClosed) {
				t.Errorf("Serve: %v", err)
			}
			close(stop)
			all.Wait()
			if n := s.Bound(); n != 0 {
				t.Errorf("%d sessions are still in the registry", n)
			}
		})
	}
}

// A shutdown that takes too long ends everything, a query that is under way
// included: who waits for it is told why, and not let in by a yes that comes
// too late.
func TestShutdown_hardWhenItsContextEnds(t *testing.T) {
	checkLeaks(t)
	f := start(t, clearText)
	c := f.dial()
	must(c.Open(host))(t)
	if err := sendPlain(c, "slow", "secret"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return f.accounts.count() == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if err := c.ExpectError("system-shutdown"); err != nil {
		t.Error(err)
	}
	_ = c.Close()
}

// A client that vanishes while its password is being checked leaves nothing
// behind, and is not logged in.
func TestLogin_clientVanishesWhileTheJudgeThinks(t *testing.T) {
	checkLeaks(t)
	f := start(t, clearText)
	c := f.dial()
	must(c.Open(host))(t)
	if err := sendPlain(c, "slow", "secret"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return f.accounts.count() == 1 })
	_ = c.Close()
	close(f.accounts.slow)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := f.server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if n := f.server.Bound(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// With conflict_resolve = "increment" each of many sessions gets a resource of
// its own.
func TestBind_manyIncrements(t *testing.T) {
	const clients = 200
	a := &accounts{passwords: map[string]string{"alice": "secret"}}
	s := server.New(clearConfig(a, func(c *server.Config) { c.Hosts[host].Conflict = server.Increment }))
	var running sync.WaitGroup
	conns := make([]*stuckConn, clients)
	for i := range conns {
		conns[i] = newStuckConn(expand.Replace("[bound]"))
		conns[i].listens = true
		running.Go(func() { s.Run(conns[i]) })
	}
	for _, c := range conns {
		waitFor(t, c.stuck)
	}
	bound := s.Resources("alice@" + host)
	slices.Sort(bound)
	if len(bound) != clients || len(slices.Compact(bound)) != clients {
		t.Errorf("bound %d: %q", len(bound), bound)
	}
	for i := 1; i < clients; i++ {
		if !slices.Contains(bound, fmt.Sprintf("r#%d", i)) {
			t.Errorf("r#%d is missing", i)
		}
	}
	for _, c := range conns {
		c.Close()
	}
	running.Wait()
}
