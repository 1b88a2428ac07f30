package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// evaluate returns the Config of a file for Dump, whatever its options mean.
func evaluate(t *testing.T, path string) *Config {
	t.Helper()
	r, err := luaconf.Eval(path)
	if err != nil {
		t.Fatal(err)
	}
	return &Config{eval: r}
}

// plain brings a dump into the form that encoding/json reads, with empty lists as empty tables: Lua cannot tell.
func plain(t *testing.T, v any) any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return emptyTables(out)
}

func emptyTables(v any) any {
	switch v := v.(type) {
	case []any:
		if len(v) == 0 {
			return map[string]any{}
		}
		for i := range v {
			v[i] = emptyTables(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = emptyTables(v[k])
		}
	case float64:
		return strconv.FormatFloat(v, 'g', 14, 64) // as many digits as Prosody's JSON has
	}
	return v
}

// TestDump_likeProsody compares with what the real configmanager held (testdata/prosody/README.md).
func TestDump_likeProsody(t *testing.T) {
	files, err := filepath.Glob("testdata/prosody/*.cfg.lua")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(strings.TrimSuffix(file, ".cfg.lua") + ".golden.json")
			if err != nil {
				t.Fatal(err)
			}
			var golden map[string]any
			if err := json.Unmarshal(data, &golden); err != nil {
				t.Fatal(err)
			}
			want := emptyTables(golden).(map[string]any)
			got := plain(t, evaluate(t, file).Dump(false)).(map[string]any)
			for host := range got {
				if want[host] == nil {
					t.Errorf("%s: Prosody has no such host", host)
				}
			}
			for host, options := range want {
				wantOptions := options.(map[string]any)
				gotOptions, ok := got[host].(map[string]any)
				if !ok {
					t.Errorf("%s: missing", host)
					continue
				}
				for name, value := range wantOptions {
					if !reflect.DeepEqual(gotOptions[name], value) {
						t.Errorf("%s: %s = %v, Prosody has %v", host, name, gotOptions[name], value)
					}
				}
				for name := range gotOptions {
					if _, ok := wantOptions[name]; !ok {
						t.Errorf("%s: %s = %v, Prosody has nothing", host, name, gotOptions[name])
					}
				}
			}
		})
	}
}

func TestDump_redact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prosody.cfg.lua")
	source := `token_secret = "hush1" otp_seed = { "hush2" } component_secret = "hush3" turn_external_secret = "hush4"
sql = { driver = "MySQL", password = "hush5" } ldap_password = "hush6" gatehouse_token_in_plain = true
gatehouse_credentials = "admin" gatehouse_credentials_user = "webapp" gatehouse_credentials_password = "hush8" gatehouse_credentials_bearer = "hush9"
VirtualHost "h" app_secret = "hush7"`
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	shown, err := json.Marshal(evaluate(t, path).Dump(true))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(shown), "hush") {
		t.Errorf("a secret is shown: %s", shown)
	}
	if !strings.Contains(string(shown), `"driver":"MySQL"`) || !strings.Contains(string(shown), `"gatehouse_token_in_plain":true`) ||
		!strings.Contains(string(shown), `"gatehouse_credentials":"admin"`) || !strings.Contains(string(shown), `"gatehouse_credentials_user":"webapp"`) {
		t.Errorf("too much is hidden: %s", shown)
	}
	full, err := json.Marshal(evaluate(t, path).Dump(false))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(full), "hush"); n != 9 {
		t.Errorf("%d of 9 secrets in the full dump: %s", n, full)
	}
}
