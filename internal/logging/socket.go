package logging

import (
	"errors"
	"net"
	"os"
	"time"
)

// A socket sends datagrams to a log daemon of this machine. Like a descriptor it does not wait for long for one that
// hangs, which the libraries for syslog and the journal do not promise.
type socket struct {
	path string
	conn *net.UnixConn // nil if it has to be opened again
	pace allowance
}

func openSocket(path string) (*socket, error) {
	s := &socket{path: path}
	return s, s.dial()
}

func (s *socket) dial() (err error) {
	s.conn, err = net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.path, Net: "unixgram"})
	if err != nil {
		s.conn = nil
	}
	return err
}

// atLeast is the time that a write is given in any case: with none it would not be tried.
const atLeast = time.Millisecond

// write sends a datagram. The daemon may have been restarted since the last one, so it is looked for once more.
func (s *socket) write(datagram []byte) error {
	fresh := s.conn == nil
	for {
		if s.conn == nil {
			if err := s.dial(); err != nil {
				return err
			}
		}
		began := time.Now()
		_ = s.conn.SetWriteDeadline(began.Add(max(s.pace.left(began), atLeast)))
		_, err := s.conn.Write(datagram)
		if took := time.Since(began); took >= atLeast {
			s.pace.spend(took)
		}
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		_ = s.close()
		if fresh {
			return err
		}
		fresh = true
	}
}

func (s *socket) close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}
