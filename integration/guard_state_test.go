package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/redistest"
)

// strict are limits that are soon reached, by somebody who never has to wait.
var strict = options{"gatehouse_guard_attempts": 4, "gatehouse_guard_user_attempts": 8, "gatehouse_guard_delay": 0}

const aliceAt, travellerAt = "198.51.100.7", "198.51.100.99"

// file is where the guard's counts are saved.
func (g *guarded) file() string { return filepath.Join(filepath.Dir(g.config), "data", "guard.state") }

// restart starts the daemon again, which has ended.
func (g *guarded) restart(t *testing.T) {
	t.Helper()
	g.daemon = start(t, g.config)
	g.address = g.daemon.address(t, "starttls")
}

// besiege has one address guess up to one guess before the limit, and so many others that this one is the last for the user.
func (g *guarded) besiege(t *testing.T, user string) {
	t.Helper()
	for i := range 3 {
		g.expect(t, fmt.Sprint("guess ", i+1), guesserAt, user, fmt.Sprint("guess", i), "not-authorized")
	}
	for i := range 4 {
		g.expect(t, fmt.Sprint("bot ", i+1), fmt.Sprintf("203.0.113.%d", i), user, fmt.Sprint("bot", i), "not-authorized")
	}
}

// expectBesieged is what is so after it.
func (g *guarded) expectBesieged(t *testing.T, user, password string) {
	t.Helper()
	g.expect(t, "who guessed", guesserAt, user, password, temporary)
	g.expect(t, "on a journey", travellerAt, user, password, temporary)
	g.expect(t, "at home", aliceAt, user, password, "success")
}

// metrics gives the daemon's.
func (g *guarded) metrics() *reloadable { return &reloadable{dir: filepath.Dir(g.config)} }

// saved says when the counts were saved.
func (g *guarded) saved() time.Time {
	info, err := os.Stat(g.file())
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// TestGuardState_restart: who was turned away before a restart is so after it, and users are known where they were, also if
// the daemon was killed.
func TestGuardState_restart(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, strict)
	g.expect(t, "at home", aliceAt, "alice", "secret", "success")
	g.besiege(t, "alice")
	g.stop(t)
	if info, err := os.Stat(g.file()); err != nil || info.Mode() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	before := g.saved()
	g.restart(t)
	g.expect(t, "the last guess", guesserAt, "alice", "guess", "not-authorized")
	g.expectBesieged(t, "alice", "secret")
	// The first save comes soon, the next ones a minute later at most.
	until(t, "the counts are saved", patience, func() bool { return g.saved().After(before) })
	g.signal(t, syscall.SIGKILL)
	g.wait(t)
	g.restart(t)
	g.expectBesieged(t, "alice", "secret")
	g.expect(t, "another", guesserAt, "bob", "hunter2", "success")
	out, err := runCommand(t, "guard", "forgive", "--config", g.config, "alice@localhost")
	if err != nil || out != "alice@localhost: forgiven\n" {
		t.Errorf("%v\n%s", err, out)
	}
	g.stop(t)
	g.restart(t)
	g.expect(t, "forgiven", guesserAt, "alice", "secret", "success")
}

// TestGuardState_damaged: what is in the way of the file is a line in the log, and no more.
func TestGuardState_damaged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(path string) error
		log     string
		saved   float64
	}{
		"truncated": {func(path string) error { return os.Truncate(path, 100) }, lostCounts, 1},
		"foreign":   {func(path string) error { return os.WriteFile(path, []byte("SQLite format 3\x00"), 0o600) }, lostCounts, 1},
		"a directory": {func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.MkdirAll(filepath.Join(path, "x"), 0o700)
		}, lostCounts + `(?s:.*)` + unsavedCounts, 0},
		"in the way": {func(path string) error { return os.MkdirAll(filepath.Join(path+".new", "x"), 0o700) }, unsavedCounts, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startGuarded(t, strict)
			g.besiege(t, "alice")
			g.stop(t)
			if err := c.prepare(g.file()); err != nil {
				t.Fatal(err)
			}
			g.restart(t)
			g.expect(t, "the right password", guesserAt, "alice", "secret", "success")
			for i := range 5 {
				g.expect(t, "a guess", guesserAt, "bob", fmt.Sprint("guess", i), []string{"not-authorized", temporary}[i/4])
			}
			if _, err := g.waitFor(regexp.MustCompile(`(?m)` + c.log)); err != nil {
				t.Error(err)
			}
			if got := g.metrics().metric(t, "gatehouse_guard_saved"); got != c.saved {
				t.Errorf("gatehouse_guard_saved %v", got)
			}
			g.stop(t)
			if n := strings.Count(g.log.String(), "since it cannot be saved"); n > 1 {
				t.Errorf("the log says so %d times", n)
			}
		})
	}
}

const (
	lostCounts    = `^\S+ warn guard: what was counted before the start is lost cause=.*not a file of the guard, or damaged`
	unsavedCounts = `^\S+ warn guard: a restart will forget what is counted, since it cannot be saved cause=`
)

// sharing are two fronts with one Redis.
func sharing(t *testing.T, url string, global options) [2]*guarded {
	t.Helper()
	var fronts [2]*guarded
	for i := range fronts {
		all := options{"gatehouse_state": url}
		for k, v := range global {
			all[k] = v
		}
		f := startGuarded(t, all)
		t.Cleanup(func() {
			if strings.Contains(f.log.String(), statePassword) {
				t.Error("the password of the Redis is in the log")
			}
		})
		fronts[i] = f
		fronts[i].expectShared(t, 1)
	}
	return fronts
}

// expectShared waits until the counts are shared, or not.
func (g *guarded) expectShared(t *testing.T, right float64) {
	t.Helper()
	until(t, fmt.Sprint("gatehouse_guard_shared is ", right), patience, func() bool {
		return g.metrics().metric(t, "gatehouse_guard_shared") == right
	})
}

// TestGuardState_fronts: guesses at two fronts count together, a success at one makes the address known at the other, and
// who is forgiven at one is forgiven at both.
func TestGuardState_fronts(t *testing.T) {
	t.Parallel()
	for range 3 {
		_, url := startRedis(t)
		fronts := sharing(t, url, strict)
		wrong := playFronts(t, fronts)
		alone := 0.0
		for _, f := range fronts {
			alone += f.metrics().metric(t, "gatehouse_guard_alone_total")
			f.stop(t)
		}
		if alone == 0 {
			for _, w := range wrong {
				t.Error(w)
			}
			return
		}
		t.Logf("%v attempts were judged by one front alone, since this machine was busy for 250 ms: once more", alone)
	}
	t.Error("this machine is too busy")
}

// playFronts says what went wrong.
func playFronts(t *testing.T, fronts [2]*guarded) (wrong []string) {
	t.Helper()
	one, other := fronts[0], fronts[1]
	expect := func(g *guarded, what, from, user, password, right string) {
		t.Helper()
		if got, _ := g.login(t, from, user, password); got != right {
			wrong = append(wrong, fmt.Sprintf("%s: %q, want %q", what, got, right))
		}
	}
	expect(one, "at home", aliceAt, "alice", "secret", "success")
	for i := range 6 {
		right := []string{"not-authorized", temporary}[i/4]
		expect(fronts[i%2], fmt.Sprint("guess ", i+1), guesserAt, "alice", fmt.Sprint("guess", i), right)
	}
	for i := range 6 {
		right := []string{"not-authorized", temporary}[i/4]
		expect(fronts[i%2], fmt.Sprint("bot ", i+1), fmt.Sprintf("203.0.113.%d", i), "alice", fmt.Sprint("bot", i), right)
	}
	for _, f := range fronts {
		expect(f, "who guessed", guesserAt, "alice", "secret", temporary)
		expect(f, "on a journey", travellerAt, "alice", "secret", temporary)
		expect(f, "at home", aliceAt, "alice", "secret", "success")
		expect(f, "another", guesserAt, "bob", "hunter2", "success")
	}
	out, err := runCommand(t, "guard", "forgive", "--config", other.config, "alice@localhost", "192.0.2.200")
	if want := "alice@localhost: forgiven\n192.0.2.200: nothing was counted\n"; err != nil || out != want {
		wrong = append(wrong, fmt.Sprint(err, out))
	}
	expect(one, "forgiven at the other", guesserAt, "alice", "secret", "success")
	return wrong
}

// TestGuardState_redisFaults: without the Redis logins go on at once, each front guards by what it has seen, and the counts
// are shared again soon after.
func TestGuardState_redisFaults(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]redistest.Fault{
		"killed": redistest.Killed,
		"paused": redistest.Paused,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, url := startRedis(t)
			fronts := sharing(t, url, strict)
			one, other := fronts[0], fronts[1]
			one.expect(t, "at home", aliceAt, "alice", "secret", "success")
			for i := range 2 {
				one.expect(t, "a guess before", guesserAt, "alice", fmt.Sprint("before", i), "not-authorized")
			}
			fault.Begin(t, s)
			for _, f := range fronts {
				if got, took := f.login(t, aliceAt, "alice", "secret"); got != "success" || took > 2*time.Second {
					t.Errorf("the first login: %s in %v", got, took)
				}
				f.expectShared(t, 0)
				began := time.Now()
				for i := range 10 {
					f.expect(t, "right", fmt.Sprintf("192.0.2.%d", i), "bob", "hunter2", "success")
				}
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("ten logins took %v", took)
				}
			}
			for i := range 4 {
				one.expect(t, "a guess, with two of before", guesserAt, "alice", fmt.Sprint("at one", i), []string{"not-authorized", temporary}[i/2])
			}
			for i := range 6 {
				other.expect(t, "a guess at the other", guesserAt, "alice", fmt.Sprint("at the other", i), []string{"not-authorized", temporary}[i/4])
			}
			if out, err := runCommand(t, "guard", "forgive", "--config", one.config, guesserAt); err == nil || !strings.Contains(out, "forgiven at this front alone: the shared Redis cannot be used") {
				t.Errorf("guard forgive: %v\n%s", err, out)
			}
			fault.End(t, s)
			for _, f := range fronts {
				f.expectShared(t, 1)
			}
			tries := 0
			until(t, "guesses at one count at the other", patience, func() bool {
				tries++
				for i := range 4 {
					one.expect(t, "a guess", "203.0.113.77", fmt.Sprint("nobody", tries), fmt.Sprint("guess", i), "not-authorized")
				}
				got, _ := other.login(t, "203.0.113.77", fmt.Sprint("nobody", tries), "guess")
				return got == temporary
			})
			for _, f := range fronts {
				f.expect(t, "at home", aliceAt, "alice", "secret", "success")
				f.stop(t)
				for _, line := range []string{"warn guard: this front counts for itself until Redis can be used", "info guard: the counts are shared again"} {
					if !strings.Contains(f.log.String(), line) {
						t.Errorf("the log has no %q", line)
					}
				}
			}
		})
	}
}
