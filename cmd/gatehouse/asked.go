package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"gatehouse.im/gatehouse/internal/authapi"
	"gatehouse.im/gatehouse/internal/ticket"
	"gatehouse.im/gatehouse/server"
)

// asked answers the servers behind, and others who ask by the auth API, about the
// hosts as they are configured at that moment.
type asked struct{ *daemon }

func (d asked) host(name string) (*server.Host, error) {
	h := d.parts.Load().server.Hosts[name]
	if h == nil {
		return nil, fmt.Errorf("gatehouse serves no host %q", name)
	}
	return h, nil
}

// CheckPassword implements authapi.Judge. A ticket is judged as one and by nobody
// else, a token where the host has tokens, and the rest by the script. Those who ask
// have one question for both, and offer X-TOKEN themselves (mod_auth_gatehouse), so
// that gatehouse_token_in_plain, which is for clients of ours, does not count.
func (d asked) CheckPassword(ctx context.Context, user, host, password string) (bool, error) {
	h, err := d.host(host)
	if err != nil {
		return false, err
	}
	if ticket.LooksLike(password) {
		return d.builder.tickets.Redeem(password, user, host)
	}
	judge := h.Password
	if t, ok := h.Token.(tokens); ok && t.verifier.LooksLike(password) {
		judge = t
	}
	if judge == nil {
		return false, nil
	}
	return unasked(judge.Authenticate(ctx, user, host, password))
}

// UserExists implements authapi.Judge.
func (d asked) UserExists(ctx context.Context, user, host string) (bool, error) {
	h, err := d.host(host)
	if err != nil {
		return false, err
	}
	return unasked(h.Users.IsUser(ctx, user, host))
}

// SetPassword implements authapi.Judge. What has the shape of a ticket cannot
// become a password: nobody could log in with it. The script does not see it,
// here and below.
func (d asked) SetPassword(ctx context.Context, user, host, password string) (bool, error) {
	s, err := d.script(host)
	if err != nil || ticket.LooksLike(password) {
		return false, err
	}
	return unasked(s.SetPass(ctx, user, host, password))
}

// Register implements authapi.Judge.
func (d asked) Register(ctx context.Context, user, host, password string) (bool, error) {
	s, err := d.script(host)
	if err != nil || ticket.LooksLike(password) {
		return false, err
	}
	return unasked(s.Register(ctx, user, host, password))
}

// RemoveUser implements authapi.Judge.
func (d asked) RemoveUser(ctx context.Context, user, host, password string) (bool, error) {
	s, err := d.script(host)
	if err != nil || ticket.LooksLike(password) {
		return false, err
	}
	return unasked(s.RemoveUser(ctx, user, host, password))
}

// script returns the script of a host whose passwords it knows.
func (d asked) script(host string) (*script, error) {
	h, err := d.host(host)
	if err != nil {
		return nil, err
	}
	s, ok := h.Passwords.(*script)
	if !ok {
		return nil, fmt.Errorf("host %s has no script that knows passwords", host)
	}
	return s, nil
}

// unasked turns the error of a question that nobody could be asked into a no.
func unasked(ok bool, err error) (bool, error) {
	if errors.Is(err, server.ErrRefused) {
		return false, nil
	}
	return ok, err
}

// withAuthAPI serves the auth API beside what people look at, if the config has
// credentials for it.
func withAuthAPI(d *daemon, pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		api := d.parts.Load().config.AuthAPI
		if api == nil || !strings.HasPrefix(r.URL.Path, authapi.Prefix) {
			pages.ServeHTTP(w, r)
			return
		}
		authapi.Handler(asked{d}, authapi.Basic(api.User, api.Password), d.logger).ServeHTTP(w, r)
	})
}
