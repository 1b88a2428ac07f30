package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatehouse.im/gatehouse/internal/xmlstream"
)

const nsStanzas = "urn:ietf:params:xml:ns:xmpp-stanzas"

// Session is a stream with a bound resource. It is for one goroutine.
type Session struct {
	login *login
	jid   string
}

// JID returns the full JID that the server has bound.
func (s *Session) JID() string { return s.jid }

// bind binds a resource (RFC 6120 §7), and starts a session where an old server
// still wants that.
func (s *Session) bind(f *features) error {
	if !f.bind {
		return errors.New("the server does not offer to bind a resource")
	}
	payload := "<bind xmlns='" + nsBind + "'/>"
	if s.login.Resource != "" {
		payload = "<bind xmlns='" + nsBind + "'><resource>" + escape(s.login.Resource) + "</resource></bind>"
	}
	answer, err := s.request("set", "", "bind", payload)
	if err != nil {
		return err
	}
	bind := answer.Child(nsBind, "bind")
	if bind == nil || bind.Child(nsBind, "jid") == nil {
		return errors.New("the server has bound a resource, but does not say which")
	}
	s.jid = printable(strings.TrimSpace(bind.Child(nsBind, "jid").Text))
	s.login.trace(Bound{JID: s.jid})
	if f.session {
		_, err = s.request("set", "", "session", "<session xmlns='"+nsSession+"'/>")
	}
	return err
}

// Ping asks the server for a ping (XEP-0199) and waits for the answer until ctx
// ends. An answer that says that pings are not known is as good. The error is an
// *Error.
func (s *Session) Ping(ctx context.Context) error {
	stop := endWith(ctx, s.login.conn)
	defer stop()
	started := time.Now()
	_, err := s.request("get", s.login.Host, "ping", "<ping xmlns='"+nsPing+"'/>")
	pinged := Pinged{}
	if e := new(Error); errors.As(err, &e) && e.Condition != "" && !e.StreamError {
		pinged.Condition, err = e.Condition, nil
	}
	if err != nil {
		return s.login.failed(ctx, StageSession, err)
	}
	pinged.Took = time.Since(started)
	s.login.trace(pinged)
	return nil
}

// Close closes the stream, waits a moment for the server to do the same, and
// closes the connection. An error says that the server did not; the connection
// is closed all the same.
func (s *Session) Close() error {
	err := s.login.farewell()
	if err != nil {
		err = safe(err)
	}
	s.login.trace(Closed{Err: err})
	return err
}

// request sends an IQ and returns its result. A stanza error is an *Error
// without a stage. Other stanzas that come meanwhile are left alone.
func (s *Session) request(kind, to, id, payload string) (*xmlstream.Element, error) {
	if to != "" {
		to = " to='" + escape(to) + "'"
	}
	if err := s.login.send("<iq type='" + kind + "' id='" + id + "'" + to + ">" + payload + "</iq>"); err != nil {
		return nil, err
	}
	for {
		e, err := s.login.next()
		if err != nil {
			return nil, err
		}
		if e.Name != (xmlstream.Name{Space: nsClient, Local: "iq"}) || e.Get("id") != id {
			continue
		}
		switch e.Get("type") {
		case "result":
			return e, nil
		case "error":
			failure := e.Child(nsClient, "error")
			if failure == nil {
				return nil, fmt.Errorf("the server refused the request %s without saying why", id)
			}
			condition, text := conditionOf(failure, nsStanzas)
			return nil, &Error{Condition: condition, Text: text}
		}
	}
}
