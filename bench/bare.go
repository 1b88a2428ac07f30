package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// A bareScript is the least that can be done to ask a script: write a line, read
// a line. It has no deadline, checks nothing, and survives nothing.
type bareScript struct {
	cmd  *exec.Cmd
	in   io.Writer
	out  io.Reader
	ours []*os.File
	buf  [64]byte
}

// startBare starts the script over pipes, or on a raw terminal and then in a
// session of its own, as programs on terminals are: Linux schedules sessions
// apart, which costs an answer some microseconds.
func startBare(path string, terminal bool) (b *bareScript, err error) {
	b = &bareScript{cmd: exec.Command(path)}
	b.cmd.Stderr = os.Stderr
	var theirs []*os.File
	defer func() {
		closeAll(theirs)
		if err != nil {
			closeAll(b.ours)
		}
	}()
	if terminal {
		master, slave, err := pty.Open()
		if err != nil {
			return nil, err
		}
		b.ours, theirs = []*os.File{master}, []*os.File{slave}
		if err := makeRaw(slave); err != nil {
			return nil, err
		}
		b.in, b.out = master, master
		b.cmd.Stdin, b.cmd.Stdout = slave, slave
		b.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	} else {
		inR, inW, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		b.ours, theirs = append(b.ours, inW), append(theirs, inR)
		outR, outW, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		b.ours, theirs = append(b.ours, outR), append(theirs, outW)
		b.in, b.out = inW, outR
		b.cmd.Stdin, b.cmd.Stdout = inR, outW
	}
	return b, b.cmd.Start()
}

// ask sends a query of the generic protocol and reads the answer.
func (b *bareScript) ask(query []byte) (bool, error) {
	if _, err := b.in.Write(query); err != nil {
		return false, err
	}
	for n := 0; n < len(b.buf); {
		m, err := b.out.Read(b.buf[n:])
		if err != nil {
			return false, err
		}
		if n += m; b.buf[n-1] == '\n' {
			return b.buf[0] == '1', nil
		}
	}
	return false, fmt.Errorf("answer %q", b.buf[:])
}

// close ends the script and waits for it.
func (b *bareScript) close() error {
	closeAll(b.ours)
	// On a terminal the script sees an error and not the end of its input.
	err := b.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// makeRaw stops the terminal from echoing, translating and editing.
func makeRaw(tty *os.File) error {
	fd := int(tty.Fd())
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}
