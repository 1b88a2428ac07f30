package state

import (
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/guard/guardtest"
	"gatehouse.im/gatehouse/internal/redistest"
)

// openCounters opens a Store with counts that can be used.
func openCounters(t testing.TB, s *redistest.Server, change ...func(*Config)) *Counters {
	t.Helper()
	store := open(t, s, change...)
	store.Counters().Use(true)
	until(t, "the counts can be used", 5*time.Second, func() bool { return store.Counters().State() == nil })
	return store.Counters()
}

// TestCounters_model: two fronts are as one memory.
func TestCounters_model(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for range 4 {
		s.Do(t, "FLUSHALL")
		guardtest.Play(t, 2000, openCounters(t, s), openCounters(t, s))
	}
}
