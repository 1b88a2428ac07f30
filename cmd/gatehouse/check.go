package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/extauth"
	"gatehouse.im/gatehouse/saslmech"
)

// CheckCmd explains a config file, and tries a query.
type CheckCmd struct {
	Config string `help:"Prosody's config file; ${default} without this." short:"c" default:"/etc/prosody/prosody.cfg.lua" placeholder:"FILE"`
	Query  string `help:"Ask the host's script: auth:USER:HOST:PASSWORD, isuser:USER:HOST or setpass:USER:HOST:PASSWORD. Without the password, it is read from standard input." placeholder:"QUERY"`
}

// Run implements the command.
func (cmd *CheckCmd) Run(g *globals) error {
	cfg, warnings, err := config.Load(cmd.Config)
	if err != nil {
		return exit(exitConfig, "%w", err)
	}
	if cmd.Query != "" {
		return cmd.query(cfg, g)
	}
	explain(g.Stdout, cfg)
	if len(warnings) > 0 {
		fmt.Fprintln(g.Stdout, "\nWarnings")
		for _, w := range warnings {
			fmt.Fprintln(g.Stdout, " ", w)
		}
	}
	if len(cfg.Hosts) == 0 {
		return exit(exitConfig, "gatehouse has nothing to serve with this file")
	}
	return missingCertificates(cfg)
}

// explain tells a person what the daemon would do with a config.
func explain(w io.Writer, cfg *config.Config) {
	fmt.Fprintf(w, "%s\n\nClient ports\n", cfg.Path)
	for _, l := range cfg.Listeners {
		addr := l.Addr
		if strings.HasPrefix(addr, ":") { // every interface of one family
			addr = map[string]string{"tcp4": "*", "tcp6": "[::]"}[l.Network] + addr
		}
		fmt.Fprintf(w, "  %-24s %s\n", addr, map[bool]string{false: "STARTTLS", true: "direct TLS"}[l.DirectTLS])
	}
	for _, h := range cfg.Hosts {
		explainHost(w, cfg, h)
	}
	if len(cfg.Skipped) > 0 {
		fmt.Fprintln(w, "\nLeft to Prosody")
		for _, s := range cfg.Skipped {
			fmt.Fprintf(w, "  %-24s %s\n", s.Name, s.Why)
		}
	}
}

func explainHost(w io.Writer, cfg *config.Config, h *config.Host) {
	fmt.Fprintf(w, "\nHost %s (%s)\n", h.Name, h.Pos)
	mechanisms := strings.Join(saslmech.Offered(h.OfferPlain, h.OfferToken), ", ")
	if h.OfferPlain && !h.ScriptPasswords {
		mechanisms += " (for tokens only)"
	}
	where := "after TLS only"
	switch {
	case !h.RequireEncryption && h.AllowUnencryptedPlain:
		where = "also WITHOUT TLS: passwords can be read on the way"
	case !h.RequireEncryption && h.OfferToken:
		where = "X-TOKEN also WITHOUT TLS: tokens can be read on the way"
	case !h.RequireEncryption:
		where = "after TLS, which is not required"
	}
	fmt.Fprintf(w, "  mechanisms   %s; %s\n", mechanisms, where)
	if e := h.External; e != nil {
		transport := "pipes"
		if e.PTY {
			transport = "a terminal"
		}
		fmt.Fprintf(w, "  script       %s\n", strings.Join(e.Command, " "))
		fmt.Fprintf(w, "               %s protocol over %s, %d process(es), %s a query, %s for a slow start\n",
			e.Protocol, transport, e.Processes, e.Timeout, e.StartTimeout)
	}
	if t := h.Token; t != nil {
		fmt.Fprintf(w, "  tokens       %d secret(s), %d seed(s)", len(t.Secrets), len(t.Seeds))
		if t.InPlain {
			fmt.Fprint(w, "; a PLAIN password of token shape is judged as a token")
		}
		if t.CheckUser {
			fmt.Fprint(w, "; the script is asked whether the user exists")
		}
		fmt.Fprintln(w)
	}
	for _, c := range h.Certificates {
		fmt.Fprintf(w, "  certificate  %s\n               for %s, until %s\n", c.CertFile,
			strings.Join(c.TLS.Leaf.DNSNames, ", "), c.TLS.Leaf.NotAfter.Format(time.DateOnly))
	}
	if len(h.Certificates) > 0 {
		return
	}
	if cfg.SelfSigned {
		fmt.Fprintf(w, "  certificate  self-signed, kept in %s; clients must be told to trust it\n", cfg.DataDir)
		return
	}
	fmt.Fprintln(w, "  certificate  NONE: serve refuses to start")
}

// query asks a host's script one question and shows the exchange.
func (cmd *CheckCmd) query(cfg *config.Config, g *globals) error {
	kind, user, domain, secret, err := cmd.parse(g.Stdin)
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

// protocolHint says that the script seems to speak the other protocol, if it
// does.
func protocolHint(p extauth.Protocol, received []byte, err error) string {
	switch {
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
func (cmd *CheckCmd) parse(stdin io.Reader) (kind, user, domain, secret string, err error) {
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
		line, err := bufio.NewReader(io.LimitReader(stdin, 4096)).ReadString('\n')
		if err != nil && line == "" {
			return "", "", "", "", exit(exitUsage, "--query: no password given, and none on standard input")
		}
		secret = strings.TrimRight(line, "\r\n")
	}
	if secret, err = saslmech.SASLprep(secret); err != nil {
		return "", "", "", "", exit(exitRefused, "no: a password that SASLprep does not allow; no client could log in with it")
	}
	return kind, user, domain, secret, nil
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
		fmt.Fprintf(w, "stderr    %q\n", bytes.TrimRight(e.Data, "\n"))
	case extauth.EventVerdict:
		fmt.Fprintf(w, "took      %s\n", e.After.Round(10*time.Microsecond))
	case extauth.EventExited:
		fmt.Fprintf(w, "exited    %s\n", e.Data)
	}
}
