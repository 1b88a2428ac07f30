package admin

import (
	"slices"
	"testing"
)

func TestMetrics_guard(t *testing.T) {
	source := shop()
	text := expose(t, NewMetrics("1.0"), source)
	want := []string{
		`gatehouse_guard_alone_total 9`,
		`gatehouse_guard_attempts_total{reason="address",result="refused"} 6`,
		`gatehouse_guard_attempts_total{reason="pair",result="delayed"} 5`,
		`gatehouse_guard_entries{kind="counter"} 7`,
		`gatehouse_guard_entries{kind="known"} 8`,
		`gatehouse_guard_saved 1`,
		`gatehouse_guard_shared 0`,
	}
	if got := ours(text, "guard_"); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	source.change(func(f *fakeSource) { f.status.Guard = &Guard{} })
	if got := ours(expose(t, NewMetrics("1.0"), source), "guard_"); !slices.Equal(got, []string{
		`gatehouse_guard_entries{kind="counter"} 0`, `gatehouse_guard_entries{kind="known"} 0`, `gatehouse_guard_saved 0`,
	}) {
		t.Errorf("alone: got %q", got)
	}
	source.change(func(f *fakeSource) { f.status.Guard = nil })
	if got := ours(expose(t, NewMetrics("1.0"), source), "guard_"); got != nil {
		t.Errorf("without a guard: %q", got)
	}
}
