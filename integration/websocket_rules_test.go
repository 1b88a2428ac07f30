package integration

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
)

// webTranscript is a WebSocket from the upgrade to its end. A line of it is one of
//
//	> MESSAGE        the client sends it
//	< MESSAGE        the server sends it; a random id is written ID, and the text of an error TEXT
//	>KIND PAYLOAD    the client sends a frame: text, more, binary, ping, pong; with + it is not the last of its message
//	<ping PAYLOAD, <pong PAYLOAD
//	>close CODE      the client sends a closing frame
//	<close CODE      the server does, and closes the connection
//
// RESOURCE is one of its own, and {N*X} stands for so many X.
type webTranscript struct {
	name string
	text string
}

const (
	openLine   = "> <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>\n"
	openedLine = "< <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='localhost' id='ID' version='1.0' xml:lang='en'/>\n"
	// What is on offer has no STARTTLS in it, with TLS or without (RFC 7395, 3.8).
	offerLine = "< <stream:features xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>" +
		"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>\n"
	opening     = openLine + openedLine + offerLine
	refusedLine = "< <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/>" +
		"<text xml:lang='en'>Unable to authorize you with the authentication credentials you&apos;ve sent.</text></failure>\n"
	successLine = "< <success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>\n"
	bindLine    = "< <stream:features xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>" +
		"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><required/></bind>" +
		"<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session></stream:features>\n"
	closeLine   = "> <close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>\n"
	closedLines = "< <close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>\n<close 1000\n"
	pongLine    = "< <iq xmlns=\"jabber:client\" type=\"result\" id=\"p\"></iq>\n"
	pingLines   = "> <iq type='get' id='p' xmlns='jabber:client'><ping xmlns='urn:xmpp:ping'/></iq>\n" + pongLine
)

func authLine(password string) string {
	return "> <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + encoded(plain("alice", password)) + "</auth>\n"
}

func loggedIn() string {
	return opening + authLine("secret") + successLine + openLine + openedLine + bindLine +
		"> <iq type='set' id='b' xmlns='jabber:client'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>RESOURCE</resource></bind></iq>\n" +
		"< <iq xmlns='jabber:client' type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>alice@localhost/RESOURCE</jid></bind></iq>\n"
}

// streamErrorLines are those that end a stream.
func streamErrorLines(condition string, more ...string) string {
	return "< <stream:error xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>" +
		"<" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>TEXT" + strings.Join(more, "") + "</stream:error>\n" + closedLines
}

var tooBigLines = streamErrorLines("policy-violation", "<stanza-too-big xmlns='urn:xmpp:errors'/>")

var webTranscripts = []webTranscript{
	{"a session", loggedIn() + pingLines + closeLine + closedLines},
	{"the default namespace may be left out, as at ejabberd", loggedIn() +
		"> <iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>\n" + pongLine + closeLine + closedLines},
	{"wrong password, and another try", opening + authLine("wrong") + refusedLine + authLine("secret") + successLine +
		openLine + openedLine + bindLine + closeLine + closedLines},
	{"closed before the login", opening + closeLine + closedLines},
	{"closed before the stream", closeLine + "< <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' id='ID' version='1.0' xml:lang='en'/>\n" +
		streamErrorLines("bad-format")},
	{"<close/> and then something", opening + closeLine + authLine("secret") + closedLines},
	{"<close/> in a session and then a stanza", loggedIn() + closeLine + "> <iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>\n" + closedLines},
	{"the closing frame alone, from the client", opening + ">close 1000\n<close 1000\n"},
	{"the closing frame alone, in a session", loggedIn() + ">close 1001\n<close 1001\n"},

	{"unknown host", "> <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='elsewhere.example' version='1.0'/>\n" +
		strings.Replace(openedLine, "localhost", "elsewhere.example", 1) + streamErrorLines("host-unknown")},
	{"no host", "> <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' version='1.0'/>\n" +
		strings.Replace(openedLine, " from='localhost'", "", 1) + streamErrorLines("improper-addressing")},
	{"another host after the login", opening + authLine("secret") + successLine +
		"> <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='elsewhere.example' version='1.0'/>\n" +
		openedLine + streamErrorLines("not-authorized")},
	{"<open/> without a reason to", opening + openLine + streamErrorLines("restricted-xml")},
	{"a session without <open/>", opening + authLine("secret") + successLine +
		"> <iq type='get' id='p' xmlns='jabber:client'><ping xmlns='urn:xmpp:ping'/></iq>\n" + openedLine + streamErrorLines("invalid-namespace")},
	{"a stream header of TCP", "> <stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>\n" +
		strings.Replace(openedLine, " from='localhost'", "", 1) + streamErrorLines("invalid-namespace")},
	{"a stream header of TCP in a session", loggedIn() +
		"> <stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>\n" +
		streamErrorLines("invalid-namespace")},
	{"the end of a stream of TCP", opening + "> </stream:stream>\n" + streamErrorLines("not-well-formed")},
	{"<open/> in another namespace", "> <open xmlns='jabber:client' to='localhost' version='1.0'/>\n" +
		strings.Replace(openedLine, " from='localhost'", "", 1) + streamErrorLines("invalid-namespace")},
	{"<open> that has something in it", "> <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'><x/></open>\n" +
		strings.Replace(openedLine, " from='localhost'", "", 1) + streamErrorLines("bad-format")},
	{"an element instead of <open/>", authLine("secret") +
		strings.Replace(openedLine, " from='localhost'", "", 1) + streamErrorLines("bad-format")},
	{"<starttls/>", opening + "> <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\n< <failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\n" + closedLines},

	{"two elements in a message", loggedIn() + "> <iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq><iq type='get' id='2'><ping xmlns='urn:xmpp:ping'/></iq>\n" +
		pongLine +
		streamErrorLines("not-well-formed")},
	{"two elements before the login", opening + strings.TrimSuffix(authLine("wrong"), "\n") + "<b xmlns='x'/>\n" + refusedLine + streamErrorLines("not-well-formed")},
	{"half an element", loggedIn() + "> <iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/>\n" + streamErrorLines("not-well-formed")},
	{"the other half does not help", loggedIn() + "> <iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/>\n> </iq>\n" + streamErrorLines("not-well-formed")},
	{"an end tag of another name", loggedIn() + "> <message><body>x</bodi></message>\n" + streamErrorLines("not-well-formed")},
	{"an empty message", loggedIn() + ">text\n" + streamErrorLines("not-well-formed")},
	{"white space", loggedIn() + ">text  \n" + streamErrorLines("not-well-formed")},
	{"text", opening + "> hello\n" + streamErrorLines("not-well-formed")},
	{"text behind an element", loggedIn() + "> <message type='error'/>hello\n" + streamErrorLines("not-well-formed")},
	{"a comment", loggedIn() + "> <!-- hello -->\n" + streamErrorLines("restricted-xml")},
	{"a comment in an element", loggedIn() + "> <presence><!-- hello --></presence>\n" + streamErrorLines("restricted-xml")},
	{"a processing instruction", loggedIn() + "> <?php exit ?>\n" + streamErrorLines("restricted-xml")},
	{"a document type", loggedIn() + "> <!DOCTYPE x><presence/>\n" + streamErrorLines("restricted-xml")},
	{"an XML declaration is fine", loggedIn() +
		"> <?xml version='1.0'?><iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>\n" + pongLine +
		closeLine + closedLines},
	{"an XML declaration by itself", loggedIn() + "> <?xml version='1.0'?>\n" + streamErrorLines("not-well-formed")},
	{"a prefix that no message declares", loggedIn() + "> <x:presence/>\n" + streamErrorLines("not-well-formed")},
	{"an element that is no stanza", loggedIn() + "> <a xmlns='x'/>\n" + streamErrorLines("unsupported-stanza-type")},
	{"a stream error of the client's", loggedIn() + "> <stream:error xmlns:stream='http://etherx.jabber.org/streams'>" +
		"<reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>\n" + closedLines},

	{"too big before the login", opening + "> <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{12000*A}</auth>\n" +
		tooBigLines},
	{"too big after the login", loggedIn() + "> <message to='alice@localhost'><body>{300000*A}</body></message>\n" +
		tooBigLines},
	{"a start tag that is too big", loggedIn() + "> <message to='{20000*A}'/>\n" + tooBigLines},
	{"much is fine after the login", loggedIn() + "> <message type='error'><body>{200000*A}</body></message>\n" + pingLines + closeLine + closedLines},

	{"pings", ">ping one\n<pong one\n" + openLine + openedLine + ">ping \n" + offerLine + "<pong \n" + ">ping {125*x}\n<pong {125*x}\n" + closeLine + closedLines},
	{"a pong that nobody asked for", opening + ">pong x\n" + closeLine + closedLines},
	{"a message in frames, with a ping between", ">text+ <open xmlns='urn:ietf:params:xml:ns:xmpp-fram\n>ping x\n<pong x\n>more+ ing' to='local\n>more+\n>more host' version='1.0'/>\n" +
		openedLine + offerLine + closeLine + closedLines},
	{"a binary message", opening + ">binary <presence/>\n<close 1003\n"},
	{"binary from the beginning", ">binary <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>\n<close 1003\n"},
	{"text that is not UTF-8", opening + ">text <a xmlns='\xff'/>\n<close 1007\n"},
	{"a frame that goes on with nothing", opening + ">more <presence/>\n<close 1002\n"},
	{"a message within another", opening + ">text+ <pres\n>text <presence/>\n<close 1002\n"},
	{"a ping in pieces", opening + ">ping+ x\n<close 1002\n"},
	{"a ping that is too long", opening + ">ping {126*x}\n<close 1002\n"},
	{"a frame of a kind that there is not", opening + ">reserved x\n<close 1002\n"},
}

var (
	streamID   = regexp.MustCompile(` id='[0-9a-f]{32}'`)
	errorText  = regexp.MustCompile(`<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>[^<]+</text>`)
	repeated   = regexp.MustCompile(`\{(\d+)\*(.)\}`)
	frameKinds = map[string]byte{
		"text": frameText, "more": frameMore, "binary": frameBinary, "ping": framePing, "pong": framePong, "reserved": 0x3,
	}
)

// TestWebSocket_transcripts: the rules of RFC 7395, and those of RFC 6455 that a client can break, on both kinds of ports.
func TestWebSocket_transcripts(t *testing.T) {
	t.Parallel()
	d := webDaemon(t)
	for _, way := range webWays(t, d) {
		for _, c := range webTranscripts {
			t.Run(way.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, way)
			})
		}
	}
}

// webDaemon serves localhost, with alice's password "secret", on a WebSocket port of each kind.
func webDaemon(t testing.TB, extra ...options) *daemon {
	t.Helper()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	return start(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path,
	}}}, append([]options{baseOptions(dir), webPorts(0, 0)}, extra...)...))
}

func (c webTranscript) run(t *testing.T, way webWay) {
	conn, err := way.dial.to(t, way.address)
	if err != nil {
		t.Fatal(err)
	}
	ws := &talk{webSocket: conn}
	if ws.answer.StatusCode != 101 {
		t.Fatal(ws.answer.Status)
	}
	if err := ws.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	ws.silent = true
	text := strings.ReplaceAll(c.text, "RESOURCE", randomDigits(t, 12))
	for number, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		line = repeated.ReplaceAllStringFunc(line, func(s string) string {
			m := repeated.FindStringSubmatch(s)
			var n int
			_, _ = fmt.Sscan(m[1], &n)
			return strings.Repeat(m[2], n)
		})
		if err := ws.step(line); err != nil {
			t.Fatalf("line %d: %v", number+1, err)
		}
	}
}

// talk is a transcript under way.
type talk struct {
	*webSocket
	closed bool // we have sent a closing frame
}

// step does what a line says, or waits for it.
func (ws *talk) step(line string) error {
	word, payload, _ := strings.Cut(line, " ")
	kind, more := strings.CutSuffix(word[1:], "+")
	switch {
	case word == ">":
		_, err := ws.Write([]byte(payload))
		return err
	case word == "<":
		final, got, text, err := ws.readFrame()
		if err != nil {
			return fmt.Errorf("%w, want %.300q", err, payload)
		}
		told := streamID.ReplaceAllString(string(text), " id='ID'")
		told = errorText.ReplaceAllString(told, "TEXT")
		if !final || got != frameText || told != payload {
			return fmt.Errorf("frame %v %d %.600q, want text %q", final, got, told, payload)
		}
		return nil
	case word == ">close":
		var code uint16
		if _, err := fmt.Sscan(payload, &code); err != nil {
			return err
		}
		ws.closed = true
		return ws.frame(true, frameClose, []byte{byte(code >> 8), byte(code)})
	case word == "<close":
		m, err := ws.message()
		if err != io.EOF || fmt.Sprint(ws.code) != payload {
			return fmt.Errorf("%q, %v, closed with %d %q; want %s", m, err, ws.code, ws.reason, payload)
		}
		if !ws.closed {
			if err := ws.frame(true, frameClose, []byte{3, 232}); err != nil {
				return err
			}
		}
		if b, err := ws.in.ReadByte(); err != io.EOF {
			return fmt.Errorf("after the closing frame: %x, %v", b, err)
		}
		return nil
	case word[0] == '>':
		return ws.frame(!more, frameKinds[kind], []byte(payload))
	}
	final, got, text, err := ws.readFrame()
	if err != nil || !final || got != frameKinds[kind] || string(text) != payload {
		return fmt.Errorf("frame %v %d %q, %v; want %q", final, got, text, err, line)
	}
	return nil
}
