package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/upstream"
	"gatehouse.im/gatehouse/saslmech"
)

// trial is as whom to log in at the servers behind (--upstream-user).
type trial struct{ user, host, password string }

// trial reads what --upstream-user names, and the password if the server behind
// wants one.
func (cmd *CheckCmd) trial(cfg *config.Config, g *globals) (*trial, error) {
	user, host, ok := bareJID(*cmd.UpstreamUser)
	if !ok {
		return nil, exit(exitUsage, "--upstream-user wants USER@HOST, as XMPP allows them")
	}
	h := cfg.Host(host)
	if h == nil || h.Upstream == nil {
		return nil, exit(exitConfig, "%s: --upstream-user: there is no host %s with a server behind (gatehouse_upstream)", cfg.Path, host)
	}
	t := &trial{user: user, host: host}
	if h.Upstream.Auth != config.UpstreamAuthPassword {
		return t, nil
	}
	secret, err := readSecret(g, "", "Password of "+user+"@"+host+": ")
	if err != nil {
		return nil, err
	}
	defer secret.Clear()
	if t.password, err = saslmech.SASLprep(string(secret.Bytes())); err != nil {
		return nil, exit(exitUsage, "a password that SASLprep does not allow; no client could log in with it")
	}
	return t, nil
}

// handOffs is what convinces the server behind, in words.
var handOffs = map[string]string{
	config.UpstreamAuthTicket:   "a ticket",
	config.UpstreamAuthToken:    "a token",
	config.UpstreamAuthExternal: "a certificate",
	config.UpstreamAuthPassword: "the password",
}

// logInBehind logs in at one address as a client of gatehouse would be.
func (r *report) logInBehind(cfg *config.Config, h *config.Host, at upstream.Address) {
	t, auth := r.trial, h.Upstream.Auth
	began := time.Now()
	var fault, advice string
	if auth == config.UpstreamAuthTicket {
		fault, advice = askForLogin(cfg, t, at, h.Upstream.Timeout)
	} else {
		c := upstreamConfig(h.Upstream)
		c.Credentials = shownBehind(h, nil)
		if err := upstream.Try(context.Background(), c, at, t.user, t.host, t.password); err != nil {
			fault, advice = err.Error(), handOffAdvice(auth, err)
		}
	}
	took := time.Since(began).Round(100 * time.Microsecond)
	if fault == "" {
		r.row("  login", "%s: %s is let in by %s, in %s", clean(at.String()), clean(t.user+"@"+t.host), handOffs[auth], took)
		return
	}
	r.behindFailed(at, fault)
	r.row("  login", "%s: %s (%s)", clean(at.String()), r.bad(clean(fault)), took)
	if advice != "" {
		r.row("", "%s", clean(advice))
	}
}

// handOffAdvice is what to do about a login behind that failed.
func handOffAdvice(auth string, err error) string {
	switch {
	case errors.Is(err, upstream.ErrName):
		return "Servers differ in how they read this name, so gatehouse never logs such a user in there; try another one."
	case errors.Is(err, upstream.ErrSlow):
		return "Look at that server's load and log; gatehouse_upstream_timeout is how long it may take."
	case errors.Is(err, upstream.ErrDown):
		return "It breaks off during a login: look at its log."
	case errors.Is(err, upstream.ErrCredentials):
		return "" // that server was not asked
	case auth == config.UpstreamAuthExternal:
		return "Does it ask clients for certificates, and trust the authority of gatehouse_upstream_ca? docs/relay-external.md has its config."
	case !errors.Is(err, upstream.ErrRefused):
		return "Look at its log, and compare its config with that in docs/relay-" + cmp.Or(map[string]string{
			config.UpstreamAuthToken: "token", config.UpstreamAuthPassword: "password"}[auth], "ticket-*") + ".md."
	case auth == config.UpstreamAuthToken:
		return "Are gatehouse_upstream_token_secret and gatehouse_upstream_otp_seed its token_secret and otp_seed, and do the clocks agree?"
	case auth == config.UpstreamAuthPassword:
		return "It has no such user, or another password."
	}
	return "" // of tickets the daemon knows more
}

// askForLogin has the running daemon log in: it holds the tickets. The fault is
// empty if that went well.
func askForLogin(cfg *config.Config, t *trial, at upstream.Address, timeout time.Duration) (fault, advice string) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout+healthPatience)
	defer cancel()
	question := url.Values{"user": {t.user}, "host": {t.host}, "address": {at.String()}}
	code, answer, err := askControl(ctx, http.MethodPost, filepath.Join(cfg.DataDir, controlSocket), tryPath+"?"+question.Encode())
	var noDaemon noDaemonError
	switch {
	case errors.As(err, &noDaemon):
		return noDaemon.Error(), "Only the running daemon can make a ticket that is good: start gatehouse serve, with this file and the same data directory, and check again."
	case err != nil:
		return err.Error(), "Only the running daemon can make a ticket that is good, so that check has to ask it."
	case code == http.StatusOK:
		return "", ""
	case code == http.StatusUnprocessableEntity:
		fault, advice, _ = strings.Cut(answer, "\n")
		return fault, advice
	}
	return fmt.Sprintf("the running daemon answers: %s", answer), "If it is of another version, restart it."
}
