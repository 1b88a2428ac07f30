package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"gatehouse.im/gatehouse/extauth"
	"gatehouse.im/gatehouse/internal/admin"
	"gatehouse.im/gatehouse/internal/token"
	"gatehouse.im/gatehouse/server"
)

// script lets a host's pool judge passwords and change them.
type script struct {
	pool    *extauth.Pool
	cache   *passwordCache
	metrics *admin.Metrics
}

func (s script) IsUser(ctx context.Context, user, host string) (bool, error) {
	ctx, info := withInfo(ctx)
	ok, err := s.pool.IsUser(ctx, user, host)
	return ok, s.account(ctx, host, info, err)
}

// SetPass changes a password. Whatever comes of it, here and below: the verdicts of
// before may not be true any more.
func (s script) SetPass(ctx context.Context, user, host, password string) (bool, error) {
	defer s.cache.Forget(user)
	ctx, info := withInfo(ctx)
	ok, err := s.pool.SetPass(ctx, user, host, password)
	return ok, s.account(ctx, host, info, err)
}

// Register makes an account.
func (s script) Register(ctx context.Context, user, host, password string) (bool, error) {
	defer s.cache.Forget(user)
	ctx, info := withInfo(ctx)
	ok, err := s.pool.TryRegister(ctx, user, host, password)
	return ok, s.account(ctx, host, info, err)
}

// RemoveUser removes an account; if password is not empty, only with that.
func (s script) RemoveUser(ctx context.Context, user, host, password string) (bool, error) {
	defer s.cache.Forget(user)
	ctx, info := withInfo(ctx)
	var (
		ok  bool
		err error
	)
	if password == "" {
		ok, err = s.pool.RemoveUser(ctx, user, host)
	} else {
		ok, err = s.pool.RemoveUser3(ctx, user, host, password)
	}
	return ok, s.account(ctx, host, info, err)
}

func withInfo(ctx context.Context) (context.Context, *extauth.Info) {
	info := new(extauth.Info)
	return extauth.WithInfo(ctx, info), info
}

// account puts into the log and the metrics which worker answered, and where the
// time went. It returns the query's error as package server wants it.
func (s script) account(ctx context.Context, host string, info *extauth.Info, err error) error {
	if err = count(s.metrics, host, info, err); !errors.Is(err, server.ErrRefused) {
		annotate(ctx, info)
	}
	return err
}

// count counts a query. An error of one that could never be put becomes a no for
// the client, and no fault of the script.
func count(metrics *admin.Metrics, host string, info *extauth.Info, err error) error {
	if errors.Is(err, extauth.ErrQuery) {
		return fmt.Errorf("%w: %w", server.ErrRefused, err)
	}
	metrics.Query(host, info.Queue, info.Script, err)
	return err
}

func annotate(ctx context.Context, info *extauth.Info) {
	server.Annotate(ctx,
		slog.Int("worker", info.Worker),
		slog.Duration("queue", info.Queue.Round(10*time.Microsecond)),
		slog.Duration("script", info.Script.Round(10*time.Microsecond)))
}

// tokens lets the verifier judge tokens, and the script have a say in who
// exists, if users is not nil.
type tokens struct {
	verifier *token.Verifier
	users    server.Users
}

func (t tokens) Authenticate(ctx context.Context, user, host, tok string) (bool, error) {
	ok, fault, err := t.verifier.Judge(tok, user+"@"+host, time.Now())
	if err != nil || !ok {
		if fault != "" {
			server.Annotate(ctx, slog.String("token", string(fault)))
		}
		return false, err
	}
	if t.users == nil {
		return true, nil
	}
	if ok, err = t.users.IsUser(ctx, user, host); err != nil {
		return false, fmt.Errorf("the token is good, but whether the user exists is not known: %w", err)
	}
	return ok, nil
}

// tokenOrPassword judges a PLAIN password that has the shape of a token as a
// token, for clients that know no X-TOKEN, and any other by password, which may
// be nil (gatehouse_token_in_plain). What has the shape of a token is never
// shown to the script.
type tokenOrPassword struct {
	tokens   tokens
	password server.Authenticator
}

func (t tokenOrPassword) Authenticate(ctx context.Context, user, host, secret string) (bool, error) {
	switch {
	case t.tokens.verifier.LooksLike(secret):
		return t.tokens.Authenticate(ctx, user, host, secret)
	case t.password == nil:
		return false, nil
	}
	return t.password.Authenticate(ctx, user, host, secret)
}

// everybody stands for the users of a host that has tokens only: whoever the
// web application mints one for exists, as in mod_auth_token.
type everybody struct{}

func (everybody) IsUser(context.Context, string, string) (bool, error) { return true, nil }
