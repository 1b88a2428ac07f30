package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// stateSeries count the questions to a Redis that is shared.
type stateSeries struct {
	errors *prometheus.CounterVec
	took   *prometheus.HistogramVec
}

func newStateSeries() stateSeries {
	s := stateSeries{
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_state_errors_total",
			Help: "Questions to the shared Redis (gatehouse_state) that it has not answered, or could not: token (was it used), ticket (keep it), redeem (is it good) or guard (may it be tried, and what came of it).",
		}, []string{"operation"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatehouse_state_duration_seconds",
			Help:    "What the shared Redis took for a question of a login, failed ones included.",
			Buckets: buckets,
		}, []string{"operation"}),
	}
	for _, operation := range []string{"token", "ticket", "redeem", "guard"} {
		s.errors.WithLabelValues(operation)
		s.took.WithLabelValues(operation)
	}
	return s
}

// State counts a question to the shared Redis: "token", "ticket", "redeem" or "guard".
func (m *Metrics) State(operation string, took time.Duration, err error) {
	if err != nil {
		m.state.errors.WithLabelValues(operation).Inc()
	}
	m.state.took.WithLabelValues(operation).Observe(took.Seconds())
}
