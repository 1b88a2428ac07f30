package server

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// A wire is the TCP connection below TLS. While a client logs in it is that and
// no more. In a relay it lets the reader of the TLS connection above wait without
// a buffer: Read does not block then, and wait does.
type wire struct {
	net.Conn
	raw syscall.RawConn // nil if the connection is none of the system's
	// lazy is set by the goroutine that reads, once the login is over.
	lazy bool
	// drained: the last read took all that there was.
	drained bool
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

// errNothing is what a lazy wire says instead of blocking. crypto/tls goes on
// after an error that is temporary.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing to read yet" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// Read implements net.Conn.
func (w *wire) Read(p []byte) (n int, err error) {
	if !w.lazy {
		return w.Conn.Read(p)
	}
	if w.drained {
		return 0, errNothing
	}
	n, err = readNow(w.raw, p)
	w.drained = n < len(p)
	return n, err
}

// wait blocks until there is something to read, or the read deadline has passed.
func (w *wire) wait() error {
	asked := false
	err := w.raw.Read(func(fd uintptr) bool {
		if asked {
			return true // woken
		}
		asked = true
		// Something may have come since the last read.
		var one [1]byte
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return n > 0 || err != syscall.EAGAIN
	})
	w.drained = false
	return err
}

// readNow reads what is there: errNothing if that is nothing, io.EOF at the end.
func readNow(raw syscall.RawConn, p []byte) (n int, err error) {
	failed := raw.Read(func(fd uintptr) bool {
		for {
			n, err = syscall.Read(int(fd), p)
			if err != syscall.EINTR {
				return true
			}
		}
	})
	switch {
	case failed != nil:
		return 0, failed
	case errors.Is(err, syscall.EAGAIN):
		return 0, errNothing
	case err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: err}
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}
