package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"gatehouse.im/gatehouse/saslmech"
)

// CacheCmd is about what the daemon remembers of the script's verdicts.
type CacheCmd struct {
	Clear CacheClearCmd `cmd:"" help:"Have the running daemon forget verdicts on passwords."`
}

// CacheClearCmd empties the cache of the running daemon.
type CacheClearCmd struct {
	Who    string `arg:"" optional:"" name:"user@host" help:"Whose verdicts; a HOST alone is all of its users. Everybody's without it."`
	Config string `help:"Prosody's config file, which says where the daemon's data directory is; ${default} without this." short:"c" default:"/etc/prosody/prosody.cfg.lua" placeholder:"FILE"`
	Socket string `help:"The daemon's control socket, instead of gatehouse.sock in the data directory." placeholder:"PATH"`
}

// Run implements the command. The exit code is 0 also where there was nothing to
// forget, 64 if there is no such host, and 69 if there is no daemon.
func (cmd *CacheClearCmd) Run(g *globals) error {
	query := make(url.Values)
	if cmd.Who != "" {
		user, host, ok := bareJID(cmd.Who)
		if !strings.Contains(cmd.Who, "@") {
			var err error
			host, err = saslmech.Nameprep(cmd.Who)
			user, ok = "", err == nil && host != ""
		}
		if !ok {
			return exit(exitUsage, "want USER@HOST or HOST, as XMPP allows them")
		}
		query.Set("user", user)
		query.Set("host", host)
	}
	path, _ := controlPath(cmd.Config, cmd.Socket) // a broken file is no reason to remember
	ctx, cancel := context.WithTimeout(context.Background(), healthPatience)
	defer cancel()
	code, answer, err := askControl(ctx, http.MethodPost, path, clearPath+"?"+query.Encode())
	switch {
	case err != nil:
		return err
	case code == http.StatusNotFound:
		return exit(exitUsage, "%s", answer)
	case code != http.StatusOK:
		return exit(exitUnavailable, "the daemon answers: %s", answer)
	}
	fmt.Fprintln(g.Stdout, answer)
	return nil
}

// clearPath is where the control socket takes the command. The query may hold a
// host, and a user of that. The answer is 200 with a line for people, or 404 with
// one if there is no such host.
const clearPath = "/cache/clear"

// withCacheClear serves clearPath beside the rest of the control socket.
func withCacheClear(d *daemon, rest http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", rest)
	mux.HandleFunc("POST "+clearPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		n, err := d.clearCaches(r.URL.Query().Get("user"), r.URL.Query().Get("host"))
		if err != nil {
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprintln(w, err)
			return
		}
		_, _ = fmt.Fprintf(w, "forgot %s\n", plural1(n, "verdict", "verdicts"))
	})
	return mux
}

// clearCaches forgets the verdicts of a user, of a host if user is empty, or of all
// if both are. Verdicts on queries that are in flight are not remembered either.
func (d *daemon) clearCaches(user, host string) (n int, err error) {
	caches := d.parts.Load().caches
	if host != "" && caches[host] == nil {
		return 0, fmt.Errorf("the running daemon asks no script about the users of %q", host)
	}
	switch {
	case host == "":
		for _, cache := range caches {
			n += cache.Clear()
		}
	case user == "":
		n = caches[host].Clear()
	default:
		n = caches[host].Forget(user)
	}
	d.logger.Info("cache cleared", "host", host, "user", user, "verdicts", n)
	return n, nil
}
