package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// concurrency is how many clients log in at a time.
const concurrency = 16

// loginCost is part (a): what the server's processes, script included, use for
// a login with STARTTLS (TLS 1.3, ECDSA P-256, X25519), PLAIN and bind.
func loginCost(ctx context.Context, r *rig) (rows []row, err error) {
	type contestant struct {
		what    string
		server  *process
		cpu     spread
		persec  spread
		starter func() (*process, error)
	}
	all := []*contestant{
		{what: "floor", starter: func() (*process, error) { return r.floor(ctx) }},
		{what: "script on a terminal", starter: func() (*process, error) { return r.gatehouse(ctx, "gatehouse", script{}) }},
		{what: "script over pipes", starter: func() (*process, error) { return r.gatehouse(ctx, "gatehouse", script{pipes: true}) }},
	}
	var runs []func() error
	for _, c := range all {
		if c.server, err = c.starter(); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, c.server.stop()) }()
		warm := strconv.Itoa(r.size.warm)
		if _, err := r.loadClean(ctx, c.server, "login", "-n", warm, "-warm", "0"); err != nil {
			return nil, err
		}
		runs = append(runs, func() error {
			res, err := r.loadClean(ctx, c.server, "login", "-n", strconv.Itoa(r.size.logins),
				"-c", strconv.Itoa(concurrency), "-warm", warm)
			if err != nil {
				return err
			}
			c.cpu = append(c.cpu, res.M["cpu_ms_per_login"])
			c.persec = append(c.persec, res.M["logins_per_s"])
			return nil
		})
	}
	for i := range r.size.rounds {
		r.log.Printf("(a) CPU of a login: round %d of %d", i+1, r.size.rounds)
		if err := r.round(i, runs...); err != nil {
			return nil, err
		}
	}
	floor := all[0]
	for _, c := range all[1:] {
		w := row{Part: "a", What: "server CPU of a login, " + c.what, Unit: "ms", Measured: c.cpu, Floor: floor.cpu, Ratio: c.cpu.over(floor.cpu)}
		rows = append(rows, w.atMost(w.Ratio, 1.3, "1.3"))
	}
	rows = append(rows, row{Part: "a", What: fmt.Sprintf("logins, %d at a time, clients on the same cores", concurrency),
		Unit: "1/s", Measured: all[1].persec, Floor: floor.persec, Ratio: all[1].persec.over(floor.persec)})
	return rows, nil
}

// wrongAnswers is part (e): logins of which every second has a wrong password.
func wrongAnswers(ctx context.Context, r *rig) ([]row, error) {
	var rows []row
	for _, c := range []struct {
		what   string
		script script
	}{
		{"terminal", script{}},
		{"pipes", script{pipes: true}},
		{"ejabberd protocol", script{protocol: "ejabberd"}},
		{"terminal, 10 ms, 4 workers", script{delay: 10 * time.Millisecond, processes: 4}},
	} {
		r.log.Printf("(e) wrong answers: %s", c.what)
		wrong, err := r.countWrong(ctx, c.script)
		if err != nil {
			return nil, err
		}
		w := row{Part: "e", What: fmt.Sprintf("wrong answers in %d logins, %s", r.size.mixed, c.what), Unit: "", Measured: spread{wrong}, wrong: wrong > 0}
		w = w.atMost(w.Measured, 0, "0")
		w.Target = "0"
		rows = append(rows, w)
	}
	return rows, nil
}

// countWrong returns how many wrong passwords were accepted and right ones
// refused. Anything else that goes wrong is an error.
func (r *rig) countWrong(ctx context.Context, s script) (wrong float64, err error) {
	g, err := r.gatehouse(ctx, "gatehouse", s)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	res, err := r.load(ctx, g, "login", "-mix", "-n", strconv.Itoa(r.size.mixed), "-c", strconv.Itoa(concurrency), "-warm", "0")
	if err != nil {
		return 0, err
	}
	wrong = res.M["false_accepts"] + res.M["false_rejects"]
	delete(res.Errors, "unexpected-success")
	delete(res.Errors, "sasl:not-authorized")
	if len(res.Errors) > 0 {
		return wrong, fmt.Errorf("%w: %v\n%s", errLoad, res.Errors, g.lastWords())
	}
	return wrong, nil
}
