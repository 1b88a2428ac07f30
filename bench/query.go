package main

import (
	"context"
	"errors"
	"time"

	"gatehouse.im/gatehouse/extauth"
)

// queryBlock is how many queries one of the two asks before it is the other's
// turn: so few that the scheduler, which makes a difference of five between one
// moment and the next, treats both alike.
const queryBlock = 32

const (
	queryUser     = "u1"
	queryPassword = "pass:u1"
)

var (
	bareQuery = []byte("auth:" + queryUser + ":" + domain + ":" + queryPassword + "\n")
	errNo     = errors.New("the script refused a right password")
)

// queryRate is the first half of part (b): one question after another to one
// worker of a pool, beside a bare write/read loop with the same script.
func queryRate(ctx context.Context, r *rig) ([]row, error) {
	var rows []row
	for _, transport := range []struct {
		name     string
		terminal bool
	}{{"pipes", false}, {"terminal", true}} {
		w, err := r.queries(ctx, transport.name, transport.terminal)
		if err != nil {
			return nil, err
		}
		rows = append(rows, w.atLeast(w.Ratio, 0.9, "0.9"))
	}
	return rows, nil
}

func (r *rig) queries(ctx context.Context, name string, terminal bool) (w row, err error) {
	pool, err := extauth.NewPool(extauth.Config{
		Name: domain, Command: []string{r.path("authscript")}, Protocol: extauth.Generic,
		Timeout: 5 * time.Second, Processes: 1, Queue: 100, PTY: terminal,
	})
	if err != nil {
		return w, err
	}
	defer func() { err = errors.Join(err, pool.Close(context.WithoutCancel(ctx))) }()
	bare, err := startBare(r.path("authscript"), terminal)
	if err != nil {
		return w, err
	}
	defer func() { err = errors.Join(err, bare.close()) }()

	w = row{Part: "b", What: "queries, pool of one, " + name + "; floor: bare loop", Unit: "1/s"}
	askBare := func() (bool, error) { return bare.ask(bareQuery) }
	askPool := func() (bool, error) { return pool.Auth(ctx, queryUser, domain, queryPassword) }
	for i := range r.size.rounds {
		r.log.Printf("(b) queries, %s: round %d of %d", name, i+1, r.size.rounds)
		// The median of many blocks: a hiccup spoils one of them.
		var measured, floor spread
		measure := func(to *spread, ask func() (bool, error)) func() error {
			return func() error {
				rate, err := perSecond(queryBlock, ask)
				*to = append(*to, rate)
				return errors.Join(err, ctx.Err())
			}
		}
		for k := range r.size.blocks {
			if err := r.round(k, measure(&floor, askBare), measure(&measured, askPool)); err != nil {
				return w, err
			}
		}
		w.Measured = append(w.Measured, measured.median())
		w.Floor = append(w.Floor, floor.median())
		w.Ratio = append(w.Ratio, measured.over(floor).median())
	}
	return w, nil
}

// perSecond asks n times.
func perSecond(n int, ask func() (bool, error)) (float64, error) {
	begun := time.Now()
	for range n {
		yes, err := ask()
		if err == nil && !yes {
			err = errNo
		}
		if err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(begun).Seconds(), nil
}
