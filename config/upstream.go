package config

import (
	"crypto/x509"
	"log/slog"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// Upstream says which server behind gatehouse gets a host's clients once they have logged in, and how it is told who they
// are. It holds for all of its addresses.
type Upstream struct {
	// Addresses are where the server is, in the order in which they are tried; never empty (gatehouse_upstream).
	Addresses []UpstreamAddr
	// Auth is one of the UpstreamAuth constants (gatehouse_upstream_auth, ticket).
	Auth string
	// TLS is one of the UpstreamTLS constants (gatehouse_upstream_tls). By default it is none when all addresses are on this
	// machine and Auth needs no certificate, else STARTTLS.
	TLS string
	// TLSName is the name that the server's certificate must have, in ASCII, or an IP address (gatehouse_upstream_tls_name,
	// the name of the host).
	TLSName string
	// Trust are the authorities that may sign that certificate, and TrustFile where they were read, an absolute path
	// (gatehouse_upstream_trust); nil and empty for those of the system.
	Trust     *x509.CertPool
	TrustFile string
	// AllowUnencrypted lets TLS be none to another machine (gatehouse_upstream_allow_unencrypted, false).
	AllowUnencrypted bool
	// Timeout is for all that comes before the client's login succeeds: connecting, TLS, logging in there
	// (gatehouse_upstream_timeout, 5 s).
	Timeout time.Duration
	// ProxyProtocol is the version of the header that tells the client's address, 1 or 2, or 0 for none
	// (gatehouse_upstream_proxy_protocol).
	ProxyProtocol int
	// Token are the keys to mint tokens with, the first of each (gatehouse_upstream_token_secret,
	// gatehouse_upstream_otp_seed); nil unless Auth is UpstreamAuthToken.
	Token *Token
	// CA signs the client certificates (gatehouse_upstream_ca); nil unless Auth is UpstreamAuthExternal.
	CA *Certificate
	// Pos is where gatehouse_upstream was set.
	Pos Pos
}

// UpstreamAddr is one address of the server behind.
type UpstreamAddr struct {
	// Network is "tcp" or "unix".
	Network string
	// Addr is host:port with an IP address or a name in ASCII, which is not looked up yet; or the absolute path of a socket.
	Addr string
}

// The values of Upstream.Auth.
const (
	// UpstreamAuthTicket is PLAIN with a password for one use, about which the server asks gatehouse.
	UpstreamAuthTicket = "ticket"
	// UpstreamAuthToken is X-TOKEN with a token that gatehouse mints.
	UpstreamAuthToken = "token"
	// UpstreamAuthExternal is EXTERNAL with a client certificate that gatehouse signs.
	UpstreamAuthExternal = "external"
	// UpstreamAuthPassword is PLAIN with the password of the client.
	UpstreamAuthPassword = "password"
)

// The values of Upstream.TLS.
const (
	UpstreamTLSNone     = "none"
	UpstreamTLSStartTLS = "starttls"
	UpstreamTLSDirect   = "direct"
)

// Equal says whether two are the same servers, reached and told in the same way; nil is none. Where that was set does not
// count, nor do the names of files with the same content.
func (u *Upstream) Equal(o *Upstream) bool {
	if u == nil || o == nil {
		return u == o
	}
	return slices.Equal(u.Addresses, o.Addresses) && u.Auth == o.Auth && u.TLS == o.TLS && u.TLSName == o.TLSName &&
		u.Trust.Equal(o.Trust) && u.AllowUnencrypted == o.AllowUnencrypted && u.Timeout == o.Timeout &&
		u.ProxyProtocol == o.ProxyProtocol && u.Token.equal(o.Token) && u.CA.equal(o.CA)
}

// LogValue keeps the keys out of logs.
func (u *Upstream) LogValue() slog.Value {
	return slog.GroupValue(slog.Any("addresses", u.Addresses), slog.String("auth", u.Auth), slog.String("tls", u.TLS))
}

// upstream reads where a host's clients go after the login; nil when gatehouse keeps them.
func (s section) upstream(host *Host) *Upstream {
	addresses, wanted := s.upstreamAddresses()
	if !wanted {
		s.upstreamLeftOver()
		return nil
	}
	u := &Upstream{
		Addresses: addresses,
		Auth: s.enum("gatehouse_upstream_auth", UpstreamAuthTicket,
			UpstreamAuthTicket, UpstreamAuthToken, UpstreamAuthExternal, UpstreamAuthPassword),
		AllowUnencrypted: s.bool("gatehouse_upstream_allow_unencrypted", false),
		Timeout:          s.seconds("gatehouse_upstream_timeout", 5*time.Second),
		ProxyProtocol:    s.proxyProtocol(),
		Pos:              s.pos("gatehouse_upstream"),
	}
	s.upstreamTLS(u)
	switch u.Auth {
	case UpstreamAuthToken:
		u.Token = &Token{
			Secrets: s.secrets("gatehouse_upstream_token_secret"),
			Seeds:   s.seeds("gatehouse_upstream_otp_seed"),
		}
	case UpstreamAuthExternal:
		u.CA = s.upstreamCA()
	case UpstreamAuthPassword:
		s.upstreamPassword(host)
	}
	return u
}

// upstreamLeftOver warns of a host's own settings for a server that there is none of.
func (s section) upstreamLeftOver() {
	h := s.eval.Host(s.host)
	if s.has("gatehouse_upstream") || h == nil {
		return
	}
	for _, o := range Options {
		if _, own := h.Options[o.Name]; own && strings.HasPrefix(o.Name, "gatehouse_upstream_") {
			s.warn(o.Name, "does nothing without gatehouse_upstream, which names the server behind")
		}
	}
}

// upstreamTLS reads how the way to the server is secured.
func (s section) upstreamTLS(u *Upstream) {
	const name = "gatehouse_upstream_tls"
	elsewhere := ""
	for _, at := range u.Addresses {
		if !at.local() {
			elsewhere = at.Addr
			break
		}
	}
	otherwise := UpstreamTLSNone
	if elsewhere != "" || u.Auth == UpstreamAuthExternal {
		otherwise = UpstreamTLSStartTLS
	}
	u.TLS = s.enum(name, otherwise, UpstreamTLSNone, UpstreamTLSStartTLS, UpstreamTLSDirect)
	u.TLSName = s.upstreamTLSName()
	s.upstreamTrust(u)
	if u.TLS != UpstreamTLSNone {
		return
	}
	for _, unused := range []string{"gatehouse_upstream_tls_name", "gatehouse_upstream_trust"} {
		if s.has(unused) {
			s.warn(unused, `does nothing while %s is "none"`, name)
		}
	}
	switch {
	case u.Auth == UpstreamAuthExternal:
		s.problem(name, `is "none", and there is no certificate to know gatehouse by without TLS: `+
			`gatehouse_upstream_auth = "external" needs "starttls" or "direct"`)
	case elsewhere != "" && !u.AllowUnencrypted:
		s.problem(name, `is "none", but %s is not on this machine: whoever is on the way could read messages and come in as anybody; `+
			`use "starttls" or "direct", or, on a network that nobody else is in, gatehouse_upstream_allow_unencrypted = true`, elsewhere)
	}
}

func (s section) upstreamTLSName() string {
	const name = "gatehouse_upstream_tls_name"
	text := s.string(name, s.host)
	ascii, err := idna.ToASCII(strings.ToLower(text))
	if s.has(name) && (err != nil || !hostName(ascii)) {
		s.problem(name, "want the name in the server's certificate, got %q", clip(text))
	}
	return ascii
}

// upstreamTrust reads the authorities that the server's certificate may be from.
func (s section) upstreamTrust(u *Upstream) {
	const name = "gatehouse_upstream_trust"
	file := s.string(name, "")
	switch {
	case file == "" && s.has(name):
		s.problem(name, "want a file with certificates in PEM")
		return
	case file == "":
		return
	}
	u.TrustFile = s.resolve(file)
	s.sources.file(u.TrustFile)
	data, err := readPEM(u.TrustFile)
	if err != nil {
		s.problem(name, "%v", err)
		return
	}
	u.Trust = x509.NewCertPool()
	if !u.Trust.AppendCertsFromPEM(data) {
		s.problem(name, "%s: no certificate in it, in PEM (-----BEGIN CERTIFICATE-----)", u.TrustFile)
	}
}

// upstreamCA reads the authority that signs a certificate for each login.
func (s section) upstreamCA() *Certificate {
	const name = "gatehouse_upstream_ca"
	o, ok := s.lookup(name)
	if !ok {
		s.problem(name, `is missing; gatehouse_upstream_auth = "external" signs certificates with it: { certificate = "ca.crt", key = "ca.key" }`)
		return nil
	}
	cert, key := o.Value.Map["certificate"], o.Value.Map["key"]
	if cert.Kind != luaconf.String || key.Kind != luaconf.String {
		s.problem(name, `want a table with two files, { certificate = "ca.crt", key = "ca.key" }, got %s`, describe(name, o.Value))
		return nil
	}
	ca, err := s.certificate(certFile{s.resolve(cert.Str), s.resolve(key.Str)})
	if err != nil {
		s.problem(name, "%v", err)
		return nil
	}
	ca.Pos = o.Pos
	leaf, now := ca.TLS.Leaf, time.Now()
	switch {
	case !leaf.IsCA || leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageCertSign == 0:
		s.problem(name, "%s may not sign certificates: it is none of an authority (CA:TRUE, keyCertSign)", ca.CertFile)
	case now.After(leaf.NotAfter):
		s.warn(name, "%s expired on %s, so that the server will refuse what it signs", ca.CertFile, leaf.NotAfter.Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		s.warn(name, "%s is not valid before %s, so that the server will refuse what it signs", ca.CertFile, leaf.NotBefore.Format(time.DateOnly))
	}
	return &ca
}

// upstreamPassword checks that there are passwords to pass on.
func (s section) upstreamPassword(host *Host) {
	const name = "gatehouse_upstream_auth"
	switch {
	case !host.ScriptPasswords || !host.OfferPlain:
		s.problem(name, `"password" passes on the password that a client logs in with, and this host asks for none; use "ticket"`)
	case host.OfferToken:
		s.warn(name, `"password" has nothing to pass on for a client that logs in by X-TOKEN, which fails; use "ticket", or disable_sasl_mechanisms = { "X-TOKEN" }`)
	case host.Token != nil && host.Token.InPlain:
		s.warn(name, `"password" has nothing to pass on for a client that logs in by a token (gatehouse_token_in_plain), which fails; use "ticket"`)
	}
}

// proxyProtocol reads the version of the PROXY protocol to speak; 0 is none.
func (s section) proxyProtocol() int {
	const name, want = "gatehouse_upstream_proxy_protocol", "false, 1 or 2"
	v, ok := s.scalar(name, want)
	if !ok || v.Kind == luaconf.Bool && !v.Bool || v.Str == "false" {
		return 0
	}
	n, ok := asNumber(v)
	if !ok || n != 1 && n != 2 {
		s.problem(name, "want %s, got %s", want, describe(name, v))
		return 0
	}
	return int(n)
}

// checkUpstreams finds what is wrong between the hosts' upstreams and the rest of the config.
func (l *loader) checkUpstreams(c *Config) {
	asked := c.ExtauthSocket != nil || c.AuthAPI != nil && len(c.Admin) > 0
	for _, h := range c.Hosts {
		if h.Upstream == nil {
			continue
		}
		s := section{l, h.Name}
		for _, at := range h.Upstream.Addresses {
			if own, ok := ownPort(c.Listeners, at); ok {
				s.problem("gatehouse_upstream", "%s is a port of gatehouse itself (%s), so that a client would go round in circles; "+
					"give the server behind a port of its own, such as 127.0.0.1:15222", at.Addr, own.Option)
			}
		}
		if h.Upstream.Auth == UpstreamAuthTicket && !asked {
			s.warn("gatehouse_upstream", "the server behind has no way to ask gatehouse about tickets, so that it will refuse every login; "+
				"set gatehouse_extauth_socket, or gatehouse_admin with gatehouse_auth_api_user and gatehouse_auth_api_password")
		}
	}
}
