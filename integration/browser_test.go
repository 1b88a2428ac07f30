package integration

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// browser is a headless Chromium, driven by the DevTools protocol over two pipes: one JSON message after the other, each
// ended by a NUL (Chromium's content/browser/devtools/devtools_pipe_handler.cc).
type browser struct {
	in  io.WriteCloser
	log *logBuffer

	mu      sync.Mutex // guards the fields below
	lastID  int
	waiting map[int]chan message
	pages   map[string]*page // by session
	err     error            // why there will be no more answers
}

// message is a call, an answer or an event.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// startBrowser starts Chromium with an empty profile. It is gone, with all its processes, when the test has ended.
func startBrowser(t testing.TB) *browser {
	t.Helper()
	toBrowser, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, fromBrowser, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{in: in, log: newLogBuffer(), waiting: make(map[int]chan message), pages: make(map[string]*page)}
	cmd := exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--hide-scrollbars", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{toBrowser, fromBrowser} // descriptors 3 and 4
	cmd.Stdout, cmd.Stderr = b.log, b.log
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (Debian's package is in scripts/test-deps.sh)", err)
	}
	toBrowser.Close()
	fromBrowser.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		b.read(out)
	}()
	t.Cleanup(func() {
		_, err := b.call("", "Browser.close", nil)
		if err != nil {
			t.Errorf("the browser does not end: %v", err)
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait() // its code says nothing about the page
		in.Close()
		<-read
		out.Close()
		if err != nil {
			t.Logf("log of the browser:\n%s", b.log)
		}
	})
	return b
}

// read hands out answers and events until the browser ends.
func (b *browser) read(from io.Reader) {
	r := bufio.NewReader(from)
	for {
		line, err := r.ReadBytes(0)
		var m message
		if err == nil {
			err = json.Unmarshal(line[:len(line)-1], &m)
		}
		b.mu.Lock()
		if err != nil {
			b.err = fmt.Errorf("the browser is gone: %w", err)
			for id, ch := range b.waiting {
				delete(b.waiting, id)
				close(ch)
			}
			b.mu.Unlock()
			return
		}
		if ch := b.waiting[m.ID]; m.ID != 0 && ch != nil {
			delete(b.waiting, m.ID)
			ch <- m
		} else if p := b.pages[m.Session]; p != nil && m.Method != "" {
			p.event(m)
		}
		b.mu.Unlock()
	}
}

// call asks the browser, or one page of it, and waits for the answer.
func (b *browser) call(session, method string, params any) (json.RawMessage, error) {
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	if params == nil {
		raw = nil
	}
	ch := make(chan message, 1)
	b.mu.Lock()
	if b.err != nil {
		b.mu.Unlock()
		return nil, b.err
	}
	b.lastID++
	line, err := json.Marshal(message{ID: b.lastID, Session: session, Method: method, Params: raw})
	b.waiting[b.lastID] = ch
	if err == nil {
		_, err = b.in.Write(append(line, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case m, ok := <-ch:
		switch {
		case !ok && method == "Browser.close":
			return nil, nil
		case !ok:
			return nil, errors.New("the browser is gone")
		case m.Error != nil:
			return nil, fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		return m.Result, nil
	case <-time.After(patience):
		return nil, fmt.Errorf("%s: no answer within %v", method, patience)
	}
}

// page is one tab.
type page struct {
	browser *browser
	session string

	mu       sync.Mutex // guards the fields below
	requests []string   // addresses that it asked for
	errors   []string   // what the console shows as an error or a warning
}

// open opens a tab with an address.
func (b *browser) open(t testing.TB, address string) *page {
	t.Helper()
	var target struct{ TargetID string }
	b.must(t, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.must(t, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p := &page{browser: b, session: attached.SessionID}
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		p.call(t, domain+".enable", nil, nil)
	}
	p.navigate(t, address)
	return p
}

// navigate goes to an address and waits until it is loaded.
func (p *page) navigate(t testing.TB, address string) {
	t.Helper()
	p.call(t, "Page.navigate", map[string]any{"url": address}, nil)
	p.until(t, fmt.Sprintf(`location.href === %q && document.readyState === "complete"`, address))
}

func (b *browser) must(t testing.TB, session, method string, params, result any) {
	t.Helper()
	raw, err := b.call(session, method, params)
	if err == nil && result != nil {
		err = json.Unmarshal(raw, result)
	}
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
}

// event notes what must not happen unseen.
func (p *page) event(m message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m.Method {
	case "Network.requestWillBeSent":
		var e struct{ Request struct{ URL string } }
		_ = json.Unmarshal(m.Params, &e)
		p.requests = append(p.requests, e.Request.URL)
	case "Runtime.exceptionThrown":
		p.errors = append(p.errors, string(m.Params))
	case "Runtime.consoleAPICalled":
		p.errors = append(p.errors, string(m.Params))
	case "Log.entryAdded":
		p.errors = append(p.errors, string(m.Params))
	}
}

func (p *page) call(t testing.TB, method string, params, result any) {
	t.Helper()
	p.browser.must(t, p.session, method, params, result)
}

// eval runs an expression in the page and returns its value as JSON.
func (p *page) eval(t testing.TB, expression string) string {
	t.Helper()
	var out struct {
		Result struct {
			Value json.RawMessage
		}
		ExceptionDetails json.RawMessage
	}
	p.call(t, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &out)
	if out.ExceptionDetails != nil {
		t.Fatalf("%s: %s", expression, out.ExceptionDetails)
	}
	return string(out.Result.Value)
}

// until waits until an expression is true in the page.
func (p *page) until(t testing.TB, expression string) {
	t.Helper()
	until(t, expression, patience, func() bool { return p.eval(t, expression) == "true" })
}

// text returns what a person reads in an element.
func (p *page) text(t testing.TB, selector string) string {
	t.Helper()
	quoted, err := json.Marshal(selector)
	if err != nil {
		t.Fatal(err)
	}
	var s string
	if err := json.Unmarshal([]byte(p.eval(t, fmt.Sprintf("document.querySelector(%s).innerText", quoted))), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// look sets the size of the window, and "light" or "dark".
func (p *page) look(t testing.TB, width, height int, scheme string) {
	t.Helper()
	p.call(t, "Emulation.setDeviceMetricsOverride",
		map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	p.call(t, "Emulation.setEmulatedMedia",
		map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	// Two frames later everything that depends on the size is drawn.
	p.eval(t, "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
}

// screenshot returns a PNG of the window, or of the whole page.
func (p *page) screenshot(t testing.TB, whole bool) []byte {
	t.Helper()
	var out struct{ Data string }
	p.call(t, "Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": whole}, &out)
	png, err := base64.StdEncoding.DecodeString(out.Data)
	if err != nil {
		t.Fatal(err)
	}
	return png
}

// clean fails the test if the page complained, or asked anybody but the given origin.
func (p *page) clean(t testing.TB, origin string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.errors {
		t.Errorf("in the console: %s", e)
	}
	if len(p.requests) == 0 {
		t.Error("no request was seen")
	}
	for _, r := range p.requests {
		if !strings.HasPrefix(r, origin+"/") && !strings.HasPrefix(r, "data:") && r != "about:blank" {
			t.Errorf("a request to another origin: %s", r)
		}
	}
}
