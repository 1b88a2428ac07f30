package logging

import (
	"errors"
	"time"
)

// errHangs says that a file takes no lines at the moment, and does not refuse them either.
var errHangs = errors.New("the disk does not answer")

// A courier writes to a file in a goroutine of its own, and waits for it only so long: nothing else bounds a write to a
// disk that hangs (a dead NFS server, a file system that is frozen for a snapshot). While one write hangs, the lines
// that come have no place there.
type courier struct {
	lines chan []byte
	done  chan error // has room for the last write and the close, which nobody may wait for
	buf   []byte     // belongs to the goroutine from lines to done
	busy  bool
	pace  allowance
	timer *time.Timer
}

// newCourier starts the goroutine, which ends when the courier is closed and the file answers.
func newCourier(d *descriptor) *courier {
	c := &courier{lines: make(chan []byte), done: make(chan error, 2), timer: time.NewTimer(0)}
	go func() {
		for line := range c.lines {
			c.done <- d.write(line)
		}
		c.done <- d.close()
	}()
	return c
}

// write returns when the line is written. If that takes too long it may still be written later.
func (c *courier) write(line []byte) error {
	if c.busy {
		select {
		case <-c.done:
			c.busy = false
		default:
			return errHangs
		}
	}
	if cap(c.buf) > keptBuffer {
		c.buf = nil
	}
	c.buf = append(c.buf[:0], line...)
	c.lines <- c.buf
	return c.wait()
}

// wait waits for what the goroutine is at.
func (c *courier) wait() error {
	began := time.Now()
	c.timer.Reset(c.pace.left(began))
	select {
	case err := <-c.done:
		c.timer.Stop()
		if took := time.Since(began); took >= atLeast {
			c.pace.spend(took)
		}
		return err
	case <-c.timer.C:
		c.pace.spend(time.Since(began))
		c.busy = true
		return errHangs
	}
}

// close leaves a file that hangs to the goroutine.
func (c *courier) close() error {
	close(c.lines)
	if c.busy {
		return nil
	}
	return c.wait()
}
