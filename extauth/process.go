package extauth

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a started script with its process group. Every signal goes to the group, and only while the leader has
// not been reaped: until then the kernel gives the group's number to nobody else.
type process struct {
	pid int

	mu     sync.Mutex // guards the fields below
	reaped bool
	timer  *time.Timer // the SIGKILL after a SIGTERM
}

// startProcess starts cfg's script on the child's ends. The caller has locked its goroutine to a thread that lives
// longer than the process: the death signal is sent when the thread that forked ends, not when the daemon does.
func startProcess(cfg *settings, child *childEnds) (*process, error) {
	// Everything that Go opens is closed in the script, but not what the daemon itself was started with. On a kernel
	// before 5.11 this fails, and such files are inherited as they always were.
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	pid, err := syscall.ForkExec(cfg.Command[0], cfg.Command, &syscall.ProcAttr{ // #nosec G204 -- the operator's script
		Dir:   cfg.Dir,
		Env:   cfg.Env,
		Files: []uintptr{uintptr(child.fds[0]), uintptr(child.fds[1]), uintptr(child.fds[2])},
		Sys: &syscall.SysProcAttr{
			Setsid:    true,
			Setctty:   cfg.PTY, // so that the end of the daemon hangs up grandchildren as well
			Ctty:      0,
			Pdeathsig: syscall.SIGKILL,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w%s", ErrStart, cfg.Command[0], err, startHint(cfg.Command[0], err))
	}
	return &process{pid: pid}, nil
}

// startHint says what to do about an error of execve(2) for the program at path.
func startHint(path string, err error) string {
	switch {
	case errors.Is(err, unix.ENOENT):
		return missingHint(path)
	case errors.Is(err, unix.EACCES):
		return "; make it executable (chmod +x) and readable for the daemon's user"
	case errors.Is(err, unix.ENOEXEC):
		return "; its first line has to name an interpreter, like #!/bin/sh"
	}
	return ""
}

// missingHint tells apart what ENOENT may mean: that the script is not there, or that what its first line asks for is
// not. Lines that end as Windows has them make for an interpreter that nobody can see is missing.
func missingHint(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "; the file or the working directory does not exist"
	}
	defer f.Close()
	first := make([]byte, 256) // what Linux reads (BINPRM_BUF_SIZE)
	n, _ := io.ReadFull(f, first)
	line, _, _ := strings.Cut(string(first[:n]), "\n")
	interpreter, script := strings.CutPrefix(line, "#!")
	switch {
	case script && strings.HasSuffix(interpreter, "\r"):
		return fmt.Sprintf(`; its lines end with CR LF, as on Windows; run: sed -i 's/\r$//' %s`, path)
	case script && strings.TrimSpace(interpreter) != "":
		return fmt.Sprintf("; its first line asks for %q, which may be missing", strings.Fields(interpreter)[0])
	}
	return "; its interpreter or the working directory does not exist"
}

// wait blocks until the leader ends, kills what is left of its group, reaps it and says how it ended.
func (p *process) wait() string {
	p.awaitEnd()
	// WNOWAIT leaves a zombie, which keeps the group's number taken until the group has been killed.
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = unix.Kill(-p.pid, unix.SIGKILL) // ESRCH: nobody is left, as it should be
	var ws unix.WaitStatus
	_, err := ignoringEINTR(func() (int, error) { return unix.Wait4(p.pid, &ws, 0, nil) })
	p.reaped = true
	if p.timer != nil {
		p.timer.Stop()
	}
	switch {
	case err != nil:
		return err.Error()
	case ws.Signaled():
		return "signal " + ws.Signal().String()
	}
	return fmt.Sprintf("exit status %d", ws.ExitStatus())
}

// awaitEnd blocks until the leader has ended. It costs a descriptor, and no thread: a reload has twice as many processes
// as the pools have workers, and a Go program that gets no more threads aborts. Before Linux 5.10 it returns at once,
// and it is a thread that waits.
func (p *process) awaitEnd() {
	fd, err := unix.PidfdOpen(p.pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	rc, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Read(func(uintptr) bool {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, p.pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		return err != nil || info.Signo != 0 // with WNOHANG there is nothing to interrupt
	})
}

// terminate asks the group to end, and kills it after grace. It does not wait.
func (p *process) terminate(grace time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped || p.timer != nil {
		return
	}
	_ = unix.Kill(-p.pid, unix.SIGTERM)
	p.timer = time.AfterFunc(grace, p.kill)
}

// kill ends the group at once.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = unix.Kill(-p.pid, unix.SIGKILL)
	}
}
