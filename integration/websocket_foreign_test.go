package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// webLibraries are those that we did not write.
var webLibraries = []string{"xmpp.js", "stanza", "strophe.js"}

// webRun is one login by testdata/wsclients/client.mjs.
type webRun struct {
	Modules   string `json:"modules"`
	URL       string `json:"url"`
	User      string `json:"user"`
	Password  string `json:"password"`
	Resource  string `json:"resource"`
	Mechanism string `json:"mechanism"`
	To        string `json:"to,omitempty"`
	Text      string `json:"text"`
	ca        string // a PEM file
}

// run runs a client to its end.
func (r webRun) run(t *testing.T, library string) (output string, code int) {
	t.Helper()
	options, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "testdata/wsclients/client.mjs", library)
	cmd.Stdin = bytes.NewReader(options)
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+r.ca)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v; run scripts/test-deps.sh as root", err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// expect wants these lines and this exit code.
func (r webRun) expect(t *testing.T, what, library string, code int, lines ...string) {
	t.Helper()
	output, got := r.run(t, library)
	if want := strings.Join(lines, "\n") + "\n"; output != want || got != code {
		t.Errorf("%s: exit code %d, want %d, output:\n%swant:\n%s", what, got, code, output, want)
	}
}

// webModules installs the libraries, the first time on a machine, and says where.
func webModules(t testing.TB) string {
	t.Helper()
	install := exec.Command("testdata/web/install.sh")
	var said strings.Builder
	install.Stderr = &said
	modules, err := install.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	return strings.TrimSpace(string(modules))
}

// trustedFront gives a host a certificate that the returned PEM file vouches for.
func trustedFront(t testing.TB, dir string, o options) (ca string) {
	t.Helper()
	authority, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue(xmpptest.ECDSA, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := pair.Write(dir, "front")
	if err != nil {
		t.Fatal(err)
	}
	ca = dir + "/front-ca.pem"
	if err := os.WriteFile(ca, authority.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	o["ssl"] = map[string]any{"certificate": certificate, "key": key}
	return ca
}

// webURL is that of a port.
func webURL(t testing.TB, way webWay) string {
	t.Helper()
	_, port, err := net.SplitHostPort(way.address)
	if err != nil {
		t.Fatal(err)
	}
	return way.name + "://localhost:" + port + "/xmpp-websocket"
}

const webText = "hello & <welcome> ☃ 😀"

// TestWebSocket_foreignClients logs in with each library by ws and wss, with right and wrong passwords and tokens, and has
// it send itself a message.
func TestWebSocket_foreignClients(t *testing.T) {
	t.Parallel()
	modules := webModules(t)
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("alice", "secret of alice"))
	o := options{
		"authentication": "external", "external_auth_command": s.path,
		"token_secret": hostKeys.secret, "otp_seed": hostKeys.seed,
	}
	ca := trustedFront(t, dir, o)
	d := start(t, writeConfig(t, dir, []host{{"localhost", o}}, baseOptions(dir), webPorts(0, 0),
		options{"gatehouse_self_signed": nil, "consider_websocket_secure": true}))
	t.Cleanup(func() {
		if n := len(regexp.MustCompile(`mechanism=X-TOKEN .*verdict=accepted`).FindAllString(d.log.String(), -1)); n != 2*len(webLibraries) {
			t.Errorf("%d logins by X-TOKEN are in the log", n)
		}
	})
	for _, way := range webWays(t, d) {
		for _, library := range webLibraries {
			t.Run(library+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				me := "alice@localhost/" + library + "-" + way.name
				_, resource, _ := strings.Cut(me, "/")
				r := webRun{Modules: modules, URL: webURL(t, way), User: "alice", Password: "secret of alice", Resource: resource,
					Mechanism: "PLAIN", Text: webText, ca: ca}
				came := []string{"session " + me, "heard " + me + " " + webText, "left"}
				r.expect(t, "right password", library, 0, came...)
				r.Password = "wrong"
				r.expect(t, "wrong password", library, 3, "refused not-authorized")
				r.Mechanism, r.Password = "X-TOKEN", freshToken(t, hostKeys.secret, hostKeys.seed, "alice@localhost")
				r.expect(t, "token", library, 0, came...)
				r.expect(t, "the same token", library, 3, "refused not-authorized")
			})
		}
	}
}

// TestWebSocket_foreignRelay does the same with a Prosody behind, and lets each library talk to a client over TCP.
func TestWebSocket_foreignRelay(t *testing.T) {
	t.Parallel()
	modules := webModules(t)
	r, ways := newWebRelay(t, "gatehouse")
	r.global["consider_websocket_secure"] = true
	ca := trustedFront(t, r.dir(), r.hosts[0].options)
	r.begin(t)
	for _, way := range ways {
		for _, library := range webLibraries {
			t.Run(library+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				resource := library + "-" + way.name
				me := "alice@localhost/" + resource
				bob, jid := session(t, r.address, "localhost", "bob", relayAccounts["bob"], resource)
				big := strings.Repeat("ü", 100_000)
				var running sync.WaitGroup
				defer running.Wait()
				defer func() { _ = bob.Close() }()
				running.Go(func() {
					for {
						m, err := bob.ReadElement()
						if err != nil {
							t.Errorf("bob waits for a message: %v", err)
							return
						}
						if body := m.Child("body"); m.Name == "message" && body != nil {
							if body.Text != big || m.Attr("from") != me {
								t.Errorf("bob hears %.200s", m.Raw)
							}
							if err := bob.Sendf("<message to='%s' type='chat'><body>%s</body></message>", me, xmpptest.Escape(webText)); err != nil {
								t.Error(err)
							}
							return
						}
					}
				})
				run := webRun{Modules: modules, URL: webURL(t, way), User: "alice", Password: relayAccounts["alice"], Resource: resource,
					Mechanism: "PLAIN", To: jid, Text: big, ca: ca}
				run.expect(t, "right password", library, 0, "session "+me, "heard "+jid+" "+webText, "left")
				run.Password = "wrong"
				run.expect(t, "wrong password", library, 3, "refused not-authorized")
			})
		}
	}
}
