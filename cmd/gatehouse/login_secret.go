package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"gatehouse.im/gatehouse/saslmech"
)

// passwordVariable may hold the password, for scripts. There is no option for
// it: a command line can be read by everybody on the machine.
const passwordVariable = "GATEHOUSE_PASSWORD"

// maxSecret bounds what is read as a password, in bytes.
const maxSecret = 4096

// readSecret returns the first line of the file, or else the environment
// variable, or else what is typed without echo, or else the first line of
// standard input.
func readSecret(g *globals, file, prompt string) (saslmech.Secret, error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return saslmech.Secret{}, exit(exitUsage, "--password-file: %w", err)
		}
		defer f.Close()
		return firstLine(f, file)
	}
	if value := os.Getenv(passwordVariable); value != "" {
		return saslmech.NewSecret([]byte(value)), nil
	}
	if f, ok := g.Stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return typed(g, int(f.Fd()), prompt)
	}
	return firstLine(g.Stdin, "standard input")
}

func firstLine(r io.Reader, name string) (saslmech.Secret, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxSecret+1)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return saslmech.Secret{}, exit(exitUsage, "cannot read the password: %w", err)
	}
	if len(line) > maxSecret {
		return saslmech.Secret{}, exit(exitUsage, "%s: more than %d bytes cannot be a password", name, maxSecret)
	}
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	if len(line) == 0 {
		return saslmech.Secret{}, exit(exitUsage, "%s holds no password", name)
	}
	return saslmech.NewSecret(line), nil
}

// typed asks at the terminal. Ctrl-C gives the terminal its echo back before it
// ends the program.
func typed(g *globals, fd int, prompt string) (saslmech.Secret, error) {
	state, err := term.GetState(fd)
	if err != nil {
		return saslmech.Secret{}, exit(exitUsage, "cannot ask for the password: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	defer context.AfterFunc(ctx, func() {
		_ = term.Restore(fd, state) // all that can be done
		fmt.Fprintln(g.Stderr)
		stop()
		_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
	})()
	fmt.Fprint(g.Stderr, prompt)
	line, err := term.ReadPassword(fd)
	fmt.Fprintln(g.Stderr)
	if err != nil {
		return saslmech.Secret{}, exit(exitUsage, "cannot read the password: %w", err)
	}
	return firstLine(bytes.NewReader(line), "the answer")
}
