package admin

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Login is one attempt to log in that is over.
type Login struct {
	Time            time.Time // when it was over
	Host            string    // one of the config's
	User, Mechanism string    // as the client has them
	Remote, TLS     string    // address and port; version
	Verdict         string    // "accepted", "refused" or "undecided"
	Condition       string    // RFC 6120 §6.5, or empty
	Cause           string    // for people, or empty
	Duration        time.Duration
}

// The verdicts, in the order in which they are counted.
const (
	accepted = iota
	refused
	undecided
)

var verdicts = [...]string{"accepted", "refused", "undecided"}

// verdict returns the place of a verdict; a word that is none counts as undecided.
func verdict(word string) int {
	for i, v := range verdicts {
		if v == word {
			return i
		}
	}
	return undecided
}

// mechanism returns the label of a mechanism's name: strangers choose the name, and each label costs memory.
func mechanism(name string) string {
	switch name {
	case "PLAIN", "X-TOKEN":
		return name
	}
	return "other"
}

// Metrics counts what the daemon tells it. Its methods may be called by any number of goroutines.
type Metrics struct {
	registry *prometheus.Registry
	history  history
	reached  reached

	logins        *prometheus.CounterVec
	loginDuration *prometheus.HistogramVec
	queries       *prometheus.CounterVec
	queueDuration *prometheus.HistogramVec
	scriptTime    *prometheus.HistogramVec
	reloads       *prometheus.CounterVec
	reloadTime    prometheus.Histogram
	reloadOK      prometheus.Gauge
	reloadAt      prometheus.Gauge
	handshakes    [2]prometheus.Counter // succeeded, failed
	handshakeTime prometheus.Histogram
	limits        *prometheus.CounterVec
	state         stateSeries

	// What the methods of the hot path need, found without a lock and without building a key of label values.
	loginSeries atomic.Pointer[map[loginKey]*loginSeries]
	querySeries atomic.Pointer[map[string]*querySeries]
	grow        sync.Mutex           // held while one of the two maps is replaced; guards missing
	missing     map[string]time.Time // hosts with series that are not served any more, and when that was noticed
}

type loginKey struct{ host, mechanism string }

type loginSeries struct {
	outcomes [len(verdicts)]prometheus.Counter
	duration prometheus.Observer
	trouble  trouble
}

type querySeries struct {
	answered, failed prometheus.Counter
	queue, script    prometheus.Observer
}

// Seconds. A login may take from a millisecond (an idle script on this machine) to the time-out of half a minute.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// NewMetrics starts counting. The config that the daemon begins with counts as one that was just read.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_logins_total",
			Help: "Attempts to log in, by outcome: accepted, refused, or undecided, where nobody could say.",
		}, []string{"host", "mechanism", "outcome"}),
		loginDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatehouse_login_duration_seconds",
			Help:    "From the client's <auth/> to the outcome.",
			Buckets: buckets,
		}, []string{"host", "mechanism"}),
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_queries_total",
			Help: "Questions to a host's script, by result: answered (yes or no) or failed.",
		}, []string{"host", "result"}),
		queueDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatehouse_query_queue_duration_seconds",
			Help:    "What a question to a script waited for a free process.",
			Buckets: buckets,
		}, []string{"host"}),
		scriptTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatehouse_query_script_duration_seconds",
			Help:    "What the script took for a question, from its first byte to the answer.",
			Buckets: buckets,
		}, []string{"host"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_config_reloads_total",
			Help: "Reloads of the config, by result: changed, unchanged or refused.",
		}, []string{"result"}),
		reloadTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "gatehouse_config_reload_duration_seconds",
			Help:    "What a reload took, refused ones included.",
			Buckets: buckets,
		}),
		reloadOK: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatehouse_config_last_reload_successful",
			Help: "1 if the config file was accepted when it was last read, 0 if an older one is still in use.",
		}),
		reloadAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatehouse_config_last_reload_success_timestamp_seconds",
			Help: "When the config file was last read and accepted, in Unix time.",
		}),
		handshakeTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "gatehouse_tls_handshake_duration_seconds",
			Help:    "What a TLS handshake took, the client's part included.",
			Buckets: buckets,
		}),
		limits: newLimits(),
		state:  newStateSeries(),
	}
	handshakes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_tls_handshakes_total",
		Help: "TLS handshakes with clients, by result: succeeded or failed.",
	}, []string{"result"})
	m.handshakes = [...]prometheus.Counter{handshakes.WithLabelValues("succeeded"), handshakes.WithLabelValues("failed")}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "gatehouse_build_info",
		Help:        "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": clean(version, maxCause), "goversion": runtime.Version()},
	})
	info.Set(1)
	m.registry.MustRegister(info, m.logins, m.loginDuration, m.queries, m.queueDuration, m.scriptTime,
		m.reloads, m.reloadTime, m.reloadOK, m.reloadAt, handshakes, m.handshakeTime, m.limits,
		m.state.errors, m.state.took,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, result := range []string{reloadChanged, reloadUnchanged, reloadRefused} {
		m.reloads.WithLabelValues(result)
	}
	m.reloadOK.Set(1)
	m.reloadAt.SetToCurrentTime()
	m.loginSeries.Store(&map[loginKey]*loginSeries{})
	m.querySeries.Store(&map[string]*querySeries{})
	return m
}

// Login counts an attempt to log in.
func (m *Metrics) Login(l Login) {
	v := verdict(l.Verdict)
	s := m.login(l.Host, mechanism(l.Mechanism))
	s.outcomes[v].Inc()
	s.duration.Observe(l.Duration.Seconds())
	s.trouble.note(v, &l)
	m.history.login(v, &l)
}

// Query counts one question to a host's script: what it waited for a process, and what the script then took, or zero if
// it never got to one.
func (m *Metrics) Query(host string, queue, script time.Duration, err error) {
	s := m.query(host)
	if err != nil {
		s.failed.Inc()
	} else {
		s.answered.Inc()
	}
	s.queue.Observe(queue.Seconds())
	if script > 0 {
		s.script.Observe(script.Seconds())
	}
}

// Handshake counts a TLS handshake.
func (m *Metrics) Handshake(took time.Duration, err error) {
	if err != nil {
		m.handshakes[1].Inc()
		return // what a client that went away took says nothing
	}
	m.handshakes[0].Inc()
	m.handshakeTime.Observe(took.Seconds())
}

// The results of a reload, as the metrics have them.
const (
	reloadChanged   = "changed"
	reloadUnchanged = "unchanged"
	reloadRefused   = "refused"
)

// Reload counts a reload that is over: why it was refused, or what it changed, by the names of options (empty if
// nothing).
func (m *Metrics) Reload(took time.Duration, err error, changed string, at time.Time) {
	result := reloadChanged
	switch {
	case err != nil:
		result = reloadRefused
	case changed == "":
		result = reloadUnchanged
	}
	m.reloads.WithLabelValues(result).Inc()
	m.reloadTime.Observe(took.Seconds())
	if err != nil {
		m.reloadOK.Set(0)
	} else {
		m.reloadOK.Set(1)
		m.reloadAt.Set(float64(at.UnixNano()) / 1e9)
	}
	m.history.reload(took, err, changed, at)
}
