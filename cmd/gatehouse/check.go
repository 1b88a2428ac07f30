package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"gatehouse.im/gatehouse/config"
)

// CheckCmd explains a config file, and tries a query.
type CheckCmd struct {
	Config       string  `help:"Prosody's config file; ${default} without this." short:"c" default:"/etc/prosody/prosody.cfg.lua" placeholder:"FILE"`
	Query        string  `xor:"user" help:"Ask the host's script: auth:USER:HOST:PASSWORD, isuser:USER:HOST or setpass:USER:HOST:PASSWORD. Without the password, it is read from standard input." placeholder:"QUERY"`
	Quiet        bool    `help:"Say only what is wrong, on standard error." short:"q"`
	All          bool    `help:"Show every option that gatehouse reads from the file, with its value."`
	Upstream     bool    `help:"Go to the servers behind, to see whether they answer, how they are secured and what they offer; and to the Redis of gatehouse_state."`
	UpstreamUser *string `xor:"user" help:"Log in at the servers behind as this user, in the way that gatehouse_upstream_auth says, and hang up: the proof that they know who comes. For tickets the daemon must be running; a password is asked for, or taken from GATEHOUSE_PASSWORD or standard input." placeholder:"USER@HOST"`
	User         string  `help:"Whose rights count: the user that serve runs as. By default yours, or gatehouse's if you are root and there is such a user." placeholder:"NAME"`
}

// Run implements the command. A file that serve would refuse is exitConfig.
func (cmd *CheckCmd) Run(g *globals) error {
	cfg, warnings, err := config.Load(cmd.Config)
	who, errUser := findIdentity(cmd.User)
	if errUser != nil {
		return exit(exitUsage, "--user: %w", errUser)
	}
	if cmd.Query != "" {
		if err != nil {
			return exit(exitConfig, "%w", err)
		}
		if !who.self { // what this one may, the script may not there
			fmt.Fprintf(g.Stderr, "The script runs as %s now, and as %s for the daemon: runuser -u %[2]s -- gatehouse check --query ... asks as that user.\n",
				userName(os.Geteuid()), who.name)
		}
		return cmd.query(cfg, g)
	}
	out := g.Stdout
	if cmd.Quiet {
		out = io.Discard
	}
	r := newReport(out, time.Now(), who)
	r.tryUpstream = cmd.Upstream || cmd.UpstreamUser != nil
	if cmd.UpstreamUser != nil && err == nil {
		if r.trial, err = cmd.trial(cfg, g); err != nil {
			return err
		}
	}
	for _, w := range warnings {
		r.add(warning, w)
	}
	path := cmd.Config
	if cfg != nil {
		path = cfg.Path
	}
	r.begin(path, cfg)
	var failed *config.Error
	switch {
	case errors.As(err, &failed):
		for _, p := range failed.Problems {
			r.add(mistake, p)
		}
	case err != nil:
		return exit(exitConfig, "%w", err)
	default:
		r.explain(cfg, cmd.All)
	}
	if cmd.Quiet {
		r.listFindings(g.Stderr, "")
	} else {
		r.showFindings()
	}
	if n := r.count(mistake); n > 0 {
		return exit(exitConfig, "%s: %s; gatehouse serve refuses this file", path, plural(n, "error"))
	}
	r.verdict(cfg)
	if n := len(r.unusable); n > 0 {
		why := ""
		if cmd.Quiet {
			why = ":\n" + strings.Join(r.unusable, "\n")
		}
		return exit(exitUnavailable, "%s behind cannot be used now%s", plural(n, "server"), why)
	}
	return nil
}

// explain tells a person what the daemon would do with a config that loads, and
// collects what is wrong with it nevertheless.
func (r *report) explain(cfg *config.Config, all bool) {
	settings := newSettings(cfg)
	r.daemon(cfg)
	r.ports(cfg)
	for _, h := range cfg.Hosts {
		r.host(cfg, h, settings)
	}
	r.leftToProsody(cfg, settings)
	if all {
		r.allOptions(cfg, settings)
	}
	r.checkOptions(cfg, settings)
	r.checkHidden(cfg)
	r.checkFiles(cfg)
	r.checkChangers(cfg)
	r.checkLog(cfg)
	if len(cfg.Hosts) == 0 {
		r.nothingToServe(cfg.Path)
	}
}

// nothingToServe makes an error of what Load warns of: for Prosody the file may
// be good, but serve has no use for it.
func (r *report) nothingToServe(path string) {
	r.findings = slices.DeleteFunc(r.findings, func(f finding) bool {
		return f.Option == "" && strings.HasSuffix(f.Msg, "nothing to serve")
	})
	r.add(mistake, config.Problem{Pos: config.Pos{File: path},
		Msg: `no VirtualHost has authentication = "external" or "token", so there is nothing to serve`})
}

// plural is "1 error", "2 errors".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
