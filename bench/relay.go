package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// A front is a program that clients speak to, with Prosody behind it.
type front struct {
	name  string
	start func(ctx context.Context, upstream string) (*process, error)
	flags []string // how the load generator speaks to it
}

// fronts are what (f) compares, gatehouse last.
func (r *rig) fronts() []front {
	return []front{
		{"HAProxy", r.haproxy, []string{"-direct-tls"}},
		{"bare Go proxy", r.bareProxy, []string{"-direct-tls"}},
		{"gatehouse", r.relaying, nil},
	}
}

// relayedSessions is the second part of (f): what each logged-in, silent client
// adds to the front's memory, as in (c).
func relayedSessions(ctx context.Context, r *rig) (rows []row, err error) {
	prosody, err := r.prosody(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, prosody.stop()) }()
	fronts := r.fronts()
	figures := make([]spread, len(fronts))
	var runs []func() error
	for i, f := range fronts {
		runs = append(runs, func() error {
			start := func() (*process, error) { return f.start(ctx, prosody.address) }
			return r.idle(ctx, &figures[i], r.size.relayed, start, f.flags...)
		})
	}
	rounds := (r.size.rounds + 1) / 2
	for i := range rounds {
		r.log.Printf("(f) idle relayed sessions: round %d of %d", i+1, rounds)
		if err := r.round(i, runs...); err != nil {
			return nil, err
		}
	}
	what := fmt.Sprintf("memory of an idle relayed session, of %d; floor: ", r.size.relayed)
	haproxy, bare, gatehouse := figures[0], figures[1], figures[2]
	over := row{Part: "f", What: what + "bare Go proxy", Unit: "kB", Measured: gatehouse, Floor: bare, Ratio: gatehouse.over(bare)}
	return []row{
		over.atMost(gatehouse, 32, "32 kB"),
		{Part: "f", What: what + "HAProxy", Unit: "kB", Measured: gatehouse, Floor: haproxy, Ratio: gatehouse.over(haproxy)},
	}, nil
}

// pacedLogins is how many logins a second all can do on a busy machine.
const pacedLogins = 100

// relayedLogins is the third part of (f): what a login costs gatehouse, script
// included, when Prosody is behind it and when nothing is. At full speed Prosody
// sets the pace of the one and the cores that of the other, several times as
// fast; a program that mostly waits has colder caches and more wake-ups for each
// login, as is seen in the bare proxy. So both are measured at one pace, too.
func relayedLogins(ctx context.Context, r *rig) (rows []row, err error) {
	stopping := func(s *process) { err = errors.Join(err, s.stop()) }
	alone, err := r.gatehouse(ctx, "gatehouse", script{})
	if err != nil {
		return nil, err
	}
	defer stopping(alone)
	first, err := r.prosody(ctx)
	if err != nil {
		return nil, err
	}
	defer stopping(first)
	passwords, err := r.relaying(ctx, first.address)
	if err != nil {
		return nil, err
	}
	defer stopping(passwords)
	bare, err := r.bareProxy(ctx, first.address)
	if err != nil {
		return nil, err
	}
	defer stopping(bare)
	second, tickets, err := r.relayingTickets(ctx)
	if err != nil {
		return nil, err
	}
	defer stopping(second)
	defer stopping(tickets)
	servers := []*process{alone, passwords, tickets, bare}
	for _, pace := range []struct {
		what string
		n    int
		rate int
	}{
		{fmt.Sprintf("at %d a second", pacedLogins), r.size.relayed / 4, pacedLogins},
		{"at full speed", r.size.relayed, 0},
	} {
		figures := make([]spread, len(servers))
		var runs []func() error
		for i, s := range servers {
			runs = append(runs, func() error {
				res, err := r.loadClean(ctx, s, "login", "-n", strconv.Itoa(pace.n), "-c", strconv.Itoa(concurrency),
					"-rate", strconv.Itoa(pace.rate), "-warm", strconv.Itoa(r.size.warm), fmt.Sprint("-direct-tls=", s == bare))
				if err == nil {
					figures[i] = append(figures[i], res.M["cpu_ms_per_login"])
				}
				return err
			})
		}
		for i := range r.size.rounds {
			r.log.Printf("(f) CPU of a relayed login, %s: round %d of %d", pace.what, i+1, r.size.rounds)
			if err := r.round(i, runs...); err != nil {
				return nil, err
			}
		}
		for i, how := range []string{"password", "ticket"} {
			behind := figures[i+1]
			w := row{Part: "f", What: fmt.Sprintf("gatehouse's CPU of a login relayed with a %s, %s; floor: of one that stays", how, pace.what),
				Unit: "ms", Measured: behind, Floor: figures[0], Ratio: behind.over(figures[0])}
			rows = append(rows, w.atMost(w.Ratio, 1.5, "1.5"))
		}
		rows = append(rows, row{Part: "f", What: "front's CPU of a login relayed with a password, " + pace.what + "; floor: bare Go proxy",
			Unit: "ms", Measured: figures[1], Floor: figures[3], Ratio: figures[1].over(figures[3])})
	}
	return rows, nil
}

// relayedStorm is the last part of (f): how long it takes until all clients are
// logged in that connect at once, and how often each has to try.
func relayedStorm(ctx context.Context, r *rig) (rows []row, err error) {
	type storm struct{ all, tries, cpu spread }
	fronts := r.fronts()
	figures := make([]storm, len(fronts))
	var runs []func() error
	for i, f := range fronts {
		runs = append(runs, func() error {
			res, err := r.relayStorm(ctx, f)
			if err != nil {
				return err
			}
			to := &figures[i]
			to.all = append(to.all, res.M["all_bound_s"])
			to.cpu = append(to.cpu, res.M["cpu_ms_per_login"])
			to.tries = append(to.tries, 1+res.M["retries"]/float64(res.OK))
			return nil
		})
	}
	rounds := (r.size.rounds + 1) / 2
	for i := range rounds {
		r.log.Printf("(f) storm: round %d of %d", i+1, rounds)
		if err := r.round(i, runs...); err != nil {
			return nil, err
		}
	}
	haproxy, bare, gatehouse := figures[0], figures[1], figures[2]
	what := fmt.Sprintf("storm of %d clients", r.size.relayed)
	return []row{
		{Part: "f", What: what + ", until all are bound; floor: HAProxy", Unit: "s",
			Measured: gatehouse.all, Floor: haproxy.all, Ratio: gatehouse.all.over(haproxy.all)},
		{Part: "f", What: what + ", until all are bound; floor: bare Go proxy", Unit: "s",
			Measured: gatehouse.all, Floor: bare.all, Ratio: gatehouse.all.over(bare.all)},
		{Part: "f", What: what + ", tries of each; floor: HAProxy",
			Measured: gatehouse.tries, Floor: haproxy.tries, Ratio: gatehouse.tries.over(haproxy.tries)},
		{Part: "f", What: what + ", front's CPU of a login; floor: HAProxy", Unit: "ms",
			Measured: gatehouse.cpu, Floor: haproxy.cpu, Ratio: gatehouse.cpu.over(haproxy.cpu)},
	}, nil
}

// relayStorm sends one storm to a fresh pair of servers, so that none meets what
// is left of the one before. Clients that fail try again, until all are in.
func (r *rig) relayStorm(ctx context.Context, f front) (_ *result, err error) {
	prosody, err := r.prosody(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, prosody.stop()) }()
	s, err := f.start(ctx, prosody.address)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	res, err := r.load(ctx, s, "storm", append([]string{"-k", strconv.Itoa(r.size.relayed)}, f.flags...)...)
	if err != nil {
		return nil, err
	}
	if res.OK < r.size.relayed {
		return nil, fmt.Errorf("%s: %w: %d of %d: %v\n%s", f.name, errLoad, r.size.relayed-res.OK, r.size.relayed, res.Errors, s.lastWords())
	}
	if len(res.Errors) > 0 {
		r.log.Printf("(f) storm, %s: failed tries: %v", f.name, res.Errors)
	}
	return res, nil
}
