package client

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"gatehouse.im/gatehouse/internal/xmlstream"
)

// The namespaces of a login.
const (
	nsStream       = "http://etherx.jabber.org/streams"
	nsClient       = "jabber:client"
	nsTLS          = "urn:ietf:params:xml:ns:xmpp-tls"
	nsSASL         = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsBind         = "urn:ietf:params:xml:ns:xmpp-bind"
	nsSession      = "urn:ietf:params:xml:ns:xmpp-session"
	nsStreamErrors = "urn:ietf:params:xml:ns:xmpp-streams"
	nsBindings     = "urn:xmpp:sasl-cb:0"
	nsPing         = "urn:xmpp:ping"
)

// limits are for a server, which is a stranger too. Features are the largest
// element of a login, and no server's come near.
var limits = xmlstream.Limits{
	Header:     8 << 10,
	Stanza:     128 << 10,
	Total:      1 << 20,
	Depth:      32,
	Elements:   2000,
	Attributes: 100,
}

// features is what we understand of <stream:features/>.
type features struct {
	startTLS, required bool
	mechanisms         []string
	bindings           []string
	bind               bool
	session            bool // needed (RFC 3921 §3), not merely offered
	others             []string
}

// open begins a stream (RFC 6120 §4.2) and reads the server's header and
// features.
func (l *login) open(loggedIn bool) (*features, error) {
	err := l.send("<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'" +
		" version='1.0' xml:lang='en' to='" + escape(l.Host) + "'>")
	if err != nil {
		return nil, err
	}
	header, err := l.reader.Header()
	if err != nil {
		return nil, readError(err)
	}
	l.trace(XML{Text: renderHeader(header)})
	if header.Name != (xmlstream.Name{Space: nsStream, Local: "stream"}) {
		return nil, fmt.Errorf("this is no XMPP server: it began with <%s/>", printable(header.Name.Local))
	}
	e, err := l.next()
	if err != nil {
		return nil, err
	}
	if e.Name != (xmlstream.Name{Space: nsStream, Local: "features"}) {
		return nil, unexpected("features", e)
	}
	f := parseFeatures(e)
	l.trace(Opened{
		From: printable(header.Get("from")), Encrypted: l.tls != nil, LoggedIn: loggedIn,
		StartTLS: f.startTLS, Required: f.required,
		Mechanisms: printableAll(f.mechanisms), Bindings: printableAll(f.bindings), Others: f.others,
	})
	return f, nil
}

// featureNames are names for people; other features are called by their
// namespace.
var featureNames = map[string]string{
	nsBind:                                   "bind",
	nsSession:                                "session",
	"urn:xmpp:sm:2":                          "stream management 2",
	"urn:xmpp:sm:3":                          "stream management",
	"urn:xmpp:csi:0":                         "client state",
	"urn:xmpp:features:rosterver":            "roster versions",
	"urn:xmpp:features:pre-approval":         "subscription pre-approval",
	"http://jabber.org/features/iq-register": "registration",
	"urn:xmpp:ibr-token:0":                   "registration by token",
	"urn:xmpp:invite":                        "invitations",
	"http://jabber.org/features/compress":    "compression",
	"http://jabber.org/protocol/compress":    "compression",
	"http://jabber.org/protocol/caps":        "capabilities",
	"urn:xmpp:sasl:2":                        "SASL2",
	"urn:xmpp:bind:0":                        "Bind 2",
	"urn:xmpp:fast:0":                        "FAST",
	"urn:ietf:params:xml:ns:vcard-4.0":       "vCard4",
	"urn:xmpp:extdisco:2":                    "external services",
	"urn:xmpp:domain-based-name":             "host name for SASL",
}

func parseFeatures(e *xmlstream.Element) *features {
	f := new(features)
	for _, c := range e.Children {
		switch c.Name {
		case xmlstream.Name{Space: nsTLS, Local: "starttls"}:
			f.startTLS, f.required = true, c.Child(nsTLS, "required") != nil
			continue
		case xmlstream.Name{Space: nsSASL, Local: "mechanisms"}:
			for _, m := range c.Children {
				if name := strings.TrimSpace(m.Text); m.Name.Local == "mechanism" && name != "" {
					f.mechanisms = append(f.mechanisms, name)
				}
			}
			continue
		case xmlstream.Name{Space: nsBindings, Local: "sasl-channel-binding"}:
			for _, b := range c.Children {
				f.bindings = append(f.bindings, b.Get("type"))
			}
			continue
		case xmlstream.Name{Space: nsBind, Local: "bind"}:
			f.bind = true
		case xmlstream.Name{Space: nsSession, Local: "session"}:
			f.session = c.Child(nsSession, "optional") == nil
		}
		name, known := featureNames[c.Name.Space]
		if !known {
			name = printable(c.Name.Space)
		}
		f.others = append(f.others, name)
	}
	return f
}

// next reads the server's next element. A stream error is an *Error without a
// stage; the end of the stream is io.EOF, and io.ErrUnexpectedEOF without a
// closing tag.
func (l *login) next() (*xmlstream.Element, error) {
	e, err := l.reader.Next()
	if err == io.EOF {
		l.trace(XML{Text: "</stream:stream>"})
	}
	if err != nil {
		return nil, readError(err)
	}
	l.trace(XML{Text: render(e)})
	if e.Name == (xmlstream.Name{Space: nsStream, Local: "error"}) {
		condition, text := conditionOf(e, nsStreamErrors)
		return nil, &Error{Condition: condition, StreamError: true, Text: text}
	}
	return e, nil
}

// readError tells XML that breaks the rules from a connection that broke.
func readError(err error) error {
	var bad *xmlstream.Error
	if errors.As(err, &bad) {
		return fmt.Errorf("the server sent what XMPP does not allow: %s", bad.Detail)
	}
	return err
}

// conditionOf returns the condition that an error element of any kind holds in
// the given namespace, and the text beside it.
func conditionOf(e *xmlstream.Element, space string) (condition, text string) {
	condition = "undefined-condition"
	for _, c := range e.Children {
		switch {
		case c.Name.Space != space:
		case c.Name.Local == "text":
			text = printable(strings.TrimSpace(c.Text))
		default:
			condition = printable(c.Name.Local)
			if c.Text != "" && text == "" { // see-other-host says where
				text = printable(strings.TrimSpace(c.Text))
			}
		}
	}
	return condition, text
}

// unexpected says that the server answered with something else than it should.
func unexpected(wanted string, e *xmlstream.Element) error {
	return fmt.Errorf("the server answered with <%s/> where <%s/> was due", printable(e.Name.Local), wanted)
}

// send writes xml, which holds no secret.
func (l *login) send(xml string) error { return l.sendAs(xml, xml) }

// sendAs writes xml and traces something else.
func (l *login) sendAs(xml, shown string) error {
	l.trace(XML{Sent: true, Text: shown})
	_, err := io.WriteString(l.conn, xml)
	return err
}

// maxFarewell is how long a server may take to say goodbye.
const maxFarewell = 2 * time.Second

// farewell closes the stream and then the connection (RFC 6120 §4.4). It returns
// an error if the server does not close the stream as well.
func (l *login) farewell() error {
	defer l.conn.Close()
	// This fails on a closed connection only, and then so does the rest.
	_ = l.conn.SetDeadline(time.Now().Add(maxFarewell))
	if err := l.send("</stream:stream>"); err != nil {
		return err
	}
	for {
		// What is still under way, as a late message, is of no interest now.
		if _, err := l.next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
