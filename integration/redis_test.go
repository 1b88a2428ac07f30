package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/redistest"
)

// front is a gatehouse that shares a Redis with others.
type front struct {
	*daemon
	dir     string
	config  string
	address string
	script  *script
}

// statePassword is what no log may show.
const statePassword = "canary-redis-password"

// startRedis starts a Redis that has been in use for a while, and returns it with its URL.
func startRedis(t testing.TB, args ...string) (*redistest.Server, string) {
	t.Helper()
	s := redistest.Start(t, append(args, "--user", "front", "on", ">"+statePassword, "~{gatehouse}:*", "-@all", "+ping",
		"+eval", "+evalsha", "+info", "+time", "+hmget", "+hset", "+get", "+set", "+del",
		"+hget", "+hdel", "+hlen", "+hrandfield", "+hgetall", "+zscore", "+zadd", "+zremrangebyrank", "+pexpire")...)
	s.Aged(t, "gatehouse")
	return s, "redis://front:" + statePassword + "@" + s.Addr
}

func startFront(t testing.TB, state any, extra ...options) *front {
	t.Helper()
	f := &front{dir: t.TempDir()}
	f.script = installScript(t, f.dir, "auth", accounts("alice", "secret"))
	f.config = tokenConfig(t, f.dir, f.script, append(extra, options{"gatehouse_state": state})...)
	f.daemon = start(t, f.config)
	f.address = f.daemon.address(t, "starttls")
	t.Cleanup(func() {
		if strings.Contains(f.log.String(), statePassword) {
			t.Error("the password of the Redis is in the log")
		}
	})
	return f
}

// setState has the front reload with another Redis.
func (f *front) setState(t testing.TB, state any) {
	t.Helper()
	tokenConfig(t, f.dir, f.script, options{"gatehouse_state": state})
	if text, err := runCommand(t, "reload", "--config", f.config); err != nil || strings.Contains(text, statePassword) {
		t.Fatalf("reload: %v\n%s", err, text)
	}
}

func (f *front) expect(t testing.TB, what, message, right string) {
	t.Helper()
	expectAuth(t, what, f.address, "localhost", "X-TOKEN", message, right)
}

// runCommand runs another command of the program.
func runCommand(t testing.TB, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command(gatehouse, args...).CombinedOutput()
	return string(out), err
}

// TestState_once: the same token raced at two fronts, 200 times: one of them says yes, and the other no.
func TestState_once(t *testing.T) {
	t.Parallel()
	_, url := startRedis(t)
	fronts := []*front{startFront(t, url), startFront(t, url)}
	for i := range 200 {
		message := hostKeys.message(t, "alice")
		answers := make([]string, 2)
		var wg sync.WaitGroup
		for i, f := range fronts {
			wg.Go(func() {
				var err error
				if answers[i], err = authenticate(t, f.address, "localhost", "X-TOKEN", message); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		slices.Sort(answers)
		if fmt.Sprint(answers) != "[not-authorized success]" {
			t.Fatalf("race %d: %v", i, answers)
		}
	}
	for _, f := range fronts {
		f.stop(t)
	}
}

// TestState_faults breaks the Redis in the middle of logins at two fronts: no token is good twice, none is called wrong that
// nobody could judge, passwords go on as fast as before, and tokens are accepted within three seconds after the end of it.
func TestState_faults(t *testing.T) {
	for name, fault := range map[string]redistest.Fault{
		"killed":    redistest.Killed,
		"paused":    redistest.Paused,
		"a replica": redistest.Replica,
		"full":      redistest.Full,
	} {
		t.Run(name, func(t *testing.T) {
			s, url := startRedis(t, "--appendonly", "yes", "--appendfsync", "always")
			fronts := []*front{startFront(t, url+"?durable=true"), startFront(t, url+"?durable=true")}
			load := newStateLoad(t, fronts)
			load.phase(t, time.Second, "success")
			before := load.passwords(t)
			fault.Begin(t, s)
			load.phase(t, 3*time.Second, "temporary-auth-failure")
			during := load.passwords(t)
			fault.End(t, s)
			began := time.Now()
			until(t, "tokens are accepted again", 3*time.Second, func() bool {
				got, err := authenticate(t, fronts[0].address, "localhost", "X-TOKEN", hostKeys.message(t, "alice"))
				return err == nil && got == "success"
			})
			t.Logf("%d tokens; again after %v; p99 of passwords %v before and %v during", len(load.tokens), time.Since(began).Round(time.Millisecond), before, during)
			// Whoever waits for the Redis waits a second. The rest is what else this machine does.
			if during > before+500*time.Millisecond {
				t.Errorf("p99 of passwords was %v, and %v without a Redis", before, during)
			}
			load.replay(t)
			for _, f := range fronts {
				if _, err := f.waitFor(regexp.MustCompile(`(?m)^\S+ error tokens are refused until Redis can be used.*$`)); err != nil {
					t.Error(err)
				}
				f.stop(t)
			}
		})
	}
}

// stateLoad logs in with tokens and passwords at all fronts, all the time.
type stateLoad struct {
	fronts []*front
	tokens map[string]int // by message: how often it was accepted
	took   []time.Duration
}

func newStateLoad(_ testing.TB, fronts []*front) *stateLoad {
	return &stateLoad{fronts: fronts, tokens: make(map[string]int)}
}

// phase makes logins for so long. Each token is shown to all the fronts at once; what they say must be the wanted answer or, of
// those who come second, a no.
func (l *stateLoad) phase(t *testing.T, d time.Duration, want string) {
	t.Helper()
	l.took = nil
	end := time.Now().Add(d)
	var mu sync.Mutex // guards l
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			pace := time.NewTicker(40 * time.Millisecond)
			defer pace.Stop()
			for ; time.Now().Before(end); <-pace.C {
				message := hostKeys.message(t, "alice")
				answers := make([]string, len(l.fronts))
				var both sync.WaitGroup
				for i, f := range l.fronts {
					both.Go(func() {
						answers[i], _ = authenticate(t, f.address, "localhost", "X-TOKEN", message)
					})
				}
				both.Wait()
				yes := 0
				for _, a := range answers {
					switch a {
					case "success":
						yes++
					case "not-authorized", want:
					default:
						t.Errorf("a token: %q", a)
					}
				}
				if yes > 1 || want == "success" && yes != 1 || want != "success" && slices.Contains(answers, "success") {
					t.Errorf("a token at two fronts: %v", answers)
				}
				mu.Lock()
				l.tokens[message] += yes
				mu.Unlock()
			}
		})
	}
	for i := range 2 {
		wg.Go(func() {
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for ; time.Now().Before(end); <-pace.C {
				began := time.Now()
				got, err := authenticate(t, l.fronts[i%len(l.fronts)].address, "localhost", "PLAIN", plain("alice", "secret"))
				if err != nil || got != "success" {
					t.Errorf("a password: %q, %v", got, err)
				}
				mu.Lock()
				l.took = append(l.took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// passwords is the 99th percentile of logins with a password in the last phase.
func (l *stateLoad) passwords(t testing.TB) time.Duration {
	t.Helper()
	if len(l.took) < 20 {
		t.Fatalf("%d logins with a password", len(l.took))
	}
	slices.Sort(l.took)
	return l.took[len(l.took)*99/100]
}

// replay shows all tokens again: none is good more than once in all.
func (l *stateLoad) replay(t *testing.T) {
	t.Helper()
	shown := 0
	for message, accepted := range l.tokens {
		if shown++; shown > 200 {
			return
		}
		for _, f := range l.fronts {
			got, err := authenticate(t, f.address, "localhost", "X-TOKEN", message)
			if err != nil {
				t.Error(err)
			}
			if got == "success" {
				accepted++
			}
		}
		if accepted > 1 {
			t.Errorf("a token was accepted %d times", accepted)
		}
	}
}

// TestState_reload: neither a change from the file to a Redis, nor to another, nor back lets a token in twice.
func TestState_reload(t *testing.T) {
	t.Parallel()
	_, one := startRedis(t)
	other, two := startRedis(t)
	f := startFront(t, false)
	var used []string
	for _, step := range []struct {
		name  string
		state any
	}{{"file", false}, {"Redis", one}, {"another", two}, {"the first again", one}, {"file again", false}} {
		f.setState(t, step.state)
		for _, message := range used {
			f.expect(t, "a used token, "+step.name, message, "not-authorized")
		}
		message := hostKeys.message(t, "alice")
		f.expect(t, "a fresh token, "+step.name, message, "success")
		used = append(used, message)
	}
	// Back at the file, and the Redis of before is gone: what was good in its time cannot be judged.
	other.Kill()
	f.expect(t, "a fresh token without the former Redis", hostKeys.message(t, "alice"), "temporary-auth-failure")
	f.stop(t)
}

// TestState_new: a Redis that nobody has used before may be one that has forgotten everything.
func TestState_new(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	f := startFront(t, "unix://"+s.Socket)
	f.expect(t, "a token", hostKeys.message(t, "alice"), "temporary-auth-failure")
	expectAuth(t, "a password", f.address, "localhost", "PLAIN", plain("alice", "secret"), "success")
	if _, err := f.waitFor(regexp.MustCompile(`(?m)tokens are refused until Redis can be used.*is new or was emptied`)); err != nil {
		t.Error(err)
	}
	s.Aged(t, "gatehouse")
	f.expect(t, "a token an hour later", hostKeys.message(t, "alice"), "success")
	f.stop(t)
}

// TestState_check: check says where the state is, and whether it answers, without the password.
func TestState_check(t *testing.T) {
	t.Parallel()
	s, url := startRedis(t)
	dir := t.TempDir()
	config := tokenConfig(t, dir, installScript(t, dir, "auth", accounts("alice", "secret")), options{"gatehouse_state": url})
	for _, c := range []struct {
		args []string
		want string
		code bool
	}{
		{nil, "Redis at " + s.Addr, true},
		{[]string{"--upstream"}, "answers in", true},
	} {
		text, err := runCommand(t, append([]string{"check", "--config", config}, c.args...)...)
		if (err == nil) != c.code || !strings.Contains(text, c.want) || strings.Contains(text, statePassword) {
			t.Errorf("check %v: %v\n%s", c.args, err, text)
		}
	}
	s.Kill()
	if text, err := runCommand(t, "check", "--config", config, "--upstream"); err == nil || !strings.Contains(text, "Redis cannot be used") {
		t.Errorf("check of one that is away: %v\n%s", err, text)
	}
	if text, err := runCommand(t, "config", "dump", "--json", "--config", config); err != nil || strings.Contains(text, statePassword) {
		t.Errorf("dump: %v\n%s", err, text)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "replay.db")); err == nil {
		t.Error("check made a memory")
	}
}
