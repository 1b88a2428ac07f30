package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
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

// TestUntilSignals runs itself as a program: the first signal ends the one context, the second the other, and the third the
// process, whatever keeps it.
func TestUntilSignals(t *testing.T) {
	if os.Getenv("TEST_UNTIL_SIGNALS") != "" {
		first, second := untilSignals()
		fmt.Println("waits")
		<-first.Done()
		fmt.Println("ends", second.Err())
		<-second.Done()
		fmt.Println("hurries")
		time.Sleep(time.Minute) // it is kept
		os.Exit(3)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestUntilSignals$")
	cmd.Env = append(os.Environ(), "TEST_UNTIL_SIGNALS=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	for _, want := range []string{"waits", "ends <nil>", "hurries"} {
		if !said.Scan() || said.Text() != want {
			t.Errorf("it says %q, want %q", said.Text(), want)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	_ = cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("after the third signal: %v", cmd.ProcessState)
	}
}
