package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// idleSessions is part (c): proportional set size (the script's included) that
// each logged-in, silent client adds. Every reading is of a fresh server that
// has had some logins, since a heap keeps what it once needed.
func idleSessions(ctx context.Context, r *rig) ([]row, error) {
	var measured, floor spread
	rounds := (r.size.rounds + 1) / 2 // memory is steadier than time
	for i := range rounds {
		r.log.Printf("(c) idle sessions: round %d of %d", i+1, rounds)
		err := r.round(i,
			func() error { return r.idle(ctx, &floor, func() (*process, error) { return r.floor(ctx) }) },
			func() error {
				return r.idle(ctx, &measured, func() (*process, error) { return r.gatehouse(ctx, "gatehouse", script{}) })
			})
		if err != nil {
			return nil, err
		}
	}
	w := row{Part: "c", What: fmt.Sprintf("memory of an idle session, of %d", r.size.sessions), Unit: "kB",
		Measured: measured, Floor: floor, Ratio: measured.over(floor)}
	return []row{w.atMost(measured, 26, "26 kB")}, nil
}

// idle measures one server once, in units of 1000 bytes.
func (r *rig) idle(ctx context.Context, to *spread, start func() (*process, error)) (err error) {
	s, err := start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	res, err := r.loadClean(ctx, s, "idle", "-n", strconv.Itoa(r.size.sessions), "-warm", strconv.Itoa(r.size.sessions/10),
		"-hold", r.size.hold.String(), "-pause", r.size.settle.String())
	if err != nil {
		return err
	}
	if res.M["dropped"] > 0 {
		return fmt.Errorf("%s dropped %v idle sessions\n%s", s.name, res.M["dropped"], s.lastWords())
	}
	*to = append(*to, res.M["pss_per_session_B"]/1000)
	return nil
}
