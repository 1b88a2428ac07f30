package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Orphans are what scripts leave behind: processes whose parent has ended, those
// that have detached themselves among them. They become children of the daemon,
// so that it can end them when it ends itself; nobody else would, where there is
// no systemd. Where the daemon is process 1, as in a container, they are in any
// case, and would stay as zombies if nobody reaped them.

const (
	// orphanGrace is how long orphans may take to end by themselves.
	orphanGrace = 500 * time.Millisecond
	// orphanKill is how long the kernel may take to end them then.
	orphanKill = 200 * time.Millisecond
	orphanTick = 5 * time.Millisecond
	// reapPause is between two looks for zombies: each reads some files.
	reapPause = 100 * time.Millisecond
	// leaderPause is how long a zombie that leads a session is left to package
	// extauth, whose processes all do, and which reaps them as soon as they end.
	// After it the process is one that a script has detached.
	leaderPause = 2 * time.Second
)

// adoptOrphans makes them children of this process, and reaps those that end.
func adoptOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	go func() { // until the process ends
		var again <-chan time.Time
		leaders := make(map[zombie]time.Time)
		for {
			select {
			case <-ended:
			case <-again:
			}
			leaders, again = reapOrphans(leaders, time.Now()), nil
			if len(leaders) > 0 {
				again = time.After(leaderPause)
			}
			time.Sleep(reapPause)
		}
	}()
	return nil
}

// reapOrphans reaps the zombies that nobody else does. It takes and returns the
// leaders of a session among the zombies, and when each was seen first.
func reapOrphans(leaders map[zombie]time.Time, now time.Time) map[zombie]time.Time {
	left := make(map[zombie]time.Time)
	for _, pid := range children() {
		z, leader, ok := asZombie(pid)
		if !ok {
			continue
		}
		since, seen := leaders[z]
		if !seen {
			since = now
		}
		if leader && now.Sub(since) < leaderPause {
			left[z] = since
			continue
		}
		reap(pid)
	}
	return left
}

// endOrphans ends all children, when no script is left: they are asked to, and
// killed when ctx ends or a moment later. The error names those that the kernel
// does not let go of.
func endOrphans(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, orphanGrace)
	defer cancel()
	last := time.Now().Add(orphanGrace + orphanKill)
	if ctx.Err() != nil {
		last = time.Now().Add(orphanKill)
	}
	var asked []int
	for {
		left := children()
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(last) {
			return fmt.Errorf("processes that do not end: %v", left)
		}
		for _, pid := range left {
			switch {
			case ctx.Err() != nil:
				_ = unix.Kill(pid, unix.SIGKILL)
			case !slices.Contains(asked, pid):
				_ = unix.Kill(pid, unix.SIGTERM)
				asked = append(asked, pid)
			}
			reap(pid)
		}
		time.Sleep(orphanTick)
	}
}

// reap takes the status of a child that has ended.
func reap(pid int) { _, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) }

// children lists the children of this process: see proc_pid_children(5).
func children() (pids []int) {
	files, _ := filepath.Glob("/proc/self/task/*/children")
	for _, file := range files {
		text, _ := os.ReadFile(file) // gone if the thread is
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// zombie is a child that has ended and was not reaped.
type zombie struct {
	pid     int
	started string // in ticks of the kernel; numbers come again
}

// asZombie says whether a child is one, and whether it leads a session: see
// proc_pid_stat(5). Where /proc hides what belongs to other users (ProtectProc= of
// systemd), and a script has used sudo, it may.
func asZombie(pid int) (z zombie, leader, ok bool) {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if err != nil || info.Signo == 0 {
		return zombie{}, false, false
	}
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	// After the name, which may hold anything: state, parent, group, session, and
	// 16 more until the start.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return zombie{pid: pid}, true, true
	}
	return zombie{pid, fields[19]}, fields[3] == strconv.Itoa(pid), true
}
