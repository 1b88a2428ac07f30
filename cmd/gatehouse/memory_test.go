package main

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/admin"
	"gatehouse.im/gatehouse/internal/guard"
	"gatehouse.im/gatehouse/internal/redistest"
	"gatehouse.im/gatehouse/internal/state"
	"gatehouse.im/gatehouse/internal/token"
)

// TestMemory_past: a memory of before the reload is asked for as long as it matters, and then no more.
func TestMemory_past(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Aged(t, "gatehouse")
	shared := &config.State{Addresses: []string{s.Socket}, Prefix: "gatehouse"}
	m := &memory{dir: t.TempDir(), logger: slog.New(slog.DiscardHandler), metrics: admin.NewMetrics("test"), guard: guard.New(guard.Defaults())}
	t.Cleanup(func() {
		if err := m.close(); err != nil {
			t.Error(err)
		}
	})
	now := time.Now()
	ofNow, ofLater := now.Add(120*time.Second), now.Add(token.Span+state.MaxSkew+time.Minute)
	expect := func(what string, id byte, expires time.Time, want bool, wantErr error) {
		t.Helper()
		if got, err := m.Use(token.ID{id}, expires, now); got != want || !errors.Is(err, wantErr) {
			t.Errorf("%s: %v, %v; want %v, %v", what, got, err, want, wantErr)
		}
	}
	m.use(nil, false)
	if m.status() != nil {
		t.Error("there is a memory that nobody needs")
	}
	m.use(shared, true)
	expect("in Redis", 1, ofNow, true, nil)
	m.use(nil, true)
	expect("used in Redis", 1, ofNow, false, nil)
	expect("in both", 2, ofNow, true, nil)
	former := m.inUse.Load().past[0].redis
	m.use(&config.State{Addresses: shared.Addresses, Prefix: "gatehouse"}, true)
	if in := m.inUse.Load(); in.now.redis != former || len(in.past) != 1 || in.past[0].file == nil {
		t.Error("the same Redis is opened anew, or the file is forgotten")
	}
	expect("used in both", 2, ofNow, false, nil)
	m.use(nil, true)

	s.Kill()
	expect("of the Redis's time, which is gone", 3, ofNow, false, state.ErrAway)
	expect("of later", 4, ofLater, true, nil)
	expect("of later, again", 4, ofLater, false, nil)
	m.forget()
	expect("before its time is over", 5, ofNow, false, state.ErrAway)
	in := m.inUse.Load()
	m.inUse.Store(&memories{now: in.now, past: []past{{in.past[0].backend, now.Add(-pastFor)}}})
	m.forget()
	expect("when it is forgotten", 6, ofNow, true, nil)
	if st := m.status(); !st.OK || st.Shared != "" || st.Entries == 0 {
		t.Errorf("status %+v", st)
	}
}
