package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// webApplication answers what Converse.js calls the credentials_url: a token for the user of the session, who is always
// the same.
type webApplication struct {
	jid   string
	url   string
	stale atomic.Bool  // give tokens that have expired
	asked atomic.Int64 // how often
}

func startWebApplication(t testing.TB, jid string) *webApplication {
	t.Helper()
	app := &webApplication{jid: jid}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		plan := &tokenPlan{Nonce: randomDigits(t, 32), SignJID: jid}
		if app.stale.Load() {
			plan.Window = -3
		}
		app.asked.Add(1)
		_ = json.NewEncoder(w).Encode(map[string]string{
			"jid": jid, "password": plan.mint(t, hostKeys.secret, hostKeys.seed, time.Now()),
		})
	}))
	t.Cleanup(server.Close)
	app.url = server.URL
	return app
}

// A chatPage knows where things are on a page of the examples.
type chatPage struct {
	dir  string
	open string // shown when the user is in
	// refused is shown when a token was not accepted. Converse.js shows nothing then, if it has a credentials_url.
	refused string
	send    func(t testing.TB, p *webPage, text string)
}

var chatPages = []chatPage{
	{"web-converse", "", "", func(t testing.TB, p *webPage, text string) {
		p.must(t, "fill", ".chat-textarea", text)
		p.must(t, "press", ".chat-textarea", "Enter")
	}},
	{"web-strophe", "logged in as ", "login refused: not-authorized", func(t testing.TB, p *webPage, text string) {
		p.must(t, "fill", "[name=to]", "bob@localhost")
		p.must(t, "fill", "[name=text]", text)
		p.must(t, "press", "[name=text]", "Enter")
	}},
}

// TestExamplesWeb_prosody: each page logs its user in with a token of the web application, at a Prosody that asks
// gatehouse, sends and receives messages, and is in again with another token after a reload, after the network was cut, and
// after the application gave a token that had expired.
func TestExamplesWeb_prosody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("bob", "secret", "user1", "", "user2", "", "user3", "", "user4", ""))
	api := unusedAddress(t)
	start(t, tokenConfig(t, dir, s, options{
		"gatehouse_admin": api, "gatehouse_auth_api_user": apiUser, "gatehouse_auth_api_password": apiPassword,
	}))
	port := freePorts(t, 1)[0]
	text, err := os.ReadFile("testdata/web/prosody.cfg.lua")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "prosody.cfg.lua")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(string(text), "HTTPS_PORT", fmt.Sprint(port))), 0o644); err != nil {
		t.Fatal(err)
	}
	if config, err = filepath.Rel(absolute(t, "testdata/prosody"), config); err != nil {
		t.Fatal(err)
	}
	prosody := startProsody(t, config, "http://"+api+"/auth/")
	users := 0
	for _, page := range chatPages {
		for _, mechanism := range []string{"X-TOKEN", "PLAIN"} {
			t.Run(page.dir+" "+mechanism, func(t *testing.T) {
				before := len(prosody.log.String())
				// Nobody has a session of the page before, which may be waiting to be resumed.
				users++
				page.use(t, mechanism, fmt.Sprintf("user%d@localhost", users), loopback(port), prosody.address)
				if log := prosody.log.String()[before:]; !strings.Contains(log, "mechanism='"+mechanism+"'") {
					t.Errorf("Prosody saw no %s", mechanism)
				}
			})
		}
	}
}

// use is all that a person does with a page. The server takes WebSockets with TLS at one address and bob, with his
// password, at another one.
func (c *chatPage) use(t *testing.T, mechanism, jid, wss, tcp string) {
	app := startWebApplication(t, jid)
	network := newTap(t, wss)
	bob, _ := session(t, tcp, "localhost", "bob", "secret", "desk")
	defer bob.Close()
	if err := bob.Send("<presence/>"); err != nil {
		t.Fatal(err)
	}
	p := startWebPage(t, c.dir, webOptions{WebSocket: "wss://" + network.address + "/xmpp-websocket", Credentials: app.url})
	// asked waits until the application was asked so often; a page that is in must not ask.
	asked := func(want int64) {
		t.Helper()
		until(t, "the page asks for a token", patience, func() bool { return app.asked.Load() >= want })
	}

	p.must(t, "open", strings.ToLower(mechanism)+".html")
	c.converse(t, p, bob, jid, "first")
	p.must(t, "reload")
	c.converse(t, p, bob, jid, "after a reload")
	if got := app.asked.Load(); got != 2 {
		t.Errorf("%d tokens for two logins", got)
	}
	if dir := os.Getenv("GATEHOUSE_SCREENSHOTS"); dir != "" {
		p.must(t, "screenshot", filepath.Join(dir, c.dir+"-"+mechanism+".png"))
	}
	var said []string
	if err := json.Unmarshal(p.must(t, "console"), &said); err != nil {
		t.Fatal(err)
	}
	for _, line := range said {
		if !regexp.MustCompile(`^(debug|verbose|info|log): `).MatchString(line) {
			t.Errorf("in the console: %s", line)
		}
	}

	network.cut()
	asked(3)
	c.converse(t, p, bob, jid, "after a cut")
	app.stale.Store(true)
	network.cut()
	asked(6)
	p.shows(t, c.refused)
	app.stale.Store(false)
	c.converse(t, p, bob, jid, "after a refusal")
}

// converse sends a message from bob to the page and one back. A message can be lost with a connection that is cut, so bob
// says it again until he is heard.
func (c *chatPage) converse(t testing.TB, p *webPage, bob *xmpptest.Client, jid, tag string) {
	t.Helper()
	p.shows(t, c.open)
	text := "To the page, " + tag + ": <&> ☃"
	until(t, "the page shows "+text, 2*patience, func() bool {
		if err := bob.Sendf("<message to='%s' type='chat'><body>%s</body></message>", jid, xmpptest.Escape(text)); err != nil {
			t.Fatal(err)
		}
		_, err := p.do(t, "until", shown(text), 3)
		return err == nil
	})
	text = "From the page, " + tag + ": <&> ☃"
	c.send(t, p, text)
	for {
		e, err := bob.ReadElement()
		if err != nil {
			t.Fatal(err)
		}
		if body := e.Child("body"); e.Name == "message" && body != nil && body.Text == text {
			if from := e.Attr("from"); !strings.HasPrefix(from, jid+"/") {
				t.Errorf("a message from %q", from)
			}
			return
		}
	}
}
