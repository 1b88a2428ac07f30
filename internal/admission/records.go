package admission

import (
	"encoding/binary"
	"errors"
	"net"
)

// maxTLS is how much crypto/tls may hold of what a client sends that has not logged in. It keeps its buffers for as long as
// the connection lasts: that of records has the size of the longest and 512 bytes, or twice what it had before; that of the
// messages of the handshake may have twice their bytes. A record of full size (16 KiB) is not within it, and one of 8 KiB is,
// for any client that we know: their handshakes have less than 2.4 KiB.
const maxTLS = 14 << 10

// usualElement is the largest element before the login, in bytes, that maxTLS is for. Where larger ones are allowed there is
// room for the larger records that they come in.
const usualElement = 10000

// maxIdle is how long records of the client's may be that hold nothing for us, all together. Key updates and alerts have
// some 30 bytes; but what claims to be a message of the handshake may have 64 KiB.
const maxIdle = 1 << 10

// ErrRecord says that a client has sent TLS records of which too much would have to be held.
var ErrRecord = errors.New("TLS records that are too long before the login")

// Records stands between the connection and crypto/tls until the client has logged in, and bounds what that holds. It hands
// out one record at a time, so it knows what became of the one before. Only one goroutine at a time may use it.
type Records struct {
	net.Conn
	room      int // for what crypto/tls holds
	header    [recordHeader]byte
	seen      int // bytes of the header
	size      int // of the record, with its header
	left      int // bytes of it that are to come
	handshake int // bytes of records up to the end of the handshake
	shaken    bool
	idle      int // bytes of records since then that nothing has come of
}

// NewRecords returns one for a connection on which nothing has come yet, where elements before the login may have so many
// bytes.
func NewRecords(nc net.Conn, element int) *Records {
	return &Records{Conn: nc, room: maxTLS + 4*max(0, element-usualElement)}
}

// Shaken says that the handshake is over.
func (r *Records) Shaken() { r.shaken, r.size = true, 0 }

// Took says that something has come of the record that was read last.
func (r *Records) Took() { r.size = 0 }

// Read implements net.Conn. Its own errors are ErrHandshake and ErrRecord.
func (r *Records) Read(p []byte) (int, error) {
	if r.left == 0 {
		return r.begin(p)
	}
	// It is room for the record that p is, but for what of the record is there.
	if there := r.size - r.left; r.shaken && there+len(p)+2*r.handshake > r.room {
		return 0, ErrRecord
	}
	n, err := r.Conn.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

// begin reads of a record's header.
func (r *Records) begin(p []byte) (int, error) {
	if r.seen == 0 && r.shaken {
		r.idle += r.size
		r.size = 0
		if r.idle > maxIdle {
			return 0, ErrRecord
		}
	}
	n, err := r.Conn.Read(p[:min(len(p), recordHeader-r.seen)])
	r.seen += copy(r.header[r.seen:], p[:n])
	if r.seen < recordHeader {
		return n, err
	}
	r.seen = 0
	r.left = int(binary.BigEndian.Uint16(r.header[3:]))
	r.size = recordHeader + r.left
	if !r.shaken {
		if r.handshake += r.size; r.handshake > maxHandshake {
			return 0, ErrHandshake
		}
	}
	return n, err
}
