package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector makes the gauges that show how the daemon is at the moment.
type collector struct {
	metrics *Metrics
	source  Source
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("gatehouse_"+name, help, labels, nil)
}

var (
	descProcesses   = describe("pool_processes", "Processes of the host's script that the config allows.", "host")
	descSize        = describe("pool_size", "Processes of the host's script that are alive.", "host")
	descBusy        = describe("pool_busy", "Processes of the host's script that have a question.", "host")
	descQueue       = describe("pool_queue", "Questions that wait for a process of the host's script.", "host")
	descRestarts    = describe("pool_restarts_total", "Processes of the host's script that ended or had to be killed.", "host")
	descTimeouts    = describe("pool_timeouts_total", "Questions to the host's script whose deadline passed.", "host")
	descAnswers     = describe("auth_answers_total", "Passwords to judge, by what was done: script (asked, whether it could say or not), shared (asked for somebody else with the same password in flight), cache (remembered), outage (an old yes, since the script could not say).", "host", "from")
	descCached      = describe("auth_cache_entries", "Verdicts on passwords that are remembered.", "host", "verdict")
	descConnections = describe("connections", "Connections of clients, by state: handshake (TLS), login, session, relay (logged in, and with the server behind).", "state")
	descEntries     = describe("replay_entries", "Used tokens that are remembered until they expire, in the file of this front.")
	descReplayUp    = describe("replay_up", "1 if the memory of used tokens works; 0 if it does not, and no token is accepted.")
	descExpiry      = describe("certificate_expiry_timestamp_seconds", "When a host's certificate expires, in Unix time.", "host", "file")
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	describeGuard(ch)
	for _, d := range []*prometheus.Desc{
		descProcesses, descSize, descBusy, descQueue, descRestarts, descTimeouts, descAnswers, descCached,
		descConnections, descEntries, descReplayUp, descExpiry, descUnauthed, descAddresses, descMaximum,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. A series that came twice would make the whole scrape fail, so where the
// source repeats itself one value is chosen.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	status := c.source.Status()
	c.metrics.forget(status.Hosts, time.Now())
	c.metrics.expect(status.Hosts)
	collectGuard(ch, status.Guard)
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	count := func(desc *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(v), labels...)
	}
	pools, caches := make(map[string]*Pool), make(map[string]*Cache)
	for _, h := range status.Hosts {
		if h.Pool != nil {
			pools[clean(h.Name, maxCause)] = h.Pool
		}
		if h.Cache != nil {
			caches[clean(h.Name, maxCause)] = h.Cache
		}
	}
	for host, p := range pools {
		gauge(descProcesses, float64(p.Processes), host)
		gauge(descSize, float64(p.Size), host)
		gauge(descBusy, float64(p.Busy), host)
		gauge(descQueue, float64(p.Queued), host)
		count(descRestarts, uint64(p.Restarts), host) // #nosec G115 -- a count
		count(descTimeouts, uint64(p.Timeouts), host) // #nosec G115 -- a count
	}
	for host, c := range caches {
		count(descAnswers, c.Script, host, "script")
		count(descAnswers, c.Shared, host, "shared")
		count(descAnswers, c.Cache, host, "cache")
		count(descAnswers, c.Outage, host, "outage")
		if c.On {
			gauge(descCached, float64(c.Yes), host, "yes")
			gauge(descCached, float64(c.No), host, "no")
		}
	}
	for _, state := range []string{"handshake", "login", "session", "relay"} {
		gauge(descConnections, float64(status.Connections[state]), state)
	}
	collectPlaces(ch, status.Places)
	if r := status.Replay; r != nil {
		if r.Shared == "" {
			gauge(descEntries, float64(r.Entries))
		}
		up := 0.0
		if r.OK {
			up = 1
		}
		gauge(descReplayUp, up)
	}
	// The certificate of a chain or a file that ends first is the one that hurts.
	type key struct{ host, file string }
	expiry := make(map[key]float64)
	for _, cert := range status.Certificates {
		k := key{clean(cert.Host, maxCause), clean(cert.File, maxCause)}
		at := float64(cert.NotAfter.Unix())
		if was, ok := expiry[k]; !ok || at < was {
			expiry[k] = at
		}
	}
	for k, at := range expiry {
		gauge(descExpiry, at, k.host, k.file)
	}
}
