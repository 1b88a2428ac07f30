package logging

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// errStuck says that nobody takes the lines.
var errStuck = errors.New("nobody reads it")

// A descriptor writes whole lines to standard error or to a file. It is no os.File, because a write of that to a
// standard error that has been closed at the other end kills the program, and one to a pipe that is full never ends.
type descriptor struct {
	fd int
	// waits: it is a pipe, a terminal or a socket, and may take nothing for as long as its reader likes.
	waits bool
	pace  allowance
	torn  bool // the last line is there in part, without its end
}

func newDescriptor(fd int) *descriptor {
	d := &descriptor{fd: fd}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil {
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFIFO, unix.S_IFSOCK:
			d.waits = true
		case unix.S_IFCHR:
			d.waits = term.IsTerminal(fd)
		}
	}
	return d
}

// openFile opens a log file for appending, and makes it if there is none. A pipe that nobody reads is an error.
func openFile(path string) (output, error) {
	d, err := openDescriptor(path)
	if err != nil {
		return nil, err
	}
	if d.waits {
		return d, nil
	}
	return newCourier(d), nil
}

func openDescriptor(path string) (*descriptor, error) {
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	for {
		fd, err := unix.Open(path, flags, 0o640)
		if err == nil {
			return newDescriptor(fd), nil
		}
		if err != unix.EINTR {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// write appends a line in one system call, unless it is longer than what a pipe takes at once. It waits for a reader
// for as long as pace allows.
func (d *descriptor) write(line []byte) error {
	if d.torn {
		if _, err := d.writeAll([]byte{'\n'}); err != nil {
			return err
		}
		d.torn = false
	}
	n, err := d.writeAll(line)
	d.torn = err != nil && n > 0
	return err
}

// atOnce is what a pipe that poll(2) calls writable takes without blocking: PIPE_BUF.
const atOnce = 4096

func (d *descriptor) writeAll(b []byte) (written int, err error) {
	for written < len(b) {
		rest := b[written:]
		if d.waits {
			if err := d.wait(); err != nil {
				return written, err
			}
			rest = rest[:min(len(rest), atOnce)]
		}
		n, err := unix.Write(d.fd, rest)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN && d.waits:
		case err != nil:
			return written, fmt.Errorf("write: %w", err)
		case n == 0:
			return written, fmt.Errorf("write: %w", unix.EIO)
		default:
			written += n
		}
	}
	return written, nil
}

// wait waits until a write would not block, or until it has lasted too long.
func (d *descriptor) wait() error {
	if ready, err := d.poll(0); ready || err != nil {
		return err
	}
	began := time.Now()
	deadline := began.Add(d.pace.left(began))
	defer func() { d.pace.spend(time.Since(began)) }()
	for left := deadline.Sub(began); left >= time.Millisecond; left = time.Until(deadline) {
		if ready, err := d.poll(left); ready || err != nil {
			return err
		}
	}
	return errStuck
}

// poll says whether a write would not block, or would fail.
func (d *descriptor) poll(timeout time.Duration) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLOUT}} // #nosec G115 -- a descriptor
	n, err := unix.Poll(fds, int(timeout.Milliseconds()))
	if err != nil && err != unix.EINTR {
		return false, fmt.Errorf("poll: %w", err)
	}
	return n > 0, nil
}

func (d *descriptor) close() error { return unix.Close(d.fd) }
