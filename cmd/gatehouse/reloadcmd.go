package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gatehouse.im/gatehouse/config"
)

// reloadPatience is how long `gatehouse reload` waits for the outcome.
const reloadPatience = time.Minute

// ReloadCmd has the running daemon read its config anew.
type ReloadCmd struct {
	Config string `help:"Prosody's config file, which says where the daemon's data directory is; ${default} without this." short:"c" default:"/etc/prosody/prosody.cfg.lua" placeholder:"FILE"`
	Socket string `help:"The daemon's control socket, instead of gatehouse.sock in the data directory." placeholder:"PATH"`
}

// Run implements the command. The exit code is 0 if the daemon serves the file
// as it is now, 78 if it refused the file and goes on as before, and 69 if there
// is no daemon.
func (cmd *ReloadCmd) Run(g *globals) error {
	path, broken := controlPath(cmd.Config, cmd.Socket)
	ctx, cancel := context.WithTimeout(context.Background(), reloadPatience)
	defer cancel()
	code, answer, err := askControl(ctx, http.MethodPost, path, "/reload")
	switch {
	case err != nil && broken != nil:
		return exit(exitConfig, "%w\nA daemon that runs with this file keeps the config that it has.", broken)
	case err != nil:
		return err
	case code == http.StatusUnprocessableEntity:
		return exit(exitConfig, "%s\nThe daemon keeps the config that it has.", answer)
	case code != http.StatusOK:
		return exit(exitUnavailable, "the daemon answers: %s", answer)
	}
	fmt.Fprintln(g.Stdout, answer)
	return nil
}

// controlPath is where the daemon that runs with a config has its control socket,
// unless socket names it. A file that is broken by now may not say where: then it
// is the default place, and broken is why.
func controlPath(path, socket string) (_ string, broken error) {
	if socket != "" {
		return socket, nil
	}
	dir := config.DefaultDataDir()
	cfg, _, err := config.Load(path)
	if cfg != nil && cfg.DataDir != "" {
		dir = cfg.DataDir
	}
	return filepath.Join(dir, controlSocket), err
}

// noDaemonError is a control socket at which nobody listens.
type noDaemonError string

func (e noDaemonError) Error() string { return "no daemon answers at " + string(e) }

// maxAnswer is how much of the daemon's answer is read.
const maxAnswer = 1 << 20

// askControl puts a request to the daemon at a control socket.
func askControl(ctx context.Context, method, socket, path string) (code int, answer string, err error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return 0, "", exit(exitUnavailable, "%w\nIs gatehouse serve running, and with the same gatehouse_data_dir? --socket names another place.", noDaemonError(socket))
	case errors.Is(err, syscall.EACCES):
		return 0, "", exit(exitUnavailable, "%s may not be opened by this user; run this as the daemon's user or as root", socket)
	case err != nil:
		return 0, "", exit(exitUnavailable, "asking the daemon at %s: %w", socket, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, "", exit(exitUnavailable, "reading the answer of the daemon at %s: %w", socket, err)
	}
	return resp.StatusCode, strings.TrimRight(string(body), "\n"), nil
}
