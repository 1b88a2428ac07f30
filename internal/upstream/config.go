package upstream

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"
)

// Address is where a server listens.
type Address struct {
	Network string // "tcp" or "unix"
	Addr    string // "host:port", or the path of the socket
}

func (a Address) String() string {
	if a.Network == "unix" {
		return "unix:" + a.Addr
	}
	return a.Addr
}

// Mode is how a leg is encrypted. The values are those of gatehouse_upstream_tls.
type Mode string

// Auto is None where the connection ends on this machine (loopback, a unix
// socket), and StartTLS elsewhere.
const (
	Auto      Mode = ""
	None      Mode = "none"
	StartTLS  Mode = "starttls" // RFC 6120 §5
	DirectTLS Mode = "direct"   // XEP-0368
)

// The mechanisms that a [Credential] may be for.
const (
	Plain    = "PLAIN"    // RFC 4616
	XToken   = "X-TOKEN"  // mod_sasl_token: a message like PLAIN's
	External = "EXTERNAL" // RFC 4422 appendix A, XEP-0178
)

// Credential is what the upstream shall know the user by.
type Credential struct {
	Mechanism string
	// Secret is the password, ticket or token, for Plain and XToken. It holds
	// no NUL.
	Secret string
	// Certificate is the client's, for External.
	Certificate *tls.Certificate
}

// Config is how one host's logins reach the server behind. It must not change
// once [New] has it.
type Config struct {
	// Addresses are one or more, in the order of preference.
	Addresses []Address
	Mode      Mode
	// TLS has the authorities and, in ServerName, the name (ASCII) to verify.
	// It may be nil where Mode is None. A copy of it is used, with TLS 1.2 at
	// least, a session cache and the ALPN of XEP-0368.
	TLS *tls.Config
	// AllowUnencrypted lets secrets cross unencrypted links to other machines.
	AllowUnencrypted bool
	// Timeout is for the whole of [Upstream.Open].
	Timeout time.Duration
	// ProxyProtocol is the version of the PROXY header (1 or 2) that goes first,
	// 0 for none.
	ProxyProtocol int
	// Credentials makes what one try to log in sends. It is called once the
	// connection stands and before TLS begins, so that a ticket is as fresh as
	// can be; each further try asks for another. It must not block. Its errors
	// are in those of Open and must hold no secret. password is what Open was given.
	Credentials func(ctx context.Context, user, host, password string) (Credential, error)
	// Logger may be nil.
	Logger *slog.Logger
}

// tlsConfig returns what all legs share.
func (c *Config) tlsConfig() *tls.Config {
	if c.TLS == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t := c.TLS.Clone()
	t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
	if t.ClientSessionCache == nil {
		t.ClientSessionCache = tls.NewLRUClientSessionCache(2 * len(c.Addresses))
	}
	if c.Mode == DirectTLS && t.NextProtos == nil {
		t.NextProtos = []string{"xmpp-client"}
	}
	return t
}

// onThisMachine reports whether a connection with that other end never leaves
// the machine.
func onThisMachine(remote net.Addr) bool {
	switch remote := remote.(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return remote.IP.IsLoopback()
	}
	return false
}
