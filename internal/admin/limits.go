package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Places are how many clients are connected, and how many may be; 0 is any number.
type Places struct {
	Connections    int `json:"connections"`
	Unauthed       int `json:"unauthed"`  // that have not logged in
	Addresses      int `json:"addresses"` // that these come from; an IPv6 /64 is one
	MaxConnections int `json:"max_connections"`
	MaxUnauthed    int `json:"max_unauthed"`
	MaxPerAddress  int `json:"max_unauthed_per_address"`
}

// limits are those that a client can reach. docs/limits.md explains them.
var limits = []string{
	"connections", "unauthed_connections", "unauthed_connections_per_address",
	"tls_handshake", "login_time", "size", "unread",
}

func newLimits() *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_limit_reached_total",
		Help: "Connections that were refused or ended since they reached a limit, by the limit.",
	}, []string{"limit"})
	for _, name := range limits {
		v.WithLabelValues(name)
	}
	return v
}

// Limit counts a connection that was refused or ended since it reached a limit.
func (m *Metrics) Limit(name string) {
	m.limits.WithLabelValues(name).Inc()
	m.reached.add(name, time.Now())
}

var (
	descUnauthed  = describe("unauthed_connections", "Connections of clients that have not logged in.")
	descAddresses = describe("unauthed_addresses", "Addresses that those come from; an IPv6 /64 is one.")
	descMaximum   = describe("limit", "How many connections there may be, by the limit; 0 is any number.", "limit")
)

// collectPlaces makes the gauges of connections and their limits.
func collectPlaces(ch chan<- prometheus.Metric, p *Places) {
	if p == nil {
		return
	}
	gauge := func(desc *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), labels...)
	}
	gauge(descUnauthed, p.Unauthed)
	gauge(descAddresses, p.Addresses)
	gauge(descMaximum, p.MaxConnections, "connections")
	gauge(descMaximum, p.MaxUnauthed, "unauthed_connections")
	gauge(descMaximum, p.MaxPerAddress, "unauthed_connections_per_address")
}
