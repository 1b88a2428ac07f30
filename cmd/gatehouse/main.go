// Command gatehouse is an XMPP authentication front: it stands where chat
// clients connect, does TLS and SASL, and asks the operator's script or checks
// a token of the operator's web application to decide who comes in.
//
// A file a command; build.go turns the values of a config into live parts,
// judge.go fits them to package server, daemon.go starts and stops the whole.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// Exit codes, as in sysexits.h.
const (
	exitUsage       = 64
	exitUnavailable = 69
	exitRefused     = 77
	exitConfig      = 78
)

// exitError ends the program with a code; its message is for the person at the
// terminal.
type exitError struct {
	Code int
	Err  error
}

func (e *exitError) Error() string { return e.Err.Error() }
func (e *exitError) Unwrap() error { return e.Err }

func exit(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

// globals is what a command has from the outside.
type globals struct {
	Stdout, Stderr io.Writer
	Stdin          io.Reader
}

type commands struct {
	Serve      ServeCmd         `cmd:"" help:"Run the daemon."`
	Reload     ReloadCmd        `cmd:"" help:"Have the running daemon read its config anew, and show what came of it."`
	Cache      CacheCmd         `cmd:"" help:"Empty what the running daemon remembers of the script's verdicts."`
	Check      CheckCmd         `cmd:"" help:"Explain a config file; try a query against a host's script."`
	Config     ConfigCmd        `cmd:"" help:"Show what a config file says."`
	Token      TokenCmd         `cmd:"" help:"Make keys, mint and verify X-TOKEN tokens."`
	Login      LoginCmd         `cmd:"" help:"Log in to any XMPP server and show each step."`
	Demo       DemoCmd          `cmd:"" help:"Start the daemon with the example config and show a few logins."`
	Health     HealthCmd        `cmd:"" help:"Say by the exit code whether clients can log in to the running daemon."`
	Guard      GuardCmd         `cmd:"" help:"Let somebody in again who failed to log in too often."`
	Extauth    ExtauthCmd       `cmd:"" help:"Be the auth script of another server, and ask the running daemon."`
	Completion CompletionCmd    `cmd:"" help:"Print what makes a shell complete gatehouse's command line."`
	Man        ManCmd           `cmd:"" hidden:"" help:"Print a manual page."`
	Version    kong.VersionFlag `help:"Show the version and exit."`
}

func main() { os.Exit(run(os.Args[1:], globals{os.Stdout, os.Stderr, os.Stdin})) }

// run is main without its globals. It returns the exit code.
func run(args []string, g globals) int {
	code := 0
	var cmds commands
	parser, err := kong.New(&cmds,
		kong.Name("gatehouse"),
		kong.Description("An XMPP authentication front: passwords by your own script, tokens by your own web application."),
		kong.Vars{"version": "gatehouse " + version()},
		kong.Writers(g.Stdout, g.Stderr),
		kong.Exit(func(c int) { panic(exitNow(c)) }),
		kong.UsageOnError(),
	)
	if err != nil {
		fmt.Fprintln(g.Stderr, "gatehouse:", err) // our own tags are wrong
		return exitUsage
	}
	defer func() {
		if p := recover(); p != nil {
			c, ok := p.(exitNow)
			if !ok {
				panic(p)
			}
			code = int(c)
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		hint := ""
		if strings.HasPrefix(err.Error(), "unexpected argument") {
			hint = " (a config file is named by --config)"
		}
		fmt.Fprintf(g.Stderr, "gatehouse: %v%s\nTry 'gatehouse --help'.\n", err, hint)
		return exitUsage
	}
	if err := ctx.Run(&g); err != nil {
		fmt.Fprintln(g.Stderr, "gatehouse:", err)
		var e *exitError
		if errors.As(err, &e) {
			return e.Code
		}
		return exitUnavailable
	}
	return code
}

// exitNow carries the exit code of kong's --help and --version past its own
// os.Exit.
type exitNow int
