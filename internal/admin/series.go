package admin

import (
	"maps"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// login returns the series of a host and a mechanism, and makes them at the first call.
func (m *Metrics) login(host, mechanism string) *loginSeries {
	key := loginKey{host, mechanism}
	if s := (*m.loginSeries.Load())[key]; s != nil {
		return s
	}
	return insert(m, &m.loginSeries, key, func() *loginSeries {
		host := clean(host, maxCause)
		s := &loginSeries{duration: m.loginDuration.WithLabelValues(host, mechanism)}
		for i, word := range verdicts {
			s.outcomes[i] = m.logins.WithLabelValues(host, mechanism, word)
		}
		return s
	})
}

// query returns the series of a host's script, and makes them at the first call.
func (m *Metrics) query(host string) *querySeries {
	if s := (*m.querySeries.Load())[host]; s != nil {
		return s
	}
	return insert(m, &m.querySeries, host, func() *querySeries {
		host := clean(host, maxCause)
		return &querySeries{
			answered: m.queries.WithLabelValues(host, "answered"),
			failed:   m.queries.WithLabelValues(host, "failed"),
			queue:    m.queueDuration.WithLabelValues(host),
			script:   m.scriptTime.WithLabelValues(host),
		}
	})
}

// insert puts a copy of a map with one entry more in the place of the map. Readers need no lock, and the maps change only
// when a host logs somebody in for the first time, or is gone.
func insert[K comparable, S any](m *Metrics, at *atomic.Pointer[map[K]*S], key K, make func() *S) *S {
	m.grow.Lock()
	defer m.grow.Unlock()
	old := *at.Load()
	if s := old[key]; s != nil {
		return s
	}
	grown := maps.Clone(old)
	s := make()
	grown[key] = s
	at.Store(&grown)
	return s
}

// expect makes the series of what the daemon serves, so that they begin at zero: Prometheus cannot see the increase to
// the first value of a series.
func (m *Metrics) expect(hosts []Host) {
	for _, h := range hosts {
		for _, name := range h.Mechanisms {
			m.login(h.Name, mechanism(name))
		}
		if h.Pool != nil {
			m.query(h.Name)
		}
	}
}

// forgetAfter is how long a host must have been gone when its series are dropped. Whoever scrapes may have asked for the
// hosts just before a reload that brought one, and its first login came between.
const forgetAfter = time.Second

// forget drops the series of hosts that are not served any more: hosts come and go for as long as the daemon runs.
func (m *Metrics) forget(hosts []Host, now time.Time) {
	served := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		served[h.Name] = true
	}
	m.grow.Lock()
	defer m.grow.Unlock()
	missing, gone := make(map[string]time.Time), make(map[string]bool)
	note := func(host string) {
		if served[host] {
			return
		}
		since, known := m.missing[host]
		if !known {
			since = now
		}
		missing[host] = since
		if now.Sub(since) >= forgetAfter {
			gone[host] = true
		}
	}
	for k := range *m.loginSeries.Load() {
		note(k.host)
	}
	for host := range *m.querySeries.Load() {
		note(host)
	}
	m.missing = missing
	if len(gone) == 0 {
		return
	}
	logins, queries := maps.Clone(*m.loginSeries.Load()), maps.Clone(*m.querySeries.Load())
	maps.DeleteFunc(logins, func(k loginKey, _ *loginSeries) bool { return gone[k.host] })
	maps.DeleteFunc(queries, func(host string, _ *querySeries) bool { return gone[host] })
	for host := range gone {
		of := prometheus.Labels{"host": clean(host, maxCause)}
		for _, v := range []interface{ DeletePartialMatch(prometheus.Labels) int }{
			m.logins, m.loginDuration, m.queries, m.queueDuration, m.scriptTime,
		} {
			v.DeletePartialMatch(of)
		}
	}
	m.loginSeries.Store(&logins)
	m.querySeries.Store(&queries)
}
