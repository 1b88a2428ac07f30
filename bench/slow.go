package main

import (
	"context"
	"errors"
	"strconv"
	"time"
)

const (
	slowWorkers = 8
	slowDelay   = 50 * time.Millisecond
	slowClients = 64
)

// slowScript is the second half of part (b): what workers that need 50 ms for an
// answer get done, and what somebody who is logged in notices of it.
func slowScript(ctx context.Context, r *rig) (rows []row, err error) {
	g, err := r.gatehouse(ctx, "gatehouse", script{processes: slowWorkers, delay: slowDelay})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	// All workers are to be there: they start when queries wait.
	clients := strconv.Itoa(slowClients)
	if _, err := r.loadClean(ctx, g, "login", "-n", clients, "-c", clients, "-warm", "0"); err != nil {
		return nil, err
	}
	var persec, quiet50, quiet99, busy50, busy99, possible spread
	for i := range r.size.rounds {
		r.log.Printf("(b) slow script: round %d of %d", i+1, r.size.rounds)
		res, err := r.loadClean(ctx, g, "slow", "-c", clients, "-base", r.size.quiet.String(), "-dur", r.size.slow.String())
		if err != nil {
			return nil, err
		}
		if res.M["ping_unanswered"] > 0 {
			return nil, errors.New("a ping was not answered")
		}
		possible = append(possible, slowWorkers/slowDelay.Seconds())
		persec = append(persec, res.M["logins_per_s"])
		quiet50, busy50 = append(quiet50, res.M["ping_quiet_p50_ms"]), append(busy50, res.M["ping_p50_ms"])
		quiet99, busy99 = append(quiet99, res.M["ping_quiet_p99_ms"]), append(busy99, res.M["ping_p99_ms"])
	}
	logins := row{Part: "b", What: "logins, script of 50 ms, 8 workers; floor: what is possible", Unit: "1/s",
		Measured: persec, Floor: possible[:1], Ratio: persec.over(possible)}
	p50 := row{Part: "b", What: "a bystander's ping meanwhile, p50; floor: when quiet", Unit: "ms",
		Measured: busy50, Floor: quiet50, Ratio: busy50.minus(quiet50), Added: true}
	p99 := row{Part: "b", What: "a bystander's ping meanwhile, p99; floor: when quiet", Unit: "ms",
		Measured: busy99, Floor: quiet99, Ratio: busy99.minus(quiet99), Added: true}
	return []row{
		logins.atLeast(logins.Ratio, 0.97, "0.97"),
		p50,
		p99.atMost(p99.Ratio, 1, "+1 ms"),
	}, nil
}
