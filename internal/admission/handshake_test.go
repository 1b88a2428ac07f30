package admission_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"

	"gatehouse.im/gatehouse/internal/admission"
)

// endlessConn has always something to read.
type endlessConn struct{ net.Conn }

func (endlessConn) Read(p []byte) (int, error)  { return len(p), nil }
func (endlessConn) Write(p []byte) (int, error) { return len(p), nil }

func TestHandshake_takesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newCounter(admission.Limits{})
		p := make([]byte, 1)
		var holders []*admission.Handshake
		for range runtime.GOMAXPROCS(0) {
			h := c.Handshake()
			if _, err := h.Read(endlessConn{}, p); err != nil {
				t.Fatal(err)
			}
			holders = append(holders, h)
		}
		// Nobody who waits for the network is in the way.
		ours, theirs := net.Pipe()
		silent := make(chan error, 1)
		go func() { _, err := c.Handshake().Read(ours, p); silent <- err }()

		next := c.Handshake()
		turn := make(chan error, 1)
		wait := func() { go func() { _, err := next.Read(endlessConn{}, p); turn <- err }() }
		for name, yield := range map[string]func(){
			"Done":  holders[0].Done,
			"Write": func() { _, _ = holders[0].Write(endlessConn{}, p) },
		} {
			wait()
			synctest.Wait()
			select {
			case <-turn:
				t.Fatal("more handshakes compute than there are processors")
			default:
			}
			yield()
			yield() // which is none of its business any more
			if err := <-turn; err != nil {
				t.Errorf("%s: %v", name, err)
			}
			next.Done()
			if _, err := holders[0].Read(endlessConn{}, p); err != nil {
				t.Fatal(err)
			}
		}
		theirs.Close()
		if err := <-silent; err != io.EOF {
			t.Error(err)
		}
		for _, h := range holders {
			h.Done()
		}
	})
}

func TestHandshake_isBounded(t *testing.T) {
	c, _ := newCounter(admission.Limits{})
	h := c.Handshake()
	defer h.Done()
	read := 0
	for range 100 {
		n, err := h.Read(endlessConn{}, make([]byte, 1000))
		if errors.Is(err, admission.ErrHandshake) {
			break
		}
		read += n
	}
	if read < 16<<10 || read > 18<<10 {
		t.Errorf("%d bytes were read", read)
	}
}
