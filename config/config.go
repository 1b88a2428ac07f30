package config

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// Pos is a place in a config file. Its String is "file:line". The zero Pos means that the value is a default.
type Pos = luaconf.Pos

// Config is what one config file says, checked and complete. Nobody changes it once Load has returned it, so it may be
// shared freely between goroutines.
type Config struct {
	// Path is the absolute path of the file that was loaded.
	Path string
	// Files are the absolute paths of everything that was read for the settings, Path first: included files, scripts,
	// files read by FileLine and its kin. Certificates and keys are not among them.
	Files []string
	// Sources are what to watch for a newer config: Files, and certificates, keys and scripts beside them.
	Sources Sources

	// DataDir is where gatehouse keeps what must survive a restart (gatehouse_data_dir), as an absolute path. Load
	// does not make it.
	DataDir string
	// CertificatesDir is where certificates were looked for (certificates), as an absolute path.
	CertificatesDir string
	// SelfSigned says that a host without a certificate gets one that gatehouse signs itself (gatehouse_self_signed).
	SelfSigned bool
	// Log says where log lines go (gatehouse_log, else log); never empty. Standard error at info by default, at debug with
	// debug = true.
	Log []LogSink
	// LogLevel is the lowest level that any of Log takes.
	LogLevel slog.Level
	// LogFormat is one of the LogFormat constants, or empty: whatever suits standard error (gatehouse_log_format).
	LogFormat string

	// Admin are the addresses of the metrics and the status page (gatehouse_admin); none by default.
	Admin []AdminAddr
	// AuthAPI says who may ask about passwords and tickets over HTTP on Admin, under /auth/ (gatehouse_auth_api_user,
	// gatehouse_auth_api_password); nil when nobody may.
	AuthAPI *AuthAPI
	// ExtauthSocket is the unix socket where `gatehouse extauth` asks the same (gatehouse_extauth_socket); nil without it.
	ExtauthSocket *AdminAddr
	// State is the Redis that several fronts share (gatehouse_state); nil for a memory of used tokens in DataDir, and tickets
	// in this process.
	State *State
	// ShutdownTimeout is how long the end of the daemon may take (gatehouse_shutdown_timeout, 10 s).
	ShutdownTimeout time.Duration

	// Guard is what keeps people from guessing passwords, at the hosts that have it (Host.Guard).
	Guard Guard

	// Listeners are the client ports, WebSocket's among them, in the order of the options; never empty, and no address occurs twice.
	Listeners []Listener
	// Certificates serve direct TLS connections whose SNI names no host of ours (c2s_direct_tls_ssl, ssl); empty
	// where the file names none. ECDSA comes first.
	Certificates []Certificate
	// MinTLS is the lowest version for those connections, tls.VersionTLS12 or tls.VersionTLS13.
	MinTLS uint16
	// ProxyProtocolFrom are the load balancers whose connections begin with a PROXY protocol header, which tells where the
	// client is; of nobody else is one taken (gatehouse_proxy_protocol_from). IPv4 networks are of IPv4.
	ProxyProtocolFrom []netip.Prefix
	// WebSocket is what counts for those Listeners that are for WebSocket.
	WebSocket WebSocket

	// LoginTimeout is how long a client may take from the accept to the end of its login (c2s_timeout, 30 s here; the
	// default of Prosody is 300 s).
	LoginTimeout time.Duration
	// UnauthedStanzaLimit is the size in bytes of the largest element a client may send before it has logged in
	// (c2s_unauthed_stanza_size_limit, 10000).
	UnauthedStanzaLimit int
	// StanzaLimit is the same after the login (c2s_stanza_size_limit, 262144).
	StanzaLimit int
	// Limits are how many clients there may be, and how fast they may send.
	Limits Limits
	// TCPKeepalives says whether the system probes idle connections (c2s_tcp_keepalives, true).
	TCPKeepalives bool

	// Hosts are the virtual hosts that gatehouse serves, in the order of the file. A file of Prosody's may have none for
	// gatehouse, which is a warning.
	Hosts []*Host
	// Skipped are the hosts and components that it leaves to Prosody, and why.
	Skipped []SkippedHost

	eval *luaconf.Result
}

// Listener is one address to accept clients on.
type Listener struct {
	// Addr is host:port as net.Listen takes it. The host is an IP address, or empty for every interface of one family.
	Addr string
	// Network is "tcp4" or "tcp6": each wildcard is of one family, as in Prosody.
	Network string
	// DirectTLS says that the TLS handshake comes first; otherwise STARTTLS is offered, and on a WebSocket port there is no
	// TLS.
	DirectTLS bool
	// WebSocket says that clients speak HTTP here, and XMPP over WebSocket (RFC 7395).
	WebSocket bool
	// Optional says that a failure to listen is no more than a warning: the address is a default ("::" on a machine
	// without IPv6), not something that the file asks for.
	Optional bool
	// Option is the option that names the port, and Pos where it was set.
	Option string
	Pos    Pos
}

// Host is one virtual host that gatehouse serves.
type Host struct {
	// Name is the domain as Prosody prepares it (nameprep): Unicode, lower case.
	Name string
	// Pos is where the host was declared.
	Pos Pos

	// OfferPlain and OfferToken say which mechanisms the host has: PLAIN, X-TOKEN. At least one of them is true.
	// (disable_sasl_mechanisms may take either away.)
	OfferPlain bool
	OfferToken bool
	// ScriptPasswords says that External judges passwords. It is false with authentication = "token": then a PLAIN
	// password is nothing but a token (Token.InPlain).
	ScriptPasswords bool
	// External asks the script; nil without one. It is never nil when ScriptPasswords is true; when that is false it
	// serves Token.CheckUser only.
	External *ExternalAuth
	// Token judges tokens; nil when the host has none. It is never nil when OfferToken is true.
	Token *Token

	// RequireEncryption says that nothing but STARTTLS is possible before TLS (c2s_require_encryption, true).
	RequireEncryption bool
	// AllowUnencryptedPlain lets passwords and tokens pass without TLS (allow_unencrypted_plain_auth, false).
	AllowUnencryptedPlain bool
	// AllowRegistration says that in-band registration is answered at all (allow_registration, false).
	AllowRegistration bool
	// ConflictResolve is what happens when a resource is taken: one of the Conflict constants (conflict_resolve).
	ConflictResolve string

	// Guard says that logins are refused without asking after too many failed ones (gatehouse_guard, true).
	Guard bool

	// WebSocketURL is where host-meta (XEP-0156) sends clients that want a WebSocket; empty for what the request says
	// (gatehouse_websocket_url).
	WebSocketURL string
	// Credentials say which web application gets tokens for the host's users, and where; nil for none
	// (gatehouse_credentials).
	Credentials *Credentials

	// Upstream is the server that gets the clients after the login (gatehouse_upstream); nil when gatehouse serves their
	// session itself.
	Upstream *Upstream

	// Certificates are the host's own, ECDSA first, then RSA; empty when none was found.
	Certificates []Certificate
	// MinTLS is tls.VersionTLS12 or tls.VersionTLS13 (`protocol` of the ssl tables, tls_profile).
	MinTLS uint16
}

// The values of Host.ConflictResolve.
const (
	ConflictKickOld   = "kick_old"
	ConflictKickNew   = "kick_new"
	ConflictIncrement = "increment"
	ConflictRandom    = "random"
)

// The values of ExternalAuth.Protocol.
const (
	ProtocolGeneric  = "generic"
	ProtocolEjabberd = "ejabberd"
)

// ExternalAuth says how a host asks its script.
type ExternalAuth struct {
	// Command is the program as an absolute path, and its arguments (external_auth_command).
	Command []string
	// Scripts are those of the arguments, as absolute paths, that name a script which the program runs: it has the name of
	// one (.py, .php...) or begins with #!. Other files are data, which may change all the time.
	Scripts []string
	// Protocol is ProtocolGeneric or ProtocolEjabberd (external_auth_protocol, generic).
	Protocol string
	// Timeout is for one query, waiting for a worker included (external_auth_timeout, 5 s).
	Timeout time.Duration
	// StartTimeout is the grace of a worker's first answer (gatehouse_external_auth_start_timeout, 30 s).
	StartTimeout time.Duration
	// Processes is the number of workers; 1 when Blocking (external_auth_processes, 1).
	Processes int
	// Blocking asks for one query at a time (external_auth_blocking, false).
	Blocking bool
	// PTY says whether the script gets a pseudo-terminal (gatehouse_external_auth_pty; true for generic, false for
	// ejabberd, which cannot have one).
	PTY bool
	// Queue is how many queries may wait for a worker (gatehouse_external_auth_queue, 1000).
	Queue int
	// Cache is nil unless verdicts are remembered (gatehouse_auth_cache, false).
	Cache *AuthCache
	// Pos is where external_auth_command was set.
	Pos Pos
}

// Token says how a host judges tokens.
type Token struct {
	// Secrets are the HMAC keys, newest first, as raw bytes (token_secret).
	Secrets [][]byte
	// Seeds are the decoded TOTP keys, newest first (otp_seed).
	Seeds [][]byte
	// CheckUser asks the script's isuser after a good token (gatehouse_token_check_user, false).
	CheckUser bool
	// InPlain lets a PLAIN password of token shape be judged as a token (gatehouse_token_in_plain, false).
	InPlain bool
}

// LogValue keeps the keys out of logs.
func (t *Token) LogValue() slog.Value {
	return slog.GroupValue(slog.Int("secrets", len(t.Secrets)), slog.Int("seeds", len(t.Seeds)),
		slog.Bool("check_user", t.CheckUser), slog.Bool("in_plain", t.InPlain))
}

// equal compares keys and what they are for; nil is none.
func (t *Token) equal(o *Token) bool {
	if t == nil || o == nil {
		return t == o
	}
	return slices.EqualFunc(t.Secrets, o.Secrets, bytes.Equal) && slices.EqualFunc(t.Seeds, o.Seeds, bytes.Equal) &&
		t.CheckUser == o.CheckUser && t.InPlain == o.InPlain
}

// Certificate is a certificate chain with its key, loaded and found to match each other.
type Certificate struct {
	CertFile string
	KeyFile  string
	// Pos is the option that names the file; the zero Pos when it was found in the certificates directory.
	Pos Pos
	// TLS has its Leaf set.
	TLS tls.Certificate
}

// equal compares the chains, whatever files they are from; nil is none.
func (c *Certificate) equal(o *Certificate) bool {
	if c == nil || o == nil {
		return c == o
	}
	return sameChain(*c, *o)
}

// SkippedHost is a host or component that the file declares and gatehouse does not serve.
type SkippedHost struct {
	Name string
	Why  string
	Pos  Pos
}

// Pos is where the option was set that a host has, by itself or from the global section; the host "*" stands for the latter.
// It is the zero Pos where the option was not set.
func (c *Config) Pos(host, option string) Pos {
	o, _ := c.eval.Get(host, option)
	return o.Pos
}

// Host returns the host of this prepared name, or nil.
func (c *Config) Host(name string) *Host {
	for _, h := range c.Hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}
