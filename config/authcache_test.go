package config

import (
	"strings"
	"testing"
)

func TestLoad_authCacheProblems(t *testing.T) {
	for _, test := range []struct{ source, option, want string }{
		{"gatehouse_auth_cache = 300", "gatehouse_auth_cache", "true or false"},
		{"gatehouse_auth_cache_yes = -1", "gatehouse_auth_cache_yes", "a number of seconds, or 0"},
		{"gatehouse_auth_cache_no = 'soon'", "gatehouse_auth_cache_no", "a number of seconds, or 0"},
		{"gatehouse_auth_cache_outage = 86401", "gatehouse_auth_cache_outage", "a number of seconds, or 0"},
		{"gatehouse_auth_cache_entries = 0", "gatehouse_auth_cache_entries", "a whole number from 1"},
	} {
		_, _, problems := load(t, external+test.source)
		if !strings.Contains(problems, test.option) || !strings.Contains(problems, test.want) {
			t.Errorf("%s: problems %q", test.source, problems)
		}
	}
}

func TestLoad_authCacheOutageTooShort(t *testing.T) {
	for source, warned := range map[string]bool{
		"gatehouse_auth_cache = true gatehouse_auth_cache_outage = 300":                               true,
		"gatehouse_auth_cache = true gatehouse_auth_cache_outage = 301":                               false,
		"gatehouse_auth_cache = true gatehouse_auth_cache_outage = 0":                                 false,
		"gatehouse_auth_cache = false gatehouse_auth_cache_outage = 60":                               false,
		"gatehouse_auth_cache = true gatehouse_auth_cache_yes = 0 gatehouse_auth_cache_outage = 0.01": false,
	} {
		_, warnings, problems := load(t, external+source)
		if problems != "" || strings.Contains(warnings, "has no effect") != warned {
			t.Errorf("%s: warnings %q, problems %q", source, warnings, problems)
		}
	}
}
