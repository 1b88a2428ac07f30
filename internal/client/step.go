package client

import (
	"crypto/x509"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Step is something that happened during a login: one of the types below. All
// texts in it are printable.
type Step interface{ step() }

// Target is a place to connect to.
type Target struct {
	Address   string // host:port
	DirectTLS bool   // TLS handshake first
}

// Found says where DNS says that the server is.
type Found struct {
	// Targets are in the order in which they will be tried.
	Targets []Target
	// SRV says that they come from SRV records, and not from the host's name.
	SRV bool
	// Err is why the records could not be had; nil when there are just none.
	Err error
}

// Unreachable says that a target did not take the connection.
type Unreachable struct {
	Target Target
	Err    error
}

// Connected says that a TCP connection stands.
type Connected struct {
	Target Target
	Remote net.Addr
	Took   time.Duration
}

// Opened is the server's stream header and what it offers after it.
type Opened struct {
	From       string
	Encrypted  bool // the stream is behind TLS
	LoggedIn   bool // the stream is the one after authentication
	StartTLS   bool
	Required   bool     // STARTTLS is
	Mechanisms []string // as offered
	Bindings   []string // channel bindings the server knows (XEP-0440)
	Others     []string // names of other features, or their namespaces
}

// Encrypted is the outcome of a TLS handshake. If Accepted is false the login
// ends here.
type Encrypted struct {
	Version  string // "TLS 1.3"
	Cipher   string
	Exchange string // key exchange; may be empty
	ALPN     string

	Names       []string // of the certificate
	Issuer      string
	SelfSigned  bool
	Expires     time.Time
	Fingerprint string // SHA-256, 64 hexadecimal digits
	Key         string // kind of key

	Accepted bool
	// By says how the certificate was verified: TrustRoots, TrustFingerprint;
	// empty when it was not.
	By Trust
	// Err is why the certificate is not to be trusted; nil if it is.
	Err error

	Took time.Duration
}

// Trust is a way to verify a certificate.
type Trust string

// The ways to verify a certificate.
const (
	TrustRoots       Trust = "authority"
	TrustFingerprint Trust = "fingerprint"
)

// Authenticating says which mechanism was chosen.
type Authenticating struct {
	Mechanism string
	// Binding is the channel binding type, empty without.
	Binding string
	// Wanted says that the caller asked for the mechanism.
	Wanted bool
}

// Authenticated says that the server let us in, and how long it took to decide.
type Authenticated struct{ Took time.Duration }

// Bound says under which full JID.
type Bound struct{ JID string }

// Pinged says that the server answered a ping. Condition is the error that it
// answered with, empty if it knows pings.
type Pinged struct {
	Took      time.Duration
	Condition string
}

// Closed says that the stream has ended; Err is nil when both sides said so.
type Closed struct{ Err error }

// XML is what went over the line, with secrets blanked.
type XML struct {
	Sent bool
	Text string
}

func (Found) step()          {}
func (Unreachable) step()    {}
func (Connected) step()      {}
func (Opened) step()         {}
func (Encrypted) step()      {}
func (Authenticating) step() {}
func (Authenticated) step()  {}
func (Bound) step()          {}
func (Pinged) step()         {}
func (Closed) step()         {}
func (XML) step()            {}

// maxShown is how much of a server's text is shown, in characters.
const maxShown = 300

// printable makes a stranger's text fit for a terminal and a log: what does not
// print, as terminals' escapes and marks that turn the writing direction, is
// shown as its code, and what is too long is cut.
func printable(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > maxShown {
			b.WriteString("…")
			break
		}
		if !strconv.IsPrint(r) {
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func printableAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = printable(s)
	}
	return out
}

// certificateNames are the names a certificate is for.
func certificateNames(c *x509.Certificate) []string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 && c.Subject.CommonName != "" {
		names = append(names, c.Subject.CommonName+" (common name only)")
	}
	return printableAll(names)
}

// safeError is an error whose text is fit for a terminal.
type safeError struct{ err error }

func (e safeError) Error() string { return plain(e.err) }
func (e safeError) Unwrap() error { return e.err }

func safe(err error) error {
	if err == nil {
		return nil
	}
	return safeError{err}
}

// plain is an error in as few words as say all: without the addresses and the
// system calls that package net puts before it, and without what crypto/x509
// tells its developers.
func plain(err error) string {
	switch e := err.(type) {
	case *net.OpError:
		if e.Op == remoteAlert {
			return "the server says " + plain(e.Err)
		}
		return plain(e.Err)
	case *os.SyscallError:
		return plain(e.Err)
	case *net.DNSError:
		if e.IsNotFound {
			return "there is no host of the name " + printable(e.Name)
		}
	case x509.UnknownAuthorityError:
		return "no authority that is trusted here has signed it"
	}
	return printable(err.Error())
}
