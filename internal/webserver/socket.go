package webserver

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse.im/gatehouse/internal/admission"
)

// A socket is the connection below a WebSocket, with an eye on where in the stream of frames a read fails: between frames
// it can be tried again, within one the library has lost its place.
type socket struct {
	net.Conn
	buffer *bufio.Reader // the library's, which reads from here

	// left is how many bytes the client may still send, frames that carry nothing among them; below 0 there is no limit.
	left atomic.Int64

	waiting atomic.Int64 // since when a read waits for the client, as of clock; 0 if none does
	writing atomic.Int32 // writes under way

	// out guards the next two, and is held while writing.
	out  sync.Mutex
	held *[pieceSize]byte // what was written and waits for release; nil if nothing has to
	n    int              // bytes in it

	// mu guards what is below; it is not held while reading.
	mu      sync.Mutex
	early   []byte // what the client sent before it was upgraded
	read    int64  // bytes handed to the library
	mark    int64  // of these, how many were dealt with when the library was last between frames
	readErr error  // of the last read
	lost    bool   // a read has failed within a frame, or what came was none
}

// strangerBytes is how much a client may send before its login, all told. Whoever reads the messages has a limit of its own;
// but empty frames and pongs do not get that far.
const strangerBytes = 256 << 10

var errStranger = errors.New("too much before the login")

var epoch = time.Now()

// clock is monotonic, in nanoseconds, and never 0.
func clock() int64 { return int64(time.Since(epoch)) + 1 }

// Read implements net.Conn. When the place in the stream is lost, what comes is thrown away, until nothing comes any more:
// the client must be able to read what was written to it last, and a close with bytes unread can take that away from it.
func (s *socket) Read(p []byte) (int, error) {
	s.mu.Lock()
	if len(s.early) > 0 {
		n := copy(p, s.early)
		s.early = s.early[n:]
		if len(s.early) == 0 {
			s.early = nil
		}
		s.read += int64(n)
		s.mu.Unlock()
		return n, nil
	}
	lost := s.lost
	s.mu.Unlock()

	left := s.left.Load()
	if left == 0 && !lost {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.readErr, s.lost = errStranger, true
		return 0, errStranger
	}
	if left > 0 && int64(len(p)) > left {
		p = p[:left]
	}
	s.waiting.Store(clock())
	n, err := s.Conn.Read(p)
	for lost && err == nil {
		n, err = s.Conn.Read(p)
	}
	s.waiting.Store(0)
	if errors.Is(err, admission.ErrRecord) {
		err, lost = errStranger, true
	}
	if left > 0 {
		s.left.CompareAndSwap(left, left-int64(n))
	}
	if lost {
		n = 0
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.read += int64(n)
	s.readErr = err
	if lost || err != nil && s.read != s.mark {
		s.lost = true // the library had nothing left when it asked for more
	}
	return n, err
}

// Write implements net.Conn.
func (s *socket) Write(p []byte) (int, error) {
	s.writing.Add(1)
	defer s.writing.Add(-1)
	s.out.Lock()
	defer s.out.Unlock()
	if s.held == nil {
		return s.Conn.Write(p)
	}
	if s.n+len(p) > len(s.held) {
		if err := s.writeHeld(); err != nil {
			return 0, err
		}
		if len(p) > len(s.held) {
			return s.Conn.Write(p)
		}
	}
	s.n += copy(s.held[s.n:], p)
	return len(p), nil
}

// hold keeps back what is written, as much as fits in a piece, until release.
func (s *socket) hold() {
	s.out.Lock()
	defer s.out.Unlock()
	if s.held == nil {
		s.held, s.n = pieces.Get().(*[pieceSize]byte), 0
	}
}

// release writes it.
func (s *socket) release() error {
	s.writing.Add(1)
	defer s.writing.Add(-1)
	s.out.Lock()
	defer s.out.Unlock()
	if s.held == nil {
		return nil
	}
	err := s.writeHeld()
	pieces.Put(s.held)
	s.held = nil
	return err
}

// writeHeld is for who holds s.out.
func (s *socket) writeHeld() error {
	if s.n == 0 {
		return nil
	}
	_, err := s.Conn.Write(s.held[:s.n])
	s.n = 0
	return err
}

// boundary notes that the library is between frames. Only the goroutine that reads may call it.
func (s *socket) boundary() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mark = s.read - int64(s.buffer.Buffered())
	s.readErr = nil
}

// loseTrack throws away what the library has and what will come. Only the goroutine that reads may call it.
func (s *socket) loseTrack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost, s.early = true, nil
	_, _ = s.buffer.Discard(s.buffer.Buffered())
}

// fault returns the error of the last read, if there was one since the boundary, and whether the place is lost.
func (s *socket) fault() (err error, lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readErr, s.lost
}

// abort closes the connection without a word.
func (s *socket) abort() {
	nc := s.Conn
	if f, ok := nc.(*front); ok {
		nc = f.below // TLS would first wait to say goodbye
	}
	_ = nc.Close()
}

// onPing and onPong are told by the library that it has read such a frame.
func (s *socket) onPing(context.Context, []byte) bool {
	s.boundary()
	return true // answer it
}

func (s *socket) onPong(context.Context, []byte) { s.boundary() }
