package extauth

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

func TestTrace_showsTheExchangeButNoPassword(t *testing.T) {
	var (
		mu     sync.Mutex
		events []Event
		log    logBuffer
	)
	const password = "correct horse"
	cfg := testConfig(t, variant{Generic, true, 1}, "plain")
	cfg.Logger = log.logger()
	cfg.Trace = func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e)
	}
	p := newTestPool(t, cfg)
	for _, user := range []string{"bob", "echo", "exit3"} {
		if yes, err := p.Auth(ctxBackground, user, "example.org", password); yes {
			t.Fatal(yes, err)
		} else if err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("error shows the password: %v", err)
		}
	}
	if err := p.Close(ctxBackground); err != nil {
		t.Fatal(err)
	}
	kinds := map[EventKind][]string{}
	for _, e := range events {
		if bytes.Contains(e.Data, []byte(password)) {
			t.Errorf("%v shows the password: %q", e.Kind, e.Data)
		}
		if e.PID == 0 || e.Worker == 0 || e.Time.IsZero() {
			t.Errorf("%+v", e)
		}
		kinds[e.Kind] = append(kinds[e.Kind], string(e.Data))
	}
	for kind, want := range map[EventKind]string{
		EventSent: "auth:bob:example.org:********\n", EventReceived: "0\n",
		EventStderr: `traceback\x1b[31m for auth:exit3:example.org:********`, EventExited: "exit status 3",
	} {
		if !strings.Contains(strings.Join(kinds[kind], "|"), want) {
			t.Errorf("%v: %q, want %q among them", kind, kinds[kind], want)
		}
	}
	if len(kinds[EventStarted]) == 0 || len(kinds[EventVerdict]) == 0 {
		t.Errorf("events: %v", kinds)
	}
	if s := log.String(); strings.Contains(s, password) || !strings.Contains(s, "traceback") || strings.Contains(s, "\x1b") {
		t.Errorf("log: %s", s)
	}
}

func TestStderr_isRateLimitedAndBounded(t *testing.T) {
	var log logBuffer
	cfg := testConfig(t, variant{Generic, true, 1}, "plain")
	cfg.Logger = log.logger()
	p := newTestPool(t, cfg)
	mustSay(t, p, "stderr", "right", true)
	if err := p.Close(ctxBackground); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "warning: slow"); n == 0 || n > stderrBurst+stderrPerSec*10 {
		t.Errorf("%d of 8000 lines were logged", n)
	}
	if !strings.Contains(log.String(), "dropped") {
		t.Error("the log does not tell that lines were dropped")
	}
}

// What a script wrote about one query is not shown with the error of a later one, when another password is the last.
func TestStderr_forgetsNoPasswordTooSoon(t *testing.T) {
	var log logBuffer
	cfg := testConfig(t, variant{Generic, true, 1}, "plain")
	cfg.Logger = log.logger()
	p := newTestPool(t, cfg)
	for _, password := range []string{"pass", "password-of-alice", "p"} {
		mustSay(t, p, "query-on-stderr", password, false)
	}
	err := mustFail(t, p, "garbage", ErrBadReply)
	_, dead := p.Auth(ctxBackground, "exit3", "example.org", "x")
	if text := fmt.Sprint(err, dead, log.String()); strings.Contains(text, "alice") || !strings.Contains(text, mask) {
		t.Errorf("%s", text)
	}
}

// A password that takes more room than it has, since it is shown with escapes, is not cut before it is known.
func TestStderr_longPasswordInEscapes(t *testing.T) {
	password := strings.Repeat("ä", maxQueryBytes/2)
	for _, shown := range []string{strings.Repeat(`\xc3\xa4`, maxQueryBytes/2), strings.Repeat("&#xe4;", maxQueryBytes/2)} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = w.WriteString(strings.Repeat("x", maxStderrLine/2) + shown + "\n")
			_ = w.Close()
		}()
		log := newStderrLog(&worker{pool: newPool(testConfig(t, variant{Generic, true, 1}, "plain"))})
		log.hide(password)
		log.drain(r)
		_ = r.Close()
		if last := log.last(); strings.Contains(last, shown[:6]) || !strings.Contains(last, mask) {
			t.Errorf("%s", last)
		}
	}
}

func TestClean(t *testing.T) {
	for _, c := range []struct{ raw, secret, want string }{
		{"plain\r\n", "", "plain"},
		{"auth:a:b:secret!", "secret", "auth:a:b:********!"},
		{"\x1b[2J\xff\x00ü", "", `\x1b[2J\xff\x00ü`},
		{strings.Repeat("x", 395) + "secret", "secret", strings.Repeat("x", 395) + "*****"},
	} {
		log := new(stderrLog)
		log.hide(c.secret)
		if got := clean(masked([]byte(c.raw), log.secrets[:])); got != c.want {
			t.Errorf("clean(%q) = %q, want %q", c.raw, got, c.want)
		}
	}
}
