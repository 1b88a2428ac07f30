package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestInTime_leavesWhatHangs: what does not end, such as a script that the kernel does not let go of, keeps the daemon no
// longer than its time and half a second.
func TestInTime_leavesWhatHangs(t *testing.T) {
	const within = time.Second
	well := errors.New("it went as it went")
	for _, c := range []struct{ takes, took time.Duration }{
		{within / 2, within / 2},
		{within + lastResort/2, within + lastResort/2},
		{time.Hour, within + lastResort},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			began := time.Now()
			err := inTime(ctx, func() error {
				time.Sleep(c.takes)
				return well
			})
			want := well
			if c.takes > c.took {
				want = errLate
			}
			defer time.Sleep(c.takes) // what was left behind ends
			if took := time.Since(began); took != c.took || err != want {
				t.Errorf("%v: %v after %v, want %v after %v", c.takes, err, took, want, c.took)
			}
		})
	}
}
