package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"gatehouse.im/gatehouse/internal/token"
)

// tokenRate is part (d): good, fresh tokens verified by one goroutine, with the
// replay store in memory, in CPU time and so for one core, garbage collection
// included. The floor is one HMAC-SHA-256 of the same length.
func tokenRate(ctx context.Context, r *rig) ([]row, error) {
	key := token.Key{Secret: []byte("JYXEX4IQOEYFYQ2S3MC5P4ZT4SDHYEA7"), Seed: []byte("0123456789")}
	now := time.Now()
	tokens := make([]string, r.size.tokens)
	users := make([]string, r.size.tokens)
	for i := range tokens {
		var err error
		users[i] = "u" + strconv.Itoa(i%1000) + "@" + domain
		if tokens[i], err = token.Mint(key, users[i], now, token.NewNonce()); err != nil {
			return nil, err
		}
	}
	text := []byte(tokens[0][:40] + users[0])
	var measured, floor, allocs spread
	for i := range r.size.rounds {
		r.log.Printf("(d) tokens: round %d of %d", i+1, r.size.rounds)
		v, err := token.NewVerifier([]token.Key{key}, new(token.Memory))
		if err != nil {
			return nil, err
		}
		err = r.round(i,
			func() error {
				mac := hmac.New(sha256.New, key.Secret)
				var sum [sha256.Size]byte
				rate, _, err := perCPUSecond(len(tokens), func(int) error {
					mac.Reset()
					mac.Write(text)
					mac.Sum(sum[:0])
					return nil
				})
				floor = append(floor, rate)
				return err
			},
			func() error {
				rate, mallocs, err := perCPUSecond(len(tokens), func(i int) error {
					ok, err := v.Verify(tokens[i], users[i], now)
					if err == nil && !ok {
						err = errors.New("a good token was refused")
					}
					return err
				})
				measured, allocs = append(measured, rate), append(allocs, mallocs)
				return err
			})
		if err := errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
	}
	w := row{Part: "d", What: "tokens verified, replay store in memory; floor: one HMAC", Unit: "1/s a core",
		Measured: measured, Floor: floor, Ratio: measured.over(floor)}
	return []row{
		w.atLeast(measured, 200_000, "200000"),
		{Part: "d", What: "allocations of a verification", Unit: "", Measured: allocs},
	}, nil
}

// perCPUSecond calls f n times and returns how many calls a core does in a
// second, and the allocations of each.
func perCPUSecond(n int, f func(int) error) (rate, allocs float64, err error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	from, err := cpuTime()
	if err != nil {
		return 0, 0, err
	}
	for i := range n {
		if err := f(i); err != nil {
			return 0, 0, err
		}
	}
	to, err := cpuTime()
	runtime.ReadMemStats(&after)
	return float64(n) / (to - from).Seconds(), float64(after.Mallocs-before.Mallocs) / float64(n), err
}

// cpuTime is what this process has used so far.
func cpuTime() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}
