package upstream

import (
	"context"
	"fmt"
	"time"
)

const nsBind = "urn:ietf:params:xml:ns:xmpp-bind"

// Try goes to one address as a login of user@host, both prepared, would, opens
// the stream that would be the client's next, and hangs up before a resource is
// bound. It uses up what Config.Credentials gives it for password.
// Config.Addresses is not used.
//
// It blocks until Config.Timeout is over or ctx ends. Its errors are those of
// [Upstream.Open]; a server that offers no binding in the end is [ErrProtocol].
func Try(ctx context.Context, c Config, a Address, user, host, password string) error {
	if !isStable(user) {
		return ErrName
	}
	deadline := time.Now().Add(c.Timeout)
	g := &leg{config: &c, tls: c.tlsConfig(), login: login{user: user, host: host, password: password}, patience: deadline, deadline: deadline}
	err := g.run(ctx, a, func() error {
		if err := g.authenticate(ctx); err != nil {
			return err
		}
		g.in.Reset(g.conn)
		features, err := g.openStream()
		if err != nil {
			return err
		}
		if features.Child(nsBind, "bind") == nil {
			return fmt.Errorf("%w: it offers no binding of a resource after the login", ErrProtocol)
		}
		return g.send(append(g.out, streamEnd...))
	})
	if err != nil {
		return err
	}
	_ = g.conn.Close() // it has said all that it had to say
	return nil
}
