package extauth

import (
	"errors"

	"strings"
	"sync"
	"testing"
	"time"
)

// The defects of the original modules that concern the external process, one test each. D5 and D6 (a query blocks the
// whole server, non-blocking mode answers once) are those of a program with one thread; what a pool can show of them
// is here. D12 and D13 are about what the caller prepares; the part of D12 that is the pool's is in D3.

func TestDefect_D1_startUpEcho(t *testing.T) {
	checkLeaks(t)
	for range 20 {
		p := newParallelPool(t, testConfig(t, variant{Generic, true, 1}, "plain"))
		mustSay(t, p, "alice", "right", true)
		mustSay(t, p, "alice", "wrong", false)
		mustSay(t, p, "alice", "right", true)
		mustSay(t, p, "alice", "wrong", false)
	}
}

func TestDefect_D2_staleAnswers(t *testing.T) {
	t.Run("late answer", func(t *testing.T) {
		checkLeaks(t)
		eachVariant(t, func(t *testing.T, v variant) {
			t.Parallel()
			p := newParallelPool(t, testConfig(t, v, "plain"))
			mustSay(t, p, "warm", "right", true)
			mustFail(t, p, "late", ErrTimeout)
			end := time.Now().Add(testTimeout + 100*time.Millisecond) // past the moment of the late answer
			for time.Now().Before(end) {
				if yes, _ := p.Auth(ctxBackground, "bob", "example.org", "wrong"); yes {
					t.Fatal("bob got alice's answer")
				}
			}
			mustRecover(t, p)
		})
	})
	t.Run("second answer between queries", func(t *testing.T) {
		checkLeaks(t)
		eachVariant(t, func(t *testing.T, v variant) {
			t.Parallel()
			p := newParallelPool(t, testConfig(t, v, "plain"))
			mustSay(t, p, "warm", "right", true)
			// On a busy machine both answers can be there when the first is read, and nobody can say.
			eventually(t, "a second answer comes after the first was taken", func() bool {
				yes, err := p.Auth(ctxBackground, "twolater", "example.org", "right")
				return yes && err == nil
			})
			replaced := p.Stats().Restarts
			w := onlyWorker(t, p)
			eventually(t, "the second answer is there", func() bool { return readable(t, w) })
			mustSay(t, p, "bob", "wrong", false)
			mustSay(t, p, "bob", "right", true)
			if n := p.Stats().Restarts - replaced; n != 1 {
				t.Errorf("%d workers were replaced, want 1", n)
			}
		})
	})
	t.Run("second answer while the next query waits", func(t *testing.T) {
		checkLeaks(t)
		eachVariant(t, func(t *testing.T, v variant) {
			t.Parallel()
			p := newParallelPool(t, testConfig(t, v, "plain"))
			mustSay(t, p, "warm", "right", true)
			for range 3 {
				p.Auth(ctxBackground, "twolater", "example.org", "right")
				if yes, _ := p.Auth(ctxBackground, "bob", "example.org", "wrong"); yes {
					t.Fatal("bob got the second answer")
				}
			}
			mustRecover(t, p)
		})
	})
	t.Run("second answer of a slow script with a queue", func(t *testing.T) {
		checkLeaks(t)
		eachVariant(t, func(t *testing.T, v variant) {
			t.Parallel()
			cfg := testConfig(t, v, "plain")
			cfg.Processes, cfg.Timeout = 1, 10*time.Second
			p := newParallelPool(t, cfg)
			for range 4 {
				mustSay(t, p, "slow", "right", true)
			}
			askInTurn(t, p, "twiceslow", "slow-a", "slow-b", "slow-c", "slow-d", "slow-e")
			mustRecover(t, p)
		})
	})
	t.Run("banner that looks like a yes", func(t *testing.T) {
		checkLeaks(t)
		eachVariant(t, func(t *testing.T, v variant) {
			t.Parallel()
			p := newParallelPool(t, testConfig(t, v, "banner-yes"))
			for range 5 {
				if yes, _ := p.Auth(ctxBackground, "bob", "example.org", "wrong"); yes {
					t.Fatal("bob got the banner")
				}
			}
		})
	})
	t.Run("banner", func(t *testing.T) {
		p := newTestPool(t, testConfig(t, variant{Generic, true, 1}, "banner"))
		mustFail(t, p, "alice", ErrBadReply)
	})
	t.Run("line end sent separately", func(t *testing.T) {
		p := testPool(t, variant{Generic, true, 1}, "plain")
		for range 3 {
			mustSay(t, p, "latelf", "right", true)
			mustSay(t, p, "bob", "wrong", false)
			mustSay(t, p, "latelf", "wrong", false)
			mustSay(t, p, "bob", "right", true)
		}
		if s := p.Stats(); s.Restarts != 0 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("standard error", func(t *testing.T) {
		p := testPool(t, variant{Generic, true, 1}, "plain")
		mustSay(t, p, "stderr", "wrong", false)
		mustSay(t, p, "bob", "wrong", false)
	})
}

// askInTurn queues a query for each user before the first is answered, every other one with the wrong password, and
// fails the test if one gets the verdict of another.
func askInTurn(t *testing.T, p *Pool, users ...string) {
	t.Helper()
	var wg sync.WaitGroup
	for i, user := range users {
		wg.Add(1)
		go func() {
			defer wg.Done()
			password := []string{"right", "wrong"}[i%2]
			yes, err := p.Auth(ctxBackground, user, "example.org", password)
			if err == nil && yes != (password == "right") {
				t.Errorf("%s with the %s password: %v", user, password, yes)
			}
		}()
		eventually(t, "the query is in the queue", func() bool {
			s := p.Stats()
			return s.Busy+s.Queued > i || s.Restarts > 0
		})
	}
	wg.Wait()
}

func TestDefect_D3_injection(t *testing.T) {
	cfg := testConfig(t, variant{Generic, true, 1}, "plain")
	cfg.Env = append(cfg.Env, dirEnv+"="+t.TempDir())
	p := newTestPool(t, cfg)
	mustSay(t, p, "alice", "right", true)
	for _, c := range []string{"\n", "\r", "\r\n", "\x00", "\x04"} {
		for _, password := range []string{"new" + c + "isuser:admin:example.org", "new" + c, c + "new"} {
			yes, err := p.SetPass(ctxBackground, "alice", "example.org", password)
			if yes || !errors.Is(err, ErrQuery) {
				t.Errorf("%q: %v, %v", password, yes, err)
			}
			if strings.Contains(err.Error(), "new") {
				t.Errorf("the error shows the password: %v", err)
			}
		}
	}
	mustSay(t, p, "admin", "wrong", false)
	if got := queries(t, cfg); len(got) != 2 {
		t.Errorf("the script got %q", got)
	}
}

func TestDefect_D4_deadScriptComesBack(t *testing.T) {
	for _, fault := range []string{"exit0", "exit3", "killed", "once1"} {
		t.Run(fault, func(t *testing.T) {
			p := testPool(t, variant{Generic, true, 1}, "plain")
			p.Auth(ctxBackground, fault, "example.org", "right")
			mustSay(t, p, "bob", "right", true)
			mustSay(t, p, "bob", "wrong", false)
		})
	}
}

func TestDefect_D5_oneQueryHoldsUpNobodyElse(t *testing.T) {
	p := testPool(t, variant{Generic, true, 3}, "plain")
	var wg sync.WaitGroup
	wg.Go(func() { mustFail(t, p, "hang", ErrTimeout) })
	eventually(t, "one worker hangs", func() bool { return p.Stats().Busy == 1 })
	begun := time.Now()
	mustSay(t, p, "bob", "right", true)
	if took := time.Since(begun); took > testTimeout*3/4 {
		t.Errorf("bob waited %v", took)
	}
	wg.Wait()
}

func TestDefect_D6_everyProcessAnswersMoreThanOnce(t *testing.T) {
	p := testPool(t, variant{Generic, true, 3}, "plain")
	for range 10 {
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { mustSay(t, p, "alice", "wrong", false) })
		}
		wg.Wait()
	}
	if s := p.Stats(); s.Restarts != 0 || s.Timeouts != 0 {
		t.Errorf("%+v", s)
	}
}

func TestDefect_D7_ejabberdFramesOfEveryLength(t *testing.T) {
	cfg := testConfig(t, variant{Ejabberd, true, 1}, "plain") // the terminal that was asked for is not used
	p := newTestPool(t, cfg)
	for n := len("auth:u:h:x"); n <= maxQueryBytes; n++ {
		yes, err := p.Auth(ctxBackground, "u", "h", strings.Repeat("x", n-len("auth:u:h:")))
		if yes || err != nil {
			t.Fatalf("query of %d bytes: %v, %v", n, yes, err)
		}
	}
	mustSay(t, p, "alice", "right", true)
	if s := p.Stats(); s.Restarts != 0 {
		t.Errorf("%+v", s)
	}
}

func TestDefect_D8_answerBehindNUL(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) { mustFail(t, testPool(t, v, "plain"), "nul", ErrBadReply) })
}

// A "0" and a NUL is a no, as in the original; but the rest would be somebody else's answer.
func TestDefect_D8_noWithItsNUL(t *testing.T) {
	for _, pty := range []bool{true, false} {
		p := testPool(t, variant{Generic, pty, 1}, "plain")
		mustSay(t, p, "alice", "right", true)
		mustSay(t, p, "nono", "right", false)
		mustSay(t, p, "bob", "wrong", false)
		mustSay(t, p, "bob", "right", true)
		if s := p.Stats(); s.Restarts != 1 {
			t.Errorf("%+v, want the worker that said more to be replaced", s)
		}
	}
}

func TestDefect_D9_carriageReturn(t *testing.T) {
	checkLeaks(t)
	for _, pty := range []bool{true, false} {
		p := newParallelPool(t, testConfig(t, variant{Generic, pty, 1}, "plain"))
		mustSay(t, p, "crlf", "right", true)
		mustSay(t, p, "crlf", "wrong", false)
		mustSay(t, p, "bob", "wrong", false)
	}
}

func TestDefect_D10_anotherScriptsDeathInterruptsNobody(t *testing.T) {
	one := testPool(t, variant{Generic, true, 1}, "plain")
	two := newParallelPool(t, testConfig(t, variant{Generic, true, 1}, "plain"))
	var wg sync.WaitGroup
	wg.Go(func() { mustSay(t, one, "slow", "right", true) })
	eventually(t, "one is asked", func() bool { return one.Stats().Busy == 1 })
	mustSay(t, two, "once1", "right", true)
	mustFail(t, two, "killed", ErrDied)
	wg.Wait()
	mustSay(t, one, "bob", "wrong", false)
}

func TestDefect_D11_senselessSettingsAreRefused(t *testing.T) {
	good := testConfig(t, variant{Generic, true, 1}, "plain")
	for name, spoil := range map[string]func(*Config){
		"timeout of zero":    func(c *Config) { c.Timeout = 0 },
		"negative timeout":   func(c *Config) { c.Timeout = -time.Second },
		"no processes":       func(c *Config) { c.Processes = 0 },
		"negative queue":     func(c *Config) { c.Queue = -1 },
		"no command":         func(c *Config) { c.Command = nil },
		"empty command":      func(c *Config) { c.Command = []string{""} },
		"command not a path": func(c *Config) { c.Command = []string{"true"} },
		"NUL in the command": func(c *Config) { c.Command = []string{"/bin/echo", "a\x00b"} },
		"unknown protocol":   func(c *Config) { c.Protocol = 7 },
	} {
		cfg := good
		spoil(&cfg)
		if p, err := NewPool(cfg); p != nil || !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for s, want := range map[string]error{"generic": nil, "ejabberd": nil, "": ErrConfig, "http": ErrConfig, "Generic": ErrConfig} {
		p, err := ParseProtocol(s)
		if !errors.Is(err, want) || err == nil && p.String() != s {
			t.Errorf("protocol %q: %v, %v", s, p, err)
		}
	}
}

func TestDefect_D12_newPasswordIsSentAsGiven(t *testing.T) {
	cfg := testConfig(t, variant{Generic, true, 1}, "plain")
	cfg.Env = append(cfg.Env, dirEnv+"="+t.TempDir())
	p := newTestPool(t, cfg)
	if yes, err := p.SetPass(ctxBackground, "alice", "example.org", "  １２３ "); yes || err != nil {
		t.Fatal(yes, err)
	}
	if got := queries(t, cfg); !strings.HasSuffix(got[0], `"setpass:alice:example.org:  １２３ "`) {
		t.Errorf("the script got %s", got)
	}
}

// onlyWorker returns the single worker of p.
func onlyWorker(t *testing.T, p *Pool) *worker {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.workers {
		return w
	}
	t.Fatal("no worker")
	return nil
}
