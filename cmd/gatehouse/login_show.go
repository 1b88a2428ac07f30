package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"gatehouse.im/gatehouse/internal/client"
)

// palette colours words on a terminal; elsewhere it leaves them alone.
type palette struct{ on bool }

// newPalette goes by https://no-color.org.
func newPalette(w io.Writer) palette {
	f, ok := w.(*os.File)
	return palette{ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))}
}

func (p palette) paint(code, s string) string {
	if !p.on {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p palette) good(s string) string  { return p.paint("32", s) }
func (p palette) bad(s string) string   { return p.paint("31", s) }
func (p palette) warn(s string) string  { return p.paint("33", s) }
func (p palette) faint(s string) string { return p.paint("2", s) }
func (p palette) bold(s string) string  { return p.paint("1", s) }

// stepPrinter writes the steps of a login for a person.
type stepPrinter struct {
	palette
	w       io.Writer
	verbose bool // with the XML
	now     func() time.Time
}

func newStepPrinter(w io.Writer, verbose bool) *stepPrinter {
	return &stepPrinter{palette: newPalette(w), w: w, verbose: verbose, now: time.Now}
}

// line writes what a step is about and what happened; without a topic it goes on
// with the step before.
func (p *stepPrinter) line(topic, format string, args ...any) {
	fmt.Fprintf(p.w, "%s  %s\n", p.bold(fmt.Sprintf("%-8s", topic)), fmt.Sprintf(format, args...))
}

// step writes one step of a login; it is a client.Options.Trace.
func (p *stepPrinter) step(s client.Step) {
	switch s := s.(type) {
	case client.Found:
		p.found(s)
	case client.Unreachable:
		p.line("connect", "%s %s: %v", p.bad("✗"), s.Target.Address, s.Err)
	case client.Connected:
		p.line("connect", "%s, %s", targetName(s.Target), short(s.Took))
		if s.Remote.String() != s.Target.Address {
			p.line("", "%s", p.faint("address "+s.Remote.String()))
		}
	case client.Opened:
		p.opened(s)
	case client.Encrypted:
		p.encrypted(s)
	case client.Authenticating:
		p.authenticating(s)
	case client.Authenticated:
		p.line("", "%s accepted after %s", p.good("✓"), short(s.Took))
	case client.Bound:
		p.line("bind", "%s %s", p.good("✓"), s.JID)
	case client.Pinged:
		if s.Condition != "" {
			p.line("ping", "%s answered after %s, with %s", p.good("✓"), short(s.Took), s.Condition)
			return
		}
		p.line("ping", "%s answered after %s", p.good("✓"), short(s.Took))
	case client.Closed:
		if s.Err != nil {
			p.line("close", "%s the server did not close the stream: %v", p.warn("!"), s.Err)
			return
		}
		p.line("close", "%s", "both sides said goodbye")
	case client.XML:
		p.xml(s)
	}
}

func (p *stepPrinter) found(s client.Found) {
	names := make([]string, len(s.Targets))
	for i, t := range s.Targets {
		names[i] = targetName(t)
	}
	switch {
	case s.SRV:
		p.line("find", "DNS says %s", strings.Join(names, ", then "))
	case s.Err != nil:
		p.line("find", "%s SRV records cannot be had: %v", p.warn("!"), s.Err)
		p.line("", "trying %s", strings.Join(names, ", "))
	default:
		p.line("find", "no SRV records, so it is %s", strings.Join(names, ", "))
	}
}

func (p *stepPrinter) opened(s client.Opened) {
	var offers []string
	if s.StartTLS && !s.Encrypted {
		offers = append(offers, map[bool]string{true: "STARTTLS (required)", false: "STARTTLS"}[s.Required])
	}
	if !s.LoggedIn {
		offers = append(offers, s.Mechanisms...)
	}
	from := s.From
	if from == "" {
		from = "a server without a name"
	}
	switch {
	case len(offers) > 0:
		p.line("stream", "%s offers %s", from, strings.Join(offers, ", "))
	case s.LoggedIn:
		p.line("stream", "%s, logged in", from)
	default:
		p.line("stream", "%s offers %s", from, p.warn("no way to log in"))
	}
	if len(s.Bindings) > 0 {
		p.line("", "%s", p.faint("channel bindings "+strings.Join(s.Bindings, ", ")))
	}
	if len(s.Others) > 0 {
		p.line("", "%s", p.faint("also "+strings.Join(s.Others, ", ")))
	}
}

func (p *stepPrinter) encrypted(s client.Encrypted) {
	facts := []string{s.Version, s.Cipher}
	if s.Exchange != "" {
		facts = append(facts, s.Exchange)
	}
	if s.ALPN != "" {
		facts = append(facts, "ALPN "+s.ALPN)
	}
	p.line("tls", "%s, %s", strings.Join(facts, ", "), short(s.Took))
	issuer := "by " + s.Issuer
	if s.SelfSigned {
		issuer = "self-signed"
	}
	names := strings.Join(s.Names, ", ")
	if names == "" {
		names = "no name at all"
	}
	p.line("", "certificate for %s; %s; %s", names, issuer, s.Key)
	p.line("", "valid until %s (%s)", s.Expires.UTC().Format(time.DateOnly), p.distance(s.Expires))
	p.line("", "SHA-256 %s", s.Fingerprint)
	switch {
	case s.By == client.TrustFingerprint:
		p.line("", "%s it is the certificate with that fingerprint", p.good("✓"))
	case s.By == client.TrustRoots:
		p.line("", "%s vouched for by an authority that is trusted here", p.good("✓"))
	case s.Accepted:
		p.line("", "%s NOT verified: %v", p.warn("!"), s.Err)
	default:
		p.line("", "%s not trusted: %v", p.bad("✗"), s.Err)
	}
}

func (p *stepPrinter) authenticating(s client.Authenticating) {
	why := "the strongest that both sides know"
	if s.Wanted {
		why = "as asked for"
	}
	binding := ""
	if s.Binding != "" {
		binding = ", bound to TLS by " + s.Binding
	}
	p.line("login", "%s%s, %s", s.Mechanism, binding, why)
}

func (p *stepPrinter) xml(s client.XML) {
	if !p.verbose {
		return
	}
	arrow := "<"
	if s.Sent {
		arrow = ">"
	}
	for _, line := range strings.Split(s.Text, "\n") {
		fmt.Fprintln(p.w, p.faint("        "+arrow+" "+line))
	}
}

// distance says how far a certificate's end is.
func (p *stepPrinter) distance(end time.Time) string {
	const day = 24 * time.Hour
	switch left := end.Sub(p.now()); {
	case left < 0:
		return p.bad("EXPIRED")
	case left < 2*day:
		return p.warn(fmt.Sprintf("in %d h", int(left.Hours())))
	case left < 14*day:
		return p.warn(fmt.Sprintf("in %d days", int(left/day)))
	case left < 800*day:
		return fmt.Sprintf("in %d days", int(left/day))
	default:
		return fmt.Sprintf("in %d years", int((left+180*day)/(365*day)))
	}
}

func targetName(t client.Target) string {
	if t.DirectTLS {
		return t.Address + " (direct TLS)"
	}
	return t.Address
}

// short is a duration in two or three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < 10*time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
