package docker

import (
	"encoding/base64"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// attempt is one way to log in, rightly or wrongly: what the client sends, each after the answer to what went before.
type attempt struct {
	name  string
	early bool // from the first byte on; the others begin on a stream behind TLS
	sends []string
	want  string // the answers, as answersTo has them
	// direct is what Prosody itself answers, where that is something else, and why says why.
	direct, why string
}

const noPlain = "<auth xmlns='" + xmpptest.NSSASL + "' mechanism='PLAIN'"

// auth is <auth/> for PLAIN with a message in base64.
func auth(message string) string {
	return authText(base64.StdEncoding.EncodeToString([]byte(message)))
}

// authText is <auth/> for PLAIN with that text.
func authText(text string) string { return noPlain + ">" + text + "</auth>" }

// response is <response/> with a message in base64.
func response(message string) string {
	return "<response xmlns='" + xmpptest.NSSASL + "'>" + base64.StdEncoding.EncodeToString([]byte(message)) + "</response>"
}

// header is a stream header with other attributes than usual.
func header(attributes string) string {
	return "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' " + attributes + ">"
}

// attempts are the table of logins.
func attempts() []attempt {
	right := auth("\x00alice\x00secret-alice")
	wrong := auth("\x00alice\x00wrong")
	return []attempt{
		{name: "right password", sends: []string{right}, want: "success"},
		{name: "wrong password", sends: []string{wrong}, want: "failure not-authorized"},
		{name: "wrong, then right", sends: []string{wrong, right}, want: "failure not-authorized, success"},
		{name: "six times wrong", sends: slices.Repeat([]string{wrong}, 6),
			want:   strings.Repeat("failure not-authorized, ", 5) + "error policy-violation",
			direct: strings.Repeat("failure not-authorized, ", 5) + "failure not-authorized", why: "five are enough (docs/differences.md)"},
		{name: "unknown user", sends: []string{auth("\x00nobody\x00secret-nobody")}, want: "failure not-authorized"},
		{name: "another's password", sends: []string{auth("\x00alice\x00secret-bob")}, want: "failure not-authorized"},
		{name: "no password", sends: []string{auth("\x00alice\x00")}, want: "failure malformed-request"},
		{name: "no user", sends: []string{auth("\x00\x00secret-")}, want: "failure malformed-request"},
		{name: "nothing but NUL", sends: []string{auth("\x00\x00")}, want: "failure malformed-request"},
		{name: "no NUL", sends: []string{auth("alice secret-alice")}, want: "failure malformed-request"},
		{name: "one NUL", sends: []string{auth("alice\x00secret-alice")}, want: "failure malformed-request"},
		{name: "three NUL", sends: []string{auth("\x00alice\x00secret-alice\x00more")}, want: "failure malformed-request",
			direct: "success", why: "what follows the third NUL is not ignored (docs/differences.md)"},
		{name: "line feed in the password", sends: []string{auth("\x00alice\x00secret-alice\n")}, want: "failure malformed-request"},
		{name: "invalid UTF-8 in the name", sends: []string{auth("\x00al\xffice\x00secret-alice")}, want: "failure malformed-request"},
		{name: "invalid UTF-8 in the password", sends: []string{auth("\x00alice\x00secret-\xff")}, want: "failure malformed-request"},

		{name: "capitals", sends: []string{auth("\x00ALICE\x00secret-alice")}, want: "success"},
		{name: "wide letters", sends: []string{auth("\x00ａｌｉｃｅ\x00secret-alice")}, want: "success"},
		{name: "soft hyphen", sends: []string{auth("\x00al\u00adice\x00secret-alice")}, want: "success"},
		{name: "not ASCII", sends: []string{auth("\x00björn\x00secret-björn")}, want: "success"},
		{name: "not ASCII, decomposed", sends: []string{auth("\x00bjo\u0308rn\x00secret-bjo\u0308rn")}, want: "success"},
		{name: "not ASCII, wrong", sends: []string{auth("\x00björn\x00secret-bjorn")}, want: "failure not-authorized"},
		{name: "space in the name", sends: []string{auth("\x00al ice\x00secret-alice")}, want: "failure malformed-request"},
		{name: "@ in the name", sends: []string{auth("\x00alice@" + stock.name + "\x00secret-alice")}, want: "failure malformed-request"},
		{name: "colon in the name", sends: []string{auth("\x00ali:ce\x00secret-alice")}, want: "failure malformed-request"},
		{name: "private use in the name", sends: []string{auth("\x00ali\ue000ce\x00secret-alice")}, want: "failure malformed-request"},
		{name: "right to left and left to right", sends: []string{auth("\x00א1a\x00secret")}, want: "failure malformed-request"},
		{name: "unassigned in Unicode 3.2", sends: []string{auth("\x00ali\u0221ce\x00secret-alice")}, want: "failure not-authorized"},
		{name: "long name", sends: []string{auth("\x00" + strings.Repeat("a", 500) + "\x00wrong")}, want: "failure not-authorized"},
		{name: "name of 1023 bytes", sends: []string{auth("\x00" + strings.Repeat("a", 1023) + "\x00wrong")}, want: "failure not-authorized"},
		{name: "name of 1024 bytes", sends: []string{auth("\x00" + strings.Repeat("a", 1024) + "\x00wrong")}, want: "failure malformed-request"},
		{name: "long password", sends: []string{auth("\x00alice\x00" + strings.Repeat("p", 500))}, want: "failure not-authorized"},
		{name: "password of 1023 bytes", sends: []string{auth("\x00alice\x00" + strings.Repeat("p", 1023))}, want: "failure not-authorized"},
		{name: "password of 5000 bytes", sends: []string{auth("\x00alice\x00" + strings.Repeat("p", 5000))}, want: "failure malformed-request"},
		{name: "more than a stanza may hold", sends: []string{auth("\x00alice\x00" + strings.Repeat("p", 20_000))}, want: "error policy-violation"},

		{name: "itself as authzid", sends: []string{auth("alice@" + stock.name + "\x00alice\x00secret-alice")}, want: "success"},
		{name: "itself as authzid, wrong", sends: []string{auth("alice@" + stock.name + "\x00alice\x00wrong")}, want: "failure not-authorized"},
		{name: "another as authzid", sends: []string{auth("bob@" + stock.name + "\x00alice\x00secret-alice")}, want: "failure invalid-authzid",
			direct: "success", why: "the authorization identity is not ignored (docs/differences.md)"},
		{name: "name as authzid", sends: []string{auth("alice\x00alice\x00secret-alice")}, want: "success"},

		{name: "no initial response", sends: []string{noPlain + "/>", response("\x00alice\x00secret-alice")},
			want: "failure malformed-request, failure not-authorized"},
		{name: "no initial response, aborted", sends: []string{noPlain + "/>", "<abort xmlns='" + xmpptest.NSSASL + "'/>", right},
			want: "failure malformed-request, failure aborted, success"},
		{name: "aborted, but not begun", sends: []string{"<abort xmlns='" + xmpptest.NSSASL + "'/>"}, want: "failure aborted"},
		{name: "response, but no challenge", sends: []string{response("\x00alice\x00secret-alice")}, want: "failure not-authorized"},
		{name: "empty initial response", sends: []string{authText("=")}, want: "failure malformed-request"},
		{name: "no base64", sends: []string{authText("$$$$")}, want: "failure incorrect-encoding"},
		{name: "base64 without its end", sends: []string{authText("AGFsaWNlAHNlY3JldC1hbGljZ")}, want: "failure malformed-request",
			direct: "failure not-authorized", why: "what is left of a password whose end is missing is not tried (saslmech/base64.go)"},
		{name: "line ends in base64", sends: []string{authText("AGFsaWNl\nAHNlY3JldC1hbGljZQ==")}, want: "success"},
		{name: "child in auth, goodbye", sends: []string{authText("<a xmlns='x'/>"+plain("alice")) + "</stream:stream>"},
			want: "failure malformed-request", direct: "end", why: "every request gets an answer (docs/differences.md)"},
		{name: "no such mechanism", sends: []string{strings.Replace(right, "PLAIN", "X-NONE", 1)}, want: "failure invalid-mechanism"},
		{name: "mechanism in small letters", sends: []string{strings.Replace(right, "PLAIN", "plain", 1)}, want: "failure invalid-mechanism"},
		{name: "no mechanism", sends: []string{strings.Replace(right, " mechanism='PLAIN'", "", 1)}, want: "failure invalid-mechanism"},
		{name: "old mechanism", sends: []string{strings.Replace(right, "PLAIN", "DIGEST-MD5", 1)}, want: "failure invalid-mechanism"},

		{name: "auth of another namespace", sends: []string{"<auth xmlns='urn:none' mechanism='PLAIN'/>"}, want: "error unsupported-stanza-type"},
		{name: "message before the login", sends: []string{"<message to='bob@" + stock.name + "'><body>hi</body></message>"}, want: "message service-unavailable"},
		{name: "bind before the login", sends: []string{"<iq type='set' id='b'><bind xmlns='" + xmpptest.NSBind + "'/></iq>"}, want: "iq not-authorized"},
		{name: "not well-formed", sends: []string{"<auth <"}, want: "error not-well-formed"},
		{name: "comment", sends: []string{"<!-- hello -->" + right}, want: "error restricted-xml",
			direct: "error not-well-formed", why: "RFC 6120 §4.9.3.18 has a condition for it (docs/differences.md)"},
		{name: "entity", sends: []string{authText("&alice;")}, want: "error restricted-xml",
			direct: "error not-well-formed", why: "RFC 6120 §4.9.3.18 has a condition for it (docs/differences.md)"},
		{name: "white space first", sends: []string{" \n" + right}, want: "success"},
		{name: "STARTTLS twice", sends: []string{"<starttls xmlns='" + xmpptest.NSTLS + "'/>"}, want: "failure"},
		{name: "goodbye", sends: []string{"</stream:stream>"}, want: "end"},

		{name: "before TLS", early: true, sends: []string{xmpptest.Header(stock.name), right}, want: "features, failure encryption-required"},
		{name: "before TLS, unknown host", early: true, sends: []string{xmpptest.Header("elsewhere.test")}, want: "error host-unknown"},
		{name: "before TLS, no host", early: true, sends: []string{header("version='1.0'")}, want: "error improper-addressing"},
		{name: "before TLS, impossible host", early: true, sends: []string{xmpptest.Header("a..b@c")}, want: "error host-unknown"},
		{name: "before TLS, no version", early: true, sends: []string{header("to='" + stock.name + "'")}, want: "features"},
		{name: "before TLS, another version", early: true, sends: []string{header("version='2.0' to='" + stock.name + "'")}, want: "features"},
		{name: "before TLS, stream of a server", early: true, sends: []string{strings.Replace(xmpptest.Header(stock.name), "jabber:client", "jabber:server", 1)}, want: "features"},
		{name: "before TLS, no stream", early: true, sends: []string{auth("")}, want: "error invalid-namespace"},
		{name: "before TLS, not XML", early: true, sends: []string{"GET / HTTP/1.1\r\n\r\n"}, want: "error not-well-formed"},
	}
}

// TestSide_bySide: a Prosody that checks passwords itself and gatehouse before it give clients the same answers.
func TestSide_bySide(t *testing.T) {
	for _, a := range attempts() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			direct := a.want
			if a.direct != "" {
				direct = a.direct
			}
			for service, want := range map[string]string{"prosody": direct, "gatehouse": a.want} {
				if got := a.at(t, service); got != want {
					t.Errorf("%s answers %q, want %q", service, got, want)
				}
			}
		})
	}
}

// at makes the attempt at a service and returns its answers: "success", "challenge", "features", "failure CONDITION", "error
// CONDITION" for a stream error, "end".
func (a attempt) at(t *testing.T, service string) string {
	t.Helper()
	address, err := servers.address(service)
	must(t, err)
	c, err := xmpptest.Dial(address)
	must(t, err)
	defer func() { _ = c.Close() }()
	if !a.early {
		_, err := c.Secure(stock.name, trust)
		must(t, err)
	}
	var answers []string
	for _, send := range a.sends {
		must(t, c.Send(send))
		answers = append(answers, answer(t, c))
	}
	return strings.Join(answers, ", ")
}

// answer reads what answers one send, past the server's stream header.
func answer(t *testing.T, c *xmpptest.Client) string {
	t.Helper()
	e, err := c.ReadElement()
	for err == nil && e.Header {
		e, err = c.ReadElement()
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "nothing"
	case err != nil && !errors.Is(err, io.EOF):
		return err.Error()
	case err != nil || e.Footer:
		return "end"
	}
	answer := e.Name
	if condition := e.Condition(); condition != "" {
		answer += " " + condition
	}
	if e.Name == "error" {
		if err := c.ExpectEnd(); err != nil {
			answer += ", " + err.Error()
		}
	}
	return answer
}
