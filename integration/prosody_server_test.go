package integration

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// The credentials of the auth API, as testdata/prosody/prosody.cfg.lua has them.
const (
	apiUser     = "prosody"
	apiPassword = "a:pi% +ä"
)

// apiQuery is what the auth API was asked.
type apiQuery struct {
	method, path                string
	user, server, pass, problem string
}

// authAPI is an auth API of a test. It takes nothing but what gatehouse's own takes.
type authAPI struct {
	server *httptest.Server

	mu       sync.Mutex // guards the fields below
	accounts map[string]string
	answer   http.HandlerFunc // instead of the right one, if it is not nil
	delay    time.Duration
	queries  []apiQuery
}

func newAuthAPI(t testing.TB, accounts map[string]string) *authAPI {
	t.Helper()
	a := &authAPI{accounts: accounts}
	a.server = httptest.NewServer(a)
	t.Cleanup(a.server.Close)
	return a
}

// url is what gatehouse_auth_url has to be.
func (a *authAPI) url() string { return a.server.URL + "/auth" }

// become changes what the API answers from now on: nil is the truth, after a delay.
func (a *authAPI) become(answer http.HandlerFunc, delay time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer, a.delay = answer, delay
}

// asked returns all queries since the last call.
func (a *authAPI) asked() []apiQuery {
	a.mu.Lock()
	defer a.mu.Unlock()
	queries := a.queries
	a.queries = nil
	return queries
}

func (a *authAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := apiQuery{method: r.Method, path: r.URL.Path}
	values := r.URL.Query()
	if r.Method == http.MethodPost {
		q.problem = r.URL.RawQuery // must be empty
		if err := r.ParseForm(); err != nil {
			q.problem = err.Error()
		}
		values = r.PostForm
	}
	q.user, q.server, q.pass = values.Get("user"), values.Get("server"), values.Get("pass")
	if user, password, ok := r.BasicAuth(); !ok || user != apiUser || password != apiPassword {
		q.problem = "wrong credentials"
	}
	a.mu.Lock()
	a.queries = append(a.queries, q)
	answer, delay := a.answer, a.delay
	if answer == nil {
		text := a.decide(q)
		answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	a.mu.Unlock()
	select {
	case <-time.After(delay):
		answer(w, r)
	case <-r.Context().Done():
	}
}

// decide answers a query and does what it says.
func (a *authAPI) decide(q apiQuery) string {
	password, exists := a.accounts[q.user]
	ok := false
	switch q.method + " " + q.path {
	case "GET /auth/check_password":
		ok = exists && password == q.pass
	case "GET /auth/user_exists":
		ok = exists
	case "POST /auth/set_password":
		if ok = exists; ok {
			a.accounts[q.user] = q.pass
		}
	case "POST /auth/register":
		if ok = !exists; ok {
			a.accounts[q.user] = q.pass
		}
	case "POST /auth/remove_user":
		ok = exists
		delete(a.accounts, q.user)
	default:
		return "no such operation"
	}
	return fmt.Sprint(ok && q.problem == "")
}

// says is an answer of the API.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// prosody is a running Prosody with mod_auth_gatehouse, and what a client needs to reach it.
type prosody struct {
	address string // host:port, STARTTLS
	ca      string // PEM file
	log     *logBuffer
}

// startProsody starts a Prosody that asks an auth API, with a config of testdata/prosody, and waits until it takes
// connections. The environment variable PROSODY may name another one than Debian's.
func startProsody(t testing.TB, config, apiURL string) *prosody {
	t.Helper()
	dir := t.TempDir()
	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(xmpptest.ECDSA, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := pair.Write(dir, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	port := fmt.Sprint(freePorts(t, 1)[0])
	p := &prosody{address: net.JoinHostPort("127.0.0.1", port), ca: filepath.Join(dir, "ca.pem"), log: newLogBuffer()}
	if err := os.WriteFile(p.ca, ca.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	config = absolute(t, filepath.Join("testdata/prosody", config))
	cmd := exec.Command(cmp.Or(os.Getenv("PROSODY"), "prosody"), "-F", "--config", config)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TEST_DATA="+dir, "TEST_PORT="+port, "TEST_API="+apiURL,
		"TEST_CERTIFICATE="+certificate, "TEST_KEY="+key,
		"TEST_MODULES="+absolute(t, "../prosody"), "TEST_PROBE="+filepath.Dir(config))
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; run scripts/test-deps.sh as root", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			text := p.log.String()
			t.Logf("end of Prosody's log:\n%s", text[max(0, len(text)-maxShown):])
		}
	})
	until(t, "Prosody takes connections", patience, func() bool {
		select {
		case <-ended:
			t.Fatal("Prosody ended")
		default:
		}
		conn, err := net.Dial("tcp", p.address)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
	return p
}

// probe lets mod_gatehouse_probe call Prosody's user manager and returns both results as Lua prints them.
func probe(t testing.TB, c *xmpptest.Client, operation, user, password string, more ...string) (result, reason string) {
	t.Helper()
	answer, err := c.IQ("set", "localhost", fmt.Sprintf("<query xmlns='urn:gatehouse:probe' op='%s' user='%s' password='%s' %s/>",
		operation, xmpptest.Escape(user), xmpptest.Escape(password), strings.Join(more, " ")))
	if err != nil {
		t.Fatal(err)
	}
	query := answer.Child("query")
	if query == nil {
		t.Fatalf("probe: %s", answer.Raw)
	}
	return query.Attr("result"), query.Attr("reason")
}

func absolute(t testing.TB, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
