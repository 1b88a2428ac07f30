package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// loadState loads a config with this value of gatehouse_state, in Lua.
func loadState(t testing.TB, value string) (*Config, []Problem, error) {
	t.Helper()
	dir := t.TempDir()
	text := "gatehouse_state = " + value + "\nVirtualHost \"example.org\"\n" +
		"\tauthentication = \"token\"\n\ttoken_secret = \"0123456789012345\"\n\totp_seed = \"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\"\n"
	path := filepath.Join(dir, "prosody.cfg.lua")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path)
}

func TestState_forms(t *testing.T) {
	for text, want := range map[string]State{
		"redis://localhost":                                {Addresses: []string{"localhost:6379"}},
		"redis://h:1/3":                                    {Addresses: []string{"h:1"}, DB: 3},
		"redis://u:p%40%2F@h":                              {Addresses: []string{"h:6379"}, Username: "u", Password: "p@/"},
		"redis://:p@[::1]:7/":                              {Addresses: []string{"[::1]:7"}, Password: "p"},
		"rediss://h?prefix=a.b&durable=true":               {Addresses: []string{"h:6379"}, TLS: true, Prefix: "a.b", Durable: true},
		"unix:///run/r.sock?db=2":                          {Addresses: []string{"/run/r.sock"}, DB: 2},
		"unix://u:p@/run/r.sock":                           {Addresses: []string{"/run/r.sock"}, Username: "u", Password: "p"},
		"redis://a?addr=b:1&addr=c&cluster=true":           {Addresses: []string{"a:6379", "b:1", "c:6379"}, Cluster: true},
		"redis://:p@a:26379?addr=b:26379&master_name=m":    {Addresses: []string{"a:26379", "b:26379"}, Master: "m", Password: "p"},
		"redis://a?master_name=m&sentinel_password=canary": {Addresses: []string{"a:6379"}, Master: "m", SentinelPassword: "canary"},
	} {
		c, _, err := loadState(t, strconv.Quote(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if want.Prefix == "" {
			want.Prefix = "gatehouse"
		}
		if got := c.State; got == nil || !got.Equal(&want) {
			t.Errorf("%s: %v", text, got)
		}
	}
	for _, none := range []string{"false", "nil"} {
		if c, _, err := loadState(t, none); err != nil || c.State != nil {
			t.Errorf("%s: %v, %v", none, c.State, err)
		}
	}
}

// TestState_faults: each has its reason, and none says what is in the URL.
func TestState_faults(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "is no URL of a Redis",
		"canary":                               "is no URL of a Redis",
		"http://canary":                        "is no URL of a Redis",
		"redis://u:canary@h:x":                 "is no URL",
		"redis://u:can%ary@h":                  "is no URL",
		"redis://u:canary@":                    "has no good host name",
		"redis://u:canary@h:0":                 "a port is no number",
		"redis://:canary@h/x":                  "the number of the database",
		"redis://:canary@h?db=70000":           "the number of the database",
		"redis://h?canary=1":                   "gatehouse does not know",
		"redis://h?db=1&db=2":                  "db is there twice",
		"redis://h?read_timeout=9s":            "gatehouse does not know",
		"redis://h?durable=canary":             "durable is neither",
		"redis://h?prefix={canary}":            "prefix has other characters",
		"redis://h?prefix=":                    "prefix has other characters",
		"redis://h?addr=b":                     "several addresses are",
		"redis://h?addr=b:canary":              "addr: a port is no number",
		"redis://h?cluster=true&master_name=m": "exclude each other",
		"redis://h/1?cluster=true":             "no databases but 0",
		"redis://h?sentinel_password=canary":   "go with master_name",
		"redis://h?master_name=m&durable=true": "durable is for a Redis alone",
		"redis://h?cluster=true&durable=true":  "durable is for a Redis alone",
		"unix://run/canary.sock":               "no absolute path",
		"unix:///run/r.sock?cluster=true":      "a unix socket is one Redis",
		"redis://h?trust=x.pem":                "goes with rediss",
		"rediss://h?trust=missing.pem":         "no such file",
		"redis://h?%zz":                        "cannot be read",
		"redis://h?cluster=true" + strings.Repeat("&addr=b", 64): "64 are the most",
	} {
		_, _, err := loadState(t, strconv.Quote(text))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "gatehouse_state") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, _, err := loadState(t, "{ \"canary\" , \"b\" }"); err == nil || strings.Contains(err.Error(), "canary") {
		t.Error(err)
	}
}

// TestState_isSecret: dumps, what a reload says, and the value itself show no password.
func TestState_isSecret(t *testing.T) {
	before, _, err := loadState(t, `"redis://canary-user:canary-one@localhost/1?prefix=a"`)
	if err != nil {
		t.Fatal(err)
	}
	after, warnings, err := loadState(t, `"redis://canary-user:canary-two@elsewhere/1?prefix=a"`)
	if err != nil {
		t.Fatal(err)
	}
	changes := Diff(before, after)
	if len(changes) != 1 || changes[0].Option != "gatehouse_state" {
		t.Errorf("changes: %v", changes)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0].Msg, "without TLS") {
		t.Errorf("warnings: %v", warnings)
	}
	text := fmt.Sprintf("%v %v %+v %#v %s %v %v", changes, after.Dump(true), after.State, after.State, after.State, *after.State, warnings)
	if strings.Contains(text, "canary") || !strings.Contains(text, "elsewhere:6379") {
		t.Error(text)
	}
}

// TestState_trust: the file of authorities is read, and another content of it is another Redis to ask.
func TestState_trust(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ca.pem")
	load := func() *Config {
		t.Helper()
		ca, err := xmpptest.NewCA()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, ca.PEM(), 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := loadState(t, strconv.Quote("rediss://h?trust="+file))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before, after := load(), load()
	if before.State.TrustFile != file || before.State.Trust == nil || before.State.Equal(after.State) {
		t.Errorf("%s, %v", before.State.TrustFile, before.State.Equal(after.State))
	}
	if changes := Diff(before, after); len(changes) != 1 || changes[0].Option != "gatehouse_state" {
		t.Errorf("changes: %v", changes)
	}
	if changes := Diff(before, before); len(changes) != 0 {
		t.Errorf("changes of nothing: %v", changes)
	}
}

func FuzzState(f *testing.F) {
	for _, text := range []string{"redis://u:p@h:1/2?addr=x&cluster=true", "rediss://[::1]?durable=1", "unix:///x?db=3", "redis://h?master_name=m", "redis://%41"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "trust") {
			return // reads files
		}
		c, _, err := loadState(t, strconv.QuoteToASCII(text))
		if err != nil || c.State == nil {
			return
		}
		if s := c.State; len(s.Addresses) == 0 || len(s.Addresses) > maxStateAddresses || !statePrefix.MatchString(s.Prefix) || s.DB < 0 {
			t.Errorf("%q: %v", text, s)
		}
	})
}
