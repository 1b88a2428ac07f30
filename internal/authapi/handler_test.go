package authapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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

// fakeJudge knows alice, whose password is secret, and writes down what it was asked.
type fakeJudge struct {
	err   error
	asked []string
}

func (j *fakeJudge) note(verb string, fields ...string) { // %q shows every byte
	j.asked = append(j.asked, fmt.Sprintf("%s%q", verb, fields))
}

func (j *fakeJudge) CheckPassword(_ context.Context, user, host, password string) (bool, error) {
	j.note("check", user, host, password)
	return j.err == nil && user == "alice" && password == "secret", j.err
}

func (j *fakeJudge) UserExists(_ context.Context, user, host string) (bool, error) {
	j.note("exists", user, host)
	return j.err == nil && user == "alice", j.err
}

func (j *fakeJudge) SetPassword(_ context.Context, user, host, password string) (bool, error) {
	j.note("set", user, host, password)
	return j.err == nil && user == "alice", j.err
}

func (j *fakeJudge) Register(_ context.Context, user, host, password string) (bool, error) {
	j.note("register", user, host, password)
	return j.err == nil && user != "alice", j.err
}

func (j *fakeJudge) RemoveUser(_ context.Context, user, host, password string) (bool, error) {
	j.note("remove", user, host, password)
	return j.err == nil && user == "alice" && (password == "" || password == "secret"), j.err
}

var silent = slog.New(slog.DiscardHandler)

// ask has a handler answer a request that is written as it comes over the wire, and returns its answer in the same form.
func ask(t *testing.T, h http.Handler, request string) string {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request)))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var b bytes.Buffer
	if err := w.Result().Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func get(target string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: gatehouse\r\n\r\n"
}

func post(target, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: gatehouse\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
		target, len(body), body)
}

// reply is what the handler writes, to the byte, with one header more if there is one.
func reply(status, header, body string) string {
	lines := []string{
		"Cache-Control: no-store",
		"Content-Type: text/plain; charset=utf-8",
		"X-Content-Type-Options: nosniff",
	}
	if header != "" {
		lines = append(lines, header)
	}
	slices.Sort(lines)
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n\r\n%s", status, len(body), strings.Join(lines, "\r\n"), body)
}

var (
	yes = reply("200 OK", "", "true")
	no  = reply("200 OK", "", "false")
)

func TestHandler_answers(t *testing.T) {
	long := strings.Repeat("a", 1024)
	for name, c := range map[string]struct {
		request string
		want    string
		asked   string // of the judge; empty if it must not be
	}{
		"right password": {get("/auth/check_password?user=alice&server=example.com&pass=secret"), yes, `check["alice" "example.com" "secret"]`},
		"wrong password": {get("/auth/check_password?user=alice&server=example.com&pass=Secret"), no, `check["alice" "example.com" "Secret"]`},
		"a user":         {get("/auth/user_exists?user=alice&server=example.com"), yes, `exists["alice" "example.com"]`},
		"a user, with an empty password as MongooseIM asks": {get("/auth/user_exists?user=alice&server=example.com&pass="), yes,
			`exists["alice" "example.com"]`},
		"no user":             {get("/auth/user_exists?user=bob&server=example.com"), no, `exists["bob" "example.com"]`},
		"password change":     {post("/auth/set_password", "user=alice&server=example.com&pass=new"), yes, `set["alice" "example.com" "new"]`},
		"registration":        {post("/auth/register", "user=bob&server=example.com&pass=new"), yes, `register["bob" "example.com" "new"]`},
		"registration, taken": {post("/auth/register", "user=alice&server=example.com&pass=new"), no, `register["alice" "example.com" "new"]`},
		"removal":             {post("/auth/remove_user", "user=alice&server=example.com"), yes, `remove["alice" "example.com" ""]`},
		"removal, empty password": {post("/auth/remove_user", "user=alice&server=example.com&pass="), yes,
			`remove["alice" "example.com" ""]`},
		"removal, wrong password": {post("/auth/remove_user", "user=alice&server=example.com&pass=x"), no,
			`remove["alice" "example.com" "x"]`},
		"charset": {strings.Replace(post("/auth/remove_user", "user=alice&server=example.com"), "urlencoded", "urlencoded; charset=utf-8", 1), yes,
			`remove["alice" "example.com" ""]`},

		"prepared": {get("/auth/check_password?user=AL%EF%BC%A9CE&server=Example.COM&pass=%EF%BD%93ecret"), yes,
			`check["alice" "example.com" "secret"]`},
		"special characters": {get("/auth/check_password?user=alice&server=example.com&pass=" + url.QueryEscape("a:b+c%d &=é\U0001f600")), no,
			`check["alice" "example.com" "a:b+c%d &=é` + "\U0001f600" + `"]`},

		"control character":       {get("/auth/check_password?user=alice&server=example.com&pass=a%0Ab"), no, ""},
		"NUL":                     {get("/auth/check_password?user=alice&server=example.com&pass=secret%00"), no, ""},
		"colon in user":           {get("/auth/check_password?user=alice:x&server=example.com&pass=secret"), no, ""},
		"not UTF-8":               {get("/auth/check_password?user=%ff&server=example.com&pass=secret"), no, ""},
		"empty user":              {get("/auth/user_exists?user=&server=example.com"), no, ""},
		"user of nothing":         {get("/auth/user_exists?user=%C2%AD&server=example.com"), no, ""},
		"empty host":              {get("/auth/user_exists?user=alice&server="), no, ""},
		"space in host":           {get("/auth/user_exists?user=alice&server=example.com+"), no, ""},
		"empty password":          {get("/auth/check_password?user=alice&server=example.com&pass="), no, ""},
		"password of nothing":     {get("/auth/check_password?user=alice&server=example.com&pass=%C2%AD"), no, ""},
		"new password empty":      {post("/auth/set_password", "user=alice&server=example.com&pass="), no, ""},
		"removal, of nothing":     {post("/auth/remove_user", "user=alice&server=example.com&pass=%C2%AD"), no, ""},
		"long user":               {get("/auth/user_exists?user=" + long + "&server=example.com"), no, ""},
		"long password":           {get("/auth/check_password?user=alice&server=example.com&pass=" + long), no, ""},
		"long password, prepared": {get("/auth/check_password?user=alice&server=example.com&pass=" + strings.Repeat("%EF%B7%BA", 60)), no, ""},

		"no fields":        {get("/auth/check_password"), reply("400 Bad Request", "", errMissing.Error()), ""},
		"no user field":    {get("/auth/user_exists?server=example.com"), reply("400 Bad Request", "", errMissing.Error()), ""},
		"no server":        {get("/auth/user_exists?user=alice"), reply("400 Bad Request", "", errMissing.Error()), ""},
		"no pass":          {get("/auth/check_password?user=alice&server=example.com"), reply("400 Bad Request", "", errMissing.Error()), ""},
		"two users":        {get("/auth/user_exists?user=alice&user=bob&server=example.com"), reply("400 Bad Request", "", errTwice.Error()), ""},
		"two passwords":    {get("/auth/check_password?user=alice&server=example.com&pass=a&pass=secret"), reply("400 Bad Request", "", errTwice.Error()), ""},
		"bad escape":       {get("/auth/check_password?user=alice&server=example.com&pass=secret%"), reply("400 Bad Request", "", errBadForm.Error()), ""},
		"semicolon":        {get("/auth/check_password?user=alice&server=example.com&pass=secret;x"), reply("400 Bad Request", "", errBadForm.Error()), ""},
		"very long":        {get("/auth/user_exists?user=alice&server=example.com&pass=" + strings.Repeat("a", maxFieldsBytes)), reply("400 Bad Request", "", errTooLong.Error()), ""},
		"very long body":   {post("/auth/remove_user", "user=alice&server=example.com&pass="+strings.Repeat("a", maxFieldsBytes)), reply("400 Bad Request", "", errTooLong.Error()), ""},
		"short body":       {strings.TrimSuffix(post("/auth/remove_user", "user=alice&server=example.com"), "om"), reply("400 Bad Request", "", errBodyLost.Error()), ""},
		"fields in target": {post("/auth/remove_user?user=alice&server=example.com", ""), reply("400 Bad Request", "", errNotForm.Error()), ""},
		"JSON": {strings.Replace(post("/auth/remove_user", `{"user":"alice"}`), "x-www-form-urlencoded", "json", 1),
			reply("400 Bad Request", "", errNotForm.Error()), ""},

		"password by POST": {post("/auth/check_password", "user=alice&server=example.com&pass=secret"), reply("405 Method Not Allowed", "Allow: GET", "this is asked with GET only"), ""},
		"removal by GET":   {get("/auth/remove_user?user=alice&server=example.com"), reply("405 Method Not Allowed", "Allow: POST", "this is asked with POST only"), ""},
		"HEAD":             {strings.Replace(get("/auth/user_exists?user=alice&server=example.com"), "GET", "HEAD", 1), reply("405 Method Not Allowed", "Allow: GET", "this is asked with GET only"), ""},
		"unknown":          {get("/auth/get_password?user=alice&server=example.com"), reply("404 Not Found", "", "there is no such question"), ""},
		"elsewhere":        {get("/check_password?user=alice&server=example.com&pass=secret"), reply("404 Not Found", "", "there is no such question"), ""},
		"below":            {get("/auth/check_password/?user=alice&server=example.com&pass=secret"), reply("404 Not Found", "", "there is no such question"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			judge := &fakeJudge{}
			got := ask(t, Handler(judge, Trusted(), silent), c.request)
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if asked := strings.Join(judge.asked, " "); asked != c.asked {
				t.Errorf("the judge was asked %s, want %s", asked, c.asked)
			}
		})
	}
}

// A page of another site may have the browser of somebody who knows the credentials post a form here.
func TestHandler_otherSites(t *testing.T) {
	refused := reply("403 Forbidden", "", "this is not answered to the pages of other sites")
	const fields = "user=alice&server=example.com&pass=new"
	for name, c := range map[string]struct {
		header, request, want string
	}{
		"a server":             {"", post("/auth/set_password", fields), yes},
		"another site":         {"Sec-Fetch-Site: cross-site", post("/auth/set_password", fields), refused},
		"a sibling":            {"Sec-Fetch-Site: same-site", post("/auth/remove_user", fields), refused},
		"an old browser":       {"Origin: https://example.com", post("/auth/register", fields), refused},
		"nowhere":              {"Origin: null", post("/auth/register", fields), refused},
		"the same site":        {"Sec-Fetch-Site: same-origin", post("/auth/set_password", fields), yes},
		"typed in":             {"Sec-Fetch-Site: none", post("/auth/set_password", fields), yes},
		"what changes nothing": {"Sec-Fetch-Site: cross-site", get("/auth/user_exists?user=alice&server=example.com"), yes},
	} {
		judge := &fakeJudge{}
		request := c.request
		if c.header != "" {
			request = strings.Replace(request, "\r\n\r\n", "\r\n"+c.header+"\r\n\r\n", 1)
		}
		if got := ask(t, Handler(judge, Trusted(), silent), request); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, c.want)
		}
		if len(judge.asked) > 0 != (c.want == yes) {
			t.Errorf("%s: asked the judge %v", name, judge.asked)
		}
	}
}

func TestHandler_cannotSayIsNeither(t *testing.T) {
	want := reply("503 Service Unavailable", "Retry-After: 5", "nobody can say at the moment; the log of gatehouse has the cause")
	for name, op := range operations {
		fields := "user=alice&server=example.com&pass=secret"
		request := get(Prefix + name + "?" + fields)
		if op.method == "POST" {
			request = post(Prefix+name, fields)
		}
		judge := &fakeJudge{err: errors.New("the script hangs")}
		if got := ask(t, Handler(judge, Trusted(), silent), request); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
		if len(judge.asked) != 1 {
			t.Errorf("%s: asked %d times", name, len(judge.asked))
		}
	}
}

// lying is an error with a verdict beside it, which must not count.
type lying struct{ fakeJudge }

func (lying) UserExists(context.Context, string, string) (bool, error) {
	return true, errors.New("I don't know")
}

func TestHandler_yesWithAnErrorIsNoYes(t *testing.T) {
	got := ask(t, Handler(&lying{}, Trusted(), silent), get("/auth/user_exists?user=alice&server=example.com"))
	if !strings.HasPrefix(got, "HTTP/1.1 503 ") {
		t.Errorf("got\n%s", got)
	}
}

// stuck answers when its time is over.
type stuck struct{ fakeJudge }

func (stuck) UserExists(ctx context.Context, _, _ string) (bool, error) {
	<-ctx.Done()
	return false, ctx.Err()
}

func TestHandler_endsAStuckJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		got := ask(t, Handler(&stuck{}, Trusted(), silent), get("/auth/user_exists?user=alice&server=example.com"))
		if took := time.Since(began); took != judgeTimeout || !strings.HasPrefix(got, "HTTP/1.1 503 ") {
			t.Errorf("after %s\n%s", took, got)
		}
	})
}

func TestHandler_access(t *testing.T) {
	refused := reply("401 Unauthorized", `Www-Authenticate: Basic realm="gatehouse", charset="UTF-8"`, "the name or the password is wrong, or none was given")
	const question = "/auth/check_password?user=alice&server=example.com&pass=secret"
	for name, c := range map[string]struct {
		access         Access
		user, password string
		header         string
		target, want   string
	}{
		"trusted":               {Trusted(), "", "", "", question, yes},
		"right":                 {Basic("prosody", "s:cret"), "prosody", "s:cret", "", question, yes},
		"wrong password":        {Basic("prosody", "s:cret"), "prosody", "s:cre", "", question, refused},
		"wrong name":            {Basic("prosody", "s:cret"), "Prosody", "s:cret", "", question, refused},
		"empty":                 {Basic("prosody", "s:cret"), "", "", "", question, refused},
		"no header":             {Basic("prosody", "s:cret"), "", "", "-", question, refused},
		"bearer":                {Basic("prosody", "s:cret"), "", "", "Bearer s:cret", question, refused},
		"bad base64":            {Basic("prosody", "s:cret"), "", "", "Basic !", question, refused},
		"nobody":                {Access{}, "", "", "", question, refused},
		"no credentials":        {Basic("", ""), "", "", "", question, refused},
		"no password":           {Basic("prosody", ""), "prosody", "", "", question, refused},
		"nothing is told of":    {Basic("prosody", "s:cret"), "x", "y", "", "/auth/unknown", refused},
		"nothing outside /auth": {Basic("prosody", "s:cret"), "x", "y", "", "/", refused},
	} {
		t.Run(name, func(t *testing.T) {
			judge := &fakeJudge{}
			r := httptest.NewRequest("GET", c.target, nil)
			switch c.header {
			case "":
				r.SetBasicAuth(c.user, c.password)
			case "-":
			default:
				r.Header.Set("Authorization", c.header)
			}
			w := httptest.NewRecorder()
			Handler(judge, c.access, silent).ServeHTTP(w, r)
			var b bytes.Buffer
			_ = w.Result().Write(&b)
			if b.String() != c.want {
				t.Errorf("got\n%s\nwant\n%s", b.String(), c.want)
			}
			if len(judge.asked) > 0 != (c.want == yes) {
				t.Errorf("asked the judge %v", judge.asked)
			}
		})
	}
}

func TestHandler_logsNoSecret(t *testing.T) {
	const secret = "hunter2"
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	judges := []Judge{&fakeJudge{}, &fakeJudge{err: errors.New("down")}}
	for _, judge := range judges {
		h := Handler(judge, Basic("prosody", secret), logger)
		for _, request := range []string{
			get("/auth/check_password?user=alice&server=example.com&pass=" + secret),
			get("/auth/check_password?user=alice&server=example.com&pass=" + secret + "%0a"),
			get("/auth/check_password?user=alice&server=example.com&pass=" + secret + "%"),
			get("/auth/nothing?pass=" + secret),
			post("/auth/set_password", "user=alice&server=example.com&pass="+secret),
			post("/auth/set_password", "pass="+secret),
		} {
			r, _ := http.ReadRequest(bufio.NewReader(strings.NewReader(request)))
			r.SetBasicAuth("prosody", secret)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if strings.Contains(w.Body.String(), secret) {
				t.Errorf("the answer has the secret: %s", w.Body)
			}
		}
	}
	stranger := httptest.NewRequest("GET", "/auth/user_exists?user="+secret, nil)
	stranger.SetBasicAuth(secret, "prosody")
	Handler(judges[0], Basic("prosody", secret), logger).ServeHTTP(httptest.NewRecorder(), stranger)
	if strings.Contains(log.String(), secret) {
		t.Errorf("the log has the secret:\n%s", &log)
	}
	for _, want := range []string{
		`level=WARN msg="auth API: wrong credentials" remote=192.0.2.1:1234`,
		`level=INFO msg="auth query" query=check_password host=example.com user=alice verdict=refused duration=`,
		`level=INFO msg="auth query" query=set_password host=example.com user=alice verdict=accepted duration=`,
		`level=WARN msg="auth query" query=check_password host=example.com user=alice verdict=undecided cause=down duration=`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s\n%s", want, &log)
		}
	}
}

func FuzzHandler(f *testing.F) {
	f.Add("/auth/check_password", "user=alice&server=example.com&pass=secret", "", false)
	f.Add("/auth/set_password", "", "user=alice&server=example.com&pass=secret", true)
	f.Add("/auth/remove_user", "", "user=alice&server=example.com&pass=%C2%AD", true)
	f.Add("/auth/user_exists", "user=%ff&server=a:b&user=x;", "", false)
	f.Fuzz(func(t *testing.T, path, query, body string, isPost bool) {
		r := httptest.NewRequest("GET", "/", strings.NewReader(body))
		if isPost {
			r.Method = "POST"
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		r.URL.Path, r.URL.RawQuery = path, query
		judge := &fakeJudge{}
		w := httptest.NewRecorder()
		Handler(judge, Trusted(), silent).ServeHTTP(w, r)
		text, _ := io.ReadAll(w.Result().Body)
		if w.Code == http.StatusOK && string(text) != "true" && string(text) != "false" {
			t.Fatalf("a verdict of %q", text)
		}
		if w.Code == http.StatusServiceUnavailable {
			t.Fatal("cannot say, though the judge could")
		}
		if string(text) == "true" && len(judge.asked) != 1 {
			t.Fatalf("a yes after %d questions", len(judge.asked))
		}
		if strings.ContainsAny(strings.Join(judge.asked, ""), "\x00\n\r") {
			t.Fatal("a control character came to the judge")
		}
	})
}

func BenchmarkHandler(b *testing.B) {
	h := Handler(&fakeJudge{}, Basic("prosody", "secret"), silent)
	r := httptest.NewRequest("GET", "/auth/check_password?user=alice&server=example.com&pass=secret", nil)
	r.SetBasicAuth("prosody", "secret")
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}
