package admission_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.im/gatehouse/internal/admission"
)

// endlessConn has always something to read: records without content, as far as there is room.
type endlessConn struct{ net.Conn }

func (endlessConn) Read(p []byte) (int, error)  { clear(p); return len(p), nil }
func (endlessConn) Write(p []byte) (int, error) { return len(p), nil }

// oneRecord is room for one of its records.
func oneRecord() []byte { return make([]byte, 5) }

func TestHandshake_takesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newCounter(admission.Limits{})
		p := oneRecord()
		var holders []*admission.Handshake
		for range runtime.GOMAXPROCS(0) {
			h := c.Handshake(nil)
			if _, err := h.Read(endlessConn{}, p); err != nil {
				t.Fatal(err)
			}
			holders = append(holders, h)
		}
		// Nobody who waits for the network is in the way.
		ours, theirs := net.Pipe()
		silent := make(chan error, 1)
		go func() { _, err := c.Handshake(nil).Read(ours, p); silent <- err }()

		next := c.Handshake(nil)
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
	h := c.Handshake(nil)
	defer h.Done()
	read := 0
	for range 100 {
		n, err := h.Read(endlessConn{}, make([]byte, 1000))
		if errors.Is(err, admission.ErrHandshake) {
			break
		}
		read += n
	}
	if read < 8<<10 || read > 10<<10 {
		t.Errorf("%d bytes were read", read)
	}
}

// Nobody has a turn for less than a record.
func TestHandshake_turnWithARecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tests := []struct {
			name   string
			pieces []string
			waits  int // the piece that a turn is needed for
		}{
			{"a record", []string{"\x16\x03\x01\x00\x03abc"}, 0},
			{"a record in pieces", []string{"\x16\x03", "\x01\x00\x03", "ab", "c"}, 3},
			{"one and a half", []string{"\x16\x03\x01\x00\x01a\x16\x03"}, 0},
			{"the rest of one, and another", []string{"\x16\x03\x01\x00\x02a", "b\x16\x03\x01\x00\x01a"}, 1},
			{"an empty one", []string{"\x14\x03\x03\x00", "\x00"}, 1},
		}
		for _, test := range tests {
			c, _ := newCounter(admission.Limits{})
			for range runtime.GOMAXPROCS(0) {
				_, _ = c.Handshake(nil).Read(endlessConn{}, oneRecord())
			}
			h := c.Handshake(nil)
			for n, piece := range test.pieces {
				ours, theirs := net.Pipe()
				go func() { _, _ = io.WriteString(theirs, piece) }()
				began := time.Now()
				got, err := h.Read(ours, make([]byte, 100))
				switch waited := time.Since(began) > 0; {
				case waited != (n == test.waits):
					t.Errorf("%s: piece %d waits for a turn: %v", test.name, n, waited)
				case waited && !errors.Is(err, admission.ErrTurn), !waited && (err != nil || got != len(piece)):
					t.Errorf("%s: piece %d: %d, %v", test.name, n, got, err)
				}
			}
		}
	})
}

// Whom a turn was spent on comes first, then who came last. Nobody waits for longer than anybody would wait for him.
func TestHandshake_order(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newCounter(admission.Limits{})
		var holders []*admission.Handshake
		hold := func() {
			h := c.Handshake(nil)
			_, _ = h.Read(endlessConn{}, oneRecord())
			holders = append(holders, h)
		}
		begun := c.Handshake(nil)
		_, _ = begun.Read(endlessConn{}, oneRecord())
		_, _ = begun.Write(endlessConn{}, nil)
		for range runtime.GOMAXPROCS(0) {
			hold()
		}
		order := make(chan string, 10)
		wait := func(name string, h *admission.Handshake) {
			go func() {
				if _, err := h.Read(endlessConn{}, oneRecord()); err != nil {
					order <- name + ": " + err.Error()
					return
				}
				order <- name
				h.Done()
			}()
			synctest.Wait()
		}
		wait("begun", begun)
		for _, name := range []string{"first", "second", "third"} {
			wait(name, c.Handshake(nil))
		}
		holders[0].Done()
		for _, want := range []string{"begun", "third", "second", "first"} {
			if got := <-order; got != want {
				t.Errorf("%s comes before %s", got, want)
			}
		}
		hold()
		began := time.Now()
		wait("late", c.Handshake(nil))
		if got := <-order; !strings.Contains(got, admission.ErrTurn.Error()) || time.Since(began) != 5*time.Second {
			t.Errorf("%s after %v", got, time.Since(began))
		}
	})
}

// Whose place is taken does not wait any more, and nothing is lost by it.
func TestHandshake_placeIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newCounter(admission.Limits{Unauthed: 1})
		var holders []*admission.Handshake
		for range runtime.GOMAXPROCS(0) {
			h := c.Handshake(nil)
			_, _ = h.Read(endlessConn{}, oneRecord())
			holders = append(holders, h)
		}
		h := c.Handshake(c.Accept(from{addr: at("192.0.2.1")}))
		failed := make(chan error, 1)
		go func() { _, err := h.Read(endlessConn{}, oneRecord()); failed <- err }()
		synctest.Wait()
		c.Accept(from{addr: at("192.0.2.2")})
		if err := <-failed; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		h.Done()
		holders[0].Done()
		if _, err := c.Handshake(nil).Read(endlessConn{}, oneRecord()); err != nil {
			t.Errorf("a turn is lost: %v", err)
		}
	})
}

// However many want a turn, and whatever becomes of them, no turn is lost or given twice.
func TestHandshake_turnsAreKept(t *testing.T) {
	c, _ := newCounter(admission.Limits{Unauthed: 5})
	var group sync.WaitGroup
	var have atomic.Int64
	for n := range 16 {
		group.Go(func() {
			for range 500 {
				p := c.Accept(from{addr: at(fmt.Sprintf("192.0.2.%d", n))})
				h := c.Handshake(p)
				for range 2 {
					if _, err := h.Read(endlessConn{}, oneRecord()); err != nil {
						break
					}
					if now := have.Add(1); now > int64(runtime.GOMAXPROCS(0)) {
						t.Errorf("%d have a turn", now)
					}
					runtime.Gosched()
					have.Add(-1)
					_, _ = h.Write(endlessConn{}, nil)
				}
				h.Done()
				p.Leave()
			}
		})
	}
	group.Wait()
	for range runtime.GOMAXPROCS(0) {
		if _, err := c.Handshake(nil).Read(endlessConn{}, oneRecord()); err != nil {
			t.Errorf("a turn is lost: %v", err)
		}
	}
	if got := c.Counts(); got.Connections != 0 || got.Unauthed != 0 || got.Addresses != 0 {
		t.Errorf("%+v", got)
	}
}
