package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gatehouse.im/gatehouse/config"
)

// settings are the options of a file as config.Dump has them: section, option,
// value, with "*" for the global section. Secrets are not among the values.
type settings struct {
	cfg      *config.Config
	sections map[string]map[string]any
}

func newSettings(cfg *config.Config) settings { return settings{cfg, cfg.Dump(true)} }

// get returns an option as a host sees it.
func (s settings) get(host, option string) (any, bool) {
	if v, ok := s.sections[host][option]; ok {
		return v, true
	}
	v, ok := s.sections["*"][option]
	return v, ok
}

// place says where an option was set that a host has, in parentheses; nothing for
// a default.
func (s settings) place(host, option string) string {
	pos := s.cfg.Pos(host, option)
	if pos.IsZero() {
		return ""
	}
	pos.File = filepath.Base(pos.File)
	return " (" + pos.String() + ")"
}

// text is the value of an option as it would stand in the file.
func (s settings) text(host, option string) string {
	v, _ := s.get(host, option)
	return luaText(v) + s.place(host, option)
}

// problem is one about an option of a host, or of all hosts if that is where it
// is set.
func (s settings) problem(h *config.Host, option, msg string) config.Problem {
	p := config.Problem{Option: option, Msg: msg}
	section := "*"
	if h != nil {
		section = h.Name
		if _, own := s.sections[h.Name][option]; own {
			p.Host = h.Name
		}
	}
	if p.Pos = s.cfg.Pos(section, option); p.Pos.IsZero() {
		p.Pos.File = s.cfg.Path
	}
	return p
}

// ofConfigmanager are no options, but what Prosody notes of a section.
var ofConfigmanager = map[string]bool{"defined": true, "component_module": true, "load_global_modules": true}

// split returns the options of a section that gatehouse reads, and Prosody's.
func (s settings) split(section string) (ours, prosodys []string) {
	for _, name := range slices.Sorted(maps.Keys(s.sections[section])) {
		known := slices.ContainsFunc(config.Options, func(o config.OptionInfo) bool { return o.Name == name })
		switch {
		case known:
			ours = append(ours, name)
		case !ofConfigmanager[name]:
			prosodys = append(prosodys, name)
		}
	}
	return ours, prosodys
}

// served are the sections that count for gatehouse.
func served(cfg *config.Config) []string {
	sections := []string{"*"}
	for _, h := range cfg.Hosts {
		sections = append(sections, h.Name)
	}
	return sections
}

// leftToProsody names the hosts and options that are not gatehouse's.
func (r *report) leftToProsody(cfg *config.Config, s settings) {
	ours, names := 0, make(map[string]bool)
	for _, section := range served(cfg) {
		mine, prosodys := s.split(section)
		ours += len(mine)
		for _, name := range prosodys {
			names[name] = true
		}
	}
	if len(names)+len(cfg.Skipped) > 0 {
		r.title("Left to Prosody")
	}
	for _, host := range cfg.Skipped {
		fmt.Fprintf(r.w, "  %-24s %s%s\n", host.Name, strings.TrimSuffix(host.Why, " is left to Prosody"), r.at(host.Pos))
	}
	if len(names) > 0 {
		r.row(plural(len(names), "option"), "%s", strings.Join(slices.Sorted(maps.Keys(names)), ", "))
	}
	fmt.Fprintf(r.w, "\n%s\n", r.faint(fmt.Sprintf("gatehouse reads %s of this file; --all shows them.", plural(ours, "option"))))
}

// allOptions shows each option that is gatehouse's, with its value.
func (r *report) allOptions(cfg *config.Config, s settings) {
	for _, section := range served(cfg) {
		ours, _ := s.split(section)
		if len(ours) == 0 {
			continue
		}
		if section == "*" {
			r.title("Options for all hosts")
		} else {
			r.title("Options of %s", section)
		}
		for _, name := range ours {
			r.wrapped(r.w, "  ", 6, name+" = "+luaText(s.sections[section][name]))
		}
	}
}

// betterNames are options that Prosody has renamed.
var betterNames = map[string]string{
	"legacy_ssl_ports":         "c2s_direct_tls_ports",
	"legacy_ssl_interfaces":    "c2s_direct_tls_interfaces",
	"legacy_ssl_interface":     "c2s_direct_tls_interfaces",
	"legacy_ssl_ssl":           "c2s_direct_tls_ssl",
	"interface":                "interfaces",
	"c2s_interface":            "c2s_interfaces",
	"c2s_direct_tls_interface": "c2s_direct_tls_interfaces",
	"http_interface":           "http_interfaces",
	"https_interface":          "https_interfaces",
}

// checkOptions finds options that have become old, or do nothing.
func (r *report) checkOptions(cfg *config.Config, s settings) {
	clear := slices.ContainsFunc(cfg.Hosts, func(h *config.Host) bool { return !h.RequireEncryption })
	for _, h := range cfg.Hosts {
		if h.AllowUnencryptedPlain && !clear {
			r.add(old, s.problem(h, "allow_unencrypted_plain_auth", "does nothing while c2s_require_encryption is on; take it out"))
		}
	}
	for _, section := range served(cfg) {
		h := cfg.Host(section)
		for _, name := range slices.Sorted(maps.Keys(betterNames)) {
			if _, set := s.sections[section][name]; set {
				r.add(old, s.problem(h, name, "is the old name of "+betterNames[name]+"; both work here"))
			}
		}
		if s.sections[section]["authentication"] == "external_insecure" {
			r.add(old, s.problem(h, "authentication", `Prosody's module got the name "external_insecure" for its faults, `+
				`which gatehouse does not share; "external" means the same here`))
		}
	}
}

// luaText is a value as it would stand in a config file.
func luaText(v any) string {
	switch v := v.(type) {
	case string:
		if v == "(not shown)" || v == "(function)" { // what Dump puts in the place of a value
			return v
		}
		return strconv.Quote(v)
	case []any:
		if len(v) == 0 {
			return "{}"
		}
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = luaText(item)
		}
		return "{ " + strings.Join(items, ", ") + " }"
	case map[string]any:
		items := make([]string, 0, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			items = append(items, clean(key)+" = "+luaText(v[key]))
		}
		return "{ " + strings.Join(items, ", ") + " }"
	}
	return fmt.Sprint(v)
}
