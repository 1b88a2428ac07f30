package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// healthPatience is how long `gatehouse health` waits for an answer.
const healthPatience = 5 * time.Second

// HealthCmd asks the running daemon whether clients can log in, for a container's
// health check and other things that only look at an exit code.
type HealthCmd struct {
	Config string `help:"Prosody's config file, which says where the daemon's data directory is; ${default} without this." short:"c" default:"/etc/prosody/prosody.cfg.lua" placeholder:"FILE"`
	Socket string `help:"The daemon's control socket, instead of gatehouse.sock in the data directory." placeholder:"PATH"`
}

// Run implements the command. The exit code is 0 if clients can log in, and 69 if
// not or if there is no daemon.
func (cmd *HealthCmd) Run(g *globals) error {
	path, _ := controlPath(cmd.Config, cmd.Socket) // a broken file is not the daemon's health
	ctx, cancel := context.WithTimeout(context.Background(), healthPatience)
	defer cancel()
	code, answer, err := askControl(ctx, http.MethodGet, path, "/readyz")
	switch {
	case err != nil:
		return err
	case code != http.StatusOK:
		return exit(exitUnavailable, "%s", answer)
	}
	fmt.Fprintln(g.Stdout, answer)
	return nil
}
