package main

import (
	"context"
	"errors"
	"time"

	"gatehouse.im/gatehouse/extauth"
)

// querySlice is how long one of the two asks before it is the other's turn.
const querySlice = 20 * time.Millisecond

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
		// Short slices, many times, and their median: whatever else the
		// machine does then meets both, and a hiccup spoils one slice.
		var measured, floor spread
		measure := func(to *spread, ask func() (bool, error)) func() error {
			return func() error {
				rate, err := perSecond(querySlice, ask)
				*to = append(*to, rate)
				return errors.Join(err, ctx.Err())
			}
		}
		for k := range r.size.slices {
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

// perSecond asks for as long as d.
func perSecond(d time.Duration, ask func() (bool, error)) (float64, error) {
	begun := time.Now()
	for n := 1; ; n++ {
		yes, err := ask()
		if err == nil && !yes {
			err = errNo
		}
		if err != nil {
			return 0, err
		}
		if took := time.Since(begun); took >= d {
			return float64(n) / took.Seconds(), nil
		}
	}
}
