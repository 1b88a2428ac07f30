package server

import (
	"errors"
	"io"
	"net"
	"syscall"
	"unsafe"
)

// A wire is a connection of the system's, below TLS or by itself. While a client
// logs in it is that and no more. In a relay whoever reads it, or the TLS
// connection above, waits without a buffer: Read does not block then, and
// wireReader.wait does.
//
// It makes its system calls without telling Go's scheduler, as may be where none
// of them blocks. Writing to a socket takes longer than the 20 µs after which the
// scheduler gives the processor to others; that it then looks for more of the
// kind every 20 µs is a fifth of what a relay costs.
type wire struct {
	net.Conn
	raw syscall.RawConn // nil if the connection is none of the system's
	in  wireReader
	out wireWriter
}

func newWire(nc net.Conn) *wire {
	w := &wire{Conn: nc}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			w.raw = raw
			w.in.raw, w.out.raw = raw, raw
			w.in.tryFunc, w.in.pollFunc, w.out.tryFunc = w.in.try, w.in.poll, w.out.try
		}
	}
	return w
}

// beLazy says whether it can be.
func (w *wire) beLazy() bool {
	w.in.lazy = w.raw != nil
	return w.in.lazy
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	if w.raw == nil || len(p) == 0 {
		return w.Conn.Read(p)
	}
	return w.in.read(p)
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	if w.raw == nil || len(p) == 0 {
		return w.Conn.Write(p)
	}
	return w.out.write(p)
}

// wireReader belongs to the goroutine that reads.
type wireReader struct {
	raw     syscall.RawConn
	lazy    bool
	drained bool // the last read took all that there was

	// Of the call that is going on; here, since what a function that is handed
	// over refers to would be garbage with every message.
	tryFunc, pollFunc func(fd uintptr) bool
	p                 []byte
	n                 int
	err               error
	polled            bool
	one               [1]byte
	fault             error // what poll has met: the system tells it once
}

// errNothing is what a lazy wire says instead of blocking. crypto/tls goes on
// after an error that is temporary.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing to read yet" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// read reads what is there: io.EOF at the end, and errNothing if that is nothing
// and it is lazy. p is not empty.
func (r *wireReader) read(p []byte) (int, error) {
	switch {
	case r.fault != nil:
		return 0, failed("read", r.fault)
	case r.lazy && r.drained:
		return 0, errNothing
	}
	r.p, r.n = p, 0
	err := r.raw.Read(r.tryFunc)
	r.p = nil
	r.drained = r.n < len(p)
	switch {
	case err != nil:
		return 0, failed("read", err)
	case r.err == syscall.EAGAIN:
		return 0, errNothing
	case r.err != nil:
		return 0, failed("read", r.err)
	case r.n == 0:
		return 0, io.EOF
	}
	return r.n, nil
}

func (r *wireReader) try(fd uintptr) bool {
	r.n, r.err = systemCall(syscall.SYS_READ, fd, r.p)
	return r.lazy || r.err != syscall.EAGAIN
}

// wait blocks until there is something to read, or the read deadline has passed.
func (r *wireReader) wait() error {
	r.polled, r.drained = false, false
	return r.raw.Read(r.pollFunc)
}

func (r *wireReader) poll(fd uintptr) bool {
	if r.polled {
		return true // woken
	}
	r.polled = true
	// Something may have come since the last read, and nobody will wake us for
	// that again.
	_, _, err := syscall.Recvfrom(int(fd), r.one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	switch err {
	case syscall.EAGAIN:
		return false
	case nil, syscall.EINTR:
	default:
		r.fault = err
	}
	return true
}

// wireWriter belongs to the goroutine that writes, one at a time.
type wireWriter struct {
	raw     syscall.RawConn
	tryFunc func(fd uintptr) bool
	p       []byte // what is left of the call that is going on
	err     error
}

// write writes all of p unless there is an error. p is not empty.
func (w *wireWriter) write(p []byte) (int, error) {
	w.p, w.err = p, nil
	err := w.raw.Write(w.tryFunc)
	n := len(p) - len(w.p)
	w.p = nil
	if err == nil {
		err = w.err
	}
	if err != nil {
		return n, failed("write", err)
	}
	return n, nil
}

func (w *wireWriter) try(fd uintptr) bool {
	for len(w.p) > 0 {
		n, err := systemCall(syscall.SYS_WRITE, fd, w.p)
		switch err {
		case nil:
			w.p = w.p[n:]
		case syscall.EAGAIN:
			return false
		default:
			w.err = err
			return true
		}
	}
	return true
}

// systemCall reads into or writes from p, which is not empty. Go's sockets do not
// block. The error is a syscall.Errno.
func systemCall(trap, fd uintptr, p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// failed says of an error what package net would.
func failed(op string, err error) error {
	var oe *net.OpError
	if errors.As(err, &oe) {
		oe.Op = op // instead of raw-read
		return oe
	}
	return &net.OpError{Op: op, Net: "tcp", Err: err}
}
