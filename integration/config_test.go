package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// options are the options of one scope: string, bool, number, []any, map[string]any or lua.
type options map[string]any

// lua is an expression that goes into the config as it stands.
type lua string

// host is a VirtualHost of a config.
type host struct {
	name    string
	options options
}

// baseOptions are what every config here begins with: one loopback port of each kind, chosen by the system.
func baseOptions(dir string) options {
	return options{
		"interfaces":            []any{"127.0.0.1"},
		"c2s_ports":             []any{0},
		"c2s_direct_tls_ports":  []any{0},
		"gatehouse_data_dir":    filepath.Join(dir, "data"),
		"gatehouse_self_signed": true,
	}
}

// writeConfig writes a config file into dir and returns its path. Later options replace earlier ones; nil removes one.
func writeConfig(t testing.TB, dir string, hosts []host, global ...options) string {
	t.Helper()
	merged := options{}
	for _, o := range global {
		maps.Copy(merged, o)
	}
	var b strings.Builder
	writeOptions(t, &b, merged)
	for _, h := range hosts {
		fmt.Fprintf(&b, "\nVirtualHost %s\n", luaString(h.name))
		writeOptions(t, &b, h.options)
	}
	path := filepath.Join(dir, "prosody.cfg.lua")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func writeOptions(t testing.TB, b *strings.Builder, o options) {
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if o[name] != nil {
			fmt.Fprintf(b, "%s = %s\n", name, luaValue(t, o[name]))
		}
	}
}

func luaValue(t testing.TB, value any) string {
	switch v := value.(type) {
	case lua:
		return string(v)
	case string:
		return luaString(v)
	case bool, int, float64, json.Number:
		return fmt.Sprint(v)
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, luaValue(t, e))
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	case map[string]any:
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, name+" = "+luaValue(t, v[name]))
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	}
	t.Fatalf("no way to write %T as Lua", value)
	return ""
}

// luaString quotes s for Lua 5.1 to 5.4.
func luaString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20 || c == 0x7f:
			fmt.Fprintf(&b, "\\%03d", c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
