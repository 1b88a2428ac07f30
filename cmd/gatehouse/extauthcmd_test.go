package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/authapi"
)

// apiJudge has the account alice with the password s:cret, and remembers what it was asked.
type apiJudge struct {
	mu    sync.Mutex
	asked []string
}

func (j *apiJudge) answer(verb, user, host string, password ...string) (bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked = append(j.asked, strings.Join(append([]string{verb, user, host}, password...), "|"))
	if user == "trouble" {
		return false, errors.New("the script is gone")
	}
	return user == "alice" && (len(password) == 0 || password[0] == "s:cret"), nil
}

func (j *apiJudge) CheckPassword(_ context.Context, user, host, password string) (bool, error) {
	return j.answer("check", user, host, password)
}

func (j *apiJudge) UserExists(_ context.Context, user, host string) (bool, error) {
	return j.answer("exists", user, host)
}

func (j *apiJudge) SetPassword(_ context.Context, user, host, password string) (bool, error) {
	return j.answer("set", user, host, password)
}

func (j *apiJudge) Register(_ context.Context, user, host, password string) (bool, error) {
	return j.answer("register", user, host, password)
}

func (j *apiJudge) RemoveUser(_ context.Context, user, host, password string) (bool, error) {
	return j.answer("remove", user, host, password)
}

func (j *apiJudge) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	asked := strings.Join(j.asked, " ")
	j.asked = nil
	return asked
}

// serveAPI serves a handler at a unix socket, and returns what ends it.
func serveAPI(t testing.TB, path string, h http.Handler) (stop func()) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := authapi.NewServer(h, authapi.MaxConns, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln) // until stop
	}()
	stop = sync.OnceFunc(func() {
		_ = server.Close()
		<-done
	})
	t.Cleanup(stop)
	return stop
}

// extauthProcess is the command, as another server has it.
type extauthProcess struct {
	in     *io.PipeWriter
	out    *bufio.Reader
	stderr bytes.Buffer
	code   chan int
}

func startExtauth(t testing.TB, args ...string) *extauthProcess {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	p := &extauthProcess{in: inW, out: bufio.NewReader(outR), code: make(chan int, 1)}
	go func() {
		code := run(append([]string{"extauth"}, args...), globals{Stdin: inR, Stdout: outW, Stderr: &p.stderr})
		_ = outW.Close()
		_ = inR.Close()
		p.code <- code
	}()
	t.Cleanup(func() { _ = inW.Close() })
	return p
}

// end closes the input, and returns the exit code and what was written to standard error.
func (p *extauthProcess) end(t testing.TB) (int, string) {
	t.Helper()
	_ = p.in.Close()
	code := <-p.code
	if rest, _ := io.ReadAll(p.out); len(rest) > 0 {
		t.Errorf("%q is left of the output", rest)
	}
	return code, p.stderr.String()
}

func (p *extauthProcess) write(t testing.TB, s string) {
	t.Helper()
	if _, err := io.WriteString(p.in, s); err != nil {
		t.Fatal(err)
	}
}

// wire is a protocol as the other server speaks it.
type wire struct {
	name               string
	frame              func(query string) string
	yes, no, cannotSay string
}

var wires = []wire{
	{"ejabberd", func(q string) string {
		return string(binary.BigEndian.AppendUint16(nil, uint16(len(q)))) + q
	}, "\x00\x02\x00\x01", "\x00\x02\x00\x00", "\x00\x02\xff\x00"},
	{"generic", func(q string) string { return q + "\n" }, "1\n", "0\n", "error: nobody can say at the moment\n"},
}

// each runs a test with both protocols, against a daemon with an apiJudge.
func (w wire) start(t testing.TB, judge authapi.Judge, args ...string) *extauthProcess {
	path := filepath.Join(t.TempDir(), "s")
	serveAPI(t, path, authapi.Handler(judge, authapi.Trusted(), slog.New(slog.DiscardHandler)))
	return startExtauth(t, append([]string{"--socket", path, "--protocol", w.name}, args...)...)
}

func (w wire) ask(t testing.TB, p *extauthProcess, query string) string {
	t.Helper()
	p.write(t, w.frame(query))
	return w.read(t, p)
}

// read reads one answer.
func (w wire) read(t testing.TB, p *extauthProcess) string {
	t.Helper()
	var answer []byte
	var err error
	if w.name == "ejabberd" {
		answer = make([]byte, 4)
		_, err = io.ReadFull(p.out, answer)
	} else {
		answer, err = p.out.ReadBytes('\n')
	}
	if err != nil {
		t.Fatalf("no answer but %q, %v\n%s", answer, err, &p.stderr)
	}
	switch string(answer) {
	case w.yes:
		return "yes"
	case w.no:
		return "no"
	case w.cannotSay:
		return "cannot say"
	}
	return fmt.Sprintf("%q", answer)
}

func TestExtauth_passesQueries(t *testing.T) {
	long := strings.Repeat("x", 1023)
	for _, w := range wires {
		t.Run(w.name, func(t *testing.T) {
			judge := new(apiJudge)
			p := w.start(t, judge)
			for _, c := range []struct{ query, want, asked string }{
				{"auth:alice:example.com:s:cret", "yes", "check|alice|example.com|s:cret"},
				{"auth:alice:example.com:wrong", "no", "check|alice|example.com|wrong"},
				{"auth:alice:example.com: %+&=é\U0001f600\\", "no", "check|alice|example.com| %+&=é\U0001f600\\"},
				{"auth:ALICE:example.com:s:cret", "yes", "check|alice|example.com|s:cret"},
				{"auth:alice:example.com:", "no", ""},
				{"auth:alice:example.com:s:cret\x00", "no", ""},
				{"auth:alice:example.com:s:cret\r", "no", ""},
				{"auth::example.com:s:cret", "no", ""},
				{"auth:\xff:example.com:s:cret", "no", ""},
				{"auth:trouble:example.com:s:cret", "cannot say", "check|trouble|example.com|s:cret"},
				{"auth:alice:example.com:" + long, "no", "check|alice|example.com|" + long},
				{"auth:alice:example.com:" + long + "x", "no", ""},
				{"auth:alice:example.com:" + strings.Repeat("x", 3200), "no", ""},
				{"auth:alice:example.com:" + strings.Repeat("x", 65000), "no", ""},
				{"isuser:alice:example.com", "yes", "exists|alice|example.com"},
				{"isuser:bob:example.com", "no", "exists|bob|example.com"},
				{"isuser:trouble:example.com", "cannot say", "exists|trouble|example.com"},
				{"setpass:alice:example.com:s:cret", "yes", "set|alice|example.com|s:cret"},
				{"setpass:alice:example.com:", "no", ""},
				{"tryregister:bob:example.com:x", "no", "register|bob|example.com|x"},
				{"removeuser:bob:example.com", "no", "remove|bob|example.com|"},
				{"removeuser3:alice:example.com:s:cret", "yes", "remove|alice|example.com|s:cret"},
				{"removeuser3:alice:example.com:", "no", ""},
				{"removeuser3:alice:example.com", "cannot say", ""},
				{"removeuser:alice:example.com:s:cret", "cannot say", ""},
				{"isuser:alice:example.com:x", "cannot say", ""},
				{"isuser:alice", "cannot say", ""},
				{"auth:alice:example.com", "cannot say", ""},
				{"certauth:alice:example.com:x", "cannot say", ""},
				{"AUTH:alice:example.com:s:cret", "cannot say", ""},
				{"auth", "cannot say", ""},
				{"", "cannot say", ""},
				{"auth:alice:example.com:s:cret", "yes", "check|alice|example.com|s:cret"},
			} {
				if got := w.ask(t, p, c.query); got != c.want {
					t.Errorf("%.80q: %s, want %s", c.query, got, c.want)
				}
				if asked := judge.take(); asked != c.asked {
					t.Errorf("%.80q: the daemon was asked %.80q, want %.80q", c.query, asked, c.asked)
				}
			}
			code, stderr := p.end(t)
			if code != 0 {
				t.Errorf("exit code %d", code)
			}
			if strings.Contains(stderr, "cret") || strings.Contains(stderr, "alice") {
				t.Errorf("what was asked is in\n%s", stderr)
			}
		})
	}
}

func TestExtauth_answersInTurn(t *testing.T) {
	for _, w := range wires {
		p := w.start(t, new(apiJudge))
		go func() {
			_, _ = io.WriteString(p.in, w.frame("isuser:alice:example.com")+w.frame("isuser:bob:example.com")+w.frame("isuser:alice:example.com"))
		}()
		for i, want := range []string{"yes", "no", "yes"} {
			if got := w.read(t, p); got != want {
				t.Errorf("%s, query %d: %s", w.name, i, got)
			}
		}
		p.end(t)
	}
}

// A query that the end of the input has cut is nobody's.
func TestExtauth_answersWholeQueriesOnly(t *testing.T) {
	for _, w := range wires {
		judge := new(apiJudge)
		p := w.start(t, judge)
		query := w.frame("auth:alice:example.com:s:cret")
		p.write(t, query[:len(query)-1])
		code, stderr := p.end(t)
		if code != exitUnavailable || !strings.Contains(stderr, "within a query") {
			t.Errorf("%s: exit code %d\n%s", w.name, code, stderr)
		}
		if asked := judge.take(); asked != "" {
			t.Errorf("%s: asked %s", w.name, asked)
		}
	}
}

func TestExtauth_withoutDaemonCannotSay(t *testing.T) {
	for _, w := range wires {
		path := filepath.Join(t.TempDir(), "s")
		p := startExtauth(t, "--socket", path, "--protocol", w.name)
		for range 3 {
			if got := w.ask(t, p, "auth:alice:example.com:s:cret"); got != "cannot say" {
				t.Errorf("%s without a daemon: %s", w.name, got)
			}
		}
		handler := authapi.Handler(new(apiJudge), authapi.Trusted(), slog.New(slog.DiscardHandler))
		for range 2 { // a daemon that is started anew
			stop := serveAPI(t, path, handler)
			for range 2 {
				if got := w.ask(t, p, "auth:alice:example.com:s:cret"); got != "yes" {
					t.Errorf("%s with a daemon: %s", w.name, got)
				}
			}
			stop()
		}
		if got := w.ask(t, p, "isuser:alice:example.com"); got != "cannot say" {
			t.Errorf("%s after the daemon: %s", w.name, got)
		}
		if code, stderr := p.end(t); code != 0 || strings.Count(stderr, "\n") != 2 {
			t.Errorf("%s: exit code %d, want one line a trouble\n%s", w.name, code, stderr)
		}
	}
}

// A daemon that is late must not decide another query.
func TestExtauth_neverUsesALateAnswer(t *testing.T) {
	for _, w := range wires {
		release := make(chan struct{})
		path := filepath.Join(t.TempDir(), "s")
		serveAPI(t, path, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.FormValue("user") == "slow" {
				<-release
				_, _ = io.WriteString(rw, "true")
				return
			}
			_, _ = io.WriteString(rw, "false")
		}))
		p := startExtauth(t, "--socket", path, "--protocol", w.name, "--timeout", "100ms")
		if got := w.ask(t, p, "auth:slow:example.com:x"); got != "cannot say" {
			t.Errorf("%s, late: %s", w.name, got)
		}
		close(release)
		for range 3 {
			if got := w.ask(t, p, "auth:mallory:example.com:x"); got != "no" {
				t.Errorf("%s, after a late answer: %s", w.name, got)
			}
		}
		if _, stderr := p.end(t); !strings.Contains(stderr, "has not answered in 100ms") {
			t.Errorf("%s: %s", w.name, stderr)
		}
	}
}

// What isn't exactly a verdict is none, and nothing that comes behind one is taken for the next.
func TestExtauth_believesExactAnswersOnly(t *testing.T) {
	const length4 = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
	for name, c := range map[string]struct {
		answer, want string
		open         bool // the connection stays so after the answer
	}{
		"yes":              {length4 + "true", "yes", false},
		"no":               {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfalse", "no", false},
		"end as length":    {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ntrue", "yes", false},
		"two answers":      {length4 + "true" + length4 + "true", "yes", true},
		"line end":         {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntrue\n", "cannot say", false},
		"capitals":         {length4 + "TRUE", "cannot say", false},
		"one":              {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", "cannot say", false},
		"empty":            {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "cannot say", false},
		"created":          {"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\ntrue", "cannot say", false},
		"unavailable":      {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nfalse", "cannot say", false},
		"not found":        {"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nfalse", "cannot say", false},
		"cut":              {length4 + "tru", "cannot say", false},
		"cut in headers":   {"HTTP/1.1 200 OK\r\nContent-Le", "cannot say", false},
		"nothing":          {"", "cannot say", false},
		"no HTTP":          {"true", "cannot say", false},
		"long":             {"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + strings.Repeat("true", 500), "cannot say", false},
		"without end":      {"HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("true", 50000), "cannot say", false},
		"headers, no end":  {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 100), "cannot say", false},
		"answer and junk":  {length4 + "truetrue", "yes", true},
		"closes later":     {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\ntrue", "yes", true},
		"chunked":          {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntrue\r\n0\r\n\r\n", "yes", false},
		"continue, answer": {"HTTP/1.1 100 Continue\r\n\r\n" + length4 + "true", "cannot say", false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			ln, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			served := make(chan int, 1)
			go func() {
				conns := 0
				defer func() { served <- conns }()
				for first := true; ; first = false {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					conns++
					if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil && first {
						_, _ = io.WriteString(conn, c.answer)
					}
					if first && c.open {
						defer conn.Close()
						continue
					}
					_ = conn.Close()
				}
			}()
			w := wires[0]
			p := startExtauth(t, "--socket", path, "--timeout", "5s")
			if got := w.ask(t, p, "auth:alice:example.com:s:cret"); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if got := w.ask(t, p, "auth:mallory:example.com:s:cret"); got != "cannot say" {
				t.Errorf("the next query, which was never answered: %s", got)
			}
			p.end(t)
			ln.Close()
			if n := <-served; c.open && n != 2 {
				t.Errorf("%d connections, want a new one for the next query", n)
			}
		})
	}
}

func TestExtauth_usage(t *testing.T) {
	for _, args := range [][]string{
		{"extauth"},
		{"extauth", "--socket", "/s", "--protocol", "prosody"},
		{"extauth", "--socket", "/s", "--timeout", "soon"},
	} {
		var stderr bytes.Buffer
		if code := run(args, globals{io.Discard, &stderr, strings.NewReader("")}); code != exitUsage {
			t.Errorf("%v: exit code %d\n%s", args, code, &stderr)
		}
	}
}

// FuzzExtauth: whatever comes in, whole answers come out, none is a yes that the daemon has not given, and it ends.
func FuzzExtauth(f *testing.F) {
	for i, w := range wires {
		f.Add(i == 0, w.frame("auth:alice:example.com:s:cret")+w.frame("isuser:bob:example.com"))
		f.Add(i == 0, w.frame("removeuser3:alice:example.com:")+w.frame(":::")+w.frame(""))
		f.Add(i == 0, w.frame(strings.Repeat("auth:", 1000))+"\x00")
	}
	path := filepath.Join(f.TempDir(), "s")
	judge := new(apiJudge)
	serveAPI(f, path, authapi.Handler(judge, authapi.Trusted(), slog.New(slog.DiscardHandler)))
	f.Fuzz(func(t *testing.T, ejabberd bool, input string) {
		w := wires[0]
		if !ejabberd {
			w = wires[1]
		}
		judge.take()
		var stdout, stderr bytes.Buffer
		cmd := &ExtauthCmd{Socket: path, Protocol: w.name, Timeout: 10 * time.Second}
		_ = cmd.Run(&globals{Stdin: strings.NewReader(input), Stdout: &stdout, Stderr: &stderr}) // a cut query is an error
		yes, queries, answers := 0, 0, stdout.String()
		for answers != "" {
			queries++
			rest, isYes := strings.CutPrefix(answers, w.yes)
			if isYes {
				yes++
			} else if rest, ok := strings.CutPrefix(answers, w.no); ok {
				answers = rest
				continue
			} else if rest, ok = strings.CutPrefix(answers, w.cannotSay); ok {
				answers = rest
				continue
			} else {
				t.Fatalf("%q is no answer", answers)
			}
			answers = rest
		}
		if !ejabberd && queries != strings.Count(input, "\n") {
			t.Fatalf("%d answers to %d lines", queries, strings.Count(input, "\n"))
		}
		if asked := judge.take(); yes > strings.Count(asked, "alice") {
			t.Fatalf("%d times yes, after %q", yes, asked)
		}
	})
}

func BenchmarkExtauth(b *testing.B) {
	w := wires[0]
	p := w.start(b, new(apiJudge))
	query := w.frame("auth:alice:example.com:s:cret")
	b.ReportAllocs()
	for b.Loop() {
		p.write(b, query)
		if got := w.read(b, p); got != "yes" {
			b.Fatal(got)
		}
	}
	p.end(b)
}
