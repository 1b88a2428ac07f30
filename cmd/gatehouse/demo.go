package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/client"
	"gatehouse.im/gatehouse/internal/token"
	"gatehouse.im/gatehouse/saslmech"
)

// demoStepTimeout is for one login of the show. A script that starts slowly on a
// busy machine is fine.
const demoStepTimeout = 40 * time.Second

// DemoCmd starts the real daemon on free loopback ports and logs in to it, well
// and badly, through the network as any client would.
type DemoCmd struct {
	Config  string `help:"The config to start; ${default} without this." short:"c" default:"prosody.cfg.lua.example" placeholder:"FILE"`
	Once    bool   `help:"End after the show instead of staying up for your own client."`
	Verbose bool   `help:"Show every step of every login, and the daemon's log, from the start." short:"v"`
}

// Run implements the command. The exit code is 0 only if every login went as it
// should, the bad ones badly.
func (cmd *DemoCmd) Run(g *globals) error {
	// A terminal that is closed must not leave the data directory behind.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return cmd.run(ctx, g)
}

// run is the demo until ctx ends.
func (cmd *DemoCmd) run(ctx context.Context, g *globals) error {
	if _, err := os.Stat(cmd.Config); err != nil {
		return exit(exitUsage, "%w\nRun it from the top of gatehouse's source tree, or name a config with --config.", err)
	}
	dataDir, err := os.MkdirTemp("", "gatehouse-demo-*")
	if err != nil {
		return exit(exitUnavailable, "%w", err)
	}
	defer os.RemoveAll(dataDir)

	palette := newPalette(g.Stdout)
	log := newDemoLog(g.Stdout, palette, cmd.Verbose)
	started := time.Now()
	d, err := startDaemon(ctx, cmd.Config, daemonOptions{
		Loopback: true, DataDir: dataDir, Logger: slog.New(log.handler()),
	})
	if err != nil {
		return err
	}
	show := &demo{
		palette: palette, out: log, verbose: cmd.Verbose, daemon: d, config: cmd.Config,
		starttls: d.Addr(false), direct: d.Addr(true),
	}
	err = show.prepare()
	if err == nil {
		show.started(time.Since(started))
		err = show.play(ctx)
	}
	if err == nil && !cmd.Once && ctx.Err() == nil {
		show.invite()
		log.show()
		d.supervise(ctx, nil)
	}
	return errors.Join(err, show.end())
}

// demo is the show: a running daemon and what is known about it.
type demo struct {
	palette
	out     *demoLog
	verbose bool
	daemon  *daemon
	config  string // path

	starttls, direct string // addresses
	host             *config.Host
	fingerprint      string
	accounts         []account

	wrong int // logins that did not go as they should
}

// prepare picks the host to show and reads its accounts.
func (d *demo) prepare() error {
	for _, h := range d.daemon.Config().Hosts {
		if h.OfferPlain && h.OfferToken {
			d.host = h
			break
		}
	}
	if d.host == nil {
		return exit(exitConfig, "%s: no host has both a script and the keys of tokens, and the demo shows both", d.config)
	}
	d.fingerprint = d.daemon.Fingerprint(d.host.Name)
	var err error
	d.accounts, err = readAccounts(filepath.Join(filepath.Dir(d.config), "examples", "users.txt"))
	return err
}

// account is a line of the example's table of users.
type account struct{ name, password string }

func readAccounts(path string) ([]account, error) {
	table, err := os.ReadFile(path)
	if err != nil {
		return nil, exit(exitConfig, "the accounts of the example: %w", err)
	}
	var accounts []account
	for _, line := range strings.Split(string(table), "\n") {
		if name, password, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && name != "" && password != "" {
			accounts = append(accounts, account{name, password})
		}
	}
	if len(accounts) == 0 {
		return nil, exit(exitConfig, "%s: no account in it; a line is name:password", path)
	}
	return accounts, nil
}

func (d *demo) printf(format string, args ...any) { fmt.Fprintf(d.out, format, args...) }

func (d *demo) started(took time.Duration) {
	d.printf("%s\n\n", d.bold("gatehouse demo: real logins to a real daemon"))
	d.printf("%s The daemon runs with %s. %s\n", d.good("✓"), d.config, d.faint(short(took)))
	d.printf("    host %s, STARTTLS on %s, direct TLS on %s\n", d.host.Name, d.starttls, d.direct)
	d.printf("    script %s\n", strings.Join(d.host.External.Command, " "))
	if len(d.host.Certificates) == 0 {
		d.printf("    it made itself a certificate, SHA-256 %s…\n", d.fingerprint[:16])
	}
	d.printf("\n")
}

// scene is one login of the show.
type scene struct {
	title     string
	user      string
	secret    string
	mechanism string
	direct    bool
	refused   string // the condition with which it has to be refused; empty: it has to succeed
}

// play goes through the scenes. The error says how many went wrong.
func (d *demo) play(ctx context.Context) error {
	user := d.accounts[0]
	minted, err := d.mint(user.name)
	if err != nil {
		return err
	}
	tampered := "0" + minted[1:]
	if tampered == minted {
		tampered = "1" + minted[1:]
	}
	const no = "not-authorized"
	plain, xtoken := saslmech.Plain.Name, saslmech.XToken.Name
	scenes := []scene{
		{"%s logs in with a password over STARTTLS; the script decides.", user.name, user.password, plain, false, ""},
		{"%s logs in with a password over direct TLS.", user.name, user.password, plain, true, ""},
		{"%s logs in with a token; no script is asked.", user.name, minted, xtoken, false, ""},
		{"%s with a wrong password is refused.", user.name, user.password + "-wrong", plain, false, no},
		{"%s, whom the script does not know, is refused.", "nobody-of-that-name", user.password, plain, false, no},
		{"%s with the token that was used is refused.", user.name, minted, xtoken, false, no},
		{"%s with a forged token is refused.", user.name, tampered, xtoken, true, no},
		{"%s with the right password comes in as before.", user.name, user.password, plain, false, ""},
	}
	for _, s := range scenes {
		d.playScene(ctx, s)
		if ctx.Err() != nil {
			return nil // Ctrl-C is no failure
		}
	}
	if d.wrong > 0 {
		d.printf("\n%s\n", d.bad(fmt.Sprintf("%d of %d logins did NOT go as they should.", d.wrong, len(scenes))))
		d.out.showWarnings()
		return exit(exitUnavailable, "%d of %d logins did not go as they should", d.wrong, len(scenes))
	}
	d.printf("\n%s\n", d.good(fmt.Sprintf("All %d logins went as they should.", len(scenes))))
	return nil
}

// mint makes a token as the operator's web application would.
func (d *demo) mint(user string) (string, error) {
	key := token.Combine(d.host.Token.Secrets, d.host.Token.Seeds)[0]
	minted, err := token.Mint(key, user+"@"+d.host.Name, time.Now(), token.NewNonce())
	if err != nil {
		return "", exit(exitConfig, "mint a token: %w", err)
	}
	return minted, nil
}

// playScene logs in once and judges the outcome.
func (d *demo) playScene(ctx context.Context, s scene) {
	ctx, cancel := context.WithTimeout(ctx, demoStepTimeout)
	defer cancel()
	seen := summary{}
	trace := seen.step
	if d.verbose {
		printer := &stepPrinter{palette: d.palette, w: indented{d.out}, verbose: true, now: time.Now}
		trace = func(step client.Step) { seen.step(step); printer.step(step) }
	}
	options := client.Options{
		User: s.user, Host: d.host.Name, Secret: saslmech.NewSecret([]byte(s.secret)),
		Address: d.starttls, DirectTLS: s.direct,
		Fingerprint: d.fingerprint, Mechanism: s.mechanism, Trace: trace,
	}
	if s.direct {
		options.Address = d.direct
	}
	began := time.Now()
	err := d.visit(ctx, options)
	took := time.Since(began)
	if ctx.Err() == context.Canceled {
		return
	}
	title := fmt.Sprintf(s.title, s.user)
	var e *client.Error
	switch {
	case s.refused == "" && err == nil:
		d.printf("%s %s %s\n    %s\n", d.good("✓"), title, d.faint(short(took)), seen)
	case s.refused != "" && errors.As(err, &e) && e.Refused && e.Condition == s.refused:
		d.printf("%s %s %s\n    %s, refused: %s\n", d.good("✓"), title, d.faint(short(took)), seen, e.Condition)
	case err == nil:
		d.wrong++
		d.printf("%s %s %s\n    %s\n", d.bad("✗"), title, d.faint(short(took)), d.bad("But it was let in: "+seen.String()))
	default:
		d.wrong++
		d.printf("%s %s %s\n    %s\n", d.bad("✗"), title, d.faint(short(took)), d.bad(err.Error()))
		if advice := client.Explain(err); advice != "" {
			d.printf("    %s\n", advice)
		}
	}
}

// visit logs in, asks for a ping and leaves.
func (d *demo) visit(ctx context.Context, options client.Options) error {
	session, err := client.Login(ctx, options)
	if err != nil {
		return err
	}
	return errors.Join(session.Ping(ctx), session.Close())
}

// end stops the daemon.
func (d *demo) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), d.daemon.Config().ShutdownTimeout)
	defer cancel()
	if err := d.daemon.Stop(ctx); err != nil {
		return exit(exitUnavailable, "the daemon did not end well: %w", err)
	}
	return nil
}
