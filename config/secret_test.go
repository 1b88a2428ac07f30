package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestLoad_secretOfWrongType: what is wrong with a secret is said without it, whatever it is written as.
func TestLoad_secretOfWrongType(t *testing.T) {
	dir := writeFiles(t, "auth.sh", "#!/bin/sh\n", "certs/README", "")
	const number = "987654321987"
	values := []string{
		number, "{ " + number + " }", "true", "{ '" + hush + "', {} }", "{ ['" + hush + "'] = true }", "{ { '" + hush + "' } }",
		"{ x = '" + hush + "' }", "{ '" + hush + "', y = '" + hush + "' }", "function() return '" + hush + "' end", "'" + hush + "\\n\\0'", "'./" + hush + "'", "{ '', '" + hush + "' }",
	}
	for _, c := range optionChanges() {
		if !isSecret(c.option) {
			continue
		}
		for _, value := range values {
			c.after = value
			_, source := c.configs(true)
			if c.option == nameState || strings.HasPrefix(c.option, "gatehouse_auth_api") {
				_, source = c.configs(false)
			}
			path := dir + "/prosody.cfg.lua"
			writeFile(t, path, source)
			_, warnings, err := Load(path)
			text := fmt.Sprint(warnings, err)
			if strings.Contains(text, "hush") || strings.Contains(text, number) || strings.Contains(text, "9.87") {
				t.Errorf("%s = %s: %s", c.option, value, text)
			}
		}
	}
}

// TestLoad_commandWithPassword: what is wrong with a command is said without its arguments.
func TestLoad_commandWithPassword(t *testing.T) {
	dir := writeFiles(t, "auth.sh", "#!/bin/sh\n", "locked/auth.sh", "#!/bin/sh\n", "certs/README", "")
	long := strings.Repeat("x", 300)
	for value, want := range map[string]string{
		"'./nope.sh --password=" + hush + "'":                  "no file " + dir + "/nope.sh",
		"'nosuchprogram " + hush + "'":                         `no program "nosuchprogram"`,
		"{ './nope.sh', '" + hush + "' }":                      "no file " + dir + "/nope.sh",
		"{ ['./auth.sh'] = '" + hush + "' }":                   "external_auth_command",
		"{ './auth.sh', { '" + hush + "' } }":                  "external_auth_command",
		"{ './auth.sh', '" + hush + "\\0' }":                   "holds a NUL character",
		"'./auth.sh \"" + hush + "'":                           "without its counterpart",
		"'./ --password=" + hush + "'":                         "is a directory",
		"'./auth.sh/x --password=" + hush + "'":                "not a directory",
		"'PGPASSWORD=" + hush + " ./auth.sh'":                  "begins with a value for PGPASSWORD",
		"'./auth.sh --password=" + hush + " " + long + "'":     "<nil>",
		"'./nope.sh --password=" + hush + " " + long + "'":     "no file " + dir + "/nope.sh",
		"'./auth.sh --password=" + hush + " > /dev/null 2>&1'": "there is no shell",
	} {
		path := dir + "/prosody.cfg.lua"
		writeFile(t, path, "VirtualHost 'a' authentication = 'external' external_auth_command = "+value)
		_, warnings, err := Load(path)
		text := fmt.Sprint(warnings, err)
		if strings.Contains(text, "hush") || !strings.Contains(text, want) {
			t.Errorf("%s: %s; want %q", value, text, want)
		}
	}
}
