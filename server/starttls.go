package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"gatehouse.im/gatehouse/internal/admission"
	"gatehouse.im/gatehouse/internal/xmlstream"
)

const nsTLS = "urn:ietf:params:xml:ns:xmpp-tls"

// startTLS handles an element of the TLS namespace (RFC 6120 §5.4) and says
// whether a new stream begins, inside TLS.
func (c *conn) startTLS(e *xmlstream.Element) (restart bool, err error) {
	c.in.SkipSpace() // go-sendxmpp ends its lines
	switch {
	case e.Name.Local != "starttls":
		return false, unsupportedStanza
	case c.framed:
		return false, c.refuseTLS("it is not for WebSockets")
	case c.encrypted:
		return false, c.refuseTLS("TLS is already in use")
	case c.in.Buffered() > 0:
		// Whoever sends on before TLS is up wants plain text to be
		// taken for what came through TLS.
		return false, c.refuseTLS("bytes after <starttls/>")
	}
	if err := c.write([]byte("<proceed xmlns='" + nsTLS + "'/>")); err != nil {
		return false, err
	}
	return true, c.handshake(c.host.TLS)
}

// refuseTLS answers with the failure that ends the stream (§5.4.2.2).
func (c *conn) refuseTLS(why string) error {
	c.logEnd(fmt.Errorf("STARTTLS refused: %s", why))
	if err := c.write([]byte("<failure xmlns='" + nsTLS + "'/></stream:stream>")); err != nil {
		return err
	}
	linger(c.rw, c.raw)
	return errClosed
}

// handshake puts TLS on the connection, within the login's deadline and one of
// its own.
func (c *conn) handshake(config *tls.Config) error {
	c.wire = newWire(c.raw)
	c.wire.shake = c.server.admission.Handshake(c.place)
	if own := c.config.HandshakeTimeout; own > 0 && time.Until(c.deadline) > own {
		c.readUntil(time.Now().Add(own))
		defer c.readUntil(c.deadline)
	}
	tc := tls.Server(c.wire, config)
	c.opened = false
	c.wire.records = admission.NewRecords(c.raw, c.config.UnauthedStanzaLimit)
	c.enter(StateHandshake)
	began := time.Now()
	err := tc.Handshake()
	c.wire.shake.Done()
	c.wire.shake = nil
	if o := c.config.Observer; o != nil {
		o.Handshake(time.Since(began), err)
	}
	switch {
	case errors.Is(err, net.ErrClosed):
		return err // somebody else has its place: that is told elsewhere, once for many
	case err != nil:
		return &handshakeError{err}
	}
	c.enter(StateLogin)
	c.rw, c.encrypted = tc, true
	c.tlsVersion = tls.VersionName(tc.ConnectionState().Version)
	c.wire.records.Shaken()
	c.in.Reset(c.pace(&unwrapped{tc, c.wire}))
	return nil
}

// An unwrapped connection tells the records below when something has come of
// them, and the client if they are too long.
type unwrapped struct {
	*tls.Conn
	wire *wire
}

// Read implements net.Conn.
func (u *unwrapped) Read(p []byte) (int, error) {
	n, err := u.Conn.Read(p)
	if n > 0 && u.wire.records != nil {
		u.wire.records.Took()
	}
	if errors.Is(err, admission.ErrRecord) {
		return n, &xmlstream.Error{Condition: "policy-violation", TooBig: true, Detail: err.Error()}
	}
	return n, err
}

// handshakeError is a failed TLS handshake. crypto/tls has told the other
// side, and nothing but TLS would be understood there.
type handshakeError struct{ cause error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.cause.Error() }
