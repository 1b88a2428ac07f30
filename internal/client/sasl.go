package client

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"mellium.im/sasl"

	"gatehouse.im/gatehouse/internal/xmlstream"
	"gatehouse.im/gatehouse/saslmech"
)

// mechanisms are those that we speak, the one to prefer first. X-TOKEN comes
// last: it is taken for a password only where nothing else is offered.
var mechanisms = []sasl.Mechanism{
	sasl.ScramSha256Plus, sasl.ScramSha1Plus, sasl.ScramSha256, sasl.ScramSha1, saslmech.Plain, saslmech.XToken,
}

// Mechanisms returns the names that Options.Mechanism may have, strongest first.
func Mechanisms() []string {
	names := make([]string, len(mechanisms))
	for i, m := range mechanisms {
		names[i] = m.Name
	}
	return names
}

func findMechanism(name string) *sasl.Mechanism {
	for i := range mechanisms {
		if mechanisms[i].Name == name {
			return &mechanisms[i]
		}
	}
	return nil
}

var (
	errUnproven = errors.New("the server says yes without having proven that it knows the password: do not trust it")
	errTooMany  = errors.New("the server asks for one more message than the mechanism has")
	errServer   = errors.New("the server's proof that it knows the password is wrong: do not trust it")
)

// NoMechanismError says that the server offers nothing that can be used.
type NoMechanismError struct {
	Wanted  string // what was asked for, or empty
	Offered []string
}

func (e *NoMechanismError) Error() string {
	if len(e.Offered) == 0 {
		return "the server offers no mechanism"
	}
	offer := "the server offers " + strings.Join(e.Offered, ", ")
	if e.Wanted != "" {
		return offer + ", not " + e.Wanted
	}
	return offer + "; known here are " + strings.Join(Mechanisms(), ", ")
}

// choice is a mechanism and how it is used.
type choice struct {
	*sasl.Mechanism
	// binding is the channel binding; empty without.
	binding string
	// guessed says that the server may not have that binding, so that a refusal
	// says nothing about the password.
	guessed bool
}

// choose returns the mechanism to use. One that is not offered is never used:
// its message may hold the secret.
func (l *login) choose(f *features) (choice, error) {
	for i := range mechanisms {
		m := &mechanisms[i]
		if !slices.Contains(f.mechanisms, m.Name) || l.Mechanism != "" && m.Name != l.Mechanism {
			continue
		}
		if !strings.HasSuffix(m.Name, "-PLUS") {
			return choice{Mechanism: m}, nil
		}
		binding, known := l.binding(f.bindings)
		if known || binding != "" && l.Mechanism != "" {
			return choice{m, binding, !known}, nil
		}
	}
	return choice{}, &NoMechanismError{l.Mechanism, printableAll(f.mechanisms)}
}

// binding returns the channel binding that we have on this connection, and
// whether the server is known to have it as well: it says so (XEP-0440), or it
// says nothing and RFC 5802 §6 demands it. COMPAT: ejabberd 23.01 offers -PLUS
// with TLS 1.3 too, and then has no binding that works there.
func (l *login) binding(offered []string) (binding string, known bool) {
	if l.tls == nil {
		return "", false
	}
	state := l.tls.ConnectionState()
	if state.Version >= tls.VersionTLS13 {
		return "tls-exporter", slices.Contains(offered, "tls-exporter") // RFC 9266
	}
	if len(state.TLSUnique) == 0 {
		return "", false
	}
	return "tls-unique", len(offered) == 0 || slices.Contains(offered, "tls-unique") // RFC 5929
}

// authenticate goes through one SASL exchange (RFC 6120 §6.4).
func (l *login) authenticate(f *features) error {
	m, err := l.choose(f)
	if err != nil {
		return err
	}
	l.mechanism = m.Name
	l.trace(Authenticating{Mechanism: m.Name, Binding: m.binding, Wanted: l.Mechanism != ""})
	negotiator, err := l.negotiator(m.Mechanism, f.mechanisms)
	if err != nil {
		return err
	}
	more, message, err := negotiator.Step(nil)
	if err != nil {
		return err
	}
	encoded := base64.StdEncoding.EncodeToString(message)
	started := time.Now()
	element := "<auth xmlns='" + nsSASL + "' mechanism='" + m.Name + "'>%s</auth>"
	if err := l.sendAs(fmt.Sprintf(element, encoded), fmt.Sprintf(element, blanked)); err != nil {
		return err
	}
	for {
		e, err := l.next()
		if err != nil {
			return err
		}
		if e.Name.Space != nsSASL {
			return unexpected("success", e)
		}
		switch e.Name.Local {
		case "failure":
			condition, text := conditionOf(e, nsSASL)
			return &Error{Condition: condition, Text: text, Refused: isVerdict(condition) && !m.guessed}
		case "success":
			if err := finish(negotiator, more, e); err != nil {
				return err
			}
			l.trace(Authenticated{Took: time.Since(started)})
			return nil
		case "challenge":
			if !more {
				return errTooMany
			}
			if more, message, err = step(negotiator, e); err != nil {
				return err
			}
			encoded := base64.StdEncoding.EncodeToString(message)
			element := "<response xmlns='" + nsSASL + "'>%s</response>"
			if err := l.sendAs(fmt.Sprintf(element, encoded), fmt.Sprintf(element, blanked)); err != nil {
				return err
			}
		default:
			return unexpected("success", e)
		}
	}
}

// negotiator gives SCRAM the prepared password (RFC 5802 §5.1) and the others
// the password as it is: preparing it is the server's job there (RFC 4616 §2).
func (l *login) negotiator(m *sasl.Mechanism, offered []string) (*sasl.Negotiator, error) {
	secret := l.Secret.Bytes()
	if strings.HasPrefix(m.Name, "SCRAM-") {
		prepared, err := saslmech.SASLprep(string(secret))
		if err != nil {
			return nil, fmt.Errorf("the password cannot be used with SCRAM: %w", err)
		}
		secret = []byte(prepared)
	}
	options := []sasl.Option{
		sasl.RemoteMechanisms(offered...),
		sasl.Credentials(func() (user, password, identity []byte) { return []byte(l.User), secret, nil }),
	}
	if l.tls != nil {
		options = append(options, sasl.TLSState(l.tls.ConnectionState()))
	}
	return sasl.NewClient(*m, options...), nil
}

// finish judges a <success/>: with SCRAM it is one only if the server has proven
// that it knows the password (RFC 5802 §3).
func finish(n *sasl.Negotiator, more bool, e *xmlstream.Element) error {
	if !more {
		return nil // data that nobody asked for is no matter
	}
	if strings.TrimSpace(e.Text) == "" {
		return errUnproven
	}
	more, _, err := step(n, e)
	if err == nil && more {
		return errUnproven
	}
	return err
}

// step answers a challenge.
func step(n *sasl.Negotiator, e *xmlstream.Element) (more bool, message []byte, err error) {
	text := strings.TrimSpace(e.Text)
	challenge, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(challenge) == 0 {
		return false, nil, errors.New("the server sent a challenge that is not base64")
	}
	if n.State()&sasl.StepMask == sasl.AuthTextSent {
		if err := checkServerFirst(challenge); err != nil {
			return false, nil, err
		}
	}
	more, message, err = n.Step(challenge)
	if errors.Is(err, sasl.ErrAuthn) {
		err = errServer
	}
	return more, message, err
}

// maxIterations is a second or so of our time. Servers have 4096 to some 100,000.
const maxIterations = 1_000_000

// checkServerFirst demands that a challenge is a server-first-message of SCRAM
// (RFC 5802 §7): r=nonce,s=salt,i=count, and perhaps extensions. mellium.im/sasl
// never returns from some others.
func checkServerFirst(challenge []byte) error {
	fields := bytes.Split(challenge, []byte(","))
	if len(fields) < 3 {
		return errors.New("the server sent a challenge that is not SCRAM")
	}
	for i, f := range fields {
		if len(f) < 3 || f[1] != '=' || i < 3 && f[0] != "rsi"[i] || i >= 3 && bytes.IndexByte([]byte("rsim"), f[0]) >= 0 {
			return errors.New("the server sent a challenge that is not SCRAM")
		}
	}
	count, err := strconv.ParseUint(string(fields[2][2:]), 10, 32)
	if err != nil || count < 1 || count > maxIterations {
		return fmt.Errorf("the server asks for more than %d iterations of SCRAM, or for none", maxIterations)
	}
	return nil
}
