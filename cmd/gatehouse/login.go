package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"gatehouse.im/gatehouse/internal/client"
	"gatehouse.im/gatehouse/internal/token"
	"gatehouse.im/gatehouse/saslmech"
)

// LoginCmd logs in to any XMPP server and shows each step.
type LoginCmd struct {
	JID       string `arg:"" name:"user@host" help:"Who logs in, and where."`
	Mechanism string `help:"SASL mechanism to use, as PLAIN or SCRAM-SHA-1, instead of the strongest that both sides know." short:"m" placeholder:"NAME"`
	Resource  string `help:"Resource to bind; without it the server chooses." placeholder:"NAME"`

	Connect   string `help:"Connect there instead of where DNS says." placeholder:"HOST:PORT"`
	DirectTLS bool   `name:"direct-tls" help:"Begin with TLS (port 5223) instead of STARTTLS (port 5222)."`
	Clear     bool   `name:"send-in-the-clear" help:"Use no TLS at all: everybody on the way can read the password."`

	CA          string `name:"ca" xor:"trust" help:"Trust the authorities in this PEM file instead of the system's." placeholder:"FILE"`
	Fingerprint string `xor:"trust" help:"Trust the certificate with this SHA-256 fingerprint, and no other." placeholder:"SHA256"`
	Insecure    bool   `xor:"trust" help:"Trust any certificate."`

	PasswordFile string `help:"Read the password or token from the first line of a file. Without it: from the environment variable GATEHOUSE_PASSWORD, or the terminal, or standard input." placeholder:"FILE"`
	Mint         bool   `help:"Mint a token from the keys in --config and log in with that, by X-TOKEN unless --mechanism says otherwise."`
	Config       string `help:"Prosody's config file, for --mint; ${default} without this." short:"c" default:"/etc/prosody/prosody.cfg.lua" placeholder:"FILE"`

	Timeout time.Duration `help:"Give up after this time; ${default} without this." default:"30s" placeholder:"TIME"`
	Verbose bool          `help:"Show the XML as well, without the secret." short:"v"`
}

// Run implements the command. The exit code is 0 after a login, 77 if the server
// refused it, 69 if nobody could say.
func (cmd *LoginCmd) Run(g *globals) error {
	options, err := cmd.options(g)
	if err != nil {
		return err
	}
	show := newStepPrinter(g.Stdout, cmd.Verbose)
	options.Trace = show.step

	started := time.Now()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, cmd.Timeout)
	defer cancel()
	session, err := client.Login(ctx, options)
	if err != nil {
		return loginFailed(err)
	}
	if err := session.Ping(ctx); err != nil {
		_ = session.Close() // the ping's error is the one to tell
		return loginFailed(err)
	}
	// The user was let in; the server's manners at the end do not change that,
	// and the step has said what was wrong with them.
	_ = session.Close()
	fmt.Fprintf(g.Stdout, "\n%s\n", show.good(fmt.Sprintf("%s is in, after %s.", session.JID(), short(time.Since(started)))))
	return nil
}

// loginFailed gives an error its exit code, and says what to do next.
func loginFailed(err error) error {
	code := exitUnavailable
	var e *client.Error
	switch {
	case errors.Is(err, client.ErrOptions):
		code = exitUsage
	case errors.As(err, &e) && e.Refused:
		code = exitRefused
	}
	if advice := client.Explain(err); advice != "" {
		return exit(code, "%w\n%s", err, advice)
	}
	return exit(code, "%w", err)
}

func (cmd *LoginCmd) options(g *globals) (client.Options, error) {
	if cmd.Timeout <= 0 {
		return client.Options{}, exit(exitUsage, "--timeout wants a time such as 30s")
	}
	user, host, resource, err := client.ParseJID(cmd.JID)
	if err != nil {
		return client.Options{}, exit(exitUsage, "%w", err)
	}
	if cmd.Resource != "" {
		resource = cmd.Resource
	}
	options := client.Options{
		User: user, Host: host, Resource: resource,
		Address: cmd.Connect, DirectTLS: cmd.DirectTLS, Clear: cmd.Clear,
		Fingerprint: cmd.Fingerprint, Insecure: cmd.Insecure,
		Mechanism: cmd.Mechanism,
	}
	if cmd.CA != "" {
		pem, err := os.ReadFile(cmd.CA)
		if err != nil {
			return options, exit(exitUsage, "--ca: %w", err)
		}
		options.Roots = x509.NewCertPool()
		if !options.Roots.AppendCertsFromPEM(pem) {
			return options, exit(exitUsage, "--ca: %s holds no certificate in PEM form", cmd.CA)
		}
	}
	if !cmd.Mint {
		options.Secret, err = readSecret(g, cmd.PasswordFile, "Password of "+user+"@"+host+": ")
		return options, err
	}
	if options.Mechanism == "" {
		options.Mechanism = saslmech.XToken.Name
	}
	options.Secret, err = cmd.mint(user+"@"+host, g)
	return options, err
}

// mint makes a token as the web application would.
func (cmd *LoginCmd) mint(jid string, g *globals) (saslmech.Secret, error) {
	host, bare, err := tokenHost(cmd.Config, jid, g)
	if err != nil {
		return saslmech.Secret{}, err
	}
	key := token.Combine(host.Token.Secrets, host.Token.Seeds)[0] // the newest
	minted, err := token.Mint(key, bare, time.Now(), token.NewNonce())
	if err != nil {
		return saslmech.Secret{}, exit(exitConfig, "%w", err)
	}
	fmt.Fprintf(g.Stderr, "Minted a token for %s with the keys of %s.\n", bare, cmd.Config)
	return saslmech.NewSecret([]byte(minted)), nil
}
