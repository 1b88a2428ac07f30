package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
)

// scriptPool asks an auth program in the generic line protocol over pipes.
type scriptPool struct{ ch chan *scriptProc }

type scriptProc struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startPool(path string, n int) (*scriptPool, error) {
	p := &scriptPool{make(chan *scriptProc, n)}
	for i := 0; i < n; i++ {
		cmd := exec.Command(path)
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		p.ch <- &scriptProc{cmd, in, bufio.NewReader(out)}
	}
	return p, nil
}

func (p *scriptPool) ask(q string) (bool, error) {
	s := <-p.ch
	defer func() { p.ch <- s }()
	if _, err := io.WriteString(s.in, q+"\n"); err != nil {
		return false, err
	}
	l, err := s.out.ReadSlice('\n')
	if err != nil {
		return false, err
	}
	return len(l) > 0 && l[0] == '1', nil
}

// close ends the idle auth programs by closing their input, and waits for them.
func (p *scriptPool) close() error {
	var errs []error
	for len(p.ch) > 0 {
		s := <-p.ch
		s.in.Close()
		errs = append(errs, s.cmd.Wait())
	}
	return errors.Join(errs...)
}
