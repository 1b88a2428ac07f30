package config

import (
	"math"
	"strconv"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// redacted stands for a value that is not shown.
const redacted = "(not shown)"

// Dump returns what Prosody's configmanager would hold of the file: host, option, value; "*" is the global section. Besides
// the options it has what configmanager itself notes: `defined` of a VirtualHost, `component_module` and
// `load_global_modules` of a Component. A list is a []any, any other table a map[string]any; an empty table is an
// empty list. A function is the string "(function)".
//
// With redact the values whose names say that they are secrets (token_secret, otp_seed, anything with "secret" or
// "password" in its name, and so on) are replaced; without it the result is as secret as the file.
//
// Dump also works on the Config that comes with an error about the meaning of options.
func (c *Config) Dump(redact bool) map[string]map[string]any {
	out := make(map[string]map[string]any)
	for _, h := range c.eval.Hosts {
		options := make(map[string]any, len(h.Options))
		for name, o := range h.Options {
			options[name] = dumpValue(name, o.Value, redact)
		}
		out[h.Name] = options
	}
	return out
}

func dumpValue(name string, v luaconf.Value, redact bool) any {
	if redact && isSecret(name) && v.Kind != luaconf.Bool {
		return redacted
	}
	switch v.Kind {
	case luaconf.Bool:
		return v.Bool
	case luaconf.Number:
		return dumpNumber(v.Number)
	case luaconf.String:
		return v.Str
	case luaconf.Table:
		return dumpTable(v, redact)
	case luaconf.Opaque:
		return "(" + v.Str + ")"
	}
	return nil
}

// dumpNumber returns a value that encoding/json can write: it knows no infinity.
func dumpNumber(n float64) any {
	if math.IsInf(n, 0) || math.IsNaN(n) {
		return strconv.FormatFloat(n, 'g', -1, 64)
	}
	if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
		return int64(n)
	}
	return n
}

func dumpTable(v luaconf.Value, redact bool) any {
	if len(v.Map) == 0 {
		list := make([]any, len(v.List))
		for i, item := range v.List {
			list[i] = dumpValue("", item, redact)
		}
		return list
	}
	fields := make(map[string]any, len(v.Map)+len(v.List))
	for key, item := range v.Map {
		fields[key] = dumpValue(key, item, redact)
	}
	for i, item := range v.List {
		fields[strconv.Itoa(i+1)] = dumpValue("", item, redact)
	}
	return fields
}
