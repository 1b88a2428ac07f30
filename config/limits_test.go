package config

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const (
	wrongRateWarning  = `limits: cannot read c2s.rate, want something like "10kb/s"; 3000 bytes a second are used, as Prosody does`
	wrongBurstWarning = `limits: cannot read c2s.burst, want something like "2s"; 2 s are used, as Prosody does`
	tenBytesWarning   = `limits: a "b" is ten bytes for Prosody's mod_limits, and so it is here; "kb" are 1000`
	wrongLimits       = `limits: want a table such as { c2s = { rate = "10kb/s", burst = "2s" } }; there is no limit, as in Prosody, whose mod_limits does not load with this`
)

// limitCases are each what a config says, what comes of it, as "bytes a second, seconds of burst", and what is said about it.
// Where Prosody's mod_limits comes to something else, prosody has that.
var limitCases = []struct{ source, want, said, prosody string }{
	{source: `limits = nil`, want: "10240 2"},
	{source: `limits = {}`, want: "10240 2"},
	{source: `limits = { s2sin = { rate = "1kb/s" } }`, want: "10240 2"},
	{source: `limits = { c2s = { rate = "3kb/s" } }`, want: "3000 2"},
	{source: `limits = { c2s = { rate = "10kb/s", burst = "5s" } }`, want: "10000 5"},
	{source: `limits = { c2s = { rate = "10kb/s", burst = "5 s" } }`, want: "10000 5"},
	{source: `limits = { c2s = { rate = "10kb/s", burst = 5 } }`, want: "10000 5"},
	{source: `limits = { c2s = { rate = "10kb/s", burst = 0.5 } }`, want: "10000 0.5"},
	{source: `limits = { c2s = { rate = "010kb/s" } }`, want: "10000 2"},
	{source: `limits = { c2s = { rate = "10 kb/s" } }`, want: "10000 2"},
	{source: `limits = { c2s = { rate = "10 KB/s" } }`, want: "10000 2"},
	{source: `limits = { c2s = { rate = "10k/s" } }`, want: "10000 2"},
	{source: `limits = { c2s = { rate = "10kilo whatever/s" } }`, want: "10000 2"},
	{source: `limits = { c2s = { rate = "2Mb/s" } }`, want: "2000000 2"},
	{source: `limits = { c2s = { rate = "1gb/s" } }`, want: "1000000000 2"},
	{source: `limits = { c2s = { rate = "0kb/s" } }`, want: "0 2"},

	// What is easily taken for something else.
	{source: `limits = { c2s = { rate = "500b/s" } }`, want: "5000 2", said: tenBytesWarning},
	{source: `limits = { c2s = { rate = "500 bytes/s" } }`, want: "5000 2", said: tenBytesWarning},

	// What cannot be read.
	{source: `limits = { c2s = {} }`, want: "3000 2", said: wrongRateWarning},
	{source: `limits = { c2s = { rate = false } }`, want: "3000 2", said: wrongRateWarning},
	{source: `limits = { c2s = { rate = "" } }`, want: "3000 2", said: wrongRateWarning},
	{source: `limits = { c2s = { rate = "fast" } }`, want: "3000 2", said: wrongRateWarning},
	{source: `limits = { c2s = { rate = "10kb" } }`, want: "3000 2", said: wrongRateWarning},
	{source: `limits = { c2s = { rate = "10  kb/s" } }`, want: "3000 2", said: wrongRateWarning},
	{source: `limits = { c2s = { rate = " 10kb/s" } }`, want: "3000 2", said: wrongRateWarning},
	{source: `limits = { c2s = { rate = "10kb/s " } }`, want: "3000 2", said: wrongRateWarning},
	{source: `limits = { c2s = { rate = "10kb/s\n" } }`, want: "3000 2", said: wrongRateWarning},
	{source: `limits = { c2s = { rate = "10kb/sec" } }`, want: "3000 2", said: wrongRateWarning},
	{source: `limits = { c2s = { rate = "10kb/S" } }`, want: "3000 2", said: wrongRateWarning},
	{source: `limits = { c2s = { rate = "-1kb/s" } }`, want: "3000 2", said: wrongRateWarning},
	{source: `limits = { c2s = { rate = "1.5mb/s" } }`, want: "3000 2", said: wrongRateWarning},
	{source: `limits = { c2s = { rate = "10xb/s" } }`, want: "3000 2", said: wrongRateWarning},
	{source: `limits = { c2s = { rate = "10\226\132\170b/s" } }`, want: "3000 2", said: wrongRateWarning}, // a Kelvin sign
	{source: `limits = { c2s = { rate = "10000/s" } }`, want: "3000 2", said: wrongRateWarning},
	{source: `limits = { c2s = { rate = "/s" } }`, want: "3000 2", said: wrongRateWarning},
	{source: `limits = { c2s = { rate = "10kb/s", burst = "5" } }`, want: "10000 2", said: wrongBurstWarning},
	{source: `limits = { c2s = { rate = "10kb/s", burst = "0.5s" } }`, want: "10000 2", said: wrongBurstWarning},
	{source: `limits = { c2s = { rate = "10kb/s", burst = "long" } }`, want: "10000 2", said: wrongBurstWarning},
	{source: `limits = { c2s = { rate = "10kb/s", burst = {} } }`, want: "10000 2", said: wrongBurstWarning},
	{source: `limits = { c2s = { rate = "10kb/s", burst = true } }`, want: "10000 2", said: wrongBurstWarning},

	{source: `limits = { c2s = "10kb/s" }`, want: "3000 2", said: wrongRateWarning},

	// Where we differ: what is beyond all sense is bounded.
	{source: `limits = { c2s = { rate = "5tb/s" } }`, want: "1000000000 2", prosody: "5000000000000 2"},
	{source: `limits = { c2s = { rate = "99999999999999999999kb/s" } }`, want: "1000000000 2", prosody: "99999999999999991611392 2"},
	{source: `limits = { c2s = { rate = "10kb/s", burst = "3600s" } }`, want: "10000 60", prosody: "10000 3600"},
	{source: `limits = { c2s = { rate = "10kb/s", burst = 0 } }`, want: "10000 2", said: wrongBurstWarning, prosody: "10000 0"},
	{source: `limits = { c2s = { rate = "10kb/s", burst = -1 } }`, want: "10000 2", said: wrongBurstWarning, prosody: "10000 -1"},

	// A module that does not load limits nothing.
	{source: `limits = { c2s = { rate = 10000 } }`, want: "0 0", said: wrongLimits, prosody: "fails"},
	{source: `limits = { c2s = { rate = {} } }`, want: "0 0", said: wrongLimits, prosody: "fails"},
	{source: `limits = { c2s = 10000 }`, want: "0 0", said: wrongLimits, prosody: "fails"},
	{source: `limits = "10kb/s"`, want: "0 0", said: wrongLimits, prosody: "fails"},
	{source: `limits = 10000`, want: "0 0", said: wrongLimits, prosody: "fails"},
}

func TestLimits_rate(t *testing.T) {
	for _, test := range limitCases {
		c, warnings, problems := load(t, test.source+"\nmodules_enabled = { 'limits' }\n"+tokens)
		said := strings.TrimSpace(warnings + problems)
		if test.said != "" {
			test.said = "prosody.cfg.lua:1: " + test.said
		}
		if said != test.said {
			t.Errorf("%s: said %q, want %q", test.source, said, test.said)
		}
		if problems != "" {
			continue
		}
		if got := fmt.Sprintf("%d %g", c.Limits.Rate, c.Limits.Burst.Seconds()); got != test.want {
			t.Errorf("%s: %s, want %s", test.source, got, test.want)
		}
	}
}

// TestLimits_likeProsody runs the same cases through Prosody's own module.
func TestLimits_likeProsody(t *testing.T) {
	var cases bytes.Buffer
	for _, test := range limitCases {
		fmt.Fprintln(&cases, test.source)
	}
	oracle := exec.Command("lua5.4", "testdata/limits/oracle.lua", "/usr/lib/prosody/modules/mod_limits.lua")
	oracle.Stdin = &cases
	var trouble strings.Builder
	oracle.Stderr = &trouble
	out, err := oracle.Output()
	if err != nil {
		t.Fatalf("%v (scripts/test-deps.sh installs lua5.4 and prosody)\n%s", err, trouble.String())
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(got) != len(limitCases) {
		t.Fatalf("%d answers to %d cases", len(got), len(limitCases))
	}
	for n, test := range limitCases {
		want := test.prosody
		if want == "" {
			want = test.want
		}
		if got[n] != want {
			t.Errorf("%s: Prosody has %s, the table %s", test.source, got[n], want)
		}
	}
}

// mod_limits is none of the modules that Prosody loads by itself.
func TestLimits_modulesEnabled(t *testing.T) {
	const limits = `limits = { c2s = { rate = "3kb/s", burst = "4s" } } `
	tests := []struct{ source, want string }{
		{"", "0 0s"},
		{limits, "3000 4s"}, // a file of our own
		{limits + "modules_enabled = {}", "0 0s"},
		{limits + "modules_enabled = { 'roster' }", "0 0s"},
		{limits + "modules_enabled = { 'roster', 'limits' }", "3000 4s"},
		{limits + "modules_enabled = { 'limits' } modules_disabled = { 'limits' }", "0 0s"},
		{limits + "modules_disabled = { 'limits' }", "0 0s"},
		{"limits = { s2sin = { rate = '1kb/s' } }", "0 0s"},
		{"modules_enabled = { 'limits' }", "10240 2s"},
		// What is not looked at is not complained about.
		{"limits = 'no' modules_enabled = {}", "0 0s"},
		{"limits = 'no' modules_disabled = { 'limits' }", "0 0s"},
	}
	for _, test := range tests {
		c, warnings, problems := load(t, test.source+"\n"+tokens)
		if warnings+problems != "" {
			t.Errorf("%s: %s%s", test.source, warnings, problems)
			continue
		}
		if got := fmt.Sprint(c.Limits.Rate, c.Limits.Burst); got != test.want {
			t.Errorf("%s: %s, want %s", test.source, got, test.want)
		}
	}
}

func TestLimits_connections(t *testing.T) {
	tests := []struct {
		source, said string
		want         Limits
	}{
		{"", "", Limits{Connections: -1, Unauthed: 20000, PerAddress: 1000, Handshake: 10 * time.Second}},
		{"gatehouse_connections = 0 gatehouse_unauthed_connections = 0 gatehouse_unauthed_connections_per_address = 0 gatehouse_tls_handshake_timeout = 0.5",
			"", Limits{Handshake: 500 * time.Millisecond}},
		{"gatehouse_connections = 9 gatehouse_unauthed_connections = '8' gatehouse_unauthed_connections_per_address = 7 gatehouse_tls_handshake_timeout = '6'",
			"", Limits{Connections: 9, Unauthed: 8, PerAddress: 7, Handshake: 6 * time.Second}},
		{"gatehouse_connections = -1", "gatehouse_connections: want a whole number from 0 to 16777216, got -1", Limits{}},
		{"gatehouse_unauthed_connections = 1.5", "gatehouse_unauthed_connections: want a whole number from 0 to 16777216, got 1.5", Limits{}},
		{"gatehouse_unauthed_connections_per_address = {}", "gatehouse_unauthed_connections_per_address: want a whole number from 0 to 16777216, got an empty table", Limits{}},
		{"gatehouse_tls_handshake_timeout = 0", "gatehouse_tls_handshake_timeout: want a positive number of seconds, got 0", Limits{}},
	}
	for _, test := range tests {
		c, warnings, problems := load(t, test.source+"\n"+tokens)
		if test.said != "" {
			test.said = "prosody.cfg.lua:1: " + test.said
		}
		if got := strings.TrimSpace(warnings + problems); got != test.said {
			t.Errorf("%s: said %q, want %q", test.source, got, test.said)
		}
		if problems == "" && c.Limits != test.want {
			t.Errorf("%s: %+v, want %+v", test.source, c.Limits, test.want)
		}
	}
}
