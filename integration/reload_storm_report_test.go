package integration

import (
	"slices"
	"time"
)

// watchClock notes how late somebody wakes up who sleeps for a moment: what others do on the machine is no fault of the
// daemon.
func (s *storm) watchClock(over <-chan struct{}) {
	const nap = 5 * time.Millisecond
	for {
		began := time.Now()
		select {
		case <-over:
			return
		case <-time.After(nap):
			s.delays = append(s.delays, time.Since(began)-nap)
		}
	}
}

// report says what happened, and judges it.
func (s *storm) report(took time.Duration, calm float64, before, after usage) {
	t, score := s.t, &s.crowd.score
	all, in := score.total()
	rate := float64(all) / took.Seconds()
	at := func(list []time.Duration, q float64) time.Duration {
		slices.Sort(list)
		return list[int(q*float64(len(list)-1))].Round(time.Millisecond)
	}
	t.Logf("%d logins in %v (%.0f/s; %.0f/s without changes), %d of them let in, %d while something changed, the slowest in %v: %v",
		all, took.Round(time.Millisecond), rate, calm, in, score.overlapped, score.slowest.Round(time.Millisecond), score.counts)
	t.Logf("%d changes: %v, asked for by %v, of %d kinds", s.count, s.ways, s.triggers, len(s.kinds))
	late := at(s.delays, .99)
	t.Logf("in effect after the last write: half of them in %v, 95%% in %v, all in %v; the machine is late by %v", at(s.effects, .5), at(s.effects, .95), at(s.effects, 1), late)
	t.Logf("before %+v, after %+v; memory %d KiB, at most %d KiB", before, after, s.memory(t, "VmRSS"), s.memory(t, "VmHWM"))
	if in < all/3 || in > all*9/10 {
		t.Errorf("%d of %d logins were let in; the crowd is not as it should be", in, all)
	}
	if score.overlapped < all/20 {
		t.Errorf("only %d of %d logins came while something changed", score.overlapped, all)
	}
	// A machine that has so much else to do that it hardly manages the rate in calm weather is no measure.
	if want := min(stormRate, calm/2); rate < want {
		t.Errorf("%.0f logins/s, want %.0f; %.0f without changes", rate, want, calm)
	}
	if s.count < stormChanges || len(s.ways) != len(ways) || len(s.triggers) != 3 {
		t.Errorf("%d changes by %v and %v, want %d in every way", s.count, s.ways, s.triggers, stormChanges)
	}
	for _, c := range changes() {
		if s.kinds[c.name] == 0 {
			t.Errorf("%q never happened", c.name)
		}
	}
	// There are a dozen turns from the write to the line: of the kernel, the watcher, the new script, the log.
	if limit := settleTime + effectTime + 12*late; at(s.effects, .95) > limit {
		t.Errorf("one in twenty of the changes took more than %v to be in effect, want %v", at(s.effects, .95), limit)
	}
	if !after.within(before) {
		t.Errorf("before the storm the daemon had %+v, after it %+v", before, after)
	}
}
