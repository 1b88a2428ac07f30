package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestLoad_moduleOptions: one file may serve gatehouse and a Prosody with mod_auth_gatehouse. What that reads is no
// mistake here, and nothing else is let through in its name.
func TestLoad_moduleOptions(t *testing.T) {
	source, err := os.ReadFile("../prosody/mod_auth_gatehouse.lua")
	if err != nil {
		t.Fatal(err)
	}
	shared := []string{"gatehouse_auth_api_user", "gatehouse_auth_api_password"}
	var read []string
	for _, m := range regexp.MustCompile(`module:get_option\w*\("(gatehouse_\w+)"`).FindAllSubmatch(source, -1) {
		if name := string(m[1]); !slices.Contains(shared, name) {
			read = append(read, name)
		}
	}
	slices.Sort(read)
	if want := slices.Sorted(slices.Values(moduleOptions)); !slices.Equal(read, want) {
		t.Errorf("the module reads %q, and %q are let through", read, want)
	}
	_, warnings, problems := load(t, strings.Join(moduleOptions, " = 1\n")+" = 1\n"+external)
	if warnings+problems != "" {
		t.Errorf("%s%s", warnings, problems)
	}
}
