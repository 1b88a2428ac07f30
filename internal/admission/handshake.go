package admission

import (
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
)

// maxHandshake is how many bytes of a TLS handshake a client may send. crypto/tls would take messages of 64 KiB, and hold
// more than twice that for one. What clients send is less than 4 KiB.
const maxHandshake = 8 << 10

// ErrHandshake says that a client has sent more than a TLS handshake has.
var ErrHandshake = errors.New("too many bytes in a TLS handshake")

// A Handshake stands between the connection and crypto/tls for as long as a TLS handshake takes. There is a turn once a
// record has come, for only then is there something to compute. It is given away before the network is waited for, so nobody
// can hold one by being slow; and with a write, since nothing is left to do then but to read.
type Handshake struct {
	turns *turns
	place *Place // nil if nobody counts the connection
	held  atomic.Bool
	read  int
	wrote bool
	// Of the record that comes (RFC 8446 §5.1).
	header []byte // as far as it has come
	left   int    // bytes that are still to come, after the header
}

// Handshake returns one that has not begun, of the connection that has the place; nil is one that nobody counts.
func (c *Counter) Handshake(p *Place) *Handshake { return &Handshake{turns: c.turns, place: p} }

// Read reads from nc, and then waits for a turn if that was the end of a record. Beside those of nc the errors are
// [ErrHandshake], [ErrTurn], and [net.ErrClosed] if the place was taken away meanwhile.
func (h *Handshake) Read(nc net.Conn, p []byte) (int, error) {
	h.rest()
	if h.read >= maxHandshake {
		return 0, ErrHandshake
	}
	n, err := nc.Read(p)
	h.read += n
	if h.ends(p[:n]) {
		if err := h.turns.take(h.wrote, h.place.Gone()); err != nil {
			return 0, err
		}
		h.held.Store(true)
	}
	return n, err
}

// recordHeader is how long one is; its last two bytes are the length of what follows.
const recordHeader = 5

// ends says whether a record ends in what has come.
func (h *Handshake) ends(p []byte) (ends bool) {
	for len(p) > 0 {
		if h.left == 0 {
			n := min(recordHeader-len(h.header), len(p))
			h.header, p = append(h.header, p[:n]...), p[n:]
			if len(h.header) < recordHeader {
				break
			}
			h.left = int(binary.BigEndian.Uint16(h.header[3:]))
		}
		n := min(h.left, len(p))
		h.left, p = h.left-n, p[n:]
		if h.left == 0 {
			h.header, ends = h.header[:0], true
		}
	}
	return ends
}

// Write gives the turn away and writes to nc.
func (h *Handshake) Write(nc net.Conn, p []byte) (int, error) {
	h.rest()
	h.wrote = true
	return nc.Write(p)
}

// Done says that the handshake is over, and gives the turn away, if there is one. It may be called by any goroutine, any
// number of times.
func (h *Handshake) Done() {
	h.rest()
	h.place.Secure()
}

func (h *Handshake) rest() {
	if h.held.CompareAndSwap(true, false) {
		h.turns.give()
	}
}
