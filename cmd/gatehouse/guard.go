package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/admin"
	"gatehouse.im/gatehouse/internal/guard"
)

func guardSettings(g config.Guard) guard.Settings {
	return guard.Settings{
		PerPair: g.Attempts, PerAddress: g.AddressAttempts, PerUser: g.UserAttempts,
		HalfLife: g.HalfLife, Delay: g.Delay, Allow: g.Allow,
	}
}

func guardStatus(b *builder) *admin.Guard {
	s := b.guard.Stats()
	return &admin.Guard{
		Delayed: s.Delayed, Refused: s.Refused, Counters: s.Counters, Known: s.Known,
		Shared: b.memory.guardShared(), Alone: s.Alone, Saved: !b.guardFile.failing.Load(),
	}
}

// forgivePath is where the control socket has the guard forget what it has counted
// of whom the query names: address, user and host. The answer is 200 with a line
// for people.
const forgivePath = "/guard/forgive"

// withGuard serves forgivePath beside the rest of the control socket.
func withGuard(g *guard.Guard, logger *slog.Logger, rest http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", rest)
	mux.HandleFunc("POST "+forgivePath, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		user, host := q.Get("user"), q.Get("host")
		var from netip.Addr
		if text := q.Get("address"); text != "" {
			var err error
			if from, err = netip.ParseAddr(text); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		n, err := g.Forgive(from, user, host)
		logger.Info("guard: forgiven", "address", q.Get("address"), "user", user, "host", host, "counts", n)
		if err != nil {
			http.Error(w, "forgiven at this front alone: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintf(w, "%d\n", n)
	})
	return mux
}

// GuardCmd groups what there is to do about the guard.
type GuardCmd struct {
	Forgive GuardForgiveCmd `cmd:"" help:"Let somebody in again whom the running daemon turns away after too many failed logins."`
}

// GuardForgiveCmd has the running daemon forget failed logins.
type GuardForgiveCmd struct {
	Config string   `help:"Prosody's config file, which says where the daemon's data directory is; ${default} without this." short:"c" default:"/etc/prosody/prosody.cfg.lua" placeholder:"FILE"`
	Socket string   `help:"The daemon's control socket, instead of gatehouse.sock in the data directory." placeholder:"PATH"`
	Whom   []string `arg:"" name:"who" help:"Users as user@host, and IP addresses; of one in IPv6 the whole /64."`
}

// Run implements the command.
func (cmd *GuardForgiveCmd) Run(g *globals) error {
	queries := make([]url.Values, len(cmd.Whom))
	for i, who := range cmd.Whom {
		var err error
		if queries[i], err = whom(who); err != nil {
			return exit(exitUsage, "%w", err)
		}
	}
	path, broken := controlPath(cmd.Config, cmd.Socket)
	ctx, cancel := context.WithTimeout(context.Background(), reloadPatience)
	defer cancel()
	for i, who := range cmd.Whom {
		code, answer, err := askControl(ctx, http.MethodPost, path, forgivePath+"?"+queries[i].Encode())
		switch {
		case err != nil && broken != nil:
			return exit(exitConfig, "%w", broken)
		case err != nil:
			return err
		case code != http.StatusOK:
			return exit(exitUnavailable, "the daemon answers: %s", answer)
		case answer == "0":
			fmt.Fprintf(g.Stdout, "%s: nothing was counted\n", who)
		default:
			fmt.Fprintf(g.Stdout, "%s: forgiven\n", who)
		}
	}
	return nil
}

// whom reads an address or a user.
func whom(who string) (url.Values, error) {
	if ip, err := netip.ParseAddr(who); err == nil {
		return url.Values{"address": {ip.Unmap().WithZone("").String()}}, nil
	}
	user, host, ok := bareJID(who)
	if !ok {
		return nil, fmt.Errorf("%q is neither an IP address nor user@host", who)
	}
	return url.Values{"user": {user}, "host": {host}}, nil
}
