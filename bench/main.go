package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// errWrong says that a wrong password was accepted or a right one refused.
var errWrong = errors.New("wrong answers were given")

// size is how much of everything is done.
type size struct {
	rounds   int
	warm     int           // logins before anything is measured
	logins   int           // a round, for the CPU of a login
	mixed    int           // a round, for wrong answers
	blocks   int           // of queries, for each contestant in each round
	quiet    time.Duration // of pings beside nothing
	slow     time.Duration // of pings beside logins with a slow script
	sessions int
	hold     time.Duration // how long sessions are idle before they are measured
	settle   time.Duration // before and after memory is read
	tokens   int
	messages int // a round, on each path, of the smaller size; half as many of the larger
	trips    int // a round, on each path and of each size: messages there and back
	relayed  int // sessions, logins and clients of a storm with Prosody behind
}

var (
	full = size{
		rounds: 5, warm: 200, logins: 2000, mixed: 2000, blocks: 1000,
		quiet: 5 * time.Second, slow: 10 * time.Second,
		sessions: 5000, hold: 10 * time.Second, settle: 2 * time.Second, tokens: 200_000,
		messages: 10_000, trips: 1000, relayed: 2000,
	}
	short = size{
		rounds: 1, warm: 20, logins: 200, mixed: 200, blocks: 100,
		quiet: time.Second, slow: 2 * time.Second,
		sessions: 300, hold: 500 * time.Millisecond, settle: 300 * time.Millisecond, tokens: 20_000,
		messages: 400, trips: 50, relayed: 100,
	}
)

// parts are what -only chooses from, in the order of the table.
var parts = []struct {
	name string
	run  func(context.Context, *rig) ([]row, error)
}{
	{"a", loginCost},
	{"b", queryRate},
	{"b", slowScript},
	{"c", idleSessions},
	{"d", tokenRate},
	{"e", wrongAnswers},
	{"f", relayedMessages},
	{"f", relayedSessions},
	{"f", relayedLogins},
	{"f", relayedStorm},
	{"g", webSockets},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures and prints the table on out, and progress on progress. The error
// is errWrong, or says which step failed; rows that were measured before are
// printed all the same.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(progress)
	isShort := flags.Bool("short", false, "do little of everything: shows that it works, and no more")
	rounds := flags.Int("rounds", 0, "rounds of each measurement (5, or 1 with -short)")
	only := flags.String("only", "", "run these parts only, as in a,c: a login, b queries, c idle sessions, d tokens, e wrong answers, f the relay, g WebSocket")
	asJSON := flags.Bool("json", false, "print the rows as JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	r := &rig{size: full, log: log.New(progress, "", log.Ltime)}
	if *isShort {
		r.size = short
	}
	if *rounds > 0 {
		r.size.rounds = *rounds
	}
	if err := r.setUp(ctx); err != nil {
		return err
	}
	defer r.tearDown()
	var rows []row
	var failed error
	for _, p := range parts {
		if !chosen(p.name) {
			continue
		}
		var got []row
		if got, failed = p.run(ctx, r); failed != nil {
			failed = fmt.Errorf("part %s: %w", p.name, failed)
			break
		}
		rows = append(rows, got...)
	}
	if *asJSON {
		err = printJSON(out, rows)
	} else {
		err = printTable(out, rows)
	}
	if failed == nil && slices.ContainsFunc(rows, func(r row) bool { return r.wrong }) {
		failed = errWrong
	}
	return errors.Join(err, failed)
}

// choose reads the -only flag.
func choose(only string) (chosen func(part string) bool, err error) {
	if only == "" {
		return func(string) bool { return true }, nil
	}
	list := strings.Split(only, ",")
	for _, name := range list {
		known := false
		for _, p := range parts {
			known = known || p.name == name
		}
		if !known {
			return nil, fmt.Errorf("-only: there is no part %q", name)
		}
	}
	return func(part string) bool { return slices.Contains(list, part) }, nil
}
