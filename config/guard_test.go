package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestLoad_guard(t *testing.T) {
	const host = "VirtualHost 'a.example'\nauthentication = 'token' token_secret = '0123456789abcdef' otp_seed = 'XVGR73KMZH2M4XMY'\n"
	tests := []struct{ name, global, host, want, trouble string }{
		{"defaults", "", "", "{10 50 50 30m0s 5s [127.0.0.0/8 ::1/128]} true", ""},
		{"all", "gatehouse_guard_attempts = 3 gatehouse_guard_address_attempts = 0 gatehouse_guard_user_attempts = '7' " +
			"gatehouse_guard_half_life = 90 gatehouse_guard_delay = 0.5 gatehouse_guard_allow = { '192.0.2.7', '::ffff:10.0.0.0/104', '192.0.2.7' }",
			"", "{3 0 7 1m30s 500ms [192.0.2.7/32 10.0.0.0/8]} true", ""},
		{"nobody is allowed", "gatehouse_guard_allow = {}", "", "{10 50 50 30m0s 5s []} true", ""},
		{"off for all", "gatehouse_guard = false", "", "{10 50 50 30m0s 5s [127.0.0.0/8 ::1/128]} false", ""},
		{"off for a host", "", "gatehouse_guard = false", "{10 50 50 30m0s 5s [127.0.0.0/8 ::1/128]} false", ""},
		{"on for a host", "gatehouse_guard = false", "gatehouse_guard = true", "{10 50 50 30m0s 5s [127.0.0.0/8 ::1/128]} true", ""},
		{"everybody", "gatehouse_guard_allow = '0.0.0.0/0'", "", "{10 50 50 30m0s 5s [0.0.0.0/0]} true",
			"prosody.cfg.lua:1: gatehouse_guard_allow: 0.0.0.0/0 is everybody; gatehouse_guard = false says that more clearly"},
		{"too long a delay", "gatehouse_guard_delay = 10 c2s_timeout = 10", "", "{10 50 50 30m0s 10s [127.0.0.0/8 ::1/128]} true",
			"prosody.cfg.lua:1: gatehouse_guard_delay: is as long as a client may take to log in (c2s_timeout), so that nobody comes in who is delayed by that"},
		{"a name", "gatehouse_guard_allow = 'localhost'", "", "",
			`prosody.cfg.lua:1: gatehouse_guard_allow: want IP addresses or networks such as "192.0.2.7" or "192.0.2.0/24", got "localhost"`},
		{"less than none", "gatehouse_guard_attempts = -1", "", "", "prosody.cfg.lua:1: gatehouse_guard_attempts: want a whole number from 0 to 1000000, got -1"},
		{"no half-life", "gatehouse_guard_half_life = 0", "", "", "prosody.cfg.lua:1: gatehouse_guard_half_life: want a positive number of seconds, got 0"},
		{"a delay of hours", "gatehouse_guard_delay = 3600", "", "", "prosody.cfg.lua:1: gatehouse_guard_delay: want a number of seconds from 0 to 60, got 3600"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, warnings, problems := load(t, test.global+"\n"+host+test.host)
			if got := strings.TrimSpace(warnings + problems); got != test.trouble {
				t.Errorf("got %q, want %q", got, test.trouble)
			}
			if problems != "" {
				return
			}
			if got := fmt.Sprint(c.Guard, " ", c.Hosts[0].Guard); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
