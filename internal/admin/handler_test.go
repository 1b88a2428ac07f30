package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// response is an answer, read to its end.
type response struct {
	code   int
	header http.Header
	body   string
}

func ask(t testing.TB, h http.Handler, r *http.Request) response {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	res := w.Result()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return response{res.StatusCode, res.Header, string(body)}
}

func get(t testing.TB, h http.Handler, path string) response {
	t.Helper()
	return ask(t, h, httptest.NewRequest("GET", "http://localhost"+path, nil))
}

func TestHandler_answers(t *testing.T) {
	source := shop()
	source.reload = func() (string, error) { return "changed: external_auth_timeout", nil }
	readOnly, control := Handler(NewMetrics("1.0"), source, ReadOnly), Handler(NewMetrics("1.0"), source, Control)
	for _, test := range []struct {
		name, method, path string
		handler            http.Handler
		code               int
		contentType, body  string // body is contained
	}{
		{"page", "GET", "/", readOnly, 200, "text/html; charset=utf-8", "<!doctype html>"},
		{"status", "GET", "/status.json", readOnly, 200, "application/json", `"version":"1.0"`},
		{"metrics", "GET", "/metrics", readOnly, 200, "text/plain; version=0.0.4", "gatehouse_build_info"},
		{"alive", "GET", "/healthz", readOnly, 200, "text/plain; charset=utf-8", "ok\n"},
		{"ready", "GET", "/readyz", readOnly, 200, "text/plain; charset=utf-8", "ok\n"},
		{"head", "HEAD", "/healthz", readOnly, 200, "text/plain; charset=utf-8", ""},
		{"not there", "GET", "/nothing", readOnly, 404, "text/plain; charset=utf-8", "404 page not found\n"},
		{"wrong method", "POST", "/status.json", readOnly, 405, "text/plain; charset=utf-8", "Method Not Allowed\n"},
		{"look at reload", "GET", "/reload", control, 405, "text/plain; charset=utf-8", "Method Not Allowed\n"},
		{"reload over TCP", "POST", "/reload", readOnly, 403, "text/plain; charset=utf-8", "gatehouse reload"},
		{"reload", "POST", "/reload", control, 200, "text/plain; charset=utf-8", "changed: external_auth_timeout\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			res := ask(t, test.handler, httptest.NewRequest(test.method, "http://127.0.0.1:5280"+test.path, nil))
			if res.code != test.code {
				t.Errorf("code %d, want %d", res.code, test.code)
			}
			if ct := res.header.Get("Content-Type"); !strings.HasPrefix(ct, test.contentType) {
				t.Errorf("Content-Type %q, want %q", ct, test.contentType)
			}
			if !strings.Contains(res.body, test.body) {
				t.Errorf("body %q, want %q in it", res.body, test.body)
			}
			for name, want := range map[string]string{
				"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
				"X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
				"Access-Control-Allow-Origin": "",
			} {
				if got := res.header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if csp := res.header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
				t.Errorf("Content-Security-Policy: %q", csp)
			}
		})
	}
}

func TestHandler_refusedReloadAndUnready(t *testing.T) {
	source := shop()
	source.ready = errors.Join(errors.New("example.org: no process of the script could be started"), errors.New("stopping"))
	source.reload = func() (string, error) { return "", errors.New("prosody.cfg.lua:3: oops") }
	h := Handler(NewMetrics("1.0"), source, Control)
	if res := get(t, h, "/readyz"); res.code != 503 || res.body != "example.org: no process of the script could be started\nstopping\n" {
		t.Errorf("/readyz: %d %q", res.code, res.body)
	}
	if res := get(t, h, "/healthz"); res.code != 200 {
		t.Errorf("/healthz: %d", res.code)
	}
	if res := ask(t, h, httptest.NewRequest("POST", "http://localhost/reload", nil)); res.code != 422 || res.body != "prosody.cfg.lua:3: oops\n" {
		t.Errorf("/reload: %d %q", res.code, res.body)
	}
	var v view
	if err := json.Unmarshal([]byte(get(t, h, "/status.json").body), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.NotReady) != 2 || v.NotReady[1] != "stopping" {
		t.Errorf("not_ready: %q", v.NotReady)
	}
}

// A page elsewhere whose name resolves to 127.0.0.1 must get nothing.
func TestHandler_foreignHost(t *testing.T) {
	readOnly := Handler(NewMetrics("1.0"), shop(), ReadOnly)
	for host, want := range map[string]int{
		"127.0.0.1":               200,
		"127.0.0.1:5280":          200,
		"127.8.9.1:1":             200,
		"localhost:5280":          200,
		"LocalHost":               200,
		"[::1]:5280":              200,
		"[::1]":                   200,
		"[::ffff:127.0.0.1]":      200,
		"evil.example":            421,
		"evil.example:5280":       421,
		"localhost.evil.example":  421,
		"127.0.0.1.evil.example":  421,
		"192.0.2.1:5280":          421,
		"[2001:db8::1]":           421,
		"":                        421,
		"localhost:evil.example":  421,
		"127.0.0.1:5280:evil":     421,
		"0.0.0.0:5280":            421,
		"localhost:99999":         421,
		"evil.example@localhost":  421,
		"localhost:5280/evil.com": 421,
	} {
		r := httptest.NewRequest("GET", "/status.json", nil)
		r.Host = host
		if res := ask(t, readOnly, r); res.code != want {
			t.Errorf("Host %q: %d, want %d", host, res.code, want)
		}
	}
	r := httptest.NewRequest("GET", "/healthz", nil)
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.UnixAddr{Name: "/run/gatehouse.sock", Net: "unix"}))
	r.Host = "gatehouse"
	if res := ask(t, readOnly, r); res.code != 200 {
		t.Errorf("over a unix socket: %d", res.code)
	}
}

func TestHandler_status(t *testing.T) {
	m := NewMetrics("1.0")
	now := time.Now()
	l := login("example.org", "PLAIN", "accepted")
	l.Time = now.Add(-3 * time.Second)
	m.Login(l)
	l.Verdict, l.User, l.Cause = "undecided", "al\nice\u202e<b>", "late"
	m.Login(l)
	m.Reload(5*time.Millisecond, errors.New("a\nb"), "", now)
	var v view
	res := get(t, Handler(m, shop(), ReadOnly), "/status.json")
	if err := json.Unmarshal([]byte(res.body), &v); err != nil {
		t.Fatal(err)
	}
	i := len(v.Curve.Accepted) - 1 - int(v.Curve.Until-l.Time.Unix())
	if v.Curve.Accepted[i] != 1 || v.Curve.Undecided[i] != 1 || v.Totals != (Totals{1, 0, 1}) {
		t.Errorf("curve at %d: %d accepted, %d undecided; totals %v", i, v.Curve.Accepted[i], v.Curve.Undecided[i], v.Totals)
	}
	if len(v.Failures) != 1 || v.Failures[0].User != "al\ufffdice\ufffd<b>" || v.Failures[0].Cause != "late" {
		t.Errorf("failures: %+v", v.Failures)
	}
	if len(v.Troubles) != 1 || v.Troubles[0].Host != "example.org" || v.Troubles[0].Cause != "late" {
		t.Errorf("troubles: %+v", v.Troubles)
	}
	if len(v.Reloads) != 1 || v.Reloads[0].Result != "refused" || v.Reloads[0].Error != "a\nb" {
		t.Errorf("reloads: %+v", v.Reloads)
	}
	if len(res.body) > 16<<10 {
		t.Errorf("%d bytes, for a page that asks every two seconds", len(res.body))
	}
	// The host can decide again.
	l.Verdict, l.Condition = "refused", "invalid-mechanism"
	m.Login(l)
	if len(m.troubles(v.Hosts)) != 1 {
		t.Error("a refusal that nobody was asked about ends the trouble")
	}
	l.Condition = "not-authorized"
	m.Login(l)
	if left := m.troubles(v.Hosts); len(left) != 0 {
		t.Errorf("troubles that are over: %v", left)
	}
}
