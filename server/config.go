package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"time"

	"gatehouse.im/gatehouse/internal/admission"
)

// Authenticator says whether secret lets user in at host. Both names are
// prepared; secret is a password or a token.
//
// There are three outcomes: (true, nil) is yes, (false, nil) is no, and an
// error means that nobody can say; ok is then ignored. The client is told
// temporary-auth-failure, unless the error wraps [ErrRefused]. Authenticate
// may block until ctx ends, and must be safe for concurrent use. Its errors
// are logged and must not hold the secret.
type Authenticator interface {
	Authenticate(ctx context.Context, user, host, secret string) (ok bool, err error)
}

// ErrRefused is wrapped by an [Authenticator] that cannot put the question,
// and never could: a name or secret too long for the script's protocol, or
// with characters that it cannot carry. The client is told not-authorized.
var ErrRefused = errors.New("refused without asking")

// Users says whether a user exists, with outcomes as in [Authenticator].
type Users interface {
	IsUser(ctx context.Context, user, host string) (ok bool, err error)
}

// Passwords changes a user's password, with outcomes as in [Authenticator].
type Passwords interface {
	SetPass(ctx context.Context, user, host, password string) (ok bool, err error)
}

// Conflict is what happens when a user binds a resource that is bound already
// (Prosody's conflict_resolve).
type Conflict string

// The values of conflict_resolve.
const (
	KickOld   Conflict = "kick_old"
	KickNew   Conflict = "kick_new"
	Increment Conflict = "increment"
	Random    Conflict = "random"
)

// Host is one virtual host. It must not change once a [Config] holds it.
type Host struct {
	// Name is the domain as scripts and tokens see it: prepared, Unicode.
	Name string

	// Password judges PLAIN, Token judges X-TOKEN. A mechanism without a
	// judge is not offered.
	Password Authenticator
	Token    Authenticator
	// Guard is asked before them; it may be nil.
	Guard Guard
	// Users and Passwords may be nil: then nobody is known to exist, and no
	// password can be changed.
	Users     Users
	Passwords Passwords

	// Upstream takes the client's stream over after the login; where it is nil
	// the server serves a minimal session itself.
	Upstream Upstream

	// TLS is the configuration for this host's certificate.
	TLS *tls.Config

	RequireEncryption     bool     // c2s_require_encryption
	AllowUnencryptedPlain bool     // allow_unencrypted_plain_auth
	AllowRegistration     bool     // allow_registration
	Conflict              Conflict // conflict_resolve
}

// Config is everything a connection needs to know. It must not change once a
// [Server] has it; [Server.SetConfig] puts another one in its place.
type Config struct {
	// Hosts by name.
	Hosts map[string]*Host
	// DirectTLS is used on direct TLS ports: it picks the certificate by SNI
	// and speaks ALPN. Nil where there is no such port.
	DirectTLS *tls.Config
	// LoginTimeout is how long a client may take from the first byte until
	// its resource is bound (c2s_timeout).
	LoginTimeout time.Duration
	// HandshakeTimeout is how long a TLS handshake may take of that; 0 is all of
	// it (gatehouse_tls_handshake_timeout).
	HandshakeTimeout time.Duration
	// Rate is how fast a client may send, until a server behind has it (limits).
	Rate Rate
	// Admission counts the connections of [Server.Serve]. It is the same in all
	// configs of a server. Nil is a counter without limits.
	Admission *admission.Counter
	// StanzaLimit and UnauthedStanzaLimit are in bytes (Prosody's
	// c2s_stanza_size_limit and its limit before authentication).
	StanzaLimit         int
	UnauthedStanzaLimit int
	// TCPKeepalives makes the system probe connections that are idle
	// (c2s_tcp_keepalives).
	TCPKeepalives bool
	// Version is what XEP-0092 tells.
	Version string
	Logger  *slog.Logger
	// Observer may be nil.
	Observer Observer
}
