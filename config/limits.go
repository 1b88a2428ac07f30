package config

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// Limits bound what clients may cost, before their login above all.
type Limits struct {
	// Connections is how many clients may be connected; 0 for any number, negative for what the descriptors that the
	// process may have are enough for (gatehouse_connections).
	Connections int
	// Unauthed is how many of them need not have logged in, PerAddress how many of those may come from one IPv4 address or
	// one IPv6 /64 (gatehouse_unauthed_connections, 20000; gatehouse_unauthed_connections_per_address, 1000). 0 is any
	// number.
	Unauthed, PerAddress int
	// Handshake is how long a TLS handshake may take (gatehouse_tls_handshake_timeout, 10 s).
	Handshake time.Duration
	// Rate is how many bytes a second a client may send, and Burst for how many seconds it may save up (limits). No limit if
	// Rate is 0, as with Prosody's "0kb/s".
	Rate  int
	Burst time.Duration
}

// maxConnections is more than a process can have.
const maxConnections = 1 << 24

func (s section) limits() Limits {
	l := Limits{
		Connections: s.integer("gatehouse_connections", -1, 0, maxConnections),
		Unauthed:    s.integer("gatehouse_unauthed_connections", 20000, 0, maxConnections),
		PerAddress:  s.integer("gatehouse_unauthed_connections_per_address", 1000, 0, maxConnections),
		Handshake:   s.seconds("gatehouse_tls_handshake_timeout", 10*time.Second),
	}
	l.Rate, l.Burst = s.rate()
	return l
}

// What mod_limits takes for a rate and a burst that it cannot read, and for clients if `limits` does not name them (0.12).
const (
	wrongRate   = 3000
	defaultRate = 10 * 1024
	burst       = 2 * time.Second
)

// maxBurst is longer than anybody wants; maxRate is faster.
const (
	maxBurst = time.Minute
	maxRate  = 1e9
)

var (
	rateForm  = regexp.MustCompile(`^([0-9]+) ?([^/]+)/s$`)
	burstForm = regexp.MustCompile(`^([0-9]+) ?s$`)
	// As powers of ten. That of b is what mod_limits has.
	rateUnits = map[byte]float64{'b': 1, 'k': 3, 'm': 6, 'g': 9, 't': 12}
)

// rate reads `limits` as Prosody's mod_limits does. It counts where that module is enabled, and in a file that has it
// without modules_enabled.
func (s section) rate() (int, time.Duration) {
	enabled := slices.Contains(s.words("modules_enabled"), "limits")
	if slices.Contains(s.words("modules_disabled"), "limits") || !enabled && s.has("modules_enabled") {
		return 0, 0
	}
	o, _ := s.lookup("limits")
	c2s, named := o.Value.Map["c2s"]
	switch {
	case s.has("limits") && o.Value.Kind != luaconf.Table, named && !loads(c2s):
		s.warn("limits", `want a table such as { c2s = { rate = "10kb/s", burst = "2s" } }; there is no limit, as in Prosody, whose mod_limits does not load with this`)
		return 0, 0
	case !named && enabled:
		return defaultRate, burst
	case !named:
		return 0, 0
	}
	return s.bytesPerSecond(c2s.Map["rate"]), s.burst(c2s.Map["burst"])
}

// loads says whether mod_limits does with such settings of clients: a string has fields for Lua, and its rate is none.
func loads(c2s luaconf.Value) bool {
	rate := c2s.Map["rate"]
	return c2s.Kind == luaconf.String ||
		c2s.Kind == luaconf.Table && (rate.Kind == luaconf.String || rate.Kind == luaconf.Nil || rate.Kind == luaconf.Bool && !rate.Bool)
}

func (s section) bytesPerSecond(v luaconf.Value) int {
	if m := rateForm.FindStringSubmatch(v.Str); v.Kind == luaconf.String && m != nil {
		n, err := strconv.ParseFloat(m[1], 64)
		unit := m[2][0] | 0x20 // of ASCII in lower case
		if exp, known := rateUnits[unit]; known && err == nil {
			if unit == 'b' && n > 0 {
				s.warn("limits", `a "b" is ten bytes for Prosody's mod_limits, and so it is here; "kb" are 1000`)
			}
			return int(min(n*math.Pow(10, exp), maxRate))
		}
	}
	s.warn("limits", `cannot read c2s.rate, want something like "10kb/s"; %d bytes a second are used, as Prosody does`, wrongRate)
	return wrongRate
}

func (s section) burst(v luaconf.Value) time.Duration {
	n, ok := v.Number, v.Kind == luaconf.Number
	if m := burstForm.FindStringSubmatch(v.Str); v.Kind == luaconf.String && m != nil {
		n, ok = asNumber(luaconf.Value{Kind: luaconf.String, Str: m[1]})
	}
	switch {
	case v.Kind == luaconf.Nil:
		return burst
	case !ok || !(n > 0):
		s.warn("limits", `cannot read c2s.burst, want something like "2s"; 2 s are used, as Prosody does`)
		return burst
	}
	return time.Duration(min(n, maxBurst.Seconds()) * float64(time.Second))
}
