package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
	"gatehouse.im/gatehouse/saslmech"
)

const (
	testHost   = "example.org"
	testSecret = "Tr0ub4dor-canary"
)

// peer is the server's end of a connection, driven by a test's play.
type peer struct {
	net.Conn
	in    *bufio.Reader
	certs *tls.Config
	// after is what the client sent when the play was over.
	after string
}

// play is what a fake server does. An error means that the client did not send
// what it should.
type play func(*peer) error

// say writes as it stands.
func say(text string) play {
	return func(p *peer) error {
		_, err := io.WriteString(p, text)
		return err
	}
}

// hear reads up to and with the given text.
func hear(text string) play {
	return func(p *peer) error {
		_, err := p.until(text)
		return err
	}
}

func (p *peer) until(text string) (string, error) {
	var heard strings.Builder
	for !strings.HasSuffix(heard.String(), text) {
		b, err := p.in.ReadByte()
		if err != nil {
			return "", fmt.Errorf("waiting for %q, got %q: %w", text, heard.String(), err)
		}
		heard.WriteByte(b)
	}
	return heard.String(), nil
}

// encrypt does the server's part of a TLS handshake. The client may break it off.
func encrypt(p *peer) error {
	conn := tls.Server(p.Conn, p.certs)
	if err := conn.Handshake(); err != nil {
		return err
	}
	p.Conn, p.in = conn, bufio.NewReader(conn)
	return nil
}

const (
	header   = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' from='example.org' version='1.0'>"
	farewell = "</stream:stream>"
)

// open reads the client's header and answers with ours and these features.
func open(features string) play {
	return sequence(hear("to='example.org'>"), say(header+"<stream:features>"+features+"</stream:features>"))
}

func sequence(plays ...play) play {
	return func(p *peer) error {
		for _, part := range plays {
			if err := part(p); err != nil {
				return err
			}
		}
		return nil
	}
}

// starttls leads to an encrypted stream that offers these mechanisms.
func starttls(mechanisms ...string) play { return starttlsWith(offer(mechanisms...)) }

// starttlsWith is starttls with any features.
func starttlsWith(features string) play {
	return sequence(
		open("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"),
		hear("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
		say("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
		encrypt, open(features),
	)
}

// bindings names channel bindings, as XEP-0440 does.
func bindings(types ...string) string {
	return "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='" +
		strings.Join(types, "'/><channel-binding type='") + "'/></sasl-channel-binding>"
}

func offer(mechanisms ...string) string {
	return "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>" +
		strings.Join(mechanisms, "</mechanism><mechanism>") + "</mechanism></mechanisms>"
}

// inSASL puts an element into the namespace of SASL.
func inSASL(element string) string {
	end := strings.IndexAny(element, " />")
	return element[:end] + " xmlns='urn:ietf:params:xml:ns:xmpp-sasl'" + element[end:]
}

// bound takes the client from <success/> to the end of a session.
var bound = sequence(
	open("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"), hear("</iq>"),
	say("<message from='example.org'><body>not what you wait for</body></message>"+
		"<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>alice@example.org/r</jid></bind></iq>"),
)

var goodbye = sequence(hear(farewell), say(farewell))

// authority signs the certificates of all tests.
func authority(t testing.TB) *xmpptest.CA {
	t.Helper()
	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func certificate(t testing.TB, ca *xmpptest.CA, names ...string) *xmpptest.Pair {
	t.Helper()
	pair, err := ca.Issue(xmpptest.ECDSA, names...)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// serve plays for one connection and returns its address and what came of it:
// the error of the play, once the connection is closed.
func serve(t testing.TB, certs *tls.Config, act play) (addr string, outcome func() (*peer, error)) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{certs: certs}
	done := make(chan error, 1)
	go func() {
		defer ln.Close()
		conn, err := ln.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		p.Conn, p.in = conn, bufio.NewReader(conn)
		err = act(p)
		// The client closes; what it still says is for the test to judge.
		_, _ = io.WriteString(p, farewell)
		if c, ok := p.Conn.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
		rest, _ := io.ReadAll(p.in)
		p.after = string(rest)
		done <- err
	}()
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String(), func() (*peer, error) { return p, <-done }
}

// attempt is one login against a play, and what was seen of it.
type attempt struct {
	session *Session
	err     error
	steps   []Step
	playErr error
	after   string
}

// try logs in, pings nobody, and closes. It fails the test if the secret can be
// seen in a step or an error, or something in them does not print.
func try(t testing.TB, options Options, certs *tls.Config, act play) *attempt {
	t.Helper()
	addr, outcome := serve(t, certs, act)
	a := new(attempt)
	options.User, options.Host, options.Address = "alice", testHost, addr
	if len(options.Secret.Bytes()) == 0 {
		options.Secret = saslmech.NewSecret([]byte(testSecret))
	}
	options.Trace = func(s Step) { a.steps = append(a.steps, s) }
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if a.session, a.err = Login(ctx, options); a.err == nil {
		a.err = a.session.Close()
	}
	p, err := outcome()
	a.playErr, a.after = err, p.after
	checkSeen(t, a.steps, a.err)
	return a
}

// failure returns the attempt's error, which has to be an *Error.
func (a *attempt) failure(t testing.TB) *Error {
	t.Helper()
	var e *Error
	if !errors.As(a.err, &e) {
		t.Fatalf("error %v, want an *Error", a.err)
	}
	return e
}

func find[S Step](t testing.TB, steps []Step) S {
	t.Helper()
	for _, s := range steps {
		if s, ok := s.(S); ok {
			return s
		}
	}
	var none S
	t.Fatalf("no %T among the steps", none)
	return none
}
