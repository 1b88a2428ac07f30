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
	Shared   *bool             `json:"shared"`   // the counts are those of all fronts, at the moment; nil if there is one front
	Alone    uint64            `json:"alone"`    // attempts that were judged by the counts of this front, since others could not be had
	Saved    bool              `json:"saved"`    // a restart forgets nothing
}

var (
	descGuarded  = describe("guard_attempts_total", "Attempts to log in that the guard against guessing delayed or refused, by what was too much: failures with one secret, of a pair of address and user, of an address, of a user.", "result", "reason")
	descAlone    = describe("guard_alone_total", "Attempts to log in that were judged by what this front has counted, since the shared Redis could not be asked.")
	descShared   = describe("guard_shared", "1 if the guard's counts are those of all fronts; 0 if each front counts for itself, since the shared Redis cannot be used.")
	descSaved    = describe("guard_saved", "1 if what the guard has counted survives a restart; 0 if it could not be saved.")
	descCounters = describe("guard_entries", "What the guard against guessing remembers: counters of failures, and users of whom an address is known.", "kind")
)

func describeGuard(ch chan<- *prometheus.Desc) {
	ch <- descGuarded
	ch <- descCounters
	ch <- descAlone
	ch <- descShared
	ch <- descSaved
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
	ch <- prometheus.MustNewConstMetric(descSaved, prometheus.GaugeValue, number(g.Saved))
	if g.Shared != nil {
		ch <- prometheus.MustNewConstMetric(descShared, prometheus.GaugeValue, number(*g.Shared))
		ch <- prometheus.MustNewConstMetric(descAlone, prometheus.CounterValue, float64(g.Alone))
	}
}

// number is how metrics say whether something is so.
func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
