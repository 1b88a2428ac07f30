package extauth

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// transport is the parent's side of a script's standard streams. The parent's ends are non-blocking and known to the
// runtime's poller, so a read has a deadline without a goroutine watching it; the child's ends are ordinary blocking
// descriptors, since scripts cannot cope with EAGAIN. (os.Pipe and creack/pty open both ends alike, which is why
// neither is used here.)
type transport struct {
	in, out *os.File // the same file on a terminal
	stderr  *os.File
	// inFD and outFD are the descriptors of in and out, for calls that must not wait. Whoever holds the worker may
	// use them: the pool closes the files only when nobody does.
	inFD, outFD int
	// probe is the descriptor whose unread bytes are the part of a query that the script has not read yet: the
	// write end of the pipe, or the terminal's other side, kept open for this.
	probe int
	// terminal: probe is a descriptor of its own.
	terminal bool
}

// childEnds are the descriptors that become 0, 1 and 2 of the script. The parent closes them after the start.
type childEnds struct{ fds [3]int }

func (c *childEnds) close() {
	seen := -1
	for _, fd := range c.fds {
		if fd >= 0 && fd != seen {
			_ = unix.Close(fd)
		}
		seen = fd
	}
}

// openTransport opens pipes or a terminal, and a pipe for standard error. Every descriptor is close-on-exec from its
// first moment, so no script inherits another script's.
func openTransport(pty bool) (t *transport, child childEnds, err error) {
	child.fds = [3]int{-1, -1, -1}
	t = &transport{probe: -1}
	defer func() {
		if err != nil {
			child.close()
			t.close()
		}
	}()
	if pty {
		err = t.openTerminal(&child)
	} else {
		err = t.openPipes(&child)
	}
	if err != nil {
		return t, child, err
	}
	t.stderr, _, child.fds[2], err = pipeFromChild("stderr")
	return t, child, err
}

func (t *transport) openPipes(child *childEnds) error {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	child.fds[0] = fds[0]
	if err := unix.SetNonblock(fds[1], true); err != nil {
		_ = unix.Close(fds[1])
		return err
	}
	t.in = os.NewFile(uintptr(fds[1]), "stdin")
	t.inFD, t.probe = fds[1], fds[1]
	var err error
	t.out, t.outFD, child.fds[1], err = pipeFromChild("stdout")
	return err
}

// pipeFromChild returns the end that the parent reads, its descriptor, and the end that the child writes.
func pipeFromChild(name string) (f *os.File, fd, childFD int, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, -1, -1, fmt.Errorf("pipe: %w", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		_ = unix.Close(fds[0])
		_ = unix.Close(fds[1])
		return nil, -1, -1, err
	}
	return os.NewFile(uintptr(fds[0]), name), fds[0], fds[1], nil
}

// openTerminal opens a pseudo-terminal and makes it raw before any child can see it. The original leaves that to the
// child, after the fork, and so reads its own first query as the answer to it (defect D1).
func (t *transport) openTerminal(child *childEnds) error {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/ptmx: %w", err)
	}
	t.in = os.NewFile(uintptr(fd), "terminal")
	t.out, t.inFD, t.outFD = t.in, fd, fd
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return fmt.Errorf("unlock terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return fmt.Errorf("terminal number: %w", err)
	}
	slave, err := unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/pts/%d: %w", n, err)
	}
	child.fds[0], child.fds[1] = slave, slave
	// Most systems let the group tty write to terminals, and that would be an answer. It is ours to change unless
	// devpts is mounted with another owner.
	_ = unix.Fchmod(slave, 0o600)
	if err := makeRaw(slave); err != nil {
		return err
	}
	if t.probe, err = unix.FcntlInt(uintptr(slave), unix.F_DUPFD_CLOEXEC, 3); err != nil {
		t.probe = -1
		return fmt.Errorf("dup terminal: %w", err)
	}
	t.terminal = true
	return nil
}

// makeRaw is cfmakeraw(3): no echo, no line editing and so no limit of 4095 bytes a line, no signal and flow control
// characters, no translation of line ends either way, eight bits.
func makeRaw(fd int) error {
	tio, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("read terminal settings: %w", err)
	}
	tio.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL |
		unix.IXON | unix.IXOFF
	tio.Oflag &^= unix.OPOST
	tio.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	tio.Cflag = tio.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	tio.Cc[unix.VMIN], tio.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, tio); err != nil {
		return fmt.Errorf("make terminal raw: %w", err)
	}
	return nil
}

// unread is how many bytes of what was written the script has not read, or -1 if that cannot be known any more.
func (t *transport) unread() int {
	n, err := unix.IoctlGetInt(t.probe, unix.TIOCINQ)
	if err != nil {
		return -1
	}
	return n
}

// readable reports whether the script has said something that was not read yet.
func (t *transport) readable() bool {
	fds := []unix.PollFd{{Fd: int32(t.outFD), Events: unix.POLLIN}} // #nosec G115 -- a descriptor
	n, err := ignoringEINTR(func() (int, error) { return unix.Poll(fds, 0) })
	return n != 0 || err != nil
}

// errWouldBlock: nothing to read now, or no room to write.
var errWouldBlock = errors.New("would block")

// readNow reads what is there, without waiting. It returns errWouldBlock, or 0 and nil at the end of the stream.
func (t *transport) readNow(b []byte) (int, error) {
	return now(ignoringEINTR(func() (int, error) { return unix.Read(t.outFD, b) }))
}

// writeNow writes b in one system call. A short count means that the script has left much unread.
func (t *transport) writeNow(b []byte) (int, error) {
	return now(ignoringEINTR(func() (int, error) { return unix.Write(t.inFD, b) }))
}

func now(n int, err error) (int, error) {
	switch {
	case err == unix.EAGAIN:
		return 0, errWouldBlock
	case err != nil:
		return 0, err
	}
	return n, nil
}

func ignoringEINTR(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// setReadDeadline bounds the next Read of out; the zero time takes the bound away.
func (t *transport) setReadDeadline(at time.Time) {
	// It fails only on a closed file, which the read reports itself.
	_ = t.out.SetReadDeadline(at)
}

func (t *transport) close() {
	if t.in != nil {
		_ = t.in.Close()
	}
	if t.out != nil && t.out != t.in {
		_ = t.out.Close()
	}
	if t.stderr != nil {
		_ = t.stderr.Close()
	}
	if t.terminal && t.probe >= 0 {
		_ = unix.Close(t.probe)
	}
	t.probe = -1
}
