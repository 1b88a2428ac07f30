package xmpptest

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"strings"
	"time"
)

// Escape returns s with the characters escaped that XML does not take as they are.
func Escape(s string) string {
	var b strings.Builder
	// A strings.Builder never fails.
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// Header returns the stream header that a client sends to a host.
func Header(host string) string {
	return "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'" +
		" version='1.0' to='" + Escape(host) + "'>"
}

// Open sends a stream header and returns the features that the server answers with.
func (c *Client) Open(host string) (features *Element, err error) {
	c.host = host
	if err := c.Send(Header(host)); err != nil {
		return nil, err
	}
	if _, err := c.Expect("stream"); err != nil {
		return nil, err
	}
	return c.Expect("features")
}

// Handshake does the TLS handshake as a client. An empty ServerName becomes the host of the last header.
func (c *Client) Handshake(config *tls.Config) error {
	if len(c.buf) > 0 {
		return fmt.Errorf("before the TLS handshake: %w: %q", ErrUnexpected, c.buf)
	}
	if config.ServerName == "" && c.host != "" {
		config = config.Clone()
		config.ServerName = c.host
	}
	conn := tls.Client(c.conn, config)
	if err := conn.SetDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	if err := conn.Handshake(); err != nil {
		return err
	}
	c.conn = conn
	return nil
}

// StartTLS asks for TLS on an open stream (RFC 6120 §5.4.2) and does the handshake. The stream has to be opened anew
// after it.
func (c *Client) StartTLS(config *tls.Config) error {
	if err := c.Send("<starttls xmlns='" + NSTLS + "'/>"); err != nil {
		return err
	}
	if _, err := c.Expect("proceed"); err != nil {
		return err
	}
	return c.Handshake(config)
}

// Auth sends <auth/> with an initial response, which it encodes, and returns the server's answer: <success/>,
// <failure/> or anything else.
func (c *Client) Auth(mechanism string, initial []byte) (*Element, error) {
	err := c.Sendf("<auth xmlns='%s' mechanism='%s'>%s</auth>",
		NSSASL, Escape(mechanism), base64.StdEncoding.EncodeToString(initial))
	if err != nil {
		return nil, err
	}
	return c.ReadElement()
}

// AuthPlain is Auth with PLAIN (RFC 4616) and no authorization identity.
func (c *Client) AuthPlain(user, password string) (*Element, error) {
	return c.Auth("PLAIN", []byte("\x00"+user+"\x00"+password))
}

// Bind binds a resource, or lets the server choose one if it is empty, and returns the full JID. It has to come after
// the stream was opened again after <success/>.
func (c *Client) Bind(resource string) (jid string, err error) {
	payload := "<bind xmlns='" + NSBind + "'/>"
	if resource != "" {
		payload = "<bind xmlns='" + NSBind + "'><resource>" + Escape(resource) + "</resource></bind>"
	}
	e, err := c.IQ("set", "", payload)
	if err != nil {
		return "", err
	}
	full := e.Child("bind").Child("jid")
	if full == nil || e.Attr("type") != "result" {
		return "", fmt.Errorf("bind: %w: %s", ErrUnexpected, e.Raw)
	}
	return full.Text, nil
}

// IQ sends a request of that type with an id of its own and returns the next element, which has to be an iq with the
// same id. An empty to is left out.
func (c *Client) IQ(kind, to, payload string) (*Element, error) {
	id := fmt.Sprintf("q%x", time.Now().UnixNano())
	address := ""
	if to != "" {
		address = " to='" + Escape(to) + "'"
	}
	if err := c.Sendf("<iq type='%s' id='%s'%s>%s</iq>", kind, id, address, payload); err != nil {
		return nil, err
	}
	e, err := c.Expect("iq")
	if err != nil {
		return nil, err
	}
	if e.Attr("id") != id {
		return e, fmt.Errorf("waiting for the answer to %s: %w: %s", id, ErrUnexpected, e.Raw)
	}
	return e, nil
}

// Ping asks the host of the stream for a ping (XEP-0199) and fails unless the answer is a result.
func (c *Client) Ping() error {
	e, err := c.IQ("get", c.host, "<ping xmlns='urn:xmpp:ping'/>")
	if err != nil {
		return err
	}
	if e.Attr("type") != "result" {
		return fmt.Errorf("ping: %w: %s", ErrUnexpected, e.Raw)
	}
	return nil
}

// Secure opens a stream and gets it behind TLS, by STARTTLS unless the connection has TLS already, and returns the
// features of the encrypted stream.
func (c *Client) Secure(host string, config *tls.Config) (features *Element, err error) {
	features, err = c.Open(host)
	if err != nil {
		return nil, err
	}
	if _, encrypted := c.conn.(*tls.Conn); encrypted {
		return features, nil
	}
	if err := c.StartTLS(config); err != nil {
		return nil, err
	}
	return c.Open(host)
}

// Login does all of it: TLS, PLAIN and bind. A refusal is an error that wraps ErrUnexpected and holds the failure.
func (c *Client) Login(host, user, password, resource string, config *tls.Config) (jid string, err error) {
	if _, err := c.Secure(host, config); err != nil {
		return "", err
	}
	answer, err := c.AuthPlain(user, password)
	if err != nil {
		return "", err
	}
	if answer.Name != "success" {
		return "", fmt.Errorf("login: %w: %s", ErrUnexpected, answer.Raw)
	}
	if _, err := c.Open(host); err != nil {
		return "", err
	}
	return c.Bind(resource)
}
