package main

import (
	"os"
	"syscall"
	"testing"
	"time"
)

// TestReapOrphans: a child that has ended is reaped at once, but for one that leads a
// session, which somebody else may be about to reap; and none that lives.
func TestReapOrphans(t *testing.T) {
	start := func(setsid bool, command ...string) int {
		t.Helper()
		pid, err := syscall.ForkExec(command[0], command, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Setsid: setsid}})
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	lives, ended, leads := start(true, "/bin/sleep", "60"), start(false, "/bin/true"), start(true, "/bin/true")
	defer func() {
		_ = syscall.Kill(lives, syscall.SIGKILL)
		_, _ = syscall.Wait4(lives, nil, 0, nil)
	}()
	noted := func(leaders map[zombie]time.Time) bool {
		for z := range leaders {
			if z.pid == leads {
				return true
			}
		}
		return false
	}
	there := func(pid int) bool { return syscall.Kill(pid, 0) == nil }
	for _, pid := range []int{ended, leads} {
		for {
			if _, _, ok := asZombie(pid); ok {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	if _, leader, _ := asZombie(leads); !leader {
		t.Error("it leads no session")
	}
	now := time.Now()
	leaders := reapOrphans(nil, now)
	if there(ended) || !there(leads) || !there(lives) || !noted(leaders) {
		t.Errorf("at once: %t %t %t, %v", there(ended), there(leads), there(lives), leaders)
	}
	leaders = reapOrphans(leaders, now.Add(leaderPause-time.Millisecond))
	if !there(leads) || !noted(leaders) {
		t.Errorf("a moment later: %t, %v", there(leads), leaders)
	}
	leaders = reapOrphans(leaders, now.Add(leaderPause))
	if there(leads) || !there(lives) || noted(leaders) {
		t.Errorf("in the end: %t %t, %v", there(leads), there(lives), leaders)
	}
	if _, _, ok := asZombie(os.Getpid()); ok {
		t.Error("the test is a zombie")
	}
}
