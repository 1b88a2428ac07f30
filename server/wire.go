package server

import (
	"io"
	"net"
	"syscall"

	"gatehouse.im/gatehouse/internal/admission"
)

// A wire is a connection of the system's, below TLS or by itself. While a client
// logs in it is that and no more. In a relay whoever reads it, or the TLS
// connection above, waits without a buffer: Read does not block then, and wait
// does.
type wire struct {
	net.Conn
	raw  syscall.RawConn // nil if the connection is none of the system's
	lazy *lazyReader     // nil while the client logs in

	shake   *admission.Handshake // nil but during the TLS handshake
	records *admission.Records   // nil but from TLS to the login
}

func newWire(nc net.Conn) *wire {
	w := &wire{Conn: nc}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			w.raw = raw
		}
	}
	return w
}

// beLazy says whether it can be.
func (w *wire) beLazy() bool {
	if w.raw == nil {
		return false
	}
	l := &lazyReader{raw: w.raw}
	l.tryFunc, l.pollFunc = l.try, l.poll
	w.lazy = l
	return true
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	switch {
	case w.lazy != nil:
		return w.lazy.read(p)
	case w.shake != nil:
		return w.shake.Read(w.records, p)
	case w.records != nil:
		return w.records.Read(p)
	}
	return w.Conn.Read(p)
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	if w.shake != nil {
		return w.shake.Write(w.Conn, p)
	}
	return w.Conn.Write(p)
}

// lazyReader is what a wire needs to read without blocking. It belongs to the
// goroutine that reads.
type lazyReader struct {
	raw     syscall.RawConn
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

// read reads what is there: errNothing if that is nothing, io.EOF at the end.
func (l *lazyReader) read(p []byte) (int, error) {
	switch {
	case l.fault != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: l.fault}
	case l.drained:
		return 0, errNothing
	}
	l.p, l.n = p, 0
	failed := l.raw.Read(l.tryFunc)
	l.p = nil
	l.drained = l.n < len(p)
	switch {
	case failed != nil:
		return 0, failed
	case l.err == syscall.EAGAIN:
		return 0, errNothing
	case l.err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: l.err}
	case l.n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return l.n, nil
}

func (l *lazyReader) try(fd uintptr) bool {
	for {
		l.n, l.err = syscall.Read(int(fd), l.p)
		if l.err != syscall.EINTR {
			l.n = max(l.n, 0)
			return true
		}
	}
}

// wait blocks until there is something to read, or the read deadline has passed.
func (l *lazyReader) wait() error {
	l.polled, l.drained = false, false
	return l.raw.Read(l.pollFunc)
}

func (l *lazyReader) poll(fd uintptr) bool {
	if l.polled {
		return true // woken
	}
	l.polled = true
	// Something may have come since the last read, and nobody will wake us for
	// that again.
	_, _, err := syscall.Recvfrom(int(fd), l.one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	switch err {
	case syscall.EAGAIN:
		return false
	case nil, syscall.EINTR:
	default:
		l.fault = err
	}
	return true
}
