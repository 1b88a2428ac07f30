package integration

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// vectorRun is one play of one case against a fresh server.
type vectorRun struct {
	t       *testing.T
	c       *vectorCase
	dir     string
	scripts []*script
	seen    int               // script events that earlier steps have had
	tokens  map[string]string // by the names of their plans
	conns   map[string]*vectorConn
	other   bool // a step gave an outcome that is as good as the recorded one
	d       *daemon
}

// vectorConn is a connection of a case.
type vectorConn struct {
	client  *xmpptest.Client
	host    string
	pending []*xmpptest.Element // read while looking whether the stream is still open
	closed  bool
	authed  bool // success was seen
}

// got is what a step gave, in the words of the recordings.
type got struct {
	raw     string
	kind    string
	cond    string
	typ     string
	errType string
	stream  string
	jid     string
	payload string
	tls     string // starttls
	mechs   []string
	header  *xmpptest.Element
	authed  bool
	seconds float64
	then    []string // the kinds of further outcomes
	script  []byte   // what reached the script in this step
}

// prepare puts the config, the scripts and the files of a case into a directory.
func (r *vectorRun) prepare() (config string) {
	r.t.Helper()
	paths := map[string]string{"{DIR}": r.dir}
	for name, text := range r.c.ScriptPlan {
		paths["{SCRIPT:"+name+"}"] = r.installPlan(name, text)
	}
	if path, ok := paths["{SCRIPT:default}"]; ok {
		paths["{SCRIPT}"] = path
	}
	for name, file := range r.c.Config.Files {
		mode, err := strconv.ParseUint(file.Mode, 8, 32)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(file.Text), os.FileMode(mode)); err != nil {
			r.t.Fatal(err)
		}
	}
	var hosts []host
	for _, name := range slices.Sorted(maps.Keys(r.c.Config.Hosts)) {
		hosts = append(hosts, host{name, substitute(r.c.Config.Hosts[name], paths)})
	}
	global := substitute(r.c.Config.Global, paths)
	modules := []any{"roster", "saslauth", "tls", "disco", "ping", "register"}
	if added, ok := global["modules_added"].([]any); ok {
		modules = append(modules, added...)
	}
	delete(global, "modules_added")
	global["modules_enabled"] = modules
	base := baseOptions(r.dir)
	delete(base, "c2s_direct_tls_ports")
	return writeConfig(r.t, r.dir, hosts, base, global)
}

// installPlan installs a script of the case, as the case wants it: perhaps missing, perhaps not executable.
func (r *vectorRun) installPlan(name string, text json.RawMessage) (path string) {
	r.t.Helper()
	wrapped := struct {
		Plan    json.RawMessage `json:"plan"`
		Missing bool            `json:"missing"`
		Mode    string          `json:"mode"`
	}{}
	if err := json.Unmarshal(text, &wrapped); err != nil {
		r.t.Fatal(err)
	}
	if wrapped.Plan != nil {
		text = wrapped.Plan
	}
	// The relative path of the case about relative paths; it is as good a name as any.
	file := "auth-helper"
	if name != "default" {
		file += "-" + name
	}
	path = filepath.Join(r.dir, file)
	switch {
	case wrapped.Missing:
	case wrapped.Mode == "0644":
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o644); err != nil {
			r.t.Fatal(err)
		}
	default:
		r.scripts = append(r.scripts, installScript(r.t, r.dir, file, text))
	}
	return path
}

// substitute replaces the placeholders in all strings.
func substitute(in map[string]any, paths map[string]string) options {
	out := options{}
	for name, value := range in {
		if text, ok := value.(string); ok {
			for from, to := range paths {
				text = strings.ReplaceAll(text, from, to)
			}
			value = text
		}
		out[name] = value
	}
	return out
}

// defaultHost is the host that a step without `to` means.
func defaultHost(c *vectorCase) string {
	if _, ok := c.Config.Hosts["xmpp.example"]; ok {
		return "xmpp.example"
	}
	for name := range c.Config.Hosts {
		return name
	}
	return ""
}

// step performs a step. The result is nil for steps without an outcome. An unwatched step has nobody who looks at its
// outcome: it does not wait long for it.
func (r *vectorRun) step(s *vectorStep, expected *want) (*got, error) {
	began := time.Now()
	g, err := r.perform(s, expected)
	if g != nil {
		g.seconds = time.Since(began).Seconds()
	}
	received := r.scriptReceived()
	if g != nil {
		g.script = received
	}
	return g, err
}

func (r *vectorRun) perform(s *vectorStep, expected *want) (*got, error) {
	switch s.Do {
	case "sleep":
		time.Sleep(time.Duration(s.Seconds * float64(time.Second)))
		return nil, nil
	case "wait-window":
		offset, err := s.Offset.Float64()
		if err != nil {
			return nil, err
		}
		sleepUntilWindow(offset)
		return nil, nil
	case "connect":
		return r.connect(s, expected)
	}
	conn := r.conns[s.Conn]
	if conn == nil {
		return nil, fmt.Errorf("step %d: no connection %q", s.N, s.Conn)
	}
	switch s.Do {
	case "close":
		return nil, conn.client.Close()
	case "starttls":
		if err := conn.client.StartTLS(insecureTLS(conn.host)); err != nil {
			return nil, err
		}
		return &got{kind: "tls", stream: "open"}, nil
	case "auth", "header", "bind", "raw", "iq":
		text, err := r.input(s, conn)
		if err != nil {
			return nil, err
		}
		if err := conn.send(text, s.Chunk); err != nil && !conn.closed && expected != nil {
			return nil, err
		}
	case "reply":
	default:
		return nil, fmt.Errorf("step %d: unknown step %q", s.N, s.Do)
	}
	if s.NoWait {
		return nil, nil
	}
	return conn.outcome(s, expected), nil
}

// input is what a step sends.
func (r *vectorRun) input(s *vectorStep, conn *vectorConn) (string, error) {
	switch {
	case s.Token != nil:
		return r.tokenAuth(s, conn)
	case s.DataHex != "":
		data, err := hex.DecodeString(s.DataHex)
		return string(data), err
	case s.Sent != "":
		return s.Sent, nil
	}
	return s.Data, nil
}

// tokenAuth mints the token of a step now and makes the <auth/> that carries it.
func (r *vectorRun) tokenAuth(s *vectorStep, conn *vectorConn) (string, error) {
	token, ok := r.tokens[s.Token.Ref]
	if s.Token.Ref == "" {
		options := r.c.Config.Hosts[conn.host]
		secret, _ := options["token_secret"].(string)
		seed, _ := options["otp_seed"].(string)
		if seed == "" {
			seed = "XVGR73KMZH2M4XMY" // the case about a missing seed
		}
		token = s.Token.mint(r.t, secret, seed, time.Now())
	} else if !ok {
		return "", fmt.Errorf("step %d: no token %q", s.N, s.Token.Ref)
	}
	if s.Token.Save != "" {
		r.tokens[s.Token.Save] = token
	}
	message := s.Authzid + "\x00" + s.Authcid + "\x00" + token
	return fmt.Sprintf("<auth xmlns='%s' mechanism='%s'>%s</auth>",
		xmpptest.NSSASL, s.Mechanism, base64.StdEncoding.EncodeToString([]byte(message))), nil
}

func (r *vectorRun) connect(s *vectorStep, expected *want) (*got, error) {
	client, err := xmpptest.Dial(r.d.address(r.t, "starttls"))
	if err != nil {
		return nil, err
	}
	r.t.Cleanup(func() { _ = client.Close() })
	conn := &vectorConn{client: client, host: defaultHost(r.c)}
	if s.To != nil {
		conn.host = *s.To
	}
	r.conns[s.Conn] = conn
	if s.Open != nil && !*s.Open {
		return &got{kind: "connected", stream: "open"}, nil
	}
	if s.TLS {
		if _, err := client.Open(conn.host); err != nil {
			return nil, err
		}
		if err := client.StartTLS(insecureTLS(conn.host)); err != nil {
			return nil, err
		}
	}
	if err := client.Send(xmpptest.Header(conn.host)); err != nil {
		return nil, err
	}
	return conn.outcome(s, expected), nil
}

func (c *vectorConn) send(text string, chunk int) error {
	for chunk > 0 && len(text) > chunk {
		if err := c.client.Send(text[:chunk]); err != nil {
			return err
		}
		text = text[chunk:]
	}
	return c.client.Send(text)
}

// outcome reads what a step gives.
func (c *vectorConn) outcome(s *vectorStep, expected *want) *got {
	limit := patience
	switch {
	case expected == nil:
		limit = time.Second
	case slices.Contains(expected.Kind, "no-reply"):
		limit = time.Duration(max(s.Timeout, 1) * float64(time.Second))
	}
	g := c.next(limit)
	if expected != nil {
		for range expected.Then {
			more := c.next(patience)
			g.raw += more.raw
			g.then = append(g.then, more.kind)
		}
	}
	c.settle(g, expected)
	return g
}

// next reads up to the next element that is an outcome.
func (c *vectorConn) next(limit time.Duration) *got {
	g := &got{authed: c.authed}
	deadline := time.Now().Add(limit)
	for {
		e, err := c.read(time.Until(deadline))
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			g.kind = "no-reply"
			return g
		case err != nil:
			c.closed = true
			g.kind = "closed"
			if !errors.Is(err, io.EOF) {
				g.raw += " (" + err.Error() + ")"
			}
			return g
		}
		g.raw += e.Raw
		if e.Header {
			g.header = e
			continue
		}
		g.describe(e)
		c.authed = c.authed || g.kind == "success"
		return g
	}
}

func (c *vectorConn) read(limit time.Duration) (*xmpptest.Element, error) {
	if len(c.pending) > 0 {
		e := c.pending[0]
		c.pending = c.pending[1:]
		return e, nil
	}
	if c.closed {
		return nil, io.EOF
	}
	return c.client.ReadElementIn(limit)
}

// settle finds out whether the stream is still open after an outcome. Where it should be closed, the end is waited for;
// else a short look has to do, and the next step looks again.
func (c *vectorConn) settle(g *got, expected *want) {
	look := 15 * time.Millisecond
	ends := g.kind == "closed" || g.kind == "stream-error"
	if ends || expected != nil && slices.Contains(expected.Stream, "closed") {
		look = 3 * time.Second
	}
	deadline := time.Now().Add(look)
	for !c.closed {
		e, err := c.client.ReadElementIn(time.Until(deadline))
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			break
		}
		if err != nil {
			c.closed = true
			break
		}
		if !e.Footer {
			c.pending = append(c.pending, e)
		}
	}
	g.stream = "open"
	if c.closed {
		g.stream = "closed"
	}
}

// describe puts an element into the words of the recordings.
func (g *got) describe(e *xmpptest.Element) {
	g.cond = e.Condition()
	g.typ = e.Attr("type")
	g.errType = e.Child("error").Attr("type")
	switch {
	case e.Footer:
		g.kind = "closed"
	case e.Is(xmpptest.NSStream, "error"):
		g.kind = "stream-error"
	case e.Is(xmpptest.NSStream, "features"):
		g.kind = "features"
		g.tls = "absent"
		if offer := e.Child("starttls"); offer != nil {
			g.tls = "optional"
			if offer.Child("required") != nil {
				g.tls = "required"
			}
		}
		if mechanisms := e.Child("mechanisms"); mechanisms != nil {
			for _, m := range mechanisms.Children {
				g.mechs = append(g.mechs, m.Text)
			}
		}
	default:
		g.kind = e.Name
		if jid := e.Child("bind").Child("jid"); jid != nil {
			g.jid = jid.Text
		}
		if len(e.Children) > 0 {
			g.payload = "{" + e.Children[0].NS + "}" + e.Children[0].Name
		}
	}
}

// scriptReceived returns the bytes that reached the scripts since the last call. A query that a process took and died
// over without an answer, and that the next process was asked again, counts once.
func (r *vectorRun) scriptReceived() []byte {
	r.t.Helper()
	var all []scriptEvent
	for _, s := range r.scripts {
		all = append(all, s.events(r.t)...)
	}
	slices.SortStableFunc(all, func(a, b scriptEvent) int {
		return int((a.At - b.At) * 1e6)
	})
	fresh := all[r.seen:]
	r.seen = len(all)
	var received []byte
	died := map[string]bool{} // queries that somebody died over
	open := map[string]string{}
	for _, e := range fresh {
		process := e.script + strconv.Itoa(e.Life)
		switch e.Ev {
		case "recv":
			if died[e.Hex] {
				delete(died, e.Hex)
				continue
			}
			open[process] = e.Hex
			data, err := hex.DecodeString(e.Hex)
			if err != nil {
				r.t.Fatal(err)
			}
			received = append(received, data...)
		case "answer":
			delete(open, process)
		case "end":
			if query, ok := open[process]; ok {
				died[query] = true
			}
		}
	}
	return received
}

func insecureTLS(host string) *tls.Config {
	return &tls.Config{ServerName: host, InsecureSkipVerify: true}
}

// sleepUntilWindow sleeps until so many seconds after the beginning of the next window of one-time passwords.
func sleepUntilWindow(offset float64) {
	next := time.Now().Truncate(tokenWindow).Add(tokenWindow).Add(time.Duration(offset * float64(time.Second)))
	time.Sleep(time.Until(next))
}

// refusal looks for the line by which the program refuses a config: with file, line and option.
func refusal(log, config, option string) bool {
	pattern := regexp.QuoteMeta(filepath.Base(config)) + `:\d+.*` + regexp.QuoteMeta(option)
	return regexp.MustCompile(pattern).MatchString(log)
}
