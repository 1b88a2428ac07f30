package integration

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// TestProsodyModule_logins tries names and passwords: what the client gets, and what the API is asked for it.
func TestProsodyModule_logins(t *testing.T) {
	t.Parallel()
	api := newAuthAPI(t, map[string]string{
		"alice":   "secret",
		"björn":   "pässwörd ☃",
		"odd":     `a:b%41+c&d=e "f"/\?#`,
		"percent": "%00",
		"ticket":  "ght_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
	})
	p := startProsody(t, "prosody.cfg.lua", api.url())
	for _, test := range []struct {
		name, message string
		right         string
		user, pass    string // what the API is asked, if it is
	}{
		{"right", plain("alice", "secret"), "success", "alice", "secret"},
		{"wrong", plain("alice", "Secret"), "not-authorized", "alice", "Secret"},
		{"nobody", plain("nobody", "secret"), "not-authorized", "nobody", "secret"},
		{"prepared", plain("ＡＬＩＣＥ", "secret"), "success", "alice", "secret"},
		{"not ASCII", plain("Björn", "pa\u0308sswörd\u00a0☃"), "success", "björn", "pässwörd ☃"},
		{"delimiters", plain("odd", `a:b%41+c&d=e "f"/\?#`), "success", "odd", `a:b%41+c&d=e "f"/\?#`},
		{"percent", plain("percent", "%00"), "success", "percent", "%00"},
		{"ticket", plain("ticket", "ght_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"), "success",
			"ticket", "ght_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"},
		{"own authzid", "alice@localhost" + plain("alice", "secret"), "success", "alice", "secret"},
		{"own name as authzid", "Alice" + plain("alice", "secret"), "success", "alice", "secret"},
		{"another's authzid", "björn@localhost" + plain("alice", "secret"), "invalid-authzid", "", ""},
		{"another host's authzid", "alice@tokens.localhost" + plain("alice", "secret"), "invalid-authzid", "", ""},
		{"NUL in the password", plain("alice", "secret\x00more"), "malformed-request", "", ""},
		{"NUL at the end", plain("alice", "secret\x00"), "malformed-request", "", ""},
		{"line feed in the password", plain("alice", "secret\n"), "malformed-request", "", ""},
		{"not UTF-8", plain("alice", "secret\xff"), "malformed-request", "", ""},
		{"no password", plain("alice", ""), "malformed-request", "", ""},
		{"no name", plain("", "secret"), "malformed-request", "", ""},
		{"at in the name", plain("alice@localhost", "secret"), "malformed-request", "", ""},
		{"no NUL", "alice", "malformed-request", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			expectAuth(t, "login", p.address, "localhost", "PLAIN", test.message, test.right)
			var right []apiQuery
			if test.user != "" {
				right = []apiQuery{{"GET", "/auth/check_password", test.user, "localhost", test.pass, ""}}
			}
			if got := api.asked(); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", right) {
				t.Errorf("the API was asked %q, want %q", got, right)
			}
		})
	}
	t.Run("bound", func(t *testing.T) {
		if _, jid := session(t, p.address, "localhost", "BJÖRN", "pässwörd ☃", "phone"); jid != "björn@localhost/phone" {
			t.Errorf("bound %q", jid)
		}
	})
	t.Run("no initial response", func(t *testing.T) {
		expectAuth(t, "login", p.address, "localhost", "PLAIN", "", "malformed-request")
	})
	t.Run("nothing in the log", func(t *testing.T) {
		log := p.log.String()
		for _, password := range []string{"secret", "Secret", "pässwörd", url.QueryEscape("pässwörd"), "b%41", "b%2541",
			"ght_AAEC", apiPassword} {
			if at := strings.Index(strings.ToLower(log), strings.ToLower(password)); at >= 0 {
				t.Errorf("%q is in Prosody's log: %q", password, log[max(0, at-100):min(len(log), at+100)])
			}
		}
	})
}

// TestProsodyModule_cannotSay lets the API fail in every way: the client must hear of a temporary failure each time, at
// once or after the timeout of 4 s, and must get in afterwards on the same stream.
func TestProsodyModule_cannotSay(t *testing.T) {
	t.Parallel()
	api := newAuthAPI(t, map[string]string{"alice": "secret"})
	p := startProsody(t, "prosody.cfg.lua", api.url())
	hangUp := func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }
	half := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "4")
		_, _ = w.Write([]byte("tru"))
		panic(http.ErrAbortHandler)
	}
	redirect := func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/auth/elsewhere", http.StatusFound) }
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		delay  time.Duration
		cause  string // in the log
	}{
		{"503", says(http.StatusServiceUnavailable, "The script is late.\n"), 0, "HTTP status 503: The script is late."},
		{"500", says(http.StatusInternalServerError, "true"), 0, "HTTP status 500"},
		{"401", says(http.StatusUnauthorized, "false"), 0, "does not accept gatehouse_auth_api_user"},
		{"404", says(http.StatusNotFound, "false"), 0, "HTTP status 404"},
		{"201 true", says(http.StatusCreated, "true"), 0, "HTTP status 201"},
		{"204", says(http.StatusNoContent, ""), 0, "HTTP status 204"},
		{"redirect", redirect, 0, "HTTP status 302"},
		{"line end", says(http.StatusOK, "true\n"), 0, "neither true nor false"},
		{"capital", says(http.StatusOK, "True"), 0, "neither true nor false"},
		{"one", says(http.StatusOK, "1"), 0, "neither true nor false"},
		{"empty", says(http.StatusOK, ""), 0, "neither true nor false"},
		{"half an answer", half, 0, "no answer: "},
		{"hangs up", hangUp, 0, "no answer: "},
		{"slow", nil, time.Minute, "no answer in 4 seconds"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := dial(t, p.address, "starttls", "localhost")
			if err != nil {
				t.Fatal(err)
			}
			before := len(p.log.String())
			api.become(test.answer, test.delay)
			for _, password := range []string{"secret", "wrong"} {
				began := time.Now()
				if got, err := attempt(c, "PLAIN", plain("alice", password)); err != nil || got != "temporary-auth-failure" {
					t.Errorf("%s: %q, %v", password, got, err)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("the answer took %v", took)
				}
			}
			if log := p.log.String()[before:]; !strings.Contains(log, test.cause) {
				t.Errorf("no %q in the log", test.cause)
			}
			api.become(nil, 0)
			if got, err := attempt(c, "PLAIN", plain("alice", "wrong")); err != nil || got != "not-authorized" {
				t.Errorf("wrong password afterwards: %q, %v", got, err)
			}
			if got, err := attempt(c, "PLAIN", plain("alice", "secret")); err != nil || got != "success" {
				t.Errorf("right password afterwards: %q, %v", got, err)
			}
		})
	}
	t.Run("the client leaves meanwhile", func(t *testing.T) {
		c, err := dial(t, p.address, "starttls", "localhost")
		if err != nil {
			t.Fatal(err)
		}
		api.become(nil, time.Second)
		api.asked()
		if err := c.Sendf("<auth xmlns='%s' mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>", xmpptest.NSSASL); err != nil {
			t.Fatal(err)
		}
		until(t, "the API is asked", patience, func() bool { return len(api.asked()) == 1 })
		_ = c.Close()
		expectAuth(t, "next login", p.address, "localhost", "PLAIN", plain("alice", "secret"), "success")
		api.become(nil, 0)
	})
	t.Run("gone", func(t *testing.T) {
		api.server.Close()
		expectAuth(t, "login", p.address, "localhost", "PLAIN", plain("alice", "secret"), "temporary-auth-failure")
	})
	// Only a traceback names a file.
	if log := p.log.String(); strings.Contains(log, "secret") || strings.Contains(log, "mod_auth_gatehouse.lua:") {
		t.Error("a password or a traceback in the log")
	}
}

// TestProsodyModule_doesNotBlock logs fifty users in at once while the API takes a second for each: it is about one
// second for all, and somebody who is in already gets answers all the while.
func TestProsodyModule_doesNotBlock(t *testing.T) {
	t.Parallel()
	const users, delay = 50, time.Second
	api := newAuthAPI(t, map[string]string{"alice": "secret"})
	p := startProsody(t, "prosody.cfg.lua", api.url())
	online, _ := session(t, p.address, "localhost", "alice", "secret", "online")
	clients := make([]*xmpptest.Client, users)
	for i := range clients {
		c, err := dial(t, p.address, "starttls", "localhost")
		if err != nil {
			t.Fatal(err)
		}
		clients[i] = c
	}
	api.become(nil, delay)
	api.asked()
	began := time.Now()
	var group sync.WaitGroup
	for i, c := range clients {
		password, right := "secret", "success"
		if i%2 == 1 {
			password, right = "wrong", "not-authorized"
		}
		group.Go(func() {
			if got, err := attempt(c, "PLAIN", plain("alice", password)); err != nil || got != right {
				t.Errorf("login %d: %q, %v, want %q", i, got, err, right)
			}
		})
	}
	done := make(chan time.Duration, 1)
	go func() {
		group.Wait()
		done <- time.Since(began)
	}()
	var took, slowest time.Duration
	pings := 0
	for took == 0 {
		sent := time.Now()
		if err := online.Ping(); err != nil {
			t.Fatal(err)
		}
		pings++
		slowest = max(slowest, time.Since(sent))
		select {
		case took = <-done:
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Logf("%d logins in %v, %d pings, the slowest %v", users, took, pings, slowest)
	// One after another they would take users*delay, and nobody would get an answer meanwhile.
	if took < delay || took > 5*delay {
		t.Errorf("%d logins of %v each took %v", users, delay, took)
	}
	if slowest >= delay {
		t.Errorf("a ping took %v", slowest)
	}
	if n := len(api.asked()); n != users {
		t.Errorf("the API was asked %d times", n)
	}
}

// TestProsodyModule_tokens offers X-TOKEN where the option says so and the stream is encrypted; the token goes to the API
// as a password does.
func TestProsodyModule_tokens(t *testing.T) {
	t.Parallel()
	token := "12345678" + strings.Repeat("7", 32) + " nBiMVYMw6c6n4DmlL5P9DLuGhrTqigY41IkTzvlNiHM="
	api := newAuthAPI(t, map[string]string{"alice": token})
	p := startProsody(t, "prosody.cfg.lua", api.url())
	mechanisms := func(host string) string {
		c, err := xmpptest.Dial(p.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		open, err := c.Open(host)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.StartTLS(insecureTLS(host)); err != nil {
			t.Fatal(err)
		}
		secure, err := c.Open(host)
		if err != nil {
			t.Fatal(err)
		}
		return names(open) + "|" + names(secure)
	}
	for host, right := range map[string]string{
		"localhost":        "|PLAIN",
		"tokens.localhost": "|PLAIN X-TOKEN",
		"open.localhost":   "|PLAIN X-TOKEN",
	} {
		if got := mechanisms(host); got != right {
			t.Errorf("mechanisms of %s before and after TLS: %q, want %q", host, got, right)
		}
	}
	const host = "tokens.localhost"
	api.asked()
	expectAuth(t, "token", p.address, host, "X-TOKEN", plain("alice", token), "success")
	if got := api.asked(); len(got) != 1 || got[0] != (apiQuery{"GET", "/auth/check_password", "alice", host, token, ""}) {
		t.Errorf("the API was asked %q", got)
	}
	expectAuth(t, "wrong token", p.address, host, "X-TOKEN", plain("alice", token+"="), "not-authorized")
	expectAuth(t, "no token", p.address, host, "X-TOKEN", "alice", "malformed-request")
	expectAuth(t, "another's", p.address, host, "X-TOKEN", "bob@"+host+plain("alice", token), "invalid-authzid")
	expectAuth(t, "without the option", p.address, "localhost", "X-TOKEN", plain("alice", token), "invalid-mechanism")
	api.become(says(http.StatusServiceUnavailable, "not now"), 0)
	expectAuth(t, "cannot say", p.address, host, "X-TOKEN", plain("alice", token), "temporary-auth-failure")
	if strings.Contains(p.log.String(), "77777777") {
		t.Error("the token is in the log")
	}
}

// names are the mechanisms in the features of a stream.
func names(features *xmpptest.Element) string {
	var found []string
	if mechanisms := features.Child("mechanisms"); mechanisms != nil {
		for _, m := range mechanisms.Children {
			found = append(found, m.Text)
		}
	}
	slices.Sort(found)
	return strings.Join(found, " ")
}

// TestProsodyModule_offlineMessages sends messages to people who are offline: who exists gets them later, and while
// nobody can say, who was there before still does.
func TestProsodyModule_offlineMessages(t *testing.T) {
	t.Parallel()
	api := newAuthAPI(t, map[string]string{"alice": "secret", "jürgen": "password"})
	p := startProsody(t, "prosody.cfg.lua", api.url())
	alice, _ := session(t, p.address, "localhost", "alice", "secret", "a")
	api.asked()
	send := func(to, body string) error {
		return alice.Sendf("<message type='chat' id='%s' to='%s@localhost'><body>%s</body></message>", body, to, body)
	}
	bounced := func(body string) {
		t.Helper()
		e, err := alice.Expect("message")
		if err != nil || e.Attr("id") != body || e.Condition() != "service-unavailable" {
			t.Errorf("message to nobody: %v, %v", e, err)
		}
	}
	if err := errors.Join(send("jürgen", "one"), send("nobody", "two")); err != nil {
		t.Fatal(err)
	}
	bounced("two")
	right := []apiQuery{
		{"GET", "/auth/user_exists", "jürgen", "localhost", "", ""},
		{"GET", "/auth/user_exists", "nobody", "localhost", "", ""},
	}
	if got := api.asked(); fmt.Sprint(got) != fmt.Sprint(right) {
		t.Errorf("the API was asked %q, want %q", got, right)
	}
	api.become(says(http.StatusServiceUnavailable, "not now"), 0)
	if err := errors.Join(send("jürgen", "three"), send("nobody", "four")); err != nil {
		t.Fatal(err)
	}
	bounced("four")
	api.become(nil, 0)
	jürgen, _ := session(t, p.address, "localhost", "jürgen", "password", "j")
	if err := jürgen.Send("<presence/>"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for len(got) < 2 {
		e, err := jürgen.ReadElement()
		if err != nil {
			t.Fatal(err)
		}
		if e.Name == "message" {
			got = append(got, e.Child("body").Text)
		}
	}
	if strings.Join(got, " ") != "one three" {
		t.Errorf("messages that waited: %q", got)
	}
}

// TestProsodyModule_userManager calls the functions that other modules of Prosody use.
func TestProsodyModule_userManager(t *testing.T) {
	t.Parallel()
	api := newAuthAPI(t, map[string]string{"alice": "secret"})
	p := startProsody(t, "prosody.cfg.lua", api.url())
	c, _ := session(t, p.address, "localhost", "alice", "secret", "a")
	api.asked()
	const dir = "/auth/"
	unavailable := says(http.StatusServiceUnavailable, "not now")
	for _, test := range []struct {
		name                      string
		answer                    http.HandlerFunc
		operation, user, password string
		right                     string
		asked                     string // method and operation
	}{
		{"right", nil, "test_password", "alice", "secret", "true", "GET check_password"},
		{"wrong", nil, "test_password", "alice", "Secret", "false", "GET check_password"},
		{"cannot say", unavailable, "test_password", "alice", "secret", "nil", "GET check_password"},
		{"control character", nil, "test_password", "alice", "a\u0085b", "false", ""},
		{"no such user", nil, "user_exists", "bob", "", "false", "GET user_exists"},
		{"register", nil, "create_user", "bob", "b:o%b+ü", "true", "POST register"},
		{"register again", nil, "create_user", "bob", "other", "nil", "POST register"},
		{"register, cannot say", unavailable, "create_user", "carol", "password", "nil", "POST register"},
		{"exists", nil, "user_exists", "bob", "", "true", "GET user_exists"},
		{"exists, cannot say", unavailable, "user_exists", "bob", "", "true", "GET user_exists"},
		{"has the password", nil, "test_password", "bob", "b:o%b+ü", "true", "GET check_password"},
		{"change", nil, "set_password", "bob", "n\u00a0w", "true", "POST set_password"},
		{"change, control character", nil, "set_password", "bob", "a\u0085b", "nil", ""},
		{"change, empty", nil, "set_password", "bob", "", "nil", ""},
		{"change of nobody's", nil, "set_password", "carol", "new", "nil", "POST set_password"},
		{"change, cannot say", unavailable, "set_password", "bob", "other", "nil", "POST set_password"},
		{"has the new password", nil, "test_password", "bob", "n w", "true", "GET check_password"},
		{"remove, cannot say", unavailable, "delete_user", "bob", "", "nil", "POST remove_user"},
		{"remove", nil, "delete_user", "bob", "", "true", "POST remove_user"},
		{"removed, cannot say", unavailable, "user_exists", "bob", "", "nil", "GET user_exists"},
		{"remove again", nil, "delete_user", "bob", "", "nil", "POST remove_user"},
	} {
		api.become(test.answer, 0)
		result, reason := probe(t, c, test.operation, test.user, test.password)
		if result != test.right {
			t.Errorf("%s: %s (%s), want %s", test.name, result, reason, test.right)
		}
		if result == "nil" && reason == "nil" {
			t.Errorf("%s: no reason", test.name)
		}
		var asked string
		for _, q := range api.asked() {
			asked += q.method + " " + strings.TrimPrefix(q.path, dir)
			if q.user != test.user || q.server != "localhost" || q.problem != "" {
				t.Errorf("%s: the API was asked %q", test.name, q)
			}
		}
		if asked != test.asked {
			t.Errorf("%s: the API was asked %q, want %q", test.name, asked, test.asked)
		}
	}
	api.become(nil, 0)
	if result, reason := probe(t, c, "test_password", "alice", "secret", "timer='yes'"); result != "nil" ||
		!strings.Contains(reason, "asynchronous") {
		t.Errorf("outside of a coroutine: %s (%s)", result, reason)
	}
}

// TestProsodyModule_slixmpp logs in with a client that we did not write and changes the password with it.
func TestProsodyModule_slixmpp(t *testing.T) {
	t.Parallel()
	f := foreignClients[0]
	f.installed(t)
	api := newAuthAPI(t, map[string]string{"alice": "secret"})
	p := startProsody(t, "prosody.cfg.lua", api.url())
	for _, test := range []struct {
		password, change string
		code             int
		says             string
	}{
		{"wrong", "", f.refusedCode, f.refused},
		{"secret", "n3w : passwörd+%", 0, "changed"},
		{"n3w : passwörd+%", "", 0, "stayed"},
		{"secret", "", f.refusedCode, f.refused},
	} {
		r := clientRun{address: p.address, kind: "starttls", password: test.password, change: test.change, ca: p.ca}
		if output, code := f.run(t, r); code != test.code || !strings.Contains(output, test.says) {
			t.Errorf("password %q: exit code %d, want %d and %q in:\n%s", test.password, code, test.code, test.says, output)
		}
	}
	api.become(says(http.StatusServiceUnavailable, "not now"), 0)
	r := clientRun{address: p.address, kind: "starttls", password: "secret", ca: p.ca}
	if output, code := f.run(t, r); code == 0 || !strings.Contains(output, "refused temporary-auth-failure") {
		t.Errorf("cannot say: exit code %d, output:\n%s", code, output)
	}
}

// TestProsodyModule_badOptions finds that hosts with options that make no sense take nobody, and say why.
func TestProsodyModule_badOptions(t *testing.T) {
	t.Parallel()
	api := newAuthAPI(t, map[string]string{"alice": "secret"})
	p := startProsody(t, "bad_options.cfg.lua", api.url())
	for host, cause := range map[string]string{
		"elsewhere.localhost": "passwords would go to another machine unencrypted",
		"userinfo.localhost":  "the name and password belong in gatehouse_auth_api_user",
		"scheme.localhost":    "not a http or https address",
		"colon.localhost":     "gatehouse_auth_api_user: a colon cannot be part of it",
		"timeless.localhost":  "gatehouse_auth_timeout: has to be more than 0",
	} {
		if _, err := dial(t, p.address, "starttls", host); err == nil || !strings.Contains(err.Error(), "No stream features") {
			t.Errorf("%s: %v", host, err)
		}
		if !strings.Contains(p.log.String(), cause) {
			t.Errorf("%s: no %q in the log", host, cause)
		}
	}
	if strings.Contains(p.log.String(), "in-the-url") {
		t.Error("a password of gatehouse_auth_url is in the log")
	}
	if got := api.asked(); len(got) != 0 {
		t.Errorf("the API was asked %q", got)
	}
}

// TestProsodyModule_lint lets the compiler and luacheck read the module.
func TestProsodyModule_lint(t *testing.T) {
	for _, file := range []string{"../prosody/mod_auth_gatehouse.lua", "testdata/prosody/mod_gatehouse_probe.lua"} {
		for _, command := range [][]string{{"luac5.4", "-p", "--", file}, {"luacheck", "--no-color", "--", file}} {
			if text, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%q; if it is missing, run scripts/test-deps.sh as root: %v\n%s", command, err, text)
			}
		}
	}
}
