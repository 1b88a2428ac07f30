package client

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"gatehouse.im/gatehouse/saslmech"
)

// ErrOptions is wrapped by every error about the caller's own wishes. Nothing
// has been sent then.
var ErrOptions = errors.New("cannot log in like this")

// Options say who logs in, where, and what to insist on. User, Host and Secret
// are required.
type Options struct {
	// User is the local part of the JID and Host its domain, as in RFC 7622;
	// see ParseJID. Login prepares both (nodeprep, nameprep).
	User, Host string
	// Secret is the password, or the token for X-TOKEN.
	Secret saslmech.Secret
	// Resource is what to bind; empty lets the server choose.
	Resource string

	// Address is host:port, or a host alone, to connect to instead of what
	// DNS says. The certificate has to be that of Host all the same.
	Address string
	// DirectTLS begins with the TLS handshake (XEP-0368) instead of STARTTLS.
	DirectTLS bool
	// Clear sends everything, the secret included, without TLS.
	Clear bool

	// Roots are the authorities to trust; nil means those of the system.
	Roots *x509.CertPool
	// Fingerprint is the SHA-256 of the server's certificate in hexadecimal,
	// with or without colons. It replaces every other check.
	Fingerprint string
	// Insecure goes on whatever the certificate is.
	Insecure bool

	// Mechanism is the SASL mechanism to use, one of Mechanisms; empty means
	// the strongest that both sides know.
	Mechanism string

	// Trace is called with each step, in the goroutine of Login; it may be nil.
	Trace func(Step)
	// Resolver looks up SRV records; nil means net.DefaultResolver.
	Resolver Resolver
}

// ParseJID cuts user@host or user@host/resource apart. The error wraps
// ErrOptions.
func ParseJID(s string) (user, host, resource string, err error) {
	bare, resource, _ := strings.Cut(s, "/")
	user, host, found := strings.Cut(bare, "@")
	if !found || user == "" || host == "" {
		return "", "", "", fmt.Errorf("%w: want USER@HOST, got %q", ErrOptions, s)
	}
	return user, host, resource, nil
}

// check prepares the names and returns what is wrong with the rest, wrapped in
// ErrOptions.
func (o *Options) check() (err error) {
	if o.User, err = saslmech.Nodeprep(o.User); err != nil || o.User == "" {
		return fmt.Errorf("%w: no such user name is possible in XMPP", ErrOptions)
	}
	if o.Host, err = saslmech.Nameprep(strings.TrimSuffix(o.Host, ".")); err != nil || o.Host == "" {
		return fmt.Errorf("%w: no such host name is possible in XMPP", ErrOptions)
	}
	if _, err = saslmech.Resourceprep(o.Resource); err != nil {
		return fmt.Errorf("%w: no such resource is possible in XMPP", ErrOptions)
	}
	if len(o.Secret.Bytes()) == 0 {
		return fmt.Errorf("%w: the password or token is empty", ErrOptions)
	}
	if strings.IndexByte(string(o.Secret.Bytes()), 0) >= 0 {
		return fmt.Errorf("%w: the password or token holds a NUL", ErrOptions)
	}
	if o.Clear && o.DirectTLS {
		return fmt.Errorf("%w: direct TLS and no TLS contradict each other", ErrOptions)
	}
	if o.Fingerprint != "" {
		if _, err := parseFingerprint(o.Fingerprint); err != nil {
			return err
		}
	}
	if o.Mechanism != "" && findMechanism(o.Mechanism) == nil {
		return fmt.Errorf("%w: mechanism %q is none of %s", ErrOptions, o.Mechanism, strings.Join(Mechanisms(), ", "))
	}
	_, err = o.target()
	return err
}

// target is what Address names; the zero target when it is empty.
func (o *Options) target() (Target, error) {
	if o.Address == "" {
		return Target{}, nil
	}
	host, port, err := net.SplitHostPort(o.Address)
	if err != nil {
		host, port = strings.Trim(o.Address, "[]"), o.defaultPort()
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return Target{}, fmt.Errorf("%w: want HOST:PORT, got %q", ErrOptions, o.Address)
	}
	return Target{Address: net.JoinHostPort(host, port), DirectTLS: o.DirectTLS}, nil
}

func (o *Options) defaultPort() string {
	if o.DirectTLS {
		return "5223"
	}
	return "5222"
}

func parseFingerprint(s string) ([]byte, error) {
	sum, err := hex.DecodeString(strings.NewReplacer(":", "", " ", "").Replace(s))
	if err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("%w: a SHA-256 fingerprint has 64 hexadecimal digits", ErrOptions)
	}
	return sum, nil
}
