package integration

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// outcome is a way that a login can go, and what its line in the log has to say.
type outcome struct {
	name      string
	port      string // starttls if empty; direct, clear, or websocket
	mechanism string // PLAIN if empty
	user      string
	payload   string // instead of <auth/> with user and a wrong password
	right     bool   // the password
	leaves    bool   // the client goes away before the answer
	want      string // what the client gets
	verdict   string
	cause     string // a part of it
	more      []string
}

const auth = "<auth xmlns='" + xmpptest.NSSASL + "' mechanism='PLAIN'>"

// outcomes are logins that end in each way but those of tokens, which TestLog_oneLineALogin makes itself.
var outcomes = []outcome{
	{name: "right", user: "alice", right: true, want: "success", verdict: "accepted", more: []string{"worker", "queue", "script"}},
	{name: "direct TLS", port: "direct", user: "alice", right: true, want: "success", verdict: "accepted", more: []string{"worker", "queue", "script"}},
	{name: "WebSocket", port: "websocket", user: "alice", right: true, want: "success", verdict: "accepted", more: []string{"worker", "queue", "script"}},
	{name: "wrong", user: "alice", want: "not-authorized", verdict: "refused", more: []string{"worker", "queue", "script"}},
	{name: "WebSocket, wrong", port: "websocket", user: "alice", want: "not-authorized", verdict: "refused", more: []string{"worker", "queue", "script"}},
	{name: "timed out", user: "hangs", want: temporary, verdict: "undecided", cause: "timeout"},
	{name: "the script dies", user: "dies", want: temporary, verdict: "undecided", cause: "exit status 3"},
	{name: "two answers", user: "twice", want: temporary, verdict: "undecided", cause: "more than one answer"},
	{name: "what it was asked", user: "echo", want: temporary, verdict: "undecided", cause: "reply"},
	{name: "disconnected", user: "hangs", leaves: true, verdict: "undecided", cause: "timeout"},
	{name: "too long for a query", user: strings.Repeat("x", 1000), want: "not-authorized", verdict: "refused", cause: "query"},
	{name: "no such mechanism", mechanism: "SCRAM-SHA-1", want: "invalid-mechanism", verdict: "refused", cause: "not offered"},
	{name: "no TLS", port: "clear", want: "encryption-required", verdict: "refused", cause: "TLS"},
	{name: "bad base64", payload: auth + "?</auth>", want: "incorrect-encoding", verdict: "refused"},
	{name: "malformed", payload: auth + "AAAA</auth>", want: "malformed-request", verdict: "refused"},
	{name: "empty", payload: auth + "</auth>", want: "malformed-request", verdict: "refused"},
	{name: "somebody else", payload: auth + base64.StdEncoding.EncodeToString([]byte("eve@localhost\x00alice\x00x")) + "</auth>", want: "invalid-authzid", verdict: "refused"},
	{name: "aborted", payload: "<abort xmlns='" + xmpptest.NSSASL + "'/>", want: "aborted", verdict: "refused"},
	{name: "out of turn", payload: "<response xmlns='" + xmpptest.NSSASL + "'>AA==</response>", want: "not-authorized", verdict: "refused", cause: "no exchange"},
}

// TestLog_oneLineALogin: however a login goes, the log has exactly one line about it, with every field, as text and as
// JSON; and at debug level no piece of the password.
func TestLog_oneLineALogin(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			password := "pw" + rand.Text()
			plan := accounts("alice", password)
			plan["rules"] = []any{
				map[string]any{"match": "auth:echo:", "do": []any{do("echo", true), do("stderr", "no good: not "+password+"\n")}},
				map[string]any{"match": "auth:twice:", "do": []any{do("double", true)}},
				map[string]any{"match": "auth:dies:", "do": []any{do("stderr", "cannot: not "+password+"\n"), do("exit", 3)}},
				map[string]any{"match": "auth:hangs:", "do": []any{}},
			}
			d := launchLogging(t, format, tokenConfig(t, dir, installScript(t, dir, "auth", plan), webPorts(0, 0), options{
				"log": map[string]any{"debug": "*console"}, "external_auth_timeout": 1, "gatehouse_guard": false,
				"gatehouse_proxy_protocol_from": "127.0.0.1", "gatehouse_admin": filepath.Join(dir, "admin.sock"),
			}))
			ready := regexp.MustCompile(`(?m)^\S+ info ready |"msg":"ready"`)
			if _, err := d.waitFor(ready); err != nil {
				t.Fatal(err)
			}
			ports := make(map[string]string)
			for _, line := range loginLines(t, format, d.log.String(), "listening") {
				kind := line["tls"]
				if line["service"] == "websocket" {
					kind = "websocket " + kind
				}
				ports[kind] = line["address"]
			}
			all := slices.Clone(outcomes)
			roomInWindow(10 * time.Second)
			token := hostKeys.message(t, "alice")
			b64 := base64.StdEncoding.EncodeToString([]byte(token))
			use := strings.Replace(auth, "PLAIN", "X-TOKEN", 1) + b64 + "</auth>"
			forged := strings.Replace(auth, "PLAIN", "X-TOKEN", 1) + base64.StdEncoding.EncodeToString([]byte(token[:len(token)-5]+"AAAA=")) + "</auth>"
			all = append(all,
				outcome{name: "token", payload: use, want: "success", verdict: "accepted"},
				outcome{name: "token again", payload: use, want: "not-authorized", verdict: "refused", more: []string{"token"}},
				outcome{name: "token forged", payload: forged, want: "not-authorized", verdict: "refused", more: []string{"token"}},
			)
			for i, o := range all {
				o.try(t, ports, loginFrom(i), password)
			}
			lines := make(map[string][]map[string]string)
			until(t, "a line for each", patience, func() bool {
				clear(lines)
				for _, line := range loginLines(t, format, d.log.String(), "login") {
					lines[line["remote"]] = append(lines[line["remote"]], line)
				}
				return len(lines) == len(all)
			})
			for i, o := range all {
				o.check(t, lines[loginFrom(i).String()])
			}
			log := d.log.String()
			for _, secret := range []string{password, token[len("\x00alice\x00"):], b64} {
				for at := range len(secret) - 8 {
					if piece := secret[at : at+9]; strings.Contains(log, piece) && !strings.Contains("alice\x00AGFsaWNlA", piece) {
						t.Errorf("the log holds %q", piece)
					}
				}
			}
		})
	}
}

// loginFrom is the address of the client of a login, as a load balancer has it.
func loginFrom(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), uint16(40000+i))
}

// try makes the attempt.
func (o outcome) try(t *testing.T, ports map[string]string, from netip.AddrPort, password string) {
	t.Helper()
	before := proxyHeader1(from, netip.MustParseAddrPort("198.51.100.1:5222"))
	var c *xmpptest.Client
	var err error
	switch o.port {
	case "websocket":
		var w *webSocket
		if w, err = (webDial{before: before, secure: true}).to(t, ports["websocket direct"]); err != nil {
			t.Fatal(err)
		}
		c = xmpptest.New(w)
		err = c.Send("<open xmlns='" + nsFraming + "' to='localhost' version='1.0'/>")
		for range 2 {
			if err == nil {
				_, err = c.ReadElement()
			}
		}
	case "clear":
		if c, err = xmpptest.Dial(ports["starttls"]); err == nil {
			err = c.Send(before)
		}
		if err == nil {
			_, err = c.Open("localhost")
		}
	case "direct":
		c, err = dialProxiedTLS(t, ports["direct"], before)
	default:
		c, err = dialProxied(t, ports["starttls"], before)
	}
	if err != nil {
		t.Fatalf("%s: %v", o.name, err)
	}
	defer func() { _ = c.Close() }()
	payload := o.payload
	if payload == "" {
		shown := "not " + password
		if o.right {
			shown = password
		}
		start := auth
		if o.mechanism != "" {
			start = strings.Replace(auth, "PLAIN", o.mechanism, 1)
		}
		payload = start + base64.StdEncoding.EncodeToString([]byte(plain(o.user, shown))) + "</auth>"
	}
	if err := c.Send(payload); err != nil {
		t.Fatal(err)
	}
	if o.leaves {
		return
	}
	e, err := c.ReadElement()
	if err != nil {
		t.Fatalf("%s: %v", o.name, err)
	}
	got := e.Name
	if e.Name == "failure" {
		got = e.Condition()
	}
	if got != o.want {
		t.Errorf("%s: got %q, want %q", o.name, got, o.want)
	}
}

// dialProxiedTLS is dialProxied on a port where TLS begins with the first byte after the header.
func dialProxiedTLS(t *testing.T, address, before string) (*xmpptest.Client, error) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, before); err != nil {
		return nil, err
	}
	c := xmpptest.New(tls.Client(conn, insecureTLS("localhost")))
	c.Timeout = patience
	_, err = c.Open("localhost")
	return c, err
}

// check compares the lines about the attempt with what they should be: one.
func (o outcome) check(t *testing.T, lines []map[string]string) {
	t.Helper()
	if len(lines) != 1 {
		t.Errorf("%s: %d lines: %v", o.name, len(lines), lines)
		return
	}
	line := lines[0]
	encryption := "TLS 1.3"
	if o.port == "clear" {
		encryption = "none"
	}
	condition := o.want
	if o.leaves {
		condition = temporary
	}
	if o.verdict == "accepted" {
		condition = ""
	}
	level := "info"
	if o.verdict == "undecided" {
		level = "warn"
	}
	for key, want := range map[string]string{
		"level": level, "host": "localhost", "tls": encryption, "verdict": o.verdict, "condition": condition,
	} {
		if line[key] != want {
			t.Errorf("%s: %s is %q, want %q", o.name, key, line[key], want)
		}
	}
	for _, key := range append([]string{"user", "mechanism", "duration"}, o.more...) {
		if _, ok := line[key]; !ok {
			t.Errorf("%s: no %s in %v", o.name, key, line)
		}
	}
	if o.user != "" && !strings.HasPrefix(line["user"], o.user[:min(len(o.user), 64)]) || len(line["user"]) > 64+len("…") {
		t.Errorf("%s: user is %q", o.name, line["user"])
	}
	if !strings.Contains(line["cause"], o.cause) {
		t.Errorf("%s: cause is %q, want %q in it", o.name, line["cause"], o.cause)
	}
}

// loginLines returns what the lines of a log with this message say.
func loginLines(t *testing.T, format, text, message string) (found []map[string]string) {
	t.Helper()
	start := regexp.MustCompile(`^\S+ (\w+) ` + message + " ")
	pair := regexp.MustCompile(`([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "=]+)`)
	for line := range strings.Lines(text) {
		fields := make(map[string]string)
		switch {
		case !strings.HasSuffix(line, "\n"): // it is being written
			continue
		case format == "json":
			var object map[string]any
			if err := json.Unmarshal([]byte(line), &object); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			for key, value := range object {
				fields[key] = fmt.Sprint(value)
			}
			if fields["msg"] != message {
				continue
			}
		default:
			m := start.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			fields["level"] = m[1]
			for _, m := range pair.FindAllStringSubmatch(strings.TrimSpace(line), -1) {
				fields[m[1]] = strings.Trim(m[2], `"`)
			}
		}
		found = append(found, fields)
	}
	return found
}
