package admin

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Guard is what keeps people from guessing passwords. The words are those of what was too much: "secret", "pair",
// "address", "user".
type Guard struct {
	Delayed  map[string]uint64 `json:"delayed"` // attempts, since the start, by word
	Refused  map[string]uint64 `json:"refused"`
	Counters int               `json:"counters"` // that are kept
	Known    int               `json:"known"`    // users of whom an address is known
}

var (
	descGuarded  = describe("guard_attempts_total", "Attempts to log in that the guard against guessing delayed or refused, by what was too much: failures with one secret, of a pair of address and user, of an address, of a user.", "result", "reason")
	descCounters = describe("guard_entries", "What the guard against guessing remembers: counters of failures, and users of whom an address is known.", "kind")
)

func describeGuard(ch chan<- *prometheus.Desc) {
	ch <- descGuarded
	ch <- descCounters
}

func collectGuard(ch chan<- prometheus.Metric, g *Guard) {
	if g == nil {
		return
	}
	for result, counts := range map[string]map[string]uint64{"delayed": g.Delayed, "refused": g.Refused} {
		for _, reason := range slices.Sorted(maps.Keys(counts)) {
			ch <- prometheus.MustNewConstMetric(descGuarded, prometheus.CounterValue, float64(counts[reason]), result, reason)
		}
	}
	ch <- prometheus.MustNewConstMetric(descCounters, prometheus.GaugeValue, float64(g.Counters), "counter")
	ch <- prometheus.MustNewConstMetric(descCounters, prometheus.GaugeValue, float64(g.Known), "known")
}
