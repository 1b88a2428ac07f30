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
			func() error {
				return r.idle(ctx, &floor, r.size.sessions, func() (*process, error) { return r.floor(ctx) })
			},
			func() error {
				return r.idle(ctx, &measured, r.size.sessions, func() (*process, error) { return r.gatehouse(ctx, "gatehouse", script{}) })
			})
		if err != nil {
			return nil, err
		}
	}
	w := row{Part: "c", What: fmt.Sprintf("memory of an idle session, of %d", r.size.sessions), Unit: "kB",
		Measured: measured, Floor: floor, Ratio: measured.over(floor)}
	return []row{w.atMost(measured, 26, "26 kB")}, nil
}

// idle measures one server with n sessions once, in units of 1000 bytes.
func (r *rig) idle(ctx context.Context, to *spread, n int, start func() (*process, error), flags ...string) (err error) {
	s, err := start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	args := append([]string{"-n", strconv.Itoa(n), "-warm", strconv.Itoa(n / 10),
		"-hold", r.size.hold.String(), "-pause", r.size.settle.String()}, flags...)
	res, err := r.loadClean(ctx, s, "idle", args...)
	if err != nil {
		return err
	}
	if res.M["dropped"] > 0 {
		return fmt.Errorf("%s dropped %v idle sessions\n%s", s.name, res.M["dropped"], s.lastWords())
	}
	*to = append(*to, res.M["pss_per_session_B"]/1000)
	return nil
}
