package admission

import (
	"container/list"
	"errors"
	"net"
	"sync"
	"time"
)

// turnTime is how long a handshake waits for a turn. Whoever has waited longer is not there any more, most likely.
const turnTime = 5 * time.Second

// ErrTurn says that a handshake has not had a turn in time, since others came all the while.
var ErrTurn = errors.New("no turn for a TLS handshake in time")

// turns hands out turns. Those that have had one already come first, so that what was spent on them is not lost; then those
// that came last. Were it the other way round, then a queue that is longer than the patience of clients would be spent on
// those who have just gone, for as long as more come than there is time for, and nobody would come in. So others come in as
// often as there is time for, and quickly.
type turns struct {
	mu      sync.Mutex
	free    int
	waiting [2]list.List // of chan struct{}, closed with mu held when it is the turn; first who came first
}

func newTurns(n int) *turns { return &turns{free: n} }

// take waits for a turn: no longer than turnTime, and not once gone is closed. The error is ErrTurn or wraps
// [net.ErrClosed]. again is true for whoever had one before.
func (t *turns) take(again bool, gone <-chan struct{}) error {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return nil
	}
	queue := &t.waiting[0]
	if again {
		queue = &t.waiting[1]
	}
	turn := make(chan struct{})
	place := queue.PushBack(turn)
	t.mu.Unlock()

	timer := time.NewTimer(turnTime)
	defer timer.Stop()
	var err error
	select {
	case <-turn:
		return nil
	case <-timer.C:
		err = ErrTurn
	case <-gone:
		err = net.ErrClosed
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-turn:
		return nil // after all
	default:
	}
	queue.Remove(place)
	return err
}

// give lets the next one have a turn.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, queue := range []*list.List{&t.waiting[1], &t.waiting[0]} {
		if next := queue.Back(); next != nil {
			close(queue.Remove(next).(chan struct{}))
			return
		}
	}
	t.free++
}
