package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/extauth"
	"gatehouse.im/gatehouse/saslmech"
)

// query asks a host's script one question and shows the exchange.
func (cmd *CheckCmd) query(cfg *config.Config, g *globals) error {
	kind, user, domain, secret, err := cmd.parse(g)
	if err != nil {
		return err
	}
	h := cfg.Host(domain)
	if h == nil || h.External == nil {
		return exit(exitConfig, "%s: no host %s with a script is served from there", cfg.Path, domain)
	}
	var mu sync.Mutex
	pc := poolConfig(cfg, h, slog.New(slog.DiscardHandler))
	pc.Processes = 1
	var received []byte
	pc.Trace = func(e extauth.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == extauth.EventReceived {
			received = append(received, e.Data...)
		}
		showEvent(g.Stdout, e)
	}
	fmt.Fprintf(g.Stdout, "script    %s (%s protocol)\n", strings.Join(pc.Command, " "), pc.Protocol)
	pool, err := extauth.NewPool(pc)
	if err != nil {
		return exit(exitConfig, "%w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), pc.StartTimeout+pc.Timeout)
	defer cancel()
	var ok bool
	switch kind {
	case "auth":
		ok, err = pool.Auth(ctx, user, domain, secret)
	case "isuser":
		ok, err = pool.IsUser(ctx, user, domain)
	case "setpass":
		ok, err = pool.SetPass(ctx, user, domain, secret)
	}
	closeErr := pool.Close(ctx)
	mu.Lock()
	defer mu.Unlock()
	switch {
	case errors.Is(err, extauth.ErrQuery):
		return exit(exitRefused, "no: %w", err)
	case err != nil:
		return exit(exitUnavailable, "cannot say: %w%s", errors.Join(err, closeErr), protocolHint(pc.Protocol, received, err))
	case !ok:
		fmt.Fprintln(g.Stdout, "verdict   no")
		return exit(exitRefused, "the script says no")
	}
	fmt.Fprintln(g.Stdout, "verdict   yes")
	return nil
}

// protocolHint says that the script seems to speak the other protocol, or to ask
// for a password of its own, if it does.
func protocolHint(p extauth.Protocol, received []byte, err error) string {
	switch {
	case bytes.Contains(received, []byte("assword")):
		return "\nIt asks for a password, which nobody types here. A command with sudo needs NOPASSWD in sudoers, for the user that runs gatehouse."
	case p == extauth.Generic && bytes.HasPrefix(received, []byte{0, 2, 0}):
		return "\nThe script answers as one for ejabberd does: set external_auth_protocol = \"ejabberd\"."
	case p == extauth.Ejabberd && (bytes.HasPrefix(received, []byte("0")) || bytes.HasPrefix(received, []byte("1"))):
		return "\nThe script answers in lines: set external_auth_protocol = \"generic\"."
	case len(received) == 0 && errors.Is(err, extauth.ErrTimeout):
		return fmt.Sprintf("\nNothing came. Does the script speak the %s protocol (external_auth_protocol), and flush what it writes?", p)
	}
	return ""
}

// parse takes a query apart and prepares its names as a login would.
func (cmd *CheckCmd) parse(g *globals) (kind, user, domain, secret string, err error) {
	field := strings.SplitN(cmd.Query, ":", 4)
	kind = field[0]
	needSecret := kind == "auth" || kind == "setpass"
	if !needSecret && kind != "isuser" || len(field) < 3 || !needSecret && len(field) > 3 {
		return "", "", "", "", exit(exitUsage, "--query wants auth:USER:HOST:PASSWORD, isuser:USER:HOST or setpass:USER:HOST:PASSWORD")
	}
	user, errUser := saslmech.Nodeprep(field[1])
	domain, errHost := saslmech.Nameprep(field[2])
	if errUser != nil || errHost != nil {
		return "", "", "", "", exit(exitUsage, "--query: a name that XMPP does not allow: %w", errors.Join(errUser, errHost))
	}
	if !needSecret {
		return kind, user, domain, "", nil
	}
	if len(field) == 4 {
		secret = field[3]
	} else {
		line, err := cmd.readPassword(g)
		if err != nil {
			return "", "", "", "", err
		}
		secret = string(line.Bytes())
		line.Clear()
	}
	if secret, err = saslmech.SASLprep(secret); err != nil {
		return "", "", "", "", exit(exitRefused, "no: a password that SASLprep does not allow; no client could log in with it")
	}
	return kind, user, domain, secret, nil
}

// readPassword asks for the password without echo, or reads it from what is not
// a terminal. The environment does not count here, as it does for a login: the
// query says what is asked.
func (cmd *CheckCmd) readPassword(g *globals) (saslmech.Secret, error) {
	if f, ok := g.Stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return typed(g, int(f.Fd()), "Password: ")
	}
	return firstLine(g.Stdin, "standard input")
}

func showEvent(w io.Writer, e extauth.Event) {
	switch e.Kind {
	case extauth.EventStarted:
		fmt.Fprintf(w, "started   process %d\n", e.PID)
	case extauth.EventSent:
		fmt.Fprintf(w, "sent      %q\n", e.Data)
	case extauth.EventReceived:
		fmt.Fprintf(w, "received  %q\n", e.Data)
	case extauth.EventStderr:
		fmt.Fprintf(w, "stderr    %s\n", e.Data)
	case extauth.EventVerdict:
		fmt.Fprintf(w, "took      %s\n", e.After.Round(10*time.Microsecond))
	case extauth.EventExited:
		fmt.Fprintf(w, "exited    %s\n", e.Data)
	}
}
