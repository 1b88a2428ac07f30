package integration

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A clock of one process alone cannot be set. So gatehouse is built with a standard library whose time.Now is ahead of the
// machine's clock by as many seconds as a file says, which is read at SIGUSR2: it is what a step does to a program, the
// clock that nobody sets left alone.
const (
	stepInTime = `package time

import "sync/atomic"

var step atomic.Int64

// Step puts the clock ahead by so many seconds.
func Step(seconds int64) { step.Store(seconds) }
`
	stepInMain = `package main

import (
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func init() {
	steps := make(chan os.Signal, 1)
	signal.Notify(steps, syscall.SIGUSR2)
	go func() {
		for range steps {
			text, err := os.ReadFile(os.Getenv("CLOCK_STEP"))
			seconds, err2 := strconv.ParseInt(string(text), 10, 64)
			if err != nil || err2 != nil {
				panic("no step")
			}
			time.Step(seconds)
			if err := os.Remove(os.Getenv("CLOCK_STEP")); err != nil {
				panic(err)
			}
		}
	}()
}
`
)

// withClock has the daemon built so that its clock can be stepped.
func withClock(r *rig) {
	r.program = steppable(r.t)
	r.env = []string{"CLOCK_STEP=" + r.stepFile()}
}

func (r *rig) stepFile() string { return filepath.Join(r.dir, "step") }

// stepClock steps the clock of the daemon, and of those who make tokens, and returns when it is done.
func (r *rig) stepClock(by time.Duration) {
	r.t.Helper()
	began := time.Now()
	step := r.step.Load() + int64(by)
	r.write(r.stepFile(), file{strconv.FormatInt(step/int64(time.Second), 10), 0o600})
	r.signal(r.t, syscall.SIGUSR2)
	until(r.t, "the clock is stepped", patience, func() bool {
		_, err := os.Stat(r.stepFile())
		return os.IsNotExist(err)
	})
	r.step.Store(step)
	r.steps = append(r.steps, [2]time.Time{began, time.Now()})
}

// steppedDuring says whether somebody shows a token that was made by another clock than it is judged by: there is no right
// verdict.
func (r *rig) steppedDuring(v *visit) bool {
	return v.claim == freshClaim && slices.ContainsFunc(r.steps, func(s [2]time.Time) bool {
		return v.began.Before(s[1]) && v.ended.After(s[0])
	})
}

var stepped struct {
	sync.Mutex
	program string
}

// steppable builds that gatehouse, once.
func steppable(t testing.TB) string {
	t.Helper()
	stepped.Lock()
	defer stepped.Unlock()
	if stepped.program != "" {
		return stepped.program
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	patched := strings.Replace(string(text), now, now+"\tsec += step.Load()\n", 1)
	if patched == string(text) {
		t.Fatalf("this Go's time.Now begins otherwise than\n%s", now)
	}
	dir := t.TempDir()
	replace := make(map[string]string)
	add := func(name, path, text string) {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = file
	}
	add("time.go", filepath.Join(source, "time.go"), patched)
	add("step.go", filepath.Join(source, "step.go"), stepInTime)
	add("main.go", absolute(t, "../cmd/gatehouse/step.go"), stepInMain)
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(filepath.Dir(gatehouse), "gatehouse-steppable")
	build := exec.Command("go", "build", "-overlay", path, "-o", program, "../cmd/gatehouse")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, text)
	}
	stepped.program = program
	return program
}
