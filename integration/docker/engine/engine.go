// Package engine is how the tests of this module drive Docker: by its command line. It belongs to the tests alone.
package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	// commandLimit bounds a command. Building images is the longest.
	commandLimit = 10 * time.Minute
	// Patience bounds every wait for something that should happen soon. It is long because the machine may be busy.
	Patience = 60 * time.Second
)

// Output runs a command and returns what it wrote to standard output, without the white space around it. Its error has the
// end of all that it wrote, and wraps that of [exec.Cmd.Run]. A command that takes too long is killed.
func Output(cmd *exec.Cmd) (string, error) {
	cmd.WaitDelay = 10 * time.Second // for children of a command that took too long
	var stdout, all lockedBuffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&stdout, &all), &all
	err := cmd.Start()
	if err == nil {
		limit := time.AfterFunc(commandLimit, func() { _ = cmd.Process.Kill() })
		err = cmd.Wait()
		limit.Stop()
	}
	if err != nil {
		text := all.String()
		err = fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, text[max(0, len(text)-4096):])
	}
	return strings.TrimSpace(stdout.String()), err
}

// Docker runs a command of Docker.
func Docker(args ...string) (string, error) { return Output(exec.Command("docker", args...)) }

// Poll calls f until it returns nil, and returns its last error if that takes too long.
func Poll(f func() error) error {
	deadline := time.Now().Add(Patience)
	for {
		err := f()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(errors.New("waited too long"), err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// lockedBuffer is one that two goroutines may write to.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(data)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
