package integration

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// What tokens a web application gives.
const (
	freshTokens   = "fresh"
	expiredTokens = "expired"
	usedTokens    = "used" // the last fresh one, again
)

// webApplication answers what Converse.js calls the credentials_url: a token for the user of the session, who is always
// the same.
type webApplication struct {
	jid  string
	url  string
	mint func() string

	mu    sync.Mutex // guards the fields below
	gives string
	last  string // fresh token
	asked int
}

func startWebApplication(t testing.TB, jid string) *webApplication {
	t.Helper()
	app := &webApplication{jid: jid, gives: freshTokens}
	app.mint = func() string { return freshToken(t, hostKeys.secret, hostKeys.seed, jid) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"jid": jid, "password": app.token(t)})
	}))
	t.Cleanup(server.Close)
	app.url = server.URL
	return app
}

func (app *webApplication) token(t testing.TB) string {
	app.mu.Lock()
	defer app.mu.Unlock()
	app.asked++
	switch app.gives {
	case expiredTokens:
		plan := &tokenPlan{Window: -3, Nonce: randomDigits(t, 32), SignJID: app.jid}
		return plan.mint(t, hostKeys.secret, hostKeys.seed, time.Now())
	case freshTokens:
		app.last = app.mint()
	}
	return app.last
}

// give changes what tokens the application gives.
func (app *webApplication) give(tokens string) {
	app.mu.Lock()
	defer app.mu.Unlock()
	app.gives = tokens
}

// count is how often the application was asked for a token.
func (app *webApplication) count() int {
	app.mu.Lock()
	defer app.mu.Unlock()
	return app.asked
}

// askedAgain waits until the application is asked once more than it was.
func (app *webApplication) askedAgain(t testing.TB, was int) {
	t.Helper()
	until(t, "the page asks for a token", patience, func() bool { return app.count() > was })
}

// A chatPage knows what a person sees on a page of the examples.
type chatPage struct {
	dir     string
	in      string // shown when the user is in
	refused string // shown when a token was not accepted
	failed  string // shown when there is no WebSocket
	send    func(t testing.TB, p *webPage, text string)
}

var chatPages = []chatPage{
	{
		"web-converse", "I am online", "Your XMPP address and/or password is incorrect.", "The WebSocket connection could not be established",
		func(t testing.TB, p *webPage, text string) {
			p.must(t, "fill", ".chat-textarea", text)
			p.must(t, "press", ".chat-textarea", "Enter")
		},
	},
	{
		"web-strophe", "logged in as ", "login refused: not-authorized", "no connection: ",
		func(t testing.TB, p *webPage, text string) {
			p.must(t, "fill", "[name=to]", "bob@localhost")
			p.must(t, "fill", "[name=text]", text)
			p.must(t, "press", "[name=text]", "Enter")
		},
	},
}

// eachChatPage runs a test for each page with each mechanism, with a user of its own.
func eachChatPage(t *testing.T, test func(t *testing.T, page chatPage, mechanism, user string)) {
	for _, page := range chatPages {
		for _, mechanism := range []string{"X-TOKEN", "PLAIN"} {
			t.Run(page.dir+" "+mechanism, func(t *testing.T) {
				t.Parallel()
				test(t, page, mechanism, strings.ToLower(page.dir+"-"+mechanism))
			})
		}
	}
}

// webSocketAddress returns where a daemon takes WebSockets.
func webSocketAddress(t testing.TB, d *daemon) string {
	t.Helper()
	found := regexp.MustCompile(`listening address=(\S+) tls=direct service=websocket`).FindStringSubmatch(d.log.String())
	if found == nil {
		t.Fatal("no WebSocket port in the log")
	}
	return found[1]
}

// wssURL is what a page connects to.
func wssURL(address string) string { return "wss://" + address + "/xmpp-websocket" }

// says waits until the log has so many lines that match.
func (d *daemon) says(t testing.TB, pattern string, times int) {
	t.Helper()
	until(t, fmt.Sprintf("%d times %q in the log", times, pattern), patience, func() bool {
		return len(regexp.MustCompile(pattern).FindAllString(d.log.String(), -1)) >= times
	})
}

// screenshot keeps a picture of the page for people, if GATEHOUSE_SCREENSHOTS names a directory.
func (p *webPage) screenshot(t testing.TB, name string) {
	t.Helper()
	if dir := os.Getenv("GATEHOUSE_SCREENSHOTS"); dir != "" {
		p.must(t, "screenshot", filepath.Join(dir, name+".png"))
	}
}

// credentialsBearer is what web applications show where gatehouse gives them tokens.
const credentialsBearer = "canary-bearer-0123456789"

// mintedBy gets a token for a user from the WebSocket port of a daemon.
func mintedBy(t testing.TB, d *daemon, user string) string {
	form := strings.NewReader("user=" + user + "&server=localhost")
	req, err := http.NewRequest(http.MethodPost, "https://"+webSocketAddress(t, d)+"/credentials", form)
	if err != nil {
		t.Error(err)
		return ""
	}
	req.Header.Set("Authorization", "Bearer "+credentialsBearer)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // it is self-signed
	}}
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct{ JID, Password string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.JID != user+"@localhost" {
		t.Errorf("a token for %s: %v, for %q", user, err, answer.JID)
	}
	return answer.Password
}

// TestExamplesWeb_standalone: each page logs its user in at a gatehouse alone, is in again with another token after a reload
// and after the network was cut, says why it is not in when the application gives tokens that have expired or were used, and
// is in by itself when it gives better ones. From a page of a foreign origin there is no way in.
func TestExamplesWeb_standalone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ports := freePorts(t, 2*len(chatPages))
	origins := make([]any, len(ports))
	served := make(chan int, len(ports)) // where the next page may be
	for i, port := range ports {
		origins[i] = "http://" + loopback(port)
		served <- port
	}
	d := start(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "token", "token_secret": hostKeys.secret, "otp_seed": hostKeys.seed, "gatehouse_token_in_plain": true,
		"gatehouse_credentials": "web", "gatehouse_credentials_bearer": credentialsBearer,
	}}}, baseOptions(dir), options{"gatehouse_websocket_ports": []any{0}, "gatehouse_websocket_origins": origins}))
	eachChatPage(t, func(t *testing.T, page chatPage, mechanism, user string) {
		app := startWebApplication(t, user+"@localhost")
		if mechanism == "X-TOKEN" {
			app.mint = func() string { return mintedBy(t, d, user) }
		}
		network := newTap(t, webSocketAddress(t, d))
		p := startWebPage(t, page.dir, webOptions{WebSocket: wssURL(network.address), Credentials: app.url, Port: <-served})
		ofUser := "login host=localhost user=" + user + " mechanism=" + mechanism + " .*"
		logins := 0
		in := func() {
			t.Helper()
			p.shows(t, page.in)
			logins++
			d.says(t, ofUser+"verdict=accepted", logins)
		}
		refused := func(because string) {
			t.Helper()
			p.shows(t, page.refused)
			d.says(t, ofUser+"verdict=refused .*"+because, 1)
		}

		p.must(t, "open", strings.ToLower(mechanism)+".html")
		in()
		p.screenshot(t, user+"-alone")
		p.must(t, "reload")
		in()
		was := app.count()
		network.cut()
		app.askedAgain(t, was)
		in()
		if got := app.count(); got != logins {
			t.Errorf("%d tokens for %d logins", got, logins)
		}

		app.give(usedTokens)
		network.cut()
		refused("used")
		app.give(freshTokens)
		in()
		app.give(expiredTokens)
		p.must(t, "reload") // a refused first login is not the same as one that comes back
		refused("expired")
		p.screenshot(t, user+"-refused")
		app.give(freshTokens)
		in()

		if mechanism == "X-TOKEN" {
			d.says(t, "token for a web application host=localhost user="+user+" ", logins)
		}

		foreign := strings.Replace(p.origin, "127.0.0.1", "localhost", 1)
		p.must(t, "open", foreign+"/"+strings.ToLower(mechanism)+".html")
		p.shows(t, page.failed)
		p.screenshot(t, user+"-foreign")
		d.says(t, regexp.QuoteMeta(fmt.Sprintf(`cause="pages of the origin \"%s\" may not connect to the host \"%s\""`, foreign, network.address)), 1)
	})
}

// TestExamplesWeb_gaveUp: Converse.js ends where it finds no mechanism that it knows. The page says so, with one button to try
// again, which helps once the server is set up.
func TestExamplesWeb_gaveUp(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), freePorts(t, 1)[0]
	o := options{"authentication": "token", "token_secret": hostKeys.secret, "otp_seed": hostKeys.seed}
	global := baseOptions(dir)
	global["gatehouse_websocket_ports"] = []any{0}
	global["gatehouse_websocket_origins"] = []any{"http://" + loopback(port)}
	d := start(t, writeConfig(t, dir, []host{{"localhost", o}}, global))
	app := startWebApplication(t, "alice@localhost")
	p := startWebPage(t, "web-converse", webOptions{WebSocket: wssURL(webSocketAddress(t, d)), Credentials: app.url, Port: port})
	p.must(t, "open", "plain.html")
	p.shows(t, "did not offer a supported authentication mechanism")
	p.must(t, "until", "document.querySelectorAll('output button').length === 1", patience.Seconds())
	p.screenshot(t, "gave-up")
	o["gatehouse_token_in_plain"] = true
	writeConfig(t, dir, []host{{"localhost", o}}, global)
	d.says(t, " reloaded ", 1)
	p.must(t, "click", "output button")
	p.shows(t, chatPages[0].in)
}

// TestExamplesWeb_prosody: each page logs its user in with a token of the web application, through a gatehouse to the Prosody
// behind it, or at that Prosody itself, which asks gatehouse then. It sends and receives messages, and is in again with
// another token after a reload, after the network was cut, and after the application gave a token that had expired.
func TestExamplesWeb_prosody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	users := []string{"bob", "secret", "direct-converse", "", "direct-strophe", ""}
	for _, page := range chatPages {
		users = append(users, page.dir+"-x-token", "", page.dir+"-plain", "")
	}
	s := installScript(t, dir, "auth", accounts(users...))
	api, ports := unusedAddress(t), freePorts(t, 2)
	text, err := os.ReadFile("testdata/web/prosody.cfg.lua")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "prosody.cfg.lua")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(string(text), "HTTPS_PORT", fmt.Sprint(ports[0]))), 0o644); err != nil {
		t.Fatal(err)
	}
	if config, err = filepath.Rel(absolute(t, "testdata/prosody"), config); err != nil {
		t.Fatal(err)
	}
	prosody := startProsody(t, config, "http://"+api+"/auth/")
	d := start(t, tokenConfig(t, dir, s, options{
		"gatehouse_admin": api, "gatehouse_auth_api_user": apiUser, "gatehouse_auth_api_password": apiPassword,
		"gatehouse_token_in_plain": true, "gatehouse_upstream": prosody.address,
		"gatehouse_websocket_ports": []any{0}, "gatehouse_websocket_origins": "*",
	}))
	for at, direct := range map[int]string{0: "X-TOKEN", 1: "PLAIN"} {
		page := chatPages[at]
		t.Run("direct "+page.dir, func(t *testing.T) {
			before := len(prosody.log.String())
			page.use(t, direct, strings.Replace(page.dir, "web", "direct", 1), loopback(ports[0]), prosody.address)
			if log := prosody.log.String()[before:]; !strings.Contains(log, "mechanism='"+direct+"'") {
				t.Errorf("Prosody saw no %s", direct)
			}
		})
	}
	eachChatPage(t, func(t *testing.T, page chatPage, mechanism, user string) {
		page.use(t, mechanism, user, webSocketAddress(t, d), d.address(t, "starttls"))
		d.says(t, "login host=localhost user="+user+" mechanism="+mechanism+" .*verdict=accepted", 4)
	})
}

// use is all that a person does with a page. The server takes WebSockets with TLS at one address and bob, with his
// password, at another one.
func (c *chatPage) use(t *testing.T, mechanism, user, wss, tcp string) {
	jid := user + "@localhost"
	app := startWebApplication(t, jid)
	network := newTap(t, wss)
	bob, _ := session(t, tcp, "localhost", "bob", "secret", user)
	defer bob.Close()
	if err := bob.Send("<presence/>"); err != nil {
		t.Fatal(err)
	}
	p := startWebPage(t, c.dir, webOptions{WebSocket: wssURL(network.address), Credentials: app.url})

	p.must(t, "open", strings.ToLower(mechanism)+".html")
	c.converse(t, p, bob, jid, "first")
	p.must(t, "reload")
	c.converse(t, p, bob, jid, "after a reload")
	if got := app.count(); got != 2 {
		t.Errorf("%d tokens for two logins", got)
	}
	p.screenshot(t, user)
	var said []string
	if err := json.Unmarshal(p.must(t, "console"), &said); err != nil {
		t.Fatal(err)
	}
	for _, line := range said {
		if !regexp.MustCompile(`^(debug|verbose|info|log): `).MatchString(line) {
			t.Errorf("in the console: %s", line)
		}
	}

	was := app.count()
	network.cut()
	app.askedAgain(t, was)
	c.converse(t, p, bob, jid, "after a cut")
	app.give(expiredTokens)
	network.cut()
	p.shows(t, c.refused)
	app.give(freshTokens)
	c.converse(t, p, bob, jid, "after a refusal")
}

// converse sends a message from bob to the page and one back. A message can be lost with a connection that is cut, so bob
// says it again until he is heard.
func (c *chatPage) converse(t testing.TB, p *webPage, bob *xmpptest.Client, jid, tag string) {
	t.Helper()
	p.shows(t, c.in)
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
		// Bob gets what others say to him elsewhere, too.
		body := e.Child("body")
		if e.Name == "message" && body != nil && body.Text == text && strings.HasPrefix(e.Attr("from"), jid+"/") {
			return
		}
	}
}
