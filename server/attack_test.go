package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/sasl"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/ping"

	"gatehouse.im/gatehouse/internal/xmpptest"
	"gatehouse.im/gatehouse/server"
)

// A client that we did not write gets all the way.
func TestLogin_melliumClient(t *testing.T) {
	f := start(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	dial := func(password string) (*xmpp.Session, error) {
		conn := must(net.Dial("tcp", f.addr))(t)
		t.Cleanup(func() { _ = conn.Close() })
		return xmpp.NewClientSession(ctx, jid.MustParse("alice@"+host), conn,
			xmpp.StartTLS(withName(f.client)), xmpp.SASL("", password, sasl.Plain), xmpp.BindResource())
	}
	if _, err := dial("wrong"); err == nil {
		t.Error("let in with a wrong password")
	}
	session := must(dial("secret"))(t)
	if got := session.LocalAddr(); got.Bare().String() != "alice@"+host || got.Resourcepart() == "" {
		t.Errorf("bound %s", got)
	}
	served := make(chan error, 1)
	go func() { served <- session.Serve(nil) }()
	if err := ping.Send(ctx, session, jid.MustParse(host)); err != nil {
		t.Error(err)
	}
	if err := session.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// What is sent in plain text after <proceed/> is taken for TLS, and so for
// nothing.
func TestStartTLS_plainTextInsteadOfTheHandshake(t *testing.T) {
	f := start(t)
	c := f.dial()
	must(c.Open(host))(t)
	if err := c.Send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"); err != nil {
		t.Fatal(err)
	}
	must(c.Expect("proceed"))(t)
	if err := c.Send(aHeader + plainAuth("", "alice", "secret")); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(c.Conn()); bytes.Contains(rest, []byte("<")) {
		t.Errorf("heard %q, %v", rest, err)
	}
	if n := f.accounts.count(); n != 0 {
		t.Errorf("the judge was asked %d times", n)
	}
}

// STARTTLS begins a new stream, but not new attempts, nor another host.
func TestStartTLS_keepsTheCountAndTheHost(t *testing.T) {
	f := start(t, func(c *server.Config) {
		requireTLS(c)
		secondHost(c)
	})
	c := f.dial()
	must(c.Open(host))(t)
	for range 4 {
		must(c.AuthPlain("alice", "secret"))(t) // encryption-required
	}
	if err := c.StartTLS(f.client); err != nil {
		t.Fatal(err)
	}
	must(c.Open(host))(t)
	if e := must(c.AuthPlain("alice", "wrong"))(t); e.Condition() != "not-authorized" {
		t.Errorf("got %s", e.Raw)
	}
	if err := c.ExpectError("policy-violation"); err != nil {
		t.Error(err)
	}

	c = f.dial()
	must(c.Open(host))(t)
	if err := c.StartTLS(f.client); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(xmpptest.Header("other.example")); err != nil {
		t.Fatal(err)
	}
	if err := c.ExpectError("not-authorized"); err != nil {
		t.Error(err)
	}
}

// Neither TLS nor SASL can be had a second time.
func TestStartTLS_refusedInTLS(t *testing.T) {
	f := start(t)
	c := f.dial()
	features := must(c.Secure(host, f.client))(t)
	if features.Child("starttls") != nil || features.Child("mechanisms") == nil {
		t.Errorf("offered %s", features.Raw)
	}
	if err := c.Send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"); err != nil {
		t.Fatal(err)
	}
	must(c.Expect("failure"))(t)
	if err := c.ExpectEnd(); err != nil {
		t.Error(err)
	}
}

// A shutdown in the middle of a handshake must not put plain text into it.
func TestShutdown_inTheHandshake(t *testing.T) {
	for _, direct := range []bool{true, false} {
		f := start(t)
		addr := f.addr
		if direct {
			addr = f.direct
		}
		c := must(xmpptest.Dial(addr))(t)
		defer c.Close()
		if !direct {
			must(c.Open(host))(t)
			if err := c.Send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"); err != nil {
				t.Fatal(err)
			}
			must(c.Expect("proceed"))(t)
		}
		// The server has read this much, and waits for more.
		if err := c.Send("\x16\x03\x01\x02\x00\x01"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.server.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(c.Conn()); len(rest) > 0 {
			t.Errorf("direct %v: heard %q, %v", direct, rest, err)
		}
	}
}

// Whatever happens to a password, it is not in the log.
func TestLog_holdsNoSecrets(t *testing.T) {
	const secret = "Xyzzy-Plugh-42"
	change := "<iq type='set' id='1'><query xmlns='jabber:iq:register'><username>alice</username><password>" + secret + "</password></query></iq>"
	var log bytes.Buffer
	for _, user := range []string{"alice", "bob", "nobody", "outage", "long", "a@b"} {
		for _, after := range []string{change + "[end]", change[:len(change)-12], change + "<"} {
			for _, change := range []func(*server.Config){nil, requireTLS, noClearPlain, noUsers} {
				a := &accounts{passwords: map[string]string{"alice": secret}}
				c := newMemConn([]byte(expand.Replace("[hello]"+plainAuth("", user, secret)+"[hello]"+aBind("r")+after)), 1<<20)
				runBounded(t, server.New(clearConfig(a, func(config *server.Config) {
					if change != nil {
						change(config)
					}
					config.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug - 4}))
				})), c)
			}
		}
	}
	if !strings.Contains(log.String(), "verdict=accepted") || !strings.Contains(log.String(), "password change") {
		t.Fatalf("the log does not tell of logins:\n%s", log.String())
	}
	if strings.Contains(log.String(), secret) {
		t.Errorf("the log holds the password:\n%s", log.String())
	}
}

// Nothing that a stranger may say makes a line of its own in the log.
func TestLog_linesCannotBeForged(t *testing.T) {
	var log bytes.Buffer
	forged := "x&#10;level=INFO msg=login user=admin verdict=accepted"
	c := newMemConn([]byte(expand.Replace("[hello]<auth xmlns='sasl' mechanism='"+forged+"'>=</auth>"+
		plainAuth("", "alice\u2028verdict=accepted", "x")+"[end]")), 1<<20)
	runBounded(t, server.New(clearConfig(&accounts{}, func(config *server.Config) {
		config.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})), c)
	if lines := strings.Count(log.String(), "\n"); lines != 2 {
		t.Errorf("%d lines for two attempts:\n%s", lines, log.String())
	}
	for line := range strings.Lines(log.String()) {
		if !strings.Contains(line, "verdict=refused") {
			t.Errorf("got %s", line)
		}
	}
}

// The time is told in UTC, and so that it can be read back (XEP-0202).
func TestSession_tellsTheTime(t *testing.T) {
	f := start(t, clearText)
	c := f.login("alice", "secret", "r")
	e := must(c.IQ("get", "", "<time xmlns='urn:xmpp:time'/>"))(t).Child("time")
	told, err := time.Parse(time.RFC3339, e.Child("utc").Text)
	if err != nil || time.Since(told).Abs() > time.Minute || !strings.HasSuffix(e.Child("utc").Text, "Z") {
		t.Errorf("told %s, %v", e.Child("utc").Text, err)
	}
	if _, err := time.Parse("Z07:00", e.Child("tzo").Text); err != nil {
		t.Errorf("zone %s: %v", e.Child("tzo").Text, err)
	}
}

// What a client can send costs the server time in proportion to its size,
// whatever its shape.
func TestSession_costOfOddStanzas(t *testing.T) {
	const size = 250_000
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	var spaces strings.Builder
	for i := range 250 {
		spaces.WriteString(" xmlns:" + string(rune('a'+i%26)) + strings.Repeat("a", i/26) + "='u'")
	}
	run := func(stanza string) time.Duration {
		a := &accounts{passwords: map[string]string{"alice": "secret"}}
		c := newMemConn([]byte(expand.Replace("[bound]")+stanza+anEnd), 1<<16)
		s := server.New(clearConfig(a, func(config *server.Config) { config.StanzaLimit = 262144 }))
		began := time.Now()
		runBounded(t, s, c)
		return time.Since(began)
	}
	for name, stanza := range map[string]string{
		"text":       "<message>" + fill("x") + "</message>",
		"entities":   "<message>" + fill("&#9;") + "</message>",
		"CDATA":      "<message>" + fill("<![CDATA[]]>") + "</message>",
		"elements":   "<message>" + strings.Repeat("<a/>", 19000) + "</message>",
		"namespaces": "<message" + spaces.String() + ">" + strings.Repeat("<n/>", 19000) + "</message>",
		"attributes": "<message>" + strings.Repeat("<a "+attributes(250)+"/>", 70) + "</message>",
		"declared":   "<message>" + strings.Repeat("<a xmlns='urn:a' xmlns:b='urn:b' b:c=''/>", 5000) + "</message>",
		"deep":       "<message>" + strings.Repeat(strings.Repeat("<a>", 126)+strings.Repeat("</a>", 126), 100) + "</message>",
		"stanzas":    fill("<a:iq xmlns:a='jabber:client' type='result'/>"),
		"requests":   fill("<iq type='get' id='1'><x xmlns='y'/></iq>"),
		"bounced":    fill("<message id='1' to='bob@xmpp.example'/>"),
		"spaces":     fill(" "),
		"one id":     "<iq type='get' id='" + fill("x") + "'><ping xmlns='urn:xmpp:ping'/></iq>",
		"one to":     "<message to='" + fill("@") + "'/>",
		"one name":   "<message><" + fill("x") + "/></message>",
		"one ns":     "<message><a xmlns:x='" + fill("x") + "' x:y=''/></message>",
	} {
		t.Run(name, func(t *testing.T) {
			took := run(stanza)
			t.Logf("%d bytes: %v", len(stanza), took)
			// Some 20 ms on a slow machine, ten times that with the race detector.
			if took > 5*time.Second {
				t.Errorf("%d bytes took %v", len(stanza), took)
			}
		})
	}
}

// flaky is a listener that fails some times before it accepts.
type flaky struct {
	net.Listener
	mu    sync.Mutex
	fails int
	tries int
}

func (l *flaky) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries++
	if l.tries <= l.fails {
		return nil, errors.New("too many open files")
	}
	return nil, net.ErrClosed
}

func (l *flaky) Close() error   { return nil }
func (l *flaky) Addr() net.Addr { return &net.TCPAddr{} }

// A listener that fails is tried again, ever more slowly, until it is closed.
func TestServe_waitsWhileAcceptFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &flaky{fails: 20}
		began := time.Now()
		err := server.New(clearConfig(&accounts{}, nil)).Serve(l, startTLS)
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
		// 5 ms, doubled up to 1 s.
		if took := time.Since(began); took < 10*time.Second || took > 20*time.Second || l.tries != 21 {
			t.Errorf("%d tries in %v", l.tries, took)
		}
	})
}
