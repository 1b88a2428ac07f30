package upstream

import (
	"context"
	"crypto/tls"
	"time"
)

// Seen is what a server shows to somebody without a credential.
type Seen struct {
	// TLS is the state of the connection; nil where it is not encrypted.
	TLS *tls.ConnectionState
	// Mechanisms are those that it offers there, as it writes them.
	Mechanisms []string
}

// Look goes to one address as a login of that host would, up to the mechanisms
// that are offered, and hangs up. Config.Addresses and Config.Credentials are not
// used.
//
// It blocks until Config.Timeout is over or ctx ends. Its errors wrap [ErrDown],
// [ErrSlow], [ErrProtocol], [ErrInsecure] or the error of ctx.
func Look(ctx context.Context, c Config, a Address, host string) (Seen, error) {
	deadline := time.Now().Add(c.Timeout)
	g := &leg{config: &c, tls: c.tlsConfig(), login: login{host: host}, patience: deadline, deadline: deadline}
	return g.look(ctx, a)
}

// look goes as far as one can without a credential, and hangs up.
func (g *leg) look(ctx context.Context, addr Address) (seen Seen, err error) {
	err = g.run(ctx, addr, func() error {
		features, err := g.secure(nil)
		if err != nil {
			return err
		}
		seen.Mechanisms = mechanisms(features)
		if conn, ok := g.conn.(*tls.Conn); ok {
			state := conn.ConnectionState()
			seen.TLS = &state
		}
		return g.send(append(g.out, streamEnd...))
	})
	if err != nil {
		return Seen{}, err
	}
	_ = g.conn.Close()
	return seen, nil
}
