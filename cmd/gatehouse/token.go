package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/token"
	"gatehouse.im/gatehouse/saslmech"
)

// TokenCmd groups what there is to do with tokens in a shell.
type TokenCmd struct {
	Keys   TokenKeysCmd   `cmd:"" help:"Print new random keys, ready to paste into the config."`
	Mint   TokenMintCmd   `cmd:"" help:"Mint a token that logs USER@HOST in once, within a minute."`
	Verify TokenVerifyCmd `cmd:"" help:"Say whether a token would log USER@HOST in now. It is not used up by that."`
}

// TokenKeysCmd prints keys.
type TokenKeysCmd struct{}

// Run implements the command.
func (*TokenKeysCmd) Run(g *globals) error {
	secret, seed := token.GenerateKeys()
	fmt.Fprintf(g.Stdout, "token_secret = %q\notp_seed = %q\n", secret, seed)
	fmt.Fprintln(g.Stderr, "Put both into the config of gatehouse, and give them to the web application. To rotate keys, make each a list, the newest first.")
	return nil
}

// TokenMintCmd mints a token.
type TokenMintCmd struct {
	Config string `help:"Prosody's config file; ${default} without this." short:"c" default:"/etc/prosody/prosody.cfg.lua" placeholder:"FILE"`
	JID    string `arg:"" name:"user@host" help:"For whom."`
}

// Run implements the command.
func (cmd *TokenMintCmd) Run(g *globals) error {
	host, bare, err := tokenHost(cmd.Config, cmd.JID, g)
	if err != nil {
		return err
	}
	key := token.Combine(host.Token.Secrets, host.Token.Seeds)[0] // the newest
	t, err := token.Mint(key, bare, time.Now(), token.NewNonce())
	if err != nil {
		return exit(exitConfig, "%w", err)
	}
	fmt.Fprintln(g.Stdout, t)
	return nil
}

// TokenVerifyCmd verifies a token.
type TokenVerifyCmd struct {
	Config string `help:"Prosody's config file; ${default} without this." short:"c" default:"/etc/prosody/prosody.cfg.lua" placeholder:"FILE"`
	JID    string `arg:"" name:"user@host" help:"For whom."`
	Token  string `arg:"" optional:"" help:"The token; without it, a line from standard input."`
}

// Run implements the command.
func (cmd *TokenVerifyCmd) Run(g *globals) error {
	host, bare, err := tokenHost(cmd.Config, cmd.JID, g)
	if err != nil {
		return err
	}
	if cmd.Token == "" {
		line, err := bufio.NewReader(io.LimitReader(g.Stdin, 4096)).ReadString('\n')
		if err != nil && line == "" {
			return exit(exitUsage, "no token given, and none on standard input")
		}
		cmd.Token = strings.TrimRight(line, "\r\n")
	}
	verifier, err := token.NewVerifier(token.Combine(host.Token.Secrets, host.Token.Seeds), new(token.Memory))
	if err != nil {
		return exit(exitConfig, "%w", err)
	}
	// As at a login: full-width digits and the like become plain ones.
	prepared, err := saslmech.SASLprep(cmd.Token)
	if err != nil || !verifier.LooksLike(prepared) {
		return exit(exitRefused, "no: it does not have the shape of a token: 8 digits of one-time password and 32 of nonce, a space, 44 characters of base64")
	}
	ok, fault, err := verifier.Judge(prepared, bare, time.Now())
	switch {
	case err != nil:
		return exit(exitUnavailable, "cannot say: %w", err)
	case !ok:
		return exit(exitRefused, "no, for %s: %s (this machine's clock: %s UTC)", bare, fault, time.Now().UTC().Format(time.TimeOnly))
	}
	fmt.Fprintf(g.Stdout, "yes: it logs %s in, unless it has been used already\n", bare)
	return nil
}

// tokenHost finds the host of a JID in a config, and the JID as tokens have it.
func tokenHost(path, jid string, g *globals) (*config.Host, string, error) {
	cfg, err := load(path, g)
	if err != nil {
		return nil, "", err
	}
	user, domain, ok := bareJID(jid)
	if !ok {
		return nil, "", exit(exitUsage, "%q is not of the form user@host", jid)
	}
	host := cfg.Host(domain)
	switch {
	case host == nil:
		return nil, "", exit(exitConfig, "%s: no host %s is served from there (gatehouse check explains why)", path, domain)
	case host.Token == nil:
		return nil, "", exit(exitConfig, "%s: host %s has no token_secret and otp_seed (gatehouse token keys makes some)", host.Pos, domain)
	}
	return host, user + "@" + domain, nil
}
