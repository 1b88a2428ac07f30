package config

import (
	"log/slog"
	"slices"
	"strings"
	"unicode"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// The values of Credentials.Where.
const (
	CredentialsAdmin = "admin" // on the addresses of gatehouse_admin
	CredentialsWeb   = "web"   // on the WebSocket ports
)

// Credentials say which web application may have tokens for the users of a host: who has these secrets can log in as any of
// them.
type Credentials struct {
	// Where is one of the Credentials constants (gatehouse_credentials).
	Where string
	// User and Password come by Basic authentication, RFC 7617 (gatehouse_credentials_user, gatehouse_credentials_password);
	// both are empty where that is not possible. User has no colon in it.
	User, Password string
	// Bearer comes as a bearer token, RFC 6750 (gatehouse_credentials_bearer); empty where that is not possible.
	Bearer string
	// Rate is how many tokens one user may have a minute (gatehouse_credentials_rate, 30).
	Rate int
	// Pos is where gatehouse_credentials was set.
	Pos Pos
}

// LogValue keeps the secrets out of logs.
func (c *Credentials) LogValue() slog.Value {
	return slog.GroupValue(slog.String("where", c.Where), slog.String("user", c.User), slog.Int("rate", c.Rate))
}

// minCredentialBytes is how long the secrets must be at least: there is nobody who types them.
const minCredentialBytes = 16

// credentials reads who may have tokens; nil for nobody.
func (s section) credentials(host *Host) *Credentials {
	const name, nameUser, namePassword, nameBearer = "gatehouse_credentials",
		"gatehouse_credentials_user", "gatehouse_credentials_password", "gatehouse_credentials_bearer"
	if v, ok := s.scalar(name, `"admin" or "web"`); !ok || v.Kind == luaconf.Bool && !v.Bool {
		return nil
	}
	c := &Credentials{
		Where:    s.enum(name, CredentialsAdmin, CredentialsAdmin, CredentialsWeb),
		User:     s.string(nameUser, ""),
		Password: s.string(namePassword, ""),
		Bearer:   s.string(nameBearer, ""),
		Rate:     s.integer("gatehouse_credentials_rate", 30, 1, 100_000),
		Pos:      s.pos(name),
	}
	switch {
	case !s.has(nameUser) && !s.has(namePassword) && !s.has(nameBearer):
		s.problem(name, "needs %s, or %s with %s: who has them gets tokens for every user of the host", nameBearer, nameUser, namePassword)
	case !s.has(nameUser) && s.has(namePassword):
		s.problem(namePassword, "needs %s as well", nameUser)
	case s.has(nameUser) && !s.has(namePassword):
		s.problem(nameUser, "needs %s as well", namePassword)
	case s.has(nameUser) && (c.User == "" || strings.Contains(c.User, ":") || strings.ContainsFunc(c.User, unicode.IsControl)):
		s.problem(nameUser, "want a name without colons and control characters, got %q", clip(c.User))
	}
	s.goodSecret(namePassword, c.Password, unicode.IsControl)
	s.goodSecret(nameBearer, c.Bearer, func(r rune) bool { return r <= ' ' || r > '~' })
	switch {
	case host.Token == nil:
		s.problem(name, "the host has no tokens to give: set token_secret and otp_seed, or gatehouse_credentials = false for it")
	case !host.OfferToken && !host.Token.InPlain:
		s.problem(name, "nobody could log in by a token: X-TOKEN is disabled, and gatehouse_token_in_plain is not set")
	}
	return c
}

// goodSecret finds what is wrong with a secret that is set.
func (s section) goodSecret(name, secret string, forbidden func(rune) bool) {
	switch {
	case !s.has(name):
	case strings.ContainsFunc(secret, forbidden):
		s.problem(name, "has characters that cannot be sent in a header; `gatehouse token keys` prints a good secret")
	case len(secret) < minCredentialBytes:
		s.problem(name, "has %d bytes, and who guesses it can log in as anybody; %d are the least, and `gatehouse token keys` prints a good secret",
			len(secret), minCredentialBytes)
	}
}

// checkCredentials finds hosts whose credentials are to be where nobody listens.
func (l *loader) checkCredentials(c *Config) {
	for _, h := range c.Hosts {
		s := section{l, h.Name}
		switch {
		case h.Credentials == nil:
		case h.Credentials.Where == CredentialsAdmin && len(c.Admin) == 0:
			s.problem("gatehouse_credentials", `"admin" needs gatehouse_admin, which says where to listen`)
		case h.Credentials.Where == CredentialsWeb && !slices.ContainsFunc(c.Listeners, func(at Listener) bool { return at.WebSocket }):
			s.problem("gatehouse_credentials", `"web" needs gatehouse_websocket_ports, which says where to listen`)
		case h.Credentials.Where == CredentialsWeb:
			for _, at := range c.Listeners {
				if at.WebSocket && !at.DirectTLS && !at.loopback() {
					s.warn("gatehouse_credentials", `%s is a WebSocket port without TLS (%s): whoever is on the way there reads the secret, and can log in as anybody`,
						at.Addr, at.Option)
				}
			}
		}
	}
}
