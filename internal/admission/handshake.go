package admission

import (
	"errors"
	"net"
	"sync/atomic"
)

// maxHandshake is how many bytes of a TLS handshake a client may send. crypto/tls would take messages of 64 KiB, and hold
// more than twice that for one. What clients send is less than 4 KiB.
const maxHandshake = 16 << 10

// ErrHandshake says that a client has sent more than a TLS handshake has.
var ErrHandshake = errors.New("too many bytes in a TLS handshake")

// A Handshake stands between the connection and crypto/tls for as long as a TLS handshake takes. It gives its turn away
// while it waits for the network, so nobody can hold one by being slow; and after a write, since nothing is left to do then
// but to read.
type Handshake struct {
	turns chan struct{}
	held  atomic.Bool
	read  int
}

// Handshake returns one that has not begun.
func (c *Counter) Handshake() *Handshake { return &Handshake{turns: c.turns} }

// Read reads from nc and then waits for a turn.
func (h *Handshake) Read(nc net.Conn, p []byte) (int, error) {
	h.Done()
	if h.read >= maxHandshake {
		return 0, ErrHandshake
	}
	n, err := nc.Read(p)
	h.read += n
	if n > 0 {
		h.turns <- struct{}{}
		h.held.Store(true)
	}
	return n, err
}

// Write gives the turn away and writes to nc.
func (h *Handshake) Write(nc net.Conn, p []byte) (int, error) {
	h.Done()
	return nc.Write(p)
}

// Done gives the turn away, if there is one. It must be called when the handshake is over, and may be called by any
// goroutine, any number of times.
func (h *Handshake) Done() {
	if h.held.CompareAndSwap(true, false) {
		<-h.turns
	}
}
