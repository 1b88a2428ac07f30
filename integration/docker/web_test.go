package docker

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/integration/docker/engine"
	"gatehouse.im/gatehouse/internal/xmpptest"
)

// TestWeb_converse: examples/web-converse, in a headless Chromium, logs a user in with a token over gatehouse's WebSocket at
// the Prosody behind it, talks with bob, who came by TCP with his password, and is in again after a reload.
func TestWeb_converse(t *testing.T) {
	h := hosts[0]
	for _, mechanism := range []string{"X-TOKEN", "PLAIN"} {
		t.Run(mechanism, func(t *testing.T) {
			bob := h.login(t, "bob", "desk")
			must(t, bob.Send("<presence/>"))
			user := "page-" + strings.ToLower(mechanism) // nobody whose session before waits to be resumed
			p := h.openPage(t, strings.ToLower(mechanism)+".html", user)
			h.converse(t, p, user, bob, "first")
			p.must(t, "reload")
			h.converse(t, p, user, bob, "after a reload")
			if dir := os.Getenv("GATEHOUSE_SCREENSHOTS"); dir != "" {
				p.must(t, "screenshot", filepath.Join(dir, "docker-"+mechanism+".png"))
			}
			log, err := servers.logs("gatehouse")
			must(t, err)
			if want := "login host=" + h.name + " user=" + user + " mechanism=" + mechanism + " "; !strings.Contains(log, want) {
				t.Errorf("gatehouse's log has no %q", want)
			}
		})
	}
}

// converse has bob write to the page, and the page to bob. What he writes before the page is available may go to the session
// before a reload, so he writes it again until it is there.
func (h host) converse(t *testing.T, p *webPage, user string, bob *xmpptest.Client, tag string) {
	t.Helper()
	p.shows(t, "I am online")
	text := "To the page, " + tag + ": <&> ☃"
	must(t, engine.Poll(func() error {
		err := bob.Sendf("<message to='%s@%s' type='chat'><body>%s</body></message>", user, h.name, xmpptest.Escape(text))
		if err == nil {
			_, err = p.do("until", shown(text), 3)
		}
		return err
	}))
	text = "From the page, " + tag + ": <&> ☃"
	p.must(t, "fill", ".chat-textarea", text)
	p.must(t, "press", ".chat-textarea", "Enter")
	for {
		m := next(t, bob, "message")
		if body := m.Child("body"); body != nil && body.Text == text {
			if from := m.Attr("from"); !strings.HasPrefix(from, user+"@"+h.name+"/") {
				t.Errorf("a message from %s", from)
			}
			return
		}
	}
}

// webPage is a page in a browser: integration/testdata/web/page.mjs, which says what can be done with it.
type webPage struct {
	in  io.Writer
	out *bufio.Reader
}

// openPage opens a page of examples/web-converse for a user. Its web application has its tokens from `gatehouse token mint`.
func (h host) openPage(t *testing.T, path, user string) *webPage {
	t.Helper()
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		jid := user + "@" + h.name
		token, err := servers.exec("gatehouse", "/srv/bin/gatehouse", "token", "mint", "--config", "/srv/gatehouse/prosody.cfg.lua", jid)
		if err != nil {
			t.Error(err)
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"jid": jid, "password": token})
	}))
	t.Cleanup(application.Close)
	web, err := servers.port("gatehouse", "5281")
	must(t, err)
	install := exec.Command("../testdata/web/install.sh")
	install.Stderr = os.Stderr
	modules, err := install.Output()
	must(t, err)
	options, err := json.Marshal(map[string]string{
		"modules": strings.TrimSpace(string(modules)), "root": "../../examples/web-converse",
		"websocket": "wss://" + web + "/xmpp-websocket", "credentials": application.URL,
	})
	must(t, err)
	browser := exec.Command("node", "../testdata/web/page.mjs", string(options))
	browser.Stderr = os.Stderr
	in, err := browser.StdinPipe()
	must(t, err)
	out, err := browser.StdoutPipe()
	must(t, err)
	must(t, browser.Start())
	t.Cleanup(func() {
		_ = in.Close() // ends it
		if err := browser.Wait(); err != nil {
			t.Error(err)
		}
	})
	p := &webPage{in, bufio.NewReader(out)}
	_, err = p.out.ReadBytes('\n') // where it is served
	must(t, err)
	p.must(t, "open", path)
	return p
}

// do has the page do something.
func (p *webPage) do(command ...any) (json.RawMessage, error) {
	if err := json.NewEncoder(p.in).Encode(command); err != nil {
		return nil, err
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	var answer struct {
		Value json.RawMessage
		Error string
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	return answer.Value, nil
}

// must is do, and shows what the page and its console said if that fails.
func (p *webPage) must(t *testing.T, command ...any) {
	t.Helper()
	if _, err := p.do(command...); err != nil {
		text, _ := p.do("text", "body")
		console, _ := p.do("console")
		t.Fatalf("%v\nthe page: %s\nthe console: %s", err, text, console)
	}
}

// shows waits until a person can read a text in the page.
func (p *webPage) shows(t *testing.T, text string) {
	t.Helper()
	p.must(t, "until", shown(text), patience.Seconds())
}

// shown is JavaScript that is true when a person can read a text.
func shown(text string) string { return fmt.Sprintf("document.body.innerText.includes(%q)", text) }
