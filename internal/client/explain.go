package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// authAdvice is what to do about a SASL failure (RFC 6120 §6.5).
var authAdvice = map[string]string{
	"not-authorized": "The server says that this user does not exist or that the password or token is wrong. " +
		"If it asks a script, `gatehouse check --query` shows what the script answers.",
	"account-disabled":    "The account exists but is switched off. Ask whoever runs the server.",
	"credentials-expired": "The password or token was right once and has run out. Set a new password, or mint a new token.",
	"invalid-authzid":     "The server does not let this user act under that JID.",
	"temporary-auth-failure": "The server could not check, so this says nothing about the password. Look at the server's log; " +
		"if it asks a script, `gatehouse check --query` shows what the script does.",
	"encryption-required": "The server wants TLS before a login, and this stream had none. Leave out the option that sends in the clear.",
	"invalid-mechanism":   "The server does not know the mechanism for this host. See the list that it offers, and choose with --mechanism.",
	"mechanism-too-weak":  "The server wants a stronger mechanism for this user. Choose another of those that it offers with --mechanism.",
	"incorrect-encoding":  "The server could not read the message's base64, which points to a fault in the server or on the way.",
	"malformed-request": "The server could not read the message. A user name or password with characters that XMPP does not allow does this; " +
		"with a mechanism in -PLUS, also a server that binds to TLS in another way: try one without -PLUS.",
	"aborted": "The server broke off the exchange. Look at its log.",
}

// streamAdvice is what to do about a stream error (RFC 6120 §4.9.3).
var streamAdvice = map[string]string{
	"host-unknown":             "The server does not serve this host. Is the domain spelled as in its config, and is this the right server?",
	"host-gone":                "The server no longer serves this host.",
	"improper-addressing":      "The server does not accept the host name as it was sent.",
	"see-other-host":           "The server sends its clients elsewhere. Try that address with --connect.",
	"connection-timeout":       "The server grew tired of waiting.",
	"policy-violation":         "The server has a rule against this: too many attempts, too many connections, or too much data.",
	"resource-constraint":      "The server is too busy. Try again later.",
	"system-shutdown":          "The server is going down. Try again in a moment.",
	"reset":                    "The server wants the login to be done anew.",
	"internal-server-error":    "The server has a fault. Look at its log.",
	"not-authorized":           "The server ended the stream for want of a login.",
	"unsupported-feature":      "The server insists on something that is not known here.",
	"unsupported-version":      "The server does not speak XMPP 1.0.",
	"unsupported-stanza-type":  "The server did not understand a message of ours.",
	"remote-connection-failed": "The server could not reach what it needs for this login. Look at its log.",
}

// Explain says in a sentence or two what an error of Login or Session means and
// what to do next. It is empty where there is nothing to add.
func Explain(err error) string {
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	switch {
	case e.StreamError:
		return streamAdvice[e.Condition]
	case isVerdict(e.Condition) && e.Stage == StageAuthenticate && !e.Refused:
		return "The server has not said that it can bind to this TLS, so this may say nothing about the password. Try a mechanism without -PLUS."
	case e.Condition != "" && e.Stage == StageAuthenticate:
		return authAdvice[e.Condition]
	case e.Condition != "" && e.Stage == StageBind:
		return "The login itself went well. Another resource, with --resource, may work."
	}
	if advice := explainCause(e.Err); advice != "" {
		return advice
	}
	switch closed := isClosed(e.Err); {
	case closed && e.Stage == StageOpen && e.Mechanism == "":
		return "The server closed the connection before it had said what it offers. If the port is one for direct TLS, use --direct-tls."
	case closed:
		return "The server closed the connection without saying why. Look at its log."
	}
	return ""
}

func isClosed(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

// remoteAlert is the Op of the *net.OpError in which crypto/tls reports an alert
// of the other side.
const remoteAlert = "remote error"

// explainCause knows the faults that are not the server's words.
func explainCause(err error) string {
	var (
		noMechanism *NoMechanismError
		dns         *net.DNSError
		record      tls.RecordHeaderError
		op          *net.OpError
		hostname    x509.HostnameError
		authority   x509.UnknownAuthorityError
		invalid     x509.CertificateInvalidError
		certificate *certificateError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return ""
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "The time ran out. A firewall that drops packets looks like this, or a server that hangs; --timeout allows more."
	case errors.As(err, &noMechanism) && len(noMechanism.Offered) == 0:
		return "The host has no way to log in on this stream. Servers hide theirs until the stream is encrypted, or when nothing is configured for the host."
	case errors.As(err, &noMechanism):
		return "Choose one that the server offers with --mechanism, or leave the option out."
	case errors.Is(err, errNotServed):
		return "If you know where the server is, name it with --connect."
	case errors.As(err, &dns):
		return "The name cannot be resolved. Is it spelled right? --connect HOST:PORT goes past the DNS."
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Nothing listens there. Is the server running, and on this port?"
	case errors.Is(err, errNoStartTLS):
		return "Nothing was sent. If the server has a port for direct TLS, use --direct-tls."
	case errors.As(err, &record):
		return "The port does not begin with TLS. It may be one for STARTTLS: leave out --direct-tls."
	case errors.Is(err, errFingerprint):
		return "This is not the certificate that you know: it was renewed, or somebody stands between you and the server. Nothing was sent."
	case errors.As(err, &hostname):
		return "The certificate is for other names than the domain of the JID. Nothing was sent. --fingerprint trusts this one certificate."
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "The certificate has expired, or the clock here is wrong. Nothing was sent."
	case errors.As(err, &authority), errors.As(err, &certificate):
		return "Nobody that this machine trusts vouches for the certificate. Nothing was sent. " +
			"If it is yours, --fingerprint or --ca says so; --insecure goes on regardless."
	case errors.As(err, &op) && op.Op == remoteAlert:
		return "The server broke off the handshake. It may have no certificate for this host, or want another TLS version."
	}
	return ""
}
