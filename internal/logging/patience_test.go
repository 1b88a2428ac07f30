package logging

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// TestLog_slowPipe: who reads a little now and then, but less than there is, does not make each line wait for him.
func TestLog_slowPipe(t *testing.T) {
	l, r := pipeLog(t)
	set(t, l, Config{Format: Text})
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(patience / 4)
		defer tick.Stop()
		page := make([]byte, atOnce)
		for {
			select {
			case <-tick.C:
				_, _ = r.Read(page) // which makes room for a line
			case <-stop:
				return
			}
		}
	}()
	began := time.Now()
	long := strings.Repeat("x", 3900)
	for range 100 { // a pipe holds sixteen
		l.Logger().Info("line", "long", long)
	}
	took := time.Since(began)
	close(stop)
	<-stopped
	if took < patience/2 || took > 4*patience {
		t.Errorf("took %v", took)
	}
}

// TestCourier_diskHangs: a write that does not return holds up nobody for longer than a second, neither does an
// exchange of what hangs. When the disk answers again, the lines do, too.
func TestCourier_diskHangs(t *testing.T) {
	r, w, err := os.Pipe() // which, unlike in a log, is written to until it takes everything
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	fd, err := unix.Dup(int(w.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	l, stderr := toFile(t)
	disk := newCourier(&descriptor{fd: fd})
	l.state.targets["disk"] = &target{name: "disk", encode: encodeText, out: disk}
	set(t, l, Config{Format: Text, Sinks: []Sink{{To: File, File: "disk", Levels: Info}}})

	began := time.Now()
	long := strings.Repeat("x", 8000)
	const written = 1000
	for range written {
		l.Logger().Info("line", "long", long)
	}
	if took := time.Since(began); took < patience || took > 4*patience {
		t.Errorf("took %v", took)
	}
	if text := stderr(); !strings.Contains(text, `log cannot be written; its lines come here log=disk cause="the disk does not answer"`) ||
		strings.Count(text, "info line ") < written-20 {
		t.Errorf("%d bytes on standard error, %.200s", len(text), text)
	}

	// The disk answers.
	var text strings.Builder
	buf := make([]byte, 1<<16)
	for !strings.Contains(text.String(), "info again") {
		if !ready(t, r) { // the line may still come too early
			l.Logger().Info("again")
			continue
		}
		n, err := r.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(buf[:n])
	}
	if !strings.Contains(text.String(), "warn log lines are missing here lines=") {
		t.Errorf("no word of what is missing in %.300s", text.String())
	}

	// It hangs for good; its place is taken by another.
	for range 20 {
		l.Logger().Info("line", "long", long)
	}
	began = time.Now()
	set(t, l, Config{Format: Text})
	if took := time.Since(began); took > 2*patience {
		t.Errorf("the exchange took %v", took)
	}
	if _, err := r.Read(buf); err != nil { // what hangs ends, and the file is closed after it
		t.Fatal(err)
	}
	for {
		if n, _ := r.Read(buf); n == 0 {
			return
		}
	}
}

// TestAllowance_comesBack: patience is a second, and a tenth of the time after that.
func TestAllowance_comesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a allowance
		for _, c := range []struct{ after, left, spent time.Duration }{
			{0, patience, patience / 2},
			{0, patience / 2, patience / 2},
			{0, 0, 0},
			{patience, patience / regained, patience},
			{patience, patience / regained, 0},
			{time.Hour, patience, 0},
		} {
			time.Sleep(c.after)
			if got := a.left(time.Now()); got != c.left {
				t.Errorf("after %v: %v, want %v", c.after, got, c.left)
			}
			a.spend(c.spent)
		}
	})
}
