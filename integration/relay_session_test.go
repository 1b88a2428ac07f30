package integration

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// TestRelay_foreignClients lets slixmpp talk through the relay: presence, roster, carbons, messages both ways and a
// megabyte of them.
func TestRelay_foreignClients(t *testing.T) {
	t.Parallel()
	foreignClients[0].installed(t)
	r := newRelay(t, "gatehouse")
	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(xmpptest.ECDSA, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := pair.Write(r.dir(), "front")
	if err != nil {
		t.Fatal(err)
	}
	caFile := filepath.Join(r.dir(), "front-ca.pem")
	if err := os.WriteFile(caFile, ca.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	r.set("ssl", map[string]any{"certificate": certificate, "key": key})
	r.begin(t)
	hostname, port, err := net.SplitHostPort(r.address)
	if err != nil {
		t.Fatal(err)
	}
	text, err := exec.Command(python, "testdata/relay/slixmpp_pair.py", hostname, port, caFile,
		"alice="+relayAccounts["alice"], "bob="+relayAccounts["bob"]).CombinedOutput()
	want := []string{
		"online alice@localhost/phone", "online alice@localhost/desk", "online bob@localhost/phone",
		"roster ['bob@localhost']", "heard hello & <welcome> ☃", "carbon hello & <welcome> ☃", "heard hello yourself",
		"megabyte True", "left",
	}
	rest := string(text)
	for _, line := range want {
		_, after, found := strings.Cut(rest, line+"\n")
		if !found {
			t.Errorf("no line %q after the others", line)
			break
		}
		rest = after
	}
	if err != nil || t.Failed() {
		t.Errorf("%v, output:\n%s", err, text)
	}
}

// TestRelay_pipelined sends all of a session behind <auth/> without waiting for an answer. Nothing is lost, and the
// answers come in order.
func TestRelay_pipelined(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	const stanzas = 200
	for kind, at := range map[string]string{"starttls": r.address, "direct": r.direct} {
		c, err := dial(t, at, kind, "localhost")
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		fmt.Fprintf(&b, "<auth xmlns='%s' mechanism='PLAIN'>%s</auth>", xmpptest.NSSASL,
			encoded(plain("alice", relayAccounts["alice"])))
		b.WriteString(xmpptest.Header("localhost"))
		fmt.Fprintf(&b, "<iq type='set' id='bind'><bind xmlns='%s'><resource>%s</resource></bind></iq>", xmpptest.NSBind, kind)
		for n := range stanzas {
			fmt.Fprintf(&b, "<iq type='get' id='ping%d' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>", n)
		}
		b.WriteString("</stream:stream>")
		if err := c.Send(b.String()); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"success", "stream", "features"} {
			if _, err := c.Expect(name); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
		}
		bound, err := c.Expect("iq")
		if err != nil || bound.Attr("id") != "bind" || bound.Attr("type") != "result" {
			t.Fatalf("%s: bind: %v, %v", kind, bound, err)
		}
		for n := range stanzas {
			answer, err := c.Expect("iq")
			if err != nil || answer.Attr("id") != fmt.Sprint("ping", n) || answer.Attr("type") != "result" {
				t.Fatalf("%s: ping %d: %v, %v", kind, n, answer, err)
			}
		}
		if err := c.ExpectEnd(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestRelay_megabytes sends messages to oneself of all sizes up to Prosody's limit, and gets every byte back.
func TestRelay_megabytes(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	c := r.alice(t, "phone")
	if err := c.Send("<presence/>"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Expect("presence"); err != nil {
		t.Fatal(err)
	}
	sizes := []int{1, 1000, 4095, 4096, 4097, 16383, 16384, 16385, 32768, 65536, 100_000, 200_000, 250_000, 250_000, 100_000}
	sent := make(chan error, 1)
	go func() {
		for n, size := range sizes {
			err := c.Sendf("<message to='alice@localhost/phone' type='chat' id='m%d'><body>%s</body></message>", n,
				strings.Repeat(string(rune('a'+n)), size))
			if err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for n, size := range sizes {
		m, err := c.Expect("message")
		if err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
		want := strings.Repeat(string(rune('a'+n)), size)
		if got := m.Child("body").Text; m.Attr("id") != fmt.Sprint("m", n) || sha256.Sum256([]byte(got)) != sha256.Sum256([]byte(want)) {
			t.Fatalf("message %d: id %q with %d bytes, want %d", n, m.Attr("id"), len(got), size)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

const nsSM = "urn:xmpp:sm:3"

// TestRelay_resumes cuts the connection of a client with stream management (XEP-0198) at either side of gatehouse. The
// client comes back through gatehouse, resumes its session at Prosody, and gets what it has missed.
func TestRelay_resumes(t *testing.T) {
	t.Parallel()
	r := newRelay(t, "gatehouse")
	way := newTap(t, r.backend.address)
	r.set("gatehouse_upstream", way.address)
	r.begin(t)
	bob, _ := session(t, r.address, "localhost", "bob", relayAccounts["bob"], "phone")
	for name, cut := range map[string]func(c *xmpptest.Client){
		"reset by the client": func(c *xmpptest.Client) {
			conn := c.Conn().(*tls.Conn).NetConn().(*net.TCPConn)
			if err := conn.SetLinger(0); err != nil {
				t.Error(err)
			}
			_ = conn.Close()
		},
		"closed by the client": func(c *xmpptest.Client) { _ = c.Close() },
	} {
		c := r.alice(t, "phone")
		enabled := exchange(t, c, "<enable xmlns='"+nsSM+"' resume='true'/>", "enabled")
		if enabled.Attr("id") == "" || enabled.Attr("resume") != "true" && enabled.Attr("resume") != "1" {
			t.Fatalf("no resumption: %s", enabled.Raw)
		}
		if _, err := c.IQ("get", "localhost", "<ping xmlns='urn:xmpp:ping'/>"); err != nil {
			t.Fatal(err)
		}
		lost := strings.Count(r.backend.log.String(), "hibernat")
		cut(c)
		until(t, name+": Prosody notices", patience, func() bool {
			return strings.Count(r.backend.log.String(), "hibernat") > lost
		})
		for n := range 3 {
			if err := bob.Sendf("<message to='alice@localhost/phone' type='chat'><body>%s %d</body></message>", name, n); err != nil {
				t.Fatal(err)
			}
		}
		if err := bob.Ping(); err != nil { // so all three are there
			t.Fatal(err)
		}
		again, err := dial(t, r.address, "starttls", "localhost")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := attempt(again, "PLAIN", plain("alice", relayAccounts["alice"])); err != nil || got != "success" {
			t.Fatalf("%s: login: %q, %v", name, got, err)
		}
		features, err := again.Open("localhost")
		if err != nil || features.Child("sm") == nil {
			t.Fatalf("%s: features %v, %v", name, features, err)
		}
		resumed := exchange(t, again, fmt.Sprintf("<resume xmlns='%s' h='1' previd='%s'/>", nsSM,
			xmpptest.Escape(enabled.Attr("id"))), "resumed")
		if resumed.Attr("h") != "1" {
			t.Errorf("%s: Prosody has seen %q stanzas, want 1", name, resumed.Attr("h"))
		}
		for n := 0; n < 3; {
			e, err := again.ReadElement()
			if err != nil {
				t.Fatal(err)
			}
			if e.Name == "r" {
				continue
			}
			if want := fmt.Sprintf("%s %d", name, n); e.Name != "message" || e.Child("body").Text != want {
				t.Errorf("%s: %s, want %q", name, e.Raw, want)
			}
			n++
		}
		_ = again.Send("</stream:stream>")
		_ = again.Close()
	}
}

// exchange sends something and returns the answer of that name.
func exchange(t testing.TB, c *xmpptest.Client, text, name string) *xmpptest.Element {
	t.Helper()
	if err := c.Send(text); err != nil {
		t.Fatal(err)
	}
	e, err := c.Expect(name)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
