package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/upstream"
)

// tryPath is where the control socket has the daemon log somebody in at a server
// behind, by a ticket, for `gatehouse check --upstream-user`. The query holds user,
// host and address. The answer is 200, or 422 with a line that says what is wrong
// and one that says what to do.
const tryPath = "/try-upstream"

// withTries serves tryPath beside the rest of the control socket, which is for
// those who may do what the daemon does.
func withTries(d *daemon, rest http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", rest)
	mux.HandleFunc("POST "+tryPath, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		advice, fault := d.tryBehind(r.Context(), q.Get("user"), q.Get("host"), q.Get("address"))
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if fault != nil {
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = fmt.Fprintf(w, "%v\n%s\n", fault, advice)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	return mux
}

// tryBehind logs in at one of a host's servers as the daemon would for a client,
// with a ticket.
func (d *daemon) tryBehind(ctx context.Context, user, host, address string) (advice string, fault error) {
	const reload = "Have it read the file (gatehouse reload), and check again."
	h := d.Config().Host(host)
	if h == nil || h.Upstream == nil || h.Upstream.Auth != config.UpstreamAuthTicket {
		return reload, errors.New("the running daemon has no server behind that host that knows it by tickets")
	}
	c := upstreamConfig(h.Upstream)
	i := slices.IndexFunc(c.Addresses, func(a upstream.Address) bool { return a.String() == address })
	if i < 0 {
		return reload, errors.New("the running daemon has other servers behind that host")
	}
	ticket := ""
	issue := shownBehind(h, d.builder.tickets)
	c.Credentials = func(ctx context.Context, user, host, password string) (upstream.Credential, error) {
		cred, err := issue(ctx, user, host, password)
		ticket = cred.Secret
		return cred, err
	}
	err := upstream.Try(ctx, c, c.Addresses[i], user, host, "")
	// What is still good was not asked about; and nobody should ask later.
	unasked := false
	if ticket != "" {
		var lost error
		if unasked, lost = d.builder.tickets.Redeem(ticket, user, host); lost != nil {
			err = errors.Join(err, lost)
		}
	}
	attrs := []any{"host", host, "user", user, "upstream", address}
	switch {
	case err == nil && unasked:
		err = errors.New("it lets the user in without having asked gatehouse")
		advice = "Whoever reaches it may come in with any password: it must know its users by gatehouse, as docs/relay-ticket-*.md has it."
	case errors.Is(err, upstream.ErrRefused) && unasked:
		advice = "It did not ask this gatehouse about the ticket, or had no right to: look at its log, and compare its config with docs/relay-ticket-*.md."
	case errors.Is(err, upstream.ErrRefused):
		advice = "It asked about the ticket: for another user or host, or the answer did not reach it. The line `auth query` in the log says which."
	case err != nil:
		advice = handOffAdvice(h.Upstream.Auth, err)
	}
	if err != nil {
		d.logger.Warn("check behind", append(attrs, "verdict", "undecided", "cause", err)...)
		return advice, err
	}
	d.logger.Info("check behind", append(attrs, "verdict", "accepted")...)
	return "", nil
}
