package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"

	"gatehouse.im/gatehouse/internal/client"
)

// summary keeps what one line about a login needs.
type summary struct{ parts []string }

func (s *summary) step(step client.Step) {
	switch step := step.(type) {
	case client.Encrypted:
		s.parts = append(s.parts, step.Version)
	case client.Authenticating:
		s.parts = append(s.parts, step.Mechanism)
	case client.Authenticated:
		s.parts = append(s.parts, "accepted after "+short(step.Took))
	case client.Bound:
		s.parts = append(s.parts, "bound "+step.JID)
	case client.Pinged:
		s.parts = append(s.parts, "ping "+short(step.Took))
	}
}

func (s summary) String() string { return strings.Join(s.parts, ", ") }

// invite says how to connect with one's own client.
func (d *demo) invite() {
	user := d.accounts[0]
	jid := user.name + "@" + d.host.Name
	_, port, _ := net.SplitHostPort(d.starttls) // it is a listener's own address
	_, directPort, _ := net.SplitHostPort(d.direct)
	d.printf("\n%s\n\n", d.bold("Now with your own client, until Ctrl-C"))
	for _, a := range d.accounts {
		d.printf("    JID %-20s password %s\n", a.name+"@"+d.host.Name, a.password)
	}
	d.printf("    server 127.0.0.1, port %s with STARTTLS, or %s with direct TLS\n", port, directPort)
	if len(d.host.Certificates) == 0 {
		d.printf("    The certificate is self-signed and lasts as long as this demo. Tell the client to trust it if it asks,\n" +
			"    and compare its SHA-256 fingerprint:\n")
	} else {
		d.printf("    SHA-256 fingerprint of the certificate:\n")
	}
	d.printf("    %s\n\n", colons(d.fingerprint))
	for _, line := range [][2]string{
		{"gatehouse, each step", fmt.Sprintf("echo %s | go run ./cmd/gatehouse login --connect %s --fingerprint %s %s", user.password, d.starttls, d.fingerprint, jid)},
		{"with a token", fmt.Sprintf("go run ./cmd/gatehouse login --mint --config %s --connect %s --fingerprint %s %s", d.config, d.starttls, d.fingerprint, jid)},
		{"go-sendxmpp", fmt.Sprintf("echo hello | go-sendxmpp --tls --no-tls-verify --username %s --password %s --jserver %s %s", jid, user.password, d.direct, jid)},
		{"profanity", fmt.Sprintf("/connect %s server 127.0.0.1 port %s tls trust", jid, port)},
	} {
		d.printf("    %s\n      %s\n", d.faint(line[0]), line[1])
	}
	d.printf("\n%s\n", d.faint("What the daemon says from here on:"))
}

// colons writes a fingerprint as clients do.
func colons(hex string) string {
	var b strings.Builder
	for i := 0; i+1 < len(hex); i += 2 {
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteString(strings.ToUpper(hex[i : i+2]))
	}
	return b.String()
}

// demoLog is where the show and the daemon's log meet. The log is held back
// until show, so that the logins can be read; its lines are set apart.
type demoLog struct {
	palette
	mu     sync.Mutex // guards w, shown and the order of lines
	w      io.Writer
	shown  bool
	warned bytes.Buffer // warnings held back, which explain a failed show
}

func newDemoLog(w io.Writer, p palette, shown bool) *demoLog {
	return &demoLog{palette: p, w: w, shown: shown}
}

// Write is for the show.
func (l *demoLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// show lets the log through from now on.
func (l *demoLog) show() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shown = true
}

// showWarnings writes the warnings that were held back.
func (l *demoLog) showWarnings() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.warned.WriteTo(l.w) // a closed terminal shows nothing
}

// handler is for the daemon.
func (l *demoLog) handler() slog.Handler {
	return slog.NewTextHandler(logWriter{l}, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.String(slog.TimeKey, a.Value.Time().Format("15:04:05.000"))
			}
			return a
		},
	})
}

type logWriter struct{ log *demoLog }

// maxHeldBack bounds the warnings of a show that goes wrong.
const maxHeldBack = 16 << 10

// Write takes one line, as log/slog's handlers write it.
func (w logWriter) Write(line []byte) (int, error) {
	l := w.log
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.faint("  │ "+string(bytes.TrimRight(line, "\n"))) + "\n"
	switch {
	case l.shown:
		_, _ = io.WriteString(l.w, out)
	case !bytes.Contains(line, []byte("level=INFO")) && l.warned.Len() < maxHeldBack:
		l.warned.WriteString(out)
	}
	return len(line), nil
}

// indented sets the lines of a login's steps off. It is given whole lines.
type indented struct{ w io.Writer }

func (i indented) Write(b []byte) (int, error) {
	_, err := i.w.Write(append([]byte("    "), b...))
	return len(b), err
}
