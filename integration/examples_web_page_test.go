package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// webPage is a page of examples/ in a headless Chromium: testdata/web/page.mjs.
type webPage struct {
	origin string // where it is served
	in     io.Writer
	out    *bufio.Reader
}

// webOptions say what the page talks to.
type webOptions struct {
	Modules     string `json:"modules"`
	Root        string `json:"root"`
	WebSocket   string `json:"websocket"`
	Credentials string `json:"credentials"`
	Port        int    `json:"port"` // where it is served; 0 for any
}

// startWebPage serves examples/DIR and starts a browser, which has nothing open yet. The first call on a machine fetches
// what it needs from npm.
func startWebPage(t testing.TB, dir string, o webOptions) *webPage {
	t.Helper()
	install := exec.Command("testdata/web/install.sh")
	var said strings.Builder
	install.Stderr = &said
	modules, err := install.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	o.Modules, o.Root = strings.TrimSpace(string(modules)), filepath.Join("../examples", dir)
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	log := newLogBuffer()
	cmd := exec.Command("node", "testdata/web/page.mjs", string(raw))
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (the packages are in scripts/test-deps.sh)", err)
	}
	t.Cleanup(func() {
		in.Close() // ends it
		timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err != nil || t.Failed() {
			t.Logf("page.mjs: %v\n%s", err, log)
		}
	})
	p := &webPage{in: in, out: bufio.NewReader(out)}
	var hello struct{ Origin string }
	if err := json.Unmarshal(p.line(t), &hello); err != nil {
		t.Fatal(err)
	}
	p.origin = hello.Origin
	return p
}

func (p *webPage) line(t testing.TB) []byte {
	t.Helper()
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("page.mjs: %v", err)
	}
	return line
}

// do runs a command of page.mjs and returns its value as JSON.
func (p *webPage) do(t testing.TB, command ...any) (json.RawMessage, error) {
	t.Helper()
	raw, err := json.Marshal(command)
	if err == nil {
		_, err = p.in.Write(append(raw, '\n'))
	}
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Value json.RawMessage
		Error string
	}
	if err := json.Unmarshal(p.line(t), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("%s", answer.Error)
	}
	return answer.Value, nil
}

// must is do for what cannot go wrong. If it does, the error shows the page's text and its console.
func (p *webPage) must(t testing.TB, command ...any) json.RawMessage {
	t.Helper()
	value, err := p.do(t, command...)
	if err != nil {
		text, _ := p.do(t, "text", "body")
		console, _ := p.do(t, "console")
		t.Fatalf("%v\nthe page: %s\nthe console: %s", err, text, console)
	}
	return value
}

// shows waits until a person can read a text in the page.
func (p *webPage) shows(t testing.TB, text string) {
	t.Helper()
	p.must(t, "until", shown(text), patience.Seconds())
}

// shown is JavaScript that is true when a person can read a text.
func shown(text string) string { return fmt.Sprintf("document.body.innerText.includes(%q)", text) }
