package upstream

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"gatehouse.im/gatehouse/internal/xmlstream"
)

// A leg is one try to log in at one address.
type leg struct {
	config *Config
	tls    *tls.Config // shared
	login

	// patience ends what comes before a credential is sent, deadline the rest.
	patience, deadline time.Time

	raw  net.Conn
	conn net.Conn // raw, or TLS on it
	in   *xmlstream.Reader
	out  []byte // what to send next, and memory for it

	cred Credential
	// sent says that the server may have seen the credential.
	sent bool
}

// A login is who wants in, and from where.
type login struct {
	user, host, password string
	client, local        net.Addr
}

// keepAlive finds a dead server within two minutes.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}

// past is a deadline that ends reads and writes at once.
var past = time.Unix(1, 0)

// open logs in. The connection that it returns has no deadline, and belongs to
// the caller; otherwise it is closed.
func (g *leg) open(ctx context.Context, addr Address) (net.Conn, error) {
	var conn net.Conn
	err := g.run(ctx, addr, func() error {
		if err := g.authenticate(ctx); err != nil {
			return err
		}
		conn = g.conn
		return nil
	})
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// run dials, and does work on the connection until ctx ends. It closes the
// connection if there is an error, and clears its deadline otherwise.
func (g *leg) run(ctx context.Context, addr Address, work func() error) (err error) {
	dialer := net.Dialer{Deadline: g.patience, KeepAliveConfig: keepAlive}
	g.raw, err = dialer.DialContext(ctx, addr.Network, addr.Addr)
	if err != nil {
		return failed("dial", err)
	}
	g.conn = g.raw
	g.in = xmlstream.NewReader(g.raw, limits)
	defer g.in.Close()
	defer func() {
		if err != nil {
			_ = g.raw.Close() // TLS has nothing to say to a server that failed
		}
	}()
	if err := g.raw.SetDeadline(g.patience); err != nil {
		return failed("dial", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = g.raw.SetDeadline(past) })
	err = work()
	if err == nil {
		err = g.raw.SetDeadline(time.Time{})
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	return err
}

// secure brings the stream to where a credential may be sent, and returns the
// features there. credentials is called before TLS begins, and last without it;
// it is nil for a probe.
func (g *leg) secure(credentials func() error) (*xmlstream.Element, error) {
	if credentials == nil {
		credentials = func() error { return nil }
	}
	mode, local := g.config.Mode, onThisMachine(g.raw.RemoteAddr())
	if mode == Auto {
		mode = StartTLS
		if local {
			mode = None
		}
	}
	if mode == None && !local && !g.config.AllowUnencrypted {
		return nil, fmt.Errorf("%w: it leaves this machine without TLS", ErrInsecure)
	}
	if g.out == nil {
		g.out = make([]byte, 0, 512)
	}
	if g.config.ProxyProtocol != 0 {
		client, local := g.client, g.local
		if client == nil {
			// A probe speaks for itself. COMPAT: ejabberd (23.01) waits for more after a header without addresses.
			client, local = g.raw.LocalAddr(), g.raw.RemoteAddr()
		}
		g.out = appendProxy(g.out, g.config.ProxyProtocol, client, local)
	}
	switch mode {
	case None:
		features, err := g.openStream()
		if err != nil {
			return nil, err
		}
		return features, credentials()
	case DirectTLS:
		if len(g.out) > 0 {
			if err := g.send(g.out); err != nil {
				return nil, err
			}
		}
	default:
		if err := g.startTLS(); err != nil {
			return nil, err
		}
	}
	if err := credentials(); err != nil {
		return nil, err
	}
	if err := g.handshake(); err != nil {
		return nil, err
	}
	return g.openStream()
}

// startTLS negotiates TLS in the stream (RFC 6120 §5.4). What follows <proceed/>
// unencrypted could be from anybody (CVE-2011-0411 and its kin).
func (g *leg) startTLS() error {
	features, err := g.openStream()
	if err != nil {
		return err
	}
	if features.Child(nsTLS, "starttls") == nil {
		return fmt.Errorf("%w: it offers no STARTTLS", ErrInsecure)
	}
	if err := g.send(append(g.out, "<starttls xmlns='"+nsTLS+"'/>"...)); err != nil {
		return err
	}
	e, err := g.next("STARTTLS")
	switch {
	case err != nil:
		return err
	case e.Name != xmlstream.Name{Space: nsTLS, Local: "proceed"}:
		return fmt.Errorf("%w: STARTTLS: no <proceed/>", ErrProtocol)
	case g.in.Buffered() > 0:
		return fmt.Errorf("%w: STARTTLS: bytes behind <proceed/>", ErrProtocol)
	}
	return nil
}

// handshake begins TLS. A session of one user's certificate must never be taken
// up by another, so those with a certificate are not kept.
func (g *leg) handshake() error {
	config := g.tls
	if g.cred.Certificate != nil {
		config = config.Clone()
		config.Certificates = []tls.Certificate{*g.cred.Certificate}
		config.ClientSessionCache = nil
	}
	conn := tls.Client(g.raw, config)
	if err := conn.Handshake(); err != nil {
		return handshakeFailed(err)
	}
	g.conn = conn
	g.in.Reset(conn)
	return nil
}

// credentials asks for a credential and checks that it can be sent.
func (g *leg) credentials(ctx context.Context) error {
	cred, err := g.config.Credentials(ctx, g.user, g.host, g.password)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCredentials, err)
	}
	switch cred.Mechanism {
	case Plain, XToken:
		cred.Certificate = nil
		if cred.Secret == "" || strings.IndexByte(cred.Secret, 0) >= 0 {
			return fmt.Errorf("%w: no secret, or one with a NUL", ErrCredentials)
		}
	case External:
		if cred.Certificate == nil {
			return fmt.Errorf("%w: no certificate", ErrCredentials)
		}
	default:
		return fmt.Errorf("%w: unknown mechanism", ErrCredentials)
	}
	g.cred = cred
	return nil
}

// authenticate does the SASL exchange (RFC 6120 §6.4): one message, one answer.
func (g *leg) authenticate(ctx context.Context) error {
	features, err := g.secure(func() error { return g.credentials(ctx) })
	if err != nil {
		return err
	}
	if g.cred.Mechanism == External && g.conn == g.raw {
		return fmt.Errorf("%w: EXTERNAL needs TLS", ErrInsecure)
	}
	if !slices.Contains(mechanisms(features), g.cred.Mechanism) {
		if features.Child(nsTLS, "starttls") != nil {
			return fmt.Errorf("%w: it does not offer %s, but STARTTLS", ErrProtocol, g.cred.Mechanism)
		}
		return fmt.Errorf("%w: it does not offer %s", ErrProtocol, g.cred.Mechanism)
	}
	if err := g.raw.SetDeadline(g.deadline); err != nil {
		return failed("login", err)
	}
	if ctx.Err() != nil {
		return ctx.Err() // its own deadline may just have been overwritten
	}
	g.sent = true
	if err := g.send(g.appendAuth(g.out)); err != nil {
		return err
	}
	e, err := g.next("login")
	switch {
	case err != nil:
		return err
	case e.Name == xmlstream.Name{Space: nsSASL, Local: "failure"}:
		return fmt.Errorf("%w: %s", ErrRefused, condition(e, nsSASL))
	case e.Name != xmlstream.Name{Space: nsSASL, Local: "success"}:
		return fmt.Errorf("%w: login: neither <success/> nor <failure/>", ErrProtocol)
	case g.in.Buffered() > 0:
		return fmt.Errorf("%w: login: bytes behind <success/>", ErrProtocol)
	}
	return nil
}

// appendAuth appends <auth/> with its initial response. For PLAIN and X-TOKEN it
// is NUL user NUL secret (RFC 4616 §2). For EXTERNAL it is the bare JID: a server
// then lets us in as that user or not at all, whatever else the certificate holds
// (XEP-0178 §2).
func (g *leg) appendAuth(b []byte) []byte {
	var room [512]byte
	message := room[:0]
	if g.cred.Mechanism == External {
		message = append(message, g.user...)
		message = append(message, '@')
		message = append(message, g.host...)
	} else {
		message = append(message, 0)
		message = append(message, g.user...)
		message = append(message, 0)
		message = append(message, g.cred.Secret...)
	}
	b = append(b, "<auth xmlns='"+nsSASL+"' mechanism='"...)
	b = append(b, g.cred.Mechanism...)
	b = append(b, "'>"...)
	b = base64.StdEncoding.AppendEncode(b, message)
	clear(message)
	return append(b, "</auth>"...)
}
