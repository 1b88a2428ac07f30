package credentials

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	testPassword = "0123456789abcdef" // of webapp, at example.org
	testBearer   = "fedcba9876543210" // at example.org and bearer.example
	testToken    = "12345678 a token"
)

// minter hands out testToken, or err, and writes down for whom.
type minter struct {
	err    error
	minted []string
}

func (m *minter) mint(host string) func(user string) (string, error) {
	return func(user string) (string, error) {
		m.minted = append(m.minted, user+"@"+host)
		if m.err != nil {
			return "", m.err
		}
		return testToken, nil
	}
}

func (m *minter) config() Config {
	return Config{Hosts: map[string]Host{
		"example.org":    {User: "webapp", Password: testPassword, Bearer: testBearer, PerMinute: 30, Mint: m.mint("example.org")},
		"bearer.example": {Bearer: testBearer, PerMinute: 2, Mint: m.mint("bearer.example")},
		"basic.example":  {User: "other", Password: "another password", PerMinute: 30, Mint: m.mint("basic.example")},
		"nobody.example": {User: "", Password: "", Bearer: "", PerMinute: 30, Mint: m.mint("nobody.example")},
	}}
}

// A scene is a handler and what it logged.
type scene struct {
	minter  minter
	handler *Handler
	log     bytes.Buffer
}

func newScene() *scene {
	s := &scene{}
	s.handler = New(s.minter.config(), slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})))
	return s
}

// ask has the handler answer a request that is written as it comes over the wire, and returns its answer in the same form.
func (s *scene) ask(t testing.TB, request string) string {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request)))
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = "192.0.2.1:4000"
	return answerOf(s.handler, r)
}

func answerOf(h http.Handler, r *http.Request) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var b bytes.Buffer
	_ = w.Result().Write(&b) // to memory
	return b.String()
}

func basic(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)) + "\r\n"
}

const (
	form   = "Content-Type: application/x-www-form-urlencoded\r\n"
	bearer = "Authorization: Bearer " + testBearer + "\r\n"
)

func post(header, body string) string {
	return fmt.Sprintf("POST /credentials HTTP/1.1\r\nHost: gatehouse\r\n%sContent-Length: %d\r\n\r\n%s", header, len(body), body)
}

// reply is what the handler writes, to the byte.
func reply(status, kind, body string, headers ...string) string {
	lines := append([]string{
		"Cache-Control: no-store",
		"Content-Type: " + kind,
		"Pragma: no-cache",
		"X-Content-Type-Options: nosniff",
	}, headers...)
	slices.Sort(lines)
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n\r\n%s\n", status, len(body)+1, strings.Join(lines, "\r\n"), body)
}

func token(jid string) string {
	return reply("200 OK", "application/json", fmt.Sprintf(`{"jid":%q,"password":"12345678 a token"}`, jid))
}

func refusalOf(status, text string, headers ...string) string {
	return reply(status, "text/plain; charset=utf-8", text, headers...)
}

var (
	wrong = refusalOf("401 Unauthorized", "the credentials are wrong, or there are none: the server of a web application asks, and gives the answer to its page",
		`Www-Authenticate: Basic realm="gatehouse", charset="UTF-8"`, `Www-Authenticate: Bearer realm="gatehouse"`)
	noHost  = refusalOf("404 Not Found", "no tokens are given here for users of this server: see gatehouse_credentials")
	badUser = refusalOf("400 Bad Request", errUser.Error())
	missing = refusalOf("400 Bad Request", errMissing.Error())
	notForm = refusalOf("400 Bad Request", errNotForm.Error())
	notPost = refusalOf("405 Method Not Allowed", "tokens are asked for with POST only: the server of a web application asks, and gives the answer to its page", "Allow: POST")
	foreign = refusalOf("403 Forbidden", "this is not for pages of other sites: the server of a web application asks, and gives the answer to its page")
)

func TestHandler_answers(t *testing.T) {
	const alice = "user=alice&server=example.org"
	tests := []struct{ name, request, want, minted string }{
		{"bearer", post(bearer+form, alice), token("alice@example.org"), "alice@example.org"},
		{"basic", post(basic("webapp", testPassword)+form, alice), token("alice@example.org"), "alice@example.org"},
		{"scheme of another case", post(strings.Replace(bearer, "Bearer", "bearer ", 1)+form, alice), token("alice@example.org"), "alice@example.org"},
		{"charset and fields that nobody knows", post(bearer+strings.Replace(form, "\r\n", "; charset=utf-8\r\n", 1), alice+"&x=1&x=2"), token("alice@example.org"), "alice@example.org"},
		{"another host", post(bearer+form, "user=bob&server=bearer.example"), token("bob@bearer.example"), "bob@bearer.example"},
		{"prepared", post(bearer+form, "user=AL%EF%BC%A9CE&server=Example.ORG"), token("alice@example.org"), "alice@example.org"},
		{"not ASCII", post(bearer+form, "user=%D0%B6&server=example.org"), token("ж@example.org"), "ж@example.org"},

		{"wrong password", post(basic("webapp", testPassword+"x")+form, alice), wrong, ""},
		{"wrong user", post(basic("Webapp", testPassword)+form, alice), wrong, ""},
		{"colon moved", post(basic("webapp:"+testPassword[:2], testPassword[2:])+form, alice), wrong, ""},
		{"wrong bearer", post(strings.Replace(bearer, "fed", "Fed", 1)+form, alice), wrong, ""},
		{"bearer as password", post(basic("webapp", testBearer)+form, alice), wrong, ""},
		{"basic as bearer", post("Authorization: Bearer webapp:"+testPassword+"\r\n"+form, alice), wrong, ""},
		{"empty bearer", post("Authorization: Bearer \r\n"+form, "user=alice&server=nobody.example"), wrong, ""},
		{"empty basic", post(basic("", "")+form, "user=alice&server=nobody.example"), wrong, ""},
		{"nothing", post(form, alice), wrong, ""},
		{"two at once", post(bearer+bearer+form, alice), wrong, ""},
		{"bad base64", post("Authorization: Basic !\r\n"+form, alice), wrong, ""},
		{"another scheme", post("Authorization: Digest "+testBearer+"\r\n"+form, alice), wrong, ""},
		{"of another host", post(basic("other", "another password")+form, alice), wrong, ""},
		{"of another host that has one way only", post(basic("webapp", testPassword)+form, "user=alice&server=bearer.example"), wrong, ""},
		{"nobody may", post(bearer+form, "user=alice&server=nobody.example"), wrong, ""},
		{"a stranger is not told of hosts", post(form, "user=alice&server=example.net"), wrong, ""},
		{"a stranger is not told what is wrong", post(strings.Replace(bearer, "fed", "Fed", 1), "x"), wrong, ""},

		{"unknown host", post(bearer+form, "user=alice&server=example.net"), noHost, ""},
		{"host of nothing", post(bearer+form, "user=alice&server="), noHost, ""},
		{"no host name", post(bearer+form, "user=alice&server=%FF"), noHost, ""},
		{"empty user", post(bearer+form, "user=&server=example.org"), badUser, ""},
		{"user of nothing", post(bearer+form, "user=%C2%AD&server=example.org"), badUser, ""},
		{"JID as user", post(bearer+form, "user=alice@example.org&server=example.org"), badUser, ""},
		{"space", post(bearer+form, "user=al+ice&server=example.org"), badUser, ""},
		{"line end", post(bearer+form, "user=alice%0A&server=example.org"), badUser, ""},
		{"not UTF-8", post(bearer+form, "user=%FF&server=example.org"), badUser, ""},
		{"long user", post(bearer+form, "user="+strings.Repeat("a", 1024)+"&server=example.org"), badUser, ""},

		{"no user", post(bearer+form, "server=example.org"), missing, ""},
		{"no server", post(bearer+form, "user=alice"), missing, ""},
		{"two users", post(bearer+form, alice+"&user=bob"), missing, ""},
		{"two servers", post(bearer+form, alice+"&server=bearer.example"), missing, ""},
		{"nothing in it", post(bearer+form, ""), missing, ""},
		{"JSON", post(bearer+"Content-Type: application/json\r\n", `{"user":"alice"}`), notForm, ""},
		{"no type", post(bearer, alice), notForm, ""},
		{"bad escape", post(bearer+form, "user=%&server=example.org"), notForm, ""},
		{"semicolon", post(bearer+form, "user=alice;server=example.org"), notForm, ""},
		{"fields in the target", strings.Replace(post(bearer+form, alice), "/credentials", "/credentials?"+alice, 1), notForm, ""},
		{"long", post(bearer+form, alice+"&x="+strings.Repeat("x", maxBodyBytes)), refusalOf("400 Bad Request", errTooLong.Error()), ""},
		{"cut off", strings.TrimSuffix(post(bearer+form, alice), "g"), refusalOf("400 Bad Request", errBodyLost.Error()), ""},

		{"GET", "GET /credentials?" + alice + " HTTP/1.1\r\nHost: gatehouse\r\n" + bearer + "\r\n", notPost, ""},
		{"preflight", "OPTIONS /credentials HTTP/1.1\r\nHost: gatehouse\r\nOrigin: https://example.org\r\nAccess-Control-Request-Method: POST\r\n\r\n", notPost, ""},
		{"page of another site", post(bearer+form+"Sec-Fetch-Site: cross-site\r\n", alice), foreign, ""},
		{"page of a sibling", post(bearer+form+"Sec-Fetch-Site: same-site\r\n", alice), foreign, ""},
		{"page in an old browser", post(bearer+form+"Origin: https://example.org\r\n", alice), foreign, ""},
		{"page of nowhere", post(bearer+form+"Origin: null\r\n", alice), foreign, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newScene()
			if got := s.ask(t, test.request); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
			if got := strings.Join(s.minter.minted, " "); got != test.minted {
				t.Errorf("minted for %q, want %q", got, test.minted)
			}
			log := s.log.String()
			want := `level=INFO msg="token for a web application" host=`
			if test.minted == "" {
				want = `level=WARN msg="no token for a web application" `
			}
			if !strings.HasPrefix(log, want) || strings.Count(log, "\n") != 1 || !strings.Contains(log, " remote=192.0.2.1:4000") && !strings.Contains(log, `"remote=192`) {
				t.Errorf("logged %s", log)
			}
			for _, secret := range []string{testPassword, testBearer, testToken, "another password"} {
				if strings.Contains(log, secret) {
					t.Errorf("a secret is in the log: %s", log)
				}
			}
		})
	}
}

func TestHandler_log(t *testing.T) {
	tests := []struct{ name, request, want string }{
		{"token", post(bearer+form, "user=Alice&server=Example.org"), `level=INFO msg="token for a web application" host=example.org user=alice remote=192.0.2.1:4000`},
		{"no credentials", post(form, "user=Alice&server=Example.org"),
			`level=WARN msg="no token for a web application" remote=192.0.2.1:4000 status=401 cause="the credentials are wrong, or there are none: the server of a web application asks, and gives the answer to its page"`},
		{"bad user", post(bearer+form, "user=a%0Ab"+strings.Repeat("x", 100)+"&server=example.org"),
			`level=WARN msg="no token for a web application" host=example.org user="a\nb` + strings.Repeat("x", 61) + `…" remote=192.0.2.1:4000 status=400 cause="` + errUser.Error() + `"`},
		{"long letters", post(bearer+form, "user=a"+strings.Repeat("%D0%B6", 100)+"&server=example.net"),
			`level=WARN msg="no token for a web application" host=example.net user=a` + strings.Repeat("ж", 31) + `… remote=192.0.2.1:4000 status=404 cause="no tokens are given here for users of this server: see gatehouse_credentials"`},
	}
	for _, test := range tests {
		s := newScene()
		s.ask(t, test.request)
		if got := strings.TrimSpace(s.log.String()); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}

func TestHandler_cannotMint(t *testing.T) {
	s := newScene()
	s.minter.err = errors.New("the dice are gone")
	want := refusalOf("503 Service Unavailable", "no token can be made at the moment; the log of gatehouse has the cause", "Retry-After: 5")
	if got := s.ask(t, post(bearer+form, "user=alice&server=example.org")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if log := s.log.String(); !strings.Contains(log, `status=503 cause="the dice are gone"`) {
		t.Errorf("logged %s", log)
	}
}

func status(answer string) string {
	_, rest, _ := strings.Cut(answer, " ")
	return rest[:3]
}

func TestHandler_boundsTokensOfAUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		bob := post(bearer+form, "user=bob&server=bearer.example")
		for i, want := range []string{"200", "200", "429"} {
			if got := status(s.ask(t, bob)); got != want {
				t.Fatalf("token %d of bob: %s, want %s", i, got, want)
			}
		}
		want := refusalOf("429 Too Many Requests", "too many tokens are asked for this user: see gatehouse_credentials_rate", "Retry-After: 30")
		if got := s.ask(t, bob); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if got := status(s.ask(t, strings.Replace(bob, "bob", "eve", 1))); got != "200" {
			t.Errorf("another user: %s", got)
		}
		if got := status(s.ask(t, strings.Replace(bob, "bearer.example", "bearer.examplE", 1))); got != "429" {
			t.Errorf("the host in another case: %s", got)
		}
		s.handler.Set(s.minter.config()) // a reload forgets nothing
		if got := status(s.ask(t, bob)); got != "429" {
			t.Errorf("after a reload: %s", got)
		}
		time.Sleep(30 * time.Second)
		if got, again := status(s.ask(t, bob)), status(s.ask(t, bob)); got != "200" || again != "429" {
			t.Errorf("after half a minute: %s, %s", got, again)
		}
		time.Sleep(2 * window)
		if got := status(s.ask(t, bob)) + status(s.ask(t, bob)) + status(s.ask(t, bob)); got != "200200429" {
			t.Errorf("after two minutes: %s", got)
		}
		more := s.minter.config()
		host := more.Hosts["bearer.example"]
		host.PerMinute = 60
		more.Hosts["bearer.example"] = host
		s.handler.Set(more)
		first := status(s.ask(t, bob))
		time.Sleep(2 * time.Second)
		if got := first + status(s.ask(t, bob)) + status(s.ask(t, bob)) + status(s.ask(t, bob)); got != "429200200429" {
			t.Errorf("when the rate was raised to one a second, and two seconds later: %s", got)
		}
	})
}

func TestHandler_boundsTokensInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		counts := make(map[string]int)
		for i := range totalBurst + 100 {
			counts[status(s.ask(t, post(bearer+form, fmt.Sprintf("user=u%d&server=example.org", i))))]++
		}
		if counts["200"] != totalBurst || counts["429"] != 100 {
			t.Errorf("%v", counts)
		}
		if n := len(s.handler.users.current); n != totalBurst {
			t.Errorf("%d users are counted, want only those who got a token", n)
		}
		time.Sleep(time.Second)
		if got := status(s.ask(t, post(bearer+form, "user=x&server=example.org"))); got != "200" {
			t.Errorf("a second later: %s", got)
		}
	})
}

// The one who guesses is not answered any more, even if he is right; others are.
func TestHandler_boundsTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		right, guess := post(bearer+form, "user=alice&server=example.org"), post(strings.Replace(bearer, "fed", "Fed", 1)+form, "user=alice&server=example.org")
		for i := range triesBurst {
			if i == triesBurst-1 {
				if got := status(s.ask(t, right)); got != "200" {
					t.Fatalf("before the last try: %s", got)
				}
			}
			if got := status(s.ask(t, guess)); got != "401" {
				t.Fatalf("try %d: %s", i, got)
			}
		}
		want := refusalOf("429 Too Many Requests", "too many wrong credentials came from your address", "Retry-After: 1")
		for _, request := range []string{guess, right} {
			if got := s.ask(t, request); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		}
		config := s.minter.config()
		config.Remote = func(*http.Request) string { return "192.0.2.2" }
		s.handler.Set(config)
		if got := status(s.ask(t, right)); got != "200" {
			t.Errorf("from elsewhere: %s", got)
		}
		config.Remote = nil
		s.handler.Set(config)
		time.Sleep(time.Second)
		if got := status(s.ask(t, guess)) + status(s.ask(t, right)); got != "401429" {
			t.Errorf("a second later: %s", got)
		}
		time.Sleep(time.Second)
		if got := status(s.ask(t, right)); got != "200" {
			t.Errorf("two seconds later: %s", got)
		}
	})
}

// Credentials of one host are wrong ones for another, and counted.
func TestHandler_countsTriesWithCredentialsOfAnotherHost(t *testing.T) {
	s := newScene()
	request := post(basic("other", "another password")+form, "user=alice&server=example.org")
	for range triesBurst {
		s.ask(t, request)
	}
	if got := status(s.ask(t, request)); got != "429" {
		t.Errorf("answered %s", got)
	}
}

func TestHandler_setTakesBack(t *testing.T) {
	s := newScene()
	request := post(bearer+form, "user=alice&server=example.org")
	s.handler.Set(Config{Hosts: map[string]Host{"example.org": {Bearer: "another secret of it", PerMinute: 1, Mint: s.minter.mint("example.org")}}})
	if got := status(s.ask(t, request)); got != "401" {
		t.Errorf("by the old secret: %s", got)
	}
	s.handler.Set(Config{})
	if got := status(s.ask(t, request)); got != "401" {
		t.Errorf("without hosts: %s", got)
	}
	if len(s.minter.minted) > 0 {
		t.Errorf("minted for %v", s.minter.minted)
	}
}

func FuzzHandler(f *testing.F) {
	for _, body := range []string{"user=alice&server=example.org", "user=%C2%AD&server=Bearer.Example", "user=a;b", "user=alice@x&server=%FF", "server=\x00&user=\x00&user"} {
		f.Add("application/x-www-form-urlencoded", "Bearer "+testBearer, body)
	}
	f.Add("", "Basic OnVzZXI=", "x")
	f.Add("application/json; a=\"", "bearer   ", "{}")
	f.Fuzz(func(t *testing.T, kind, authorization, body string) {
		s := newScene()
		r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Authorization", authorization)
		got := answerOf(s.handler, r)
		if !strings.Contains(got, "\r\nCache-Control: no-store\r\n") || strings.Count(s.log.String(), "\n") != 1 {
			t.Errorf("%s\n%s", got, s.log.String())
		}
		if strings.Contains(s.log.String(), testToken) {
			t.Errorf("a token is in the log: %s", s.log.String())
		}
		minted := status(got) == "200"
		if minted != (len(s.minter.minted) == 1) || minted != strings.Contains(got, testToken) {
			t.Fatalf("%s\nminted for %q", got, s.minter.minted)
		}
		if !minted {
			return
		}
		scheme, shown, _ := strings.Cut(authorization, " ")
		user, password, isBasic := r.BasicAuth()
		if !(strings.EqualFold(scheme, "bearer") && strings.TrimLeft(shown, " ") == testBearer) &&
			!(isBasic && (user == "webapp" && password == testPassword || user == "other" && password == "another password")) {
			t.Errorf("minted with %q", authorization)
		}
		fields, err := url.ParseQuery(body)
		name, host, _ := strings.Cut(s.minter.minted[0], "@")
		if again, prepErr := prepareUser(name); err != nil || prepErr != nil || again != name || len(fields["user"]) != 1 || s.minter.config().Hosts[host].Mint == nil {
			t.Errorf("minted for %q with %q", s.minter.minted, body)
		}
	})
}
