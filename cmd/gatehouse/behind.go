package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/ticket"
	"gatehouse.im/gatehouse/internal/token"
	"gatehouse.im/gatehouse/internal/upstream"
	"gatehouse.im/gatehouse/server"
)

// behind hands the clients of a host to the server behind it.
type behind struct{ *upstream.Upstream }

// Open implements server.Upstream.
func (b behind) Open(ctx context.Context, l server.UpstreamLogin) (net.Conn, error) {
	conn, err := b.Upstream.Open(ctx, l.User, l.Host, l.Password, l.Client, l.Local)
	if errors.Is(err, upstream.ErrName) {
		return nil, fmt.Errorf("%w: %w", server.ErrRefused, err)
	}
	return conn, err
}

// newBehind makes what opens the legs of a host.
func newBehind(h *config.Host, tickets *ticket.Tickets, logger *slog.Logger) behind {
	c := upstreamConfig(h.Upstream)
	c.Credentials = shownBehind(h, tickets)
	c.Logger = logger
	return behind{upstream.New(c)}
}

// behindOf returns what opens the legs of a host already, if h asks for the same:
// what it knows of the servers, such as that one is down, still holds then.
func (p *parts) behindOf(h *config.Host) (up behind, ok bool) {
	up, ok = p.behind[h.Name]
	if !ok {
		return up, false
	}
	old := p.config.Host(h.Name)
	return up, h.Upstream.Equal(old.Upstream) && tokensInPlain(h) == tokensInPlain(old)
}

func tokensInPlain(h *config.Host) bool { return h.Token != nil && h.Token.InPlain }

// upstreamConfig is the way to a server behind, without what proves who comes.
func upstreamConfig(u *config.Upstream) upstream.Config {
	c := upstream.Config{
		Mode:             upstream.Mode(u.TLS),
		TLS:              &tls.Config{RootCAs: u.Trust, ServerName: u.TLSName, MinVersion: tls.VersionTLS12},
		AllowUnencrypted: u.AllowUnencrypted,
		Timeout:          u.Timeout,
		ProxyProtocol:    u.ProxyProtocol,
	}
	for _, a := range u.Addresses {
		c.Addresses = append(c.Addresses, upstream.Address{Network: a.Network, Addr: a.Addr})
	}
	return c
}

// errNoPassword says that the server behind wants the client's own password, and
// the client has shown something else: a token, by X-TOKEN or in the place of the
// password. The client was let in, so that this is no no.
var errNoPassword = errors.New("the server behind checks passwords (gatehouse_upstream_auth), and the client has logged in without one")

// shownBehind returns what tells the server behind who the user is
// (gatehouse_upstream_auth).
func shownBehind(h *config.Host, tickets *ticket.Tickets) func(ctx context.Context, user, host, password string) (upstream.Credential, error) {
	switch u := h.Upstream; u.Auth {
	case config.UpstreamAuthToken:
		key := token.Combine(u.Token.Secrets, u.Token.Seeds)[0] // the newest
		return func(_ context.Context, user, host, _ string) (upstream.Credential, error) {
			minted, err := token.Mint(key, user+"@"+host, time.Now(), token.NewNonce())
			return upstream.Credential{Mechanism: upstream.XToken, Secret: minted}, err
		}
	case config.UpstreamAuthExternal:
		return func(_ context.Context, user, host, _ string) (upstream.Credential, error) {
			cert, err := userCertificate(&u.CA.TLS, user+"@"+host, time.Now())
			return upstream.Credential{Mechanism: upstream.External, Certificate: cert}, err
		}
	case config.UpstreamAuthPassword:
		// What was judged as a token is not shown to anybody else (tokenOrPassword). Its
		// shape alone is looked at here, which needs no keys.
		var shape token.Verifier
		tokenInPlain := tokensInPlain(h)
		return func(_ context.Context, _, _, password string) (upstream.Credential, error) {
			if password == "" || tokenInPlain && shape.LooksLike(password) {
				return upstream.Credential{}, errNoPassword
			}
			return upstream.Credential{Mechanism: upstream.Plain, Secret: password}, nil
		}
	}
	return func(_ context.Context, user, host, _ string) (upstream.Credential, error) {
		issued, err := tickets.Issue(user, host)
		return upstream.Credential{Mechanism: upstream.Plain, Secret: issued}, err
	}
}

// noTicket refuses a password that has the shape of a ticket without showing it
// to anybody: those are for the servers behind, who ask elsewhere.
type noTicket struct{ server.Authenticator }

// Authenticate implements server.Authenticator.
func (n noTicket) Authenticate(ctx context.Context, user, host, password string) (bool, error) {
	if ticket.LooksLike(password) {
		return false, nil
	}
	return n.Authenticator.Authenticate(ctx, user, host, password)
}
