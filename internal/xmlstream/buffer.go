package xmlstream

import (
	"io"
	"sync"
)

// minBuffer is what a read asks for at least. A login's messages fit.
const minBuffer = 2048

var buffers = sync.Pool{New: func() any { return new([minBuffer]byte) }}

// fill reads once, blocking, and keeps at most limit bytes unconsumed.
func (r *Reader) fill(limit int) error {
	r.shrink()
	if r.buf == nil && r.idle {
		n, err := r.readSome(r.peek[:])
		if n > 0 {
			r.take()
			r.buf = append(r.buf, r.peek[:n]...)
			clear(r.peek[:n])
		}
		return err
	}
	if r.buf == nil {
		r.take()
	}
	if r.start > 0 {
		r.buf, r.start = r.buf[:copy(r.buf, r.buf[r.start:])], 0
	}
	if len(r.buf) == cap(r.buf) {
		bigger := make([]byte, len(r.buf), min(2*cap(r.buf), max(limit, minBuffer)))
		copy(bigger, r.buf)
		r.release()
		r.buf = bigger
	}
	n, err := r.readSome(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	return err
}

// readSome reads into b, but no more than the Total limit allows.
func (r *Reader) readSome(b []byte) (int, error) {
	if r.limits.Total > 0 {
		if r.total >= r.limits.Total {
			return 0, r.end(tooBig("too many bytes before the login"))
		}
		b = b[:min(len(b), r.limits.Total-r.total)]
	}
	n, err := r.src.Read(b)
	r.total += n
	switch {
	case n > 0:
		return n, nil // an error comes again with the next read
	case err == io.EOF:
		return 0, io.ErrUnexpectedEOF
	}
	return 0, err
}

// wipe clears an item that was read, for it may have held a password, and
// keeps no more memory than what came after it needs.
func (r *Reader) wipe(item []byte) {
	clear(item)
	r.shrink()
}

// shrink gives back a buffer that holds nothing, and exchanges a big one that
// holds little for one from the pool.
func (r *Reader) shrink() {
	rest := r.buf[r.start:]
	switch {
	case len(rest) == 0:
		r.release()
	case cap(r.buf) > minBuffer && len(rest) <= minBuffer/2:
		small := append(buffers.Get().(*[minBuffer]byte)[:0], rest...)
		r.release()
		r.buf = small
	}
}

func (r *Reader) take() { r.buf, r.start = buffers.Get().(*[minBuffer]byte)[:0], 0 }

// release gives the buffer back, cleared.
func (r *Reader) release() {
	if r.buf == nil {
		return
	}
	b := r.buf[:cap(r.buf)]
	clear(b)
	if len(b) == minBuffer {
		buffers.Put((*[minBuffer]byte)(b))
	}
	r.buf, r.start = nil, 0
}

// Close gives back the buffer. The Reader must not be used after it.
func (r *Reader) Close() { r.release(); r.src = nil }
