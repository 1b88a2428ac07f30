package logging

import (
	"log/slog"
	"sync"
	"time"
)

// An output takes one line or datagram a call, whole, and returns within bounds.
type output interface {
	write(line []byte) error
	close() error
}

// A target is an output with the form that its lines have, and what is missing in it.
type target struct {
	name   string
	out    output
	encode encoder

	mu     sync.Mutex // guards the fields below, and orders writes
	missed int        // lines since the last that was written
	buf    []byte
}

// write writes a record. The first return value tells whether this failure is news.
func (t *target) write(r *record) (news bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.missed > 0 {
		gap := &record{time: time.Now(), level: slog.LevelWarn, msg: "log lines are missing here",
			fields: []field{{"lines", slog.IntValue(t.missed)}}}
		err = t.put(gap)
	}
	if err == nil {
		t.missed = 0
		err = t.put(r)
	}
	if err != nil {
		t.missed++
	}
	return t.missed == 1, err
}

func (t *target) put(r *record) error {
	t.buf = t.encode(t.buf[:0], r)
	err := t.out.write(t.buf)
	if cap(t.buf) > keptBuffer {
		t.buf = nil
	}
	return err
}

// keptBuffer bounds the memory that a target keeps for its next line.
const keptBuffer = 16 << 10

// takeOver makes t the successor of old, which may be nil and is not used any more.
func (t *target) takeOver(old *target) {
	if old != nil {
		t.missed = old.missed
	}
}
