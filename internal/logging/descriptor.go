package logging

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// patience is how long a line may wait for a reader who does not read. After that nobody waits for the same reader
// until he reads again.
const patience = time.Second

// errStuck says that nobody takes the lines.
var errStuck = errors.New("nobody reads it")

// A descriptor writes whole lines to standard error or to a file. It is no os.File, because a write of that to a
// standard error that has been closed at the other end kills the program, and one to a pipe that is full never ends.
type descriptor struct {
	fd int
	// waits: it is a pipe, a terminal or a socket, and may take nothing for as long as its reader likes.
	waits bool
	stuck bool // the last line waited for too long
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
func openFile(path string) (*descriptor, error) {
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

// write appends a line in one system call, unless it is longer than what a pipe takes at once. It returns after
// patience at the latest.
func (d *descriptor) write(line []byte) error {
	deadline := time.Now().Add(patience)
	if d.stuck {
		deadline = time.Time{}
	}
	if d.torn {
		if _, err := d.writeAll([]byte{'\n'}, deadline); err != nil {
			return err
		}
		d.torn = false
	}
	n, err := d.writeAll(line, deadline)
	d.torn = err != nil && n > 0
	d.stuck = errors.Is(err, errStuck)
	return err
}

// atOnce is what a pipe that poll(2) calls writable takes without blocking: PIPE_BUF.
const atOnce = 4096

func (d *descriptor) writeAll(b []byte, deadline time.Time) (written int, err error) {
	for written < len(b) {
		rest := b[written:]
		if d.waits {
			if err := d.wait(deadline); err != nil {
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

// wait waits until a write would not block, or until the deadline; it looks once in any case.
func (d *descriptor) wait(deadline time.Time) error {
	fds := []unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLOUT}} // #nosec G115 -- a descriptor
	for {
		left := max(0, time.Until(deadline))
		n, err := unix.Poll(fds, int(left.Milliseconds()))
		switch {
		case n > 0: // or an error, which the write will tell
			return nil
		case err != nil && err != unix.EINTR:
			return fmt.Errorf("poll: %w", err)
		case left == 0 || err == nil:
			return errStuck
		}
	}
}

func (d *descriptor) close() error { return unix.Close(d.fd) }
