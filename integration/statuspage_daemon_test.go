package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// The page of the real daemon shows what happens to real clients.
func TestStatusPage_daemon(t *testing.T) {
	dir := t.TempDir()
	plan := accounts("alice", "secret")
	plan["rules"] = []any{map[string]any{"match": "auth:mallory:", "do": []any{do("exit", 1)}}}
	s := installScript(t, dir, "auth <i>of the school", plan)
	address := unusedAddress(t)
	hosts := []host{
		{"school.example", options{"authentication": "external", "external_auth_command": []any{s.path}, "external_auth_processes": 3}},
		{"tokens.example", options{"authentication": "token", "token_secret": "secretsecretsecret", "otp_seed": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"}},
	}
	config := writeConfig(t, dir, hosts, baseOptions(dir), options{"gatehouse_admin": address})
	d := start(t, config)
	clients, origin := d.address(t, "starttls"), "http://"+address
	p := startBrowser(t).open(t, origin+"/")
	p.until(t, `document.querySelectorAll("#hosts .card").length === 2`)
	if got := p.text(t, "#state"); got != "All is well." {
		t.Errorf("the state: %q", got)
	}
	if got := p.text(t, "#hosts .script"); got != s.path {
		t.Errorf("the script: %q, want %q", got, s.path)
	}
	for _, want := range []string{address, clients} {
		if got := p.text(t, "#listeners"); !strings.Contains(got, want) {
			t.Errorf("%s is not among the listeners: %q", want, got)
		}
	}
	if got := p.text(t, "#certificates tbody"); !strings.Contains(got, "school.example") || !strings.Contains(got, "self-signed") {
		t.Errorf("certificates: %q", got)
	}

	session(t, clients, "school.example", "alice", "secret", "phone")
	expectAuth(t, "a wrong password", clients, "school.example", "PLAIN", plain("alice", "wrong"), "not-authorized")
	expectAuth(t, "a script that dies", clients, "school.example", "PLAIN", plain("mallory", "x"), "temporary-auth-failure")
	p.until(t, `document.querySelectorAll("#failures tbody tr").length === 2`)
	rows := p.text(t, "#failures tbody")
	for _, want := range []string{"alice", "wrong user or password", "refused", "mallory", "undecided", "127.0.0.1"} {
		if !strings.Contains(rows, want) {
			t.Errorf("the failures do not have %q: %q", want, rows)
		}
	}
	if got := p.text(t, "#state"); !strings.Contains(got, "school.example: nobody can say who may come in") {
		t.Errorf("the state: %q", got)
	}
	tile := `[...document.querySelectorAll("#tiles .card")].find(el => el.innerText.startsWith("Sessions")).querySelector("b").innerText === "1"`
	p.until(t, tile)
	p.until(t, fmt.Sprintf(`document.querySelector("#curve svg").getAttribute("aria-label") === %q`,
		"Logins of the last ten minutes: 1 accepted, 1 refused, 1 undecided"))

	// The right password again, and all is well; then the config breaks, and is mended.
	expectAuth(t, "the right password", clients, "school.example", "PLAIN", plain("alice", "secret"), "success")
	p.until(t, `document.querySelector("#state").innerText === "All is well."`)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, append(text, "\nthis is not Lua\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	p.until(t, `document.querySelector("#state").innerText.startsWith("The config file is broken since")`)
	if got := p.text(t, "#reloads"); !strings.Contains(got, "refused") {
		t.Errorf("reloads: %q", got)
	}
	if err := os.WriteFile(config, append(text, "\nexternal_auth_timeout = 7\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	p.until(t, `document.querySelector("#state").innerText === "All is well."`)
	if got := p.text(t, "#config-change"); !strings.Contains(got, "external_auth_timeout") {
		t.Errorf("the last change: %q", got)
	}
	keep(t, p, "daemon")
	p.clean(t, origin)
}

// A page of another site, in the browser of somebody who can reach the listener, learns nothing by any way that a page has.
func TestStatusPage_otherSites(t *testing.T) {
	s, m := newSchool(time.Now())
	origin, _ := serveSchool(t, s, m)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>elsewhere</title>")
	}))
	t.Cleanup(other.Close)
	p := startBrowser(t).open(t, other.URL+"/")
	p.eval(t, fmt.Sprintf("window.origin_ = %q", origin))
	element := func(tag, attribute string) string {
		return fmt.Sprintf(`new Promise((done, failed) => { const el = document.createElement(%q); el.onload = done; el.onerror = failed;
			el.rel = "stylesheet"; el[%q] = origin_ + "/status.json"; document.head.append(el); })`, tag, attribute)
	}
	for name, way := range map[string]string{
		"fetch":            `fetch(origin_ + "/status.json")`,
		"fetch without":    `fetch(origin_ + "/status.json", {mode: "no-cors"})`,
		"metrics":          `fetch(origin_ + "/metrics", {credentials: "include"})`,
		"reload":           `fetch(origin_ + "/reload", {method: "POST", mode: "no-cors"})`,
		"script":           element("script", "src"),
		"image":            element("img", "src"),
		"style":            element("link", "href"),
		"events":           `new Promise((done, failed) => { const e = new EventSource(origin_ + "/status.json"); e.onopen = e.onmessage = done; e.onerror = () => { e.close(); failed(); }; })`,
		"WebSocket":        `new Promise((done, failed) => { const w = new WebSocket(origin_.replace("http", "ws") + "/status.json"); w.onopen = done; w.onerror = failed; })`,
		"a frame's inside": `new Promise((done, failed) => { const f = document.createElement("iframe"); f.src = origin_ + "/"; f.onload = () => f.contentDocument && f.contentDocument.body.innerText ? done() : failed(); document.body.append(f); })`,
	} {
		if got := p.eval(t, way+`.then(() => "it works", () => "no")`); got != `"no"` {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// unusedAddress returns a port of 127.0.0.1 that nobody used a moment ago.
func unusedAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
