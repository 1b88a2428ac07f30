package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/admin"
)

// school is an invented daemon that a test moves.
type school struct {
	mu     sync.Mutex // guards the fields below
	status admin.Status
	ready  error
}

func (s *school) Status() admin.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *school) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

func (s *school) Reload(context.Context) (string, error) { return "", errors.New("nothing to reload") }

func (s *school) change(to func(*school)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to(s)
}

// newSchool returns a daemon that has been busy for a while, and its metrics. Everything is the same at each call but for
// the time.
func newSchool(now time.Time) (*school, *admin.Metrics) {
	r := rand.New(rand.NewPCG(1, 2))
	workers := func(n, firstPID int, busy ...int) []admin.Worker {
		list := make([]admin.Worker, n)
		for i := range list {
			list[i] = admin.Worker{ID: i + 1, PID: firstPID + 3*i, Since: now.Add(-time.Second), Started: now.Add(-26 * time.Hour), Answers: 9000 + r.IntN(2000)}
		}
		for _, i := range busy {
			list[i].Busy = true
		}
		return list
	}
	s := &school{status: admin.Status{
		Version: "0.4.0",
		Machine: "front1",
		Started: now.Add(-26*time.Hour - 12*time.Minute),
		Hosts: []admin.Host{
			{Name: "school.example", Mechanisms: []string{"PLAIN", "X-TOKEN"}, Pool: &admin.Pool{
				Script: "/usr/local/bin/auth-nextcloud.py … /etc/nextcloud-auth.ini", Processes: 8, Size: 6, Busy: 3, Restarts: 1, Timeouts: 2,
				Workers: workers(6, 4127, 0, 2, 3),
			}},
			{Name: "staff.school.example", Mechanisms: []string{"PLAIN"}, Pool: &admin.Pool{
				Script: "/opt/ldap/check-password", Processes: 4, Size: 5, Busy: 2, Workers: append(workers(4, 4201, 1),
					admin.Worker{ID: 5, PID: 4098, Busy: true, Since: now.Add(-3 * time.Second), Started: now.Add(-27 * time.Hour), Answers: 311, Old: true}),
			}},
			{Name: "webchat.example", Mechanisms: []string{"X-TOKEN"}},
		},
		Certificates: []admin.Certificate{
			{Host: "school.example", Names: []string{"school.example", "chat.school.example"}, NotAfter: now.AddDate(0, 0, 61), Issuer: "R11", File: "/etc/prosody/certs/school.example.crt"},
			{Host: "staff.school.example", Names: []string{"staff.school.example"}, NotAfter: now.AddDate(0, 0, 33), Issuer: "R11", File: "/etc/prosody/certs/staff.school.example.crt"},
			{Host: "webchat.example", Names: []string{"webchat.example"}, NotAfter: now.AddDate(0, 0, 88), Issuer: "E7", File: "/etc/prosody/certs/webchat.example.crt"},
		},
		Connections: map[string]int{"handshake": 3, "login": 5, "session": 1284},
		Replay:      &admin.Replay{Entries: 412, OK: true},
		Guard: &admin.Guard{Delayed: map[string]uint64{"pair": 311, "address": 64, "secret": 0, "user": 0},
			Refused: map[string]uint64{"secret": 1204, "pair": 87, "address": 12, "user": 3}, Counters: 418, Known: 1391, Saved: true},
		Places: &admin.Places{Connections: 1292, Unauthed: 8, Addresses: 6, MaxConnections: 65280, MaxUnauthed: 20000, MaxPerAddress: 1000},
		Config: admin.Config{Path: "/etc/prosody/prosody.cfg.lua", LoadedAt: now.Add(-4 * time.Minute), OK: true,
			LastChange: "external_auth_processes (school.example)"},
		Listeners: []admin.Listener{{Address: "[::]:5222", Kind: "starttls"}, {Address: "[::]:5223", Kind: "direct"}, {Address: "127.0.0.1:5280", Kind: "admin"}},
	}}
	m := admin.NewMetrics("0.4.0")
	users := []string{"anna", "ben.k", "chiara", "d.osei", "eleni", "farid", "greta", "hugo"}
	login := func(at time.Time, verdict, condition, cause string) {
		host := s.status.Hosts[r.IntN(2)].Name
		m.Login(admin.Login{
			Time: at, Host: host, User: users[r.IntN(len(users))], Mechanism: "PLAIN", TLS: "TLS1.3",
			Remote:  fmt.Sprintf("198.51.100.%d:%d", 1+r.IntN(250), 30000+r.IntN(30000)),
			Verdict: verdict, Condition: condition, Cause: cause, Duration: 30 * time.Millisecond,
		})
	}
	for i := range 605 { // the last seconds are still to come when the page asks
		at := now.Add(time.Duration(i-600) * time.Second)
		mean := 14 + 6*math.Sin(float64(i)/70) + 18*math.Exp(-math.Pow(float64(i-390)/40, 2)) // the bell rings
		for range int(mean + 3*r.NormFloat64()) {
			login(at, "accepted", "", "")
		}
		if i < 600 && r.IntN(9) == 0 {
			login(at, "refused", "not-authorized", "")
		}
		if i > 268 && i < 281 && i%4 != 0 {
			login(at, "undecided", "temporary-auth-failure", "no answer within 5s: query timed out")
		}
	}
	for range 6 { // bring the hosts back to a verdict
		login(now.Add(-2*time.Second), "accepted", "", "")
	}
	m.Reload(11*time.Millisecond, nil, "external_auth_processes (school.example)", now.Add(-4*time.Minute))
	for range 17 {
		m.Limit("tls_handshake")
	}
	m.Limit("size")
	return s, m
}

// serveSchool serves a daemon's page on a free port and returns its origin.
func serveSchool(t testing.TB, s *school, m *admin.Metrics) (origin string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := admin.NewServer(admin.Handler(m, s, admin.ReadOnly), slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	stop = sync.OnceFunc(func() {
		server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return "http://" + ln.Addr().String(), stop
}

// One browser shows all pages: its start takes longer than a test.
func TestStatusPage(t *testing.T) {
	b := startBrowser(t)
	t.Run("looks", func(t *testing.T) { testStatusPageLooks(t, b) })
	t.Run("moves", func(t *testing.T) { testStatusPageMoves(t, b) })
	t.Run("in trouble", func(t *testing.T) { testStatusPageInTrouble(t, b) })
	t.Run("goes away", func(t *testing.T) { testStatusPageGoesAway(t, b) })
	t.Run("without script", func(t *testing.T) { testStatusPageWithoutScript(t, b) })
	t.Run("picture", func(t *testing.T) { testStatusPagePicture(t, b) })
}

func testStatusPageLooks(t *testing.T, b *browser) {
	s, m := newSchool(time.Now())
	origin, _ := serveSchool(t, s, m)
	p := b.open(t, origin+"/")
	p.until(t, `document.querySelector("#state").innerText === "All is well."`)
	for _, view := range []struct {
		name, scheme  string
		width, height int
	}{
		{"desktop-light", "light", 1280, 900},
		{"desktop-dark", "dark", 1280, 900},
		{"wide", "light", 1600, 1000},
		{"phone", "dark", 360, 740},
	} {
		t.Run(view.name, func(t *testing.T) {
			p.look(t, view.width, view.height, view.scheme)
			if got := p.eval(t, "document.documentElement.scrollWidth"); got != fmt.Sprint(view.width) {
				t.Errorf("the page is %s px wide in a window of %d", got, view.width)
			}
			if over := p.eval(t, outside); over != "[]" {
				t.Errorf("beyond the right edge: %s", over)
			}
			if poor := p.eval(t, poorContrast); poor != "[]" {
				t.Errorf("less contrast than WCAG AA wants: %s", poor)
			}
			keep(t, p, view.name)
		})
	}
	p.clean(t, origin)
}

// keep writes a picture to the directory that SCREENSHOTS names, for people who change the page.
func keep(t testing.TB, p *page, name string) {
	t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), p.screenshot(t, true), 0o644); err != nil {
		t.Error(err)
	}
}

// outside lists the elements that reach beyond the window, those in a part that scrolls by itself excepted.
const outside = `[...document.querySelectorAll("#page *")].filter(el => !el.closest(".wide, svg") &&
	el.getClientRects().length && el.getBoundingClientRect().right > innerWidth + 1).map(el => el.outerHTML.slice(0, 80))`

// poorContrast lists texts whose colour is too close to what is behind it (WCAG 2.2 §1.4.3, §1.4.11 does not apply).
const poorContrast = `(() => {
	const parse = c => { const v = c.match(/[\d.]+/g).map(Number); return v.length < 4 ? [...v, 1] : v; };
	const channel = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
	const luminance = c => .2126 * channel(c[0]) + .7152 * channel(c[1]) + .0722 * channel(c[2]);
	const behind = el => { for (; el; el = el.parentElement) { const c = parse(getComputedStyle(el).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
	return [...document.querySelectorAll("body *")].filter(el => el.getClientRects().length && [...el.childNodes].some(n => n.nodeType === 3 && n.data.trim())).map(el => {
		const style = getComputedStyle(el), ink = luminance(parse(el instanceof SVGElement ? style.fill : style.color)), paper = luminance(behind(el));
		return [(Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05), el.textContent.slice(0, 40)];
	}).filter(c => c[0] < 4.5);
})()`

func testStatusPageMoves(t *testing.T, b *browser) {
	s, m := newSchool(time.Now())
	origin, _ := serveSchool(t, s, m)
	p := b.open(t, origin+"/")
	p.until(t, `document.querySelector("#state").innerText === "All is well."`)

	// Curves move.
	p.eval(t, `window.before = document.querySelector("#curve path.accepted").getAttribute("d")`)
	p.until(t, `document.querySelector("#curve path.accepted").getAttribute("d") !== window.before`)

	// Certificates show how long they last, the shortest first.
	want := `(?s)^\s*3[23] days\s+staff\.school\.example\b.*\b6[01] days\s+school\.example\b.*\b8[78] days\s+webchat\.example\b`
	if got := p.text(t, "#certificates tbody"); !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("certificates: %q", got)
	}

	// A failure shows with its cause, and text stays text.
	const script, cause = `/bin/<img src=x onerror=alert(1)>`, `<script>alert("cause")</script>`
	m.Login(admin.Login{Time: time.Now(), Host: "school.example", User: `<b>mallory</b>`, Mechanism: "PLAIN", Remote: "192.0.2.7:4000",
		Verdict: "undecided", Condition: "temporary-auth-failure", Cause: cause})
	s.change(func(s *school) { s.status.Hosts[0].Pool.Script = script })
	p.until(t, `document.querySelector("#failures tbody tr").innerText.includes("mallory")`)
	if row := p.text(t, "#failures tbody tr"); !strings.Contains(row, cause) || !strings.Contains(row, "<b>mallory</b>") || !strings.Contains(row, "192.0.2.7:4000") {
		t.Errorf("the failure: %q", row)
	}
	if got := p.text(t, "#hosts .script"); got != script {
		t.Errorf("the script: %q", got)
	}
	if n := p.eval(t, `document.querySelectorAll("#page img, #page b:not(#state b, #tiles b, #strangers b), #page script").length`); n != "0" {
		t.Errorf("%s elements came from texts", n)
	}
	if state := p.text(t, "#state"); !strings.Contains(state, "school.example: nobody can say who may come in by PLAIN") || !strings.Contains(state, cause) {
		t.Errorf("the state: %q", state)
	}

	// The guard and the limits.
	m.Limit("size")
	s.change(func(s *school) {
		s.status.Guard.Refused = map[string]uint64{"pair": 2000, "user": 1, "<i>new</i>": 3}
		s.status.Places.Unauthed, s.status.Places.MaxConnections = 19999, 0
	})
	p.until(t, `document.querySelector("#strangers").innerText.includes("2,004")`)
	panel := strings.ReplaceAll(p.text(t, "#strangers"), "\u00a0", " ")
	for _, want := range []string{
		"375\nuser at address 311 · address 64", "2,004\nuser at address 2,000 · <i>new</i> 3 · user 1", "418 counters\nand addresses of 1,391 users",
		"19,999\n", "of 20,000, from 6 addresses", "1,292\nno limit, those logged in too", "19\nTLS handshake 17 · size 2",
	} {
		if !strings.Contains(panel, want) {
			t.Errorf("the panel says %q, without %q", panel, want)
		}
	}
	if bars := p.eval(t, `[...document.querySelectorAll("#strangers progress:not([hidden])")].map(b => b.value + "/" + b.max + b.className).join()`); bars != `"19999/20000bad"` {
		t.Errorf("the bars: %s", bars)
	}
	keep(t, p, "strangers")

	// Where something is wrong, the page says what.
	s.change(func(s *school) {
		s.ready = errors.New("school.example: no process of the script can be started")
		s.status.Config.OK, s.status.Config.BrokenAt, s.status.Config.Error = false, time.Now(), "prosody.cfg.lua:12: '=' expected near 'x'"
		s.status.Certificates[0].NotAfter = time.Now().Add(5*time.Hour + time.Minute)
		s.status.Certificates[1].NotAfter = time.Now().Add(5*24*time.Hour + time.Hour)
		s.status.Guard.Shared, s.status.Guard.Saved = new(bool), false
		s.status.Certificates[2].NotAfter = time.Now().Add(-time.Hour)
		s.status.Replay.OK, s.status.Replay.Err = false, "disk full"
	})
	m.Limit("unauthed_connections")
	m.Limit("connections")
	m.Login(admin.Login{Time: time.Now().Add(2 * time.Minute), Host: "school.example", Mechanism: "PLAIN", Verdict: "undecided", Cause: cause})
	p.until(t, `document.querySelectorAll("#state li").length === 10`)
	state := p.text(t, "#state")
	for _, want := range []string{
		"Clients cannot log in. school.example: no process of the script can be started",
		"The config file is broken since", "the previous one is in use. prosody.cfg.lua:12: '=' expected near 'x'",
		"The memory of used tokens does not work, and no token is accepted. disk full",
		"staff.school.example: the certificate expires in 5 days.", "school.example: the certificate expires in 5 hours.", "webchat.example: the certificate has expired.", "Clients were turned away in the last ten minutes. A limit was reached 2 times.",
		"The guard counts failed logins for this front alone: the", "What the guard remembers cannot be saved, and", cause + " (the last time at ",
	} {
		if !strings.Contains(state, want) {
			t.Errorf("the state does not say %q:\n%s", want, state)
		}
	}
	p.look(t, 1280, 900, "light")
	if poor := p.eval(t, poorContrast); poor != "[]" {
		t.Errorf("less contrast than WCAG AA wants: %s", poor)
	}
	keep(t, p, "trouble")

	// Keys reach the processes, and the focus survives the next numbers.
	p.eval(t, `document.querySelector(".workers li").focus()`)
	for range 2 {
		p.call(t, "Input.dispatchKeyEvent", map[string]any{"type": "keyDown", "key": "ArrowRight", "windowsVirtualKeyCode": 39}, nil)
	}
	s.change(func(s *school) { s.status.Hosts[0].Pool.Workers[2].Answers = 77777 })
	p.until(t, `document.querySelector("#hosts .detail").innerText.includes("process 3, pid 4133, busy since ") &&
		document.querySelector("#hosts .detail").innerText.includes(", 77,777 answers, started ")`)
	if focus := p.eval(t, `document.activeElement.getAttribute("aria-label").slice(0, 9)`); focus != `"process 3"` {
		t.Errorf("the focus is on %s", focus)
	}
	p.clean(t, origin)
}

// Where everything is wrong at once, what hurts most is above, the rest is counted, and a screen reader is told of what begins
// and ends, but not of every cause.
func testStatusPageInTrouble(t *testing.T, b *browser) {
	s, m := newSchool(time.Now())
	long := strings.Repeat("department", 6)
	s.status.Started = time.Now().Add(-3 * time.Minute)
	for i := range 60 {
		name := fmt.Sprintf("host%d.%s.%s.example", i, long, long)
		pool := *s.status.Hosts[0].Pool
		s.status.Hosts = append(s.status.Hosts, admin.Host{Name: name, Mechanisms: []string{"PLAIN"}, Pool: &pool})
		s.status.Certificates = append(s.status.Certificates, admin.Certificate{Host: name, NotAfter: time.Now().Add(time.Duration(5+i) * 24 * time.Hour), File: name + ".crt"})
		m.Login(admin.Login{Time: time.Now(), Host: name, User: long, Mechanism: "PLAIN", Remote: "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
			Verdict: "undecided", Condition: "temporary-auth-failure", Cause: "worker 1: timeout"})
	}
	s.status.Hosts[1].Pool.Fault, s.status.Hosts[1].Pool.Size, s.status.Hosts[1].Pool.Workers = "worker 9: died", 0, nil
	s.status.Config.OK, s.status.Config.Error = false, "prosody.cfg.lua:12: '=' expected near 'x'"
	origin, _ := serveSchool(t, s, m)
	p := b.open(t, origin+"/")
	p.until(t, `document.querySelectorAll("#state li").length > 2`)
	var said []string
	for _, line := range strings.Split(p.text(t, "#state"), "\n") {
		if line != "" {
			said = append(said, strings.ReplaceAll(line, long, "L"))
		}
	}
	for i, want := range []string{
		"host0.L.L.example: nobody can say who may come in", "host1.", "host2.", "host3.", "And 57 more hosts, marked below.",
		"The config file is broken", "host0.L.L.example: the certificate expires in 4 days.", "host1.", "host2.", "host3.",
		"And 13 more certificates, marked below.",
	} {
		if i >= len(said) || !strings.HasPrefix(said[i], want) {
			t.Fatalf("line %d is not %q:\n%s", i+1, want, strings.Join(said, "\n"))
		}
	}
	if got := p.eval(t, `[...document.querySelectorAll("#state li")].map(li => li.className).join(" ")`); got != `"bad bad bad bad bad bad bad bad bad warn warn"` {
		t.Errorf("how bad: %s", got)
	}
	if n := p.eval(t, `document.querySelectorAll("#hosts .card.bad").length`); n != "61" {
		t.Errorf("%s hosts are marked", n)
	}
	for _, width := range []int{375, 768, 1280} {
		p.look(t, width, 900, "dark")
		if got := p.eval(t, "document.documentElement.scrollWidth"); got != fmt.Sprint(width) {
			t.Errorf("the page is %s px wide in a window of %d", got, width)
		}
		if over := p.eval(t, outside); over != "[]" {
			t.Errorf("beyond the right edge of %d px: %.500s", width, over)
		}
		if poor := p.eval(t, poorContrast); poor != "[]" {
			t.Errorf("less contrast than WCAG AA wants: %.500s", poor)
		}
		keep(t, p, fmt.Sprint("everything-", width))
	}

	// The curve begins with the daemon.
	if begins := p.eval(t, `+/^M([\d.]+)/.exec(document.querySelector("#curve path.accepted").getAttribute("d"))[1] > document.querySelector("#curve svg").clientWidth / 2`); begins != "true" {
		t.Error("the curve shows logins of before the start")
	}

	// Another cause is shown, and not said aloud; the end is.
	p.eval(t, `window.changes = 0; new MutationObserver(() => window.changes++).observe(document.querySelector("#news"), {childList: true, characterData: true, subtree: true})`)
	last := s.status.Hosts[3].Name
	m.Login(admin.Login{Time: time.Now(), Host: last, Mechanism: "PLAIN", Verdict: "undecided", Condition: "temporary-auth-failure", Cause: "worker 2: timeout"})
	p.until(t, `document.querySelector("#state").innerText.includes("worker 2: timeout")`)
	if n := p.eval(t, "window.changes"); n != "0" {
		t.Errorf("a cause was announced %s times", n)
	}
	for _, h := range s.status.Hosts[3:] {
		m.Login(admin.Login{Time: time.Now(), Host: h.Name, Mechanism: "PLAIN", Verdict: "accepted"})
	}
	s.change(func(s *school) {
		s.status.Certificates, s.status.Config.OK = s.status.Certificates[:3], true
		s.status.Hosts[1].Pool = nil
	})
	p.until(t, `document.querySelector("#news").textContent === "All is well." && window.changes > 0`)
	p.clean(t, origin)
}

func testStatusPageGoesAway(t *testing.T, b *browser) {
	s, m := newSchool(time.Now())
	origin, stop := serveSchool(t, s, m)
	p := b.open(t, origin+"/")
	p.until(t, `document.querySelector("#state").innerText === "All is well."`)

	// Behind other tabs it asks seldom, but its icon and title are no lie.
	p.eval(t, `window.real = setTimeout; window.setTimeout = (f, pause) => { window.pause = pause; return real(f, 10); };
		Object.defineProperty(document, "hidden", {get: () => true})`)
	stop()
	p.until(t, `window.pause === 30000 && document.title === "● front1: gatehouse"`)
	p.until(t, `document.querySelector("#state").innerText.startsWith("The daemon does not answer; what is below was so at")`)
	s.change(func(s *school) { s.status.Version = "0.4.1" })
	ln, err := net.Listen("tcp", strings.TrimPrefix(origin, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	again := admin.NewServer(admin.Handler(m, s, admin.ReadOnly), slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	go func() { served <- again.Serve(ln) }()
	t.Cleanup(func() {
		again.Close()
		<-served
	})
	p.until(t, `document.querySelector("#version").innerText === "0.4.1" && !document.body.classList.contains("away")`)
}

// Without JavaScript a person is told where the numbers are.
func testStatusPageWithoutScript(t *testing.T, b *browser) {
	s, m := newSchool(time.Now())
	origin, _ := serveSchool(t, s, m)
	p := b.open(t, "about:blank")
	p.call(t, "Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	p.navigate(t, origin+"/")
	if got := p.text(t, "body"); !strings.Contains(got, "This page needs JavaScript to show curves.") || strings.Contains(got, "Asking the daemon") {
		t.Errorf("the page says %q", got)
	}
}

// The picture of the README is made by UPDATE_DOCS=1, and must be there.
func testStatusPagePicture(t *testing.T, b *browser) {
	const path = "../docs/status.png"
	if os.Getenv("UPDATE_DOCS") != "" {
		s, m := newSchool(time.Now())
		origin, _ := serveSchool(t, s, m)
		p := b.open(t, origin+"/")
		p.look(t, 1280, 860, "light")
		p.until(t, `document.querySelector("#state").innerText === "All is well."`)
		if err := os.WriteFile(path, p.screenshot(t, false), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 150<<10 {
		t.Errorf("%s has %d bytes", path, len(data))
	}
	if _, err := png.Decode(bytes.NewReader(data)); err != nil {
		t.Error(err)
	}
}
