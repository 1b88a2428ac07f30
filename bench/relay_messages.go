package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// bodies are the sizes of messages, in bytes.
var bodies = [...]int{200, 4096}

// passage is what messages of one size cost on one path.
type passage struct {
	perMB, perMessage spread // the CPU of the server that the client speaks to: ms, us
	half, most        spread // a round trip, p50 and p99: us
}

// relayedMessages is the first part of (f): two clients behind a front send each
// other messages, first one there and back at a time, then as fast as Prosody
// passes them on. It is done without a front, too: what a front adds.
func relayedMessages(ctx context.Context, r *rig) (rows []row, err error) {
	prosody, err := r.prosody(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, prosody.stop()) }()
	paths := append([]front{{"no front", nil, []string{"-no-tls"}}}, r.fronts()...)
	figures := make([][len(bodies)]passage, len(paths))
	var runs []func() error
	for i, f := range paths {
		s := prosody
		if f.start != nil {
			if s, err = f.start(ctx, prosody.address); err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, s.stop()) }()
		}
		runs = append(runs, func() error {
			for k, body := range bodies {
				if err := r.passMessages(ctx, s, &figures[i][k], body, f.flags); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for i := range r.size.rounds {
		r.log.Printf("(f) relayed messages: round %d of %d", i+1, r.size.rounds)
		if err := r.round(i, runs...); err != nil {
			return nil, err
		}
	}
	for k, body := range bodies {
		rows = append(rows, messageRows(body, figures[0][k], figures[1][k], figures[2][k], figures[3][k])...)
	}
	return rows, nil
}

// passMessages measures one path once.
func (r *rig) passMessages(ctx context.Context, s *process, to *passage, body int, flags []string) error {
	messages := r.size.messages
	if body > 1000 {
		messages /= 2
	}
	args := append([]string{"-m", strconv.Itoa(messages), "-rtt", strconv.Itoa(r.size.trips), "-size", strconv.Itoa(body)}, flags...)
	res, err := r.loadClean(ctx, s, "relay", args...)
	if err != nil {
		return err
	}
	to.perMB = append(to.perMB, res.M["cpu_ms_per_MB"])
	to.perMessage = append(to.perMessage, res.M["cpu_ms_per_msg"]*1000)
	to.half = append(to.half, res.M["rtt_p50_ms"]*1000)
	to.most = append(to.most, res.M["rtt_p99_ms"]*1000)
	return nil
}

func messageRows(body int, none, haproxy, bare, gatehouse passage) []row {
	ratio := func(what, floor, unit string, a, b spread) row {
		return row{Part: "f", What: fmt.Sprintf("%s, bodies of %d B; floor: %s", what, body, floor), Unit: unit,
			Measured: a, Floor: b, Ratio: a.over(b)}
	}
	added := func(what, floor string, a, b spread) row {
		w := ratio(what, floor, "us", a, b)
		w.Ratio, w.Added = a.minus(b), true
		return w
	}
	cpu := ratio("front's CPU for a MB relayed", "bare Go proxy", "ms", gatehouse.perMB, bare.perMB)
	half := added("round trip, p50", "HAProxy", gatehouse.half, haproxy.half)
	return []row{
		cpu.atMost(cpu.Ratio, 1.05, "1.05"),
		ratio("front's CPU for a MB relayed", "HAProxy", "ms", gatehouse.perMB, haproxy.perMB),
		ratio("front's CPU for a message", "bare Go proxy", "us", gatehouse.perMessage, bare.perMessage),
		half.atMost(half.Ratio, 20, "+20 us"),
		added("round trip, p50", "no front", gatehouse.half, none.half),
		added("round trip, p99", "HAProxy", gatehouse.most, haproxy.most),
		added("round trip, p99", "no front", gatehouse.most, none.most),
	}
}
