package config

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// Change is one thing that differs between two configs.
type Change struct {
	// Host is the virtual host that it is about; empty when it is set for all of them.
	Host string
	// Option is the name of an option, or OptionHost, or OptionCertificate.
	Option string
	// Old and New are the values as in the file, cut where they are long; a default where nothing is set, or "unset".
	// Both are empty when they may not be shown, or would look the same.
	Old, New string
}

// What a Change may name besides options.
const (
	// OptionHost says that a host is served from now on, or no more: New is "added" or "removed".
	OptionHost = "host"
	// OptionCertificate says that a host serves another certificate, whatever it is set by (there is an option of this
	// name as well); Old and New are like "valid until 2027-01-31", or "none".
	OptionCertificate = "certificate"
	// OptionDefaultHost says that direct TLS connections that name no host are shown the certificate of another one; Old and
	// New are their names.
	OptionDefaultHost = "default host of direct TLS"
)

// String is like "external_auth_timeout 5 -> 7", "example.org: token_secret changed" or "host example.org added".
func (c Change) String() string {
	what := c.Option + " changed"
	switch {
	case c.Option == OptionHost:
		return "host " + c.Host + " " + c.New
	case c.Old != "" || c.New != "":
		what = c.Option + " " + c.Old + " -> " + c.New
	}
	if c.Host != "" {
		return c.Host + ": " + what
	}
	return what
}

// Diff says what differs in effect between two configs that Load returned without an error: nothing when the file was
// only written in another way. The files of scripts do not count.
//
// What is set for all hosts comes first, and once; then come the hosts, in the order of the new file, and then those that
// are gone. A host counts when gatehouse serves it: one that was left to Prosody is added, or removed.
func Diff(before, after *Config) []Change {
	d := differ{
		before: configSide(before),
		after:  configSide(after),
		hosts:  make(map[string][]Change),
	}
	for _, option := range Options {
		d.option(option)
	}
	d.taken(before.Listeners, after.Listeners)
	d.rate(before.Limits, after.Limits)
	d.defaultHost(before, after)
	d.stateTrust(before.State, after.State)
	d.certificates("", before.Certificates, after.Certificates)
	changes := d.hosts[""]
	for _, h := range after.Hosts {
		old, ok := d.before.served[h.Name]
		if !ok {
			changes = append(changes, Change{Host: h.Name, Option: OptionHost, New: "added"})
			continue
		}
		d.certificates(h.Name, old.Certificates, h.Certificates)
		changes = append(changes, d.hosts[h.Name]...)
	}
	for _, h := range before.Hosts {
		if _, ok := d.after.served[h.Name]; !ok {
			changes = append(changes, Change{Host: h.Name, Option: OptionHost, New: "removed"})
		}
	}
	return changes
}

// differ is one Diff. It collects changes by host; "" is all of them.
type differ struct {
	before, after side
	hosts         map[string][]Change
}

// side is one of the two configs, by name.
type side struct {
	served   map[string]*Host
	sections map[string]*luaconf.Host
	order    []*Host
}

func configSide(c *Config) side {
	s := side{make(map[string]*Host, len(c.Hosts)), make(map[string]*luaconf.Host, len(c.eval.Hosts)), c.Hosts}
	for _, h := range c.Hosts {
		s.served[h.Name] = h
	}
	for _, h := range c.eval.Hosts {
		s.sections[h.Name] = h
	}
	return s
}

// own returns what a section itself says; the Nil value when it says nothing.
func (s side) own(section, option string) luaconf.Value {
	if h := s.sections[section]; h != nil {
		return h.Options[option].Value
	}
	return luaconf.Value{}
}

// option compares one option, for all hosts that both configs serve.
func (d *differ) option(option OptionInfo) {
	beforeAll, afterAll := d.before.own("*", option.Name), d.after.own("*", option.Name)
	if option.Global {
		d.values("", option, beforeAll, afterAll)
		return
	}
	global := false
	for _, h := range d.after.order {
		old, ok := d.before.served[h.Name]
		if !ok {
			continue
		}
		place, a, b := "", d.before.own(h.Name, option.Name), d.after.own(h.Name, option.Name)
		if a.Kind != luaconf.Nil || b.Kind != luaconf.Nil {
			place = h.Name
		}
		if a.Kind == luaconf.Nil {
			a = beforeAll
		}
		if b.Kind == luaconf.Nil {
			b = afterAll
		}
		if place == "" && global {
			continue
		}
		changed := d.values(place, option, a, b) || d.meaning(place, option.Name, old, h)
		global = global || changed && place == ""
	}
}

// values notes a change if two values of an option differ in meaning, and says whether they do.
func (d *differ) values(host string, option OptionInfo, a, b luaconf.Value) bool {
	if same(a, b) {
		return false
	}
	a, b = option.normal(a), option.normal(b)
	oldText, newText := option.text(a, false), option.text(b, false)
	if oldText == newText {
		return false
	}
	c := Change{Host: host, Option: option.Name}
	if !isSecret(option.Name) {
		c.show(option.text(a, true), option.text(b, true))
	}
	d.hosts[host] = append(d.hosts[host], c)
	return true
}

// taken notes that a port for HTTP that stays in the file was Prosody's before and is ours now, or the other way round: by
// an option that is not ours.
func (d *differ) taken(before, after []Listener) {
	whose := func(listeners []Listener, option string) string {
		if slices.ContainsFunc(listeners, func(l Listener) bool { return l.Option == option }) {
			return "served"
		}
		return "left to Prosody"
	}
	for _, s := range httpServices {
		c := Change{Option: s.name + "_ports"}
		c.Old, c.New = whose(before, c.Option), whose(after, c.Option)
		if c.Old != c.New && !d.noted(c.Option) {
			d.hosts[""] = append(d.hosts[""], c)
		}
	}
}

// rate notes that clients may send faster or slower because modules_enabled has mod_limits, or has it no more.
func (d *differ) rate(before, after Limits) {
	if d.noted("limits") || before.Rate == after.Rate && before.Burst == after.Burst {
		return
	}
	text := func(l Limits) string {
		if l.Rate == 0 {
			return "none"
		}
		return fmt.Sprintf("%d bytes a second", l.Rate)
	}
	c := Change{Option: "limits"}
	c.show(text(before), text(after))
	d.hosts[""] = append(d.hosts[""], c)
}

// defaultHost notes that another host is the first, where that matters.
func (d *differ) defaultHost(before, after *Config) {
	name := func(c *Config) string {
		direct := slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.DirectTLS })
		if len(c.Hosts) == 0 || len(c.Certificates) > 0 || !direct {
			return ""
		}
		return c.Hosts[0].Name
	}
	if was, is := name(before), name(after); was != is && was != "" && is != "" {
		d.hosts[""] = append(d.hosts[""], Change{Option: OptionDefaultHost, Old: was, New: is})
	}
}

// noted says whether an option that is set for all hosts is known to have changed.
func (d *differ) noted(option string) bool {
	return slices.ContainsFunc(d.hosts[""], func(c Change) bool { return c.Option == option })
}

// stateTrust notes that the file has another content that gatehouse_state names.
func (d *differ) stateTrust(before, after *State) {
	if before != nil && after != nil && before.TrustFile == after.TrustFile && !before.Trust.Equal(after.Trust) &&
		!d.noted(nameState) {
		d.hosts[""] = append(d.hosts[""], Change{Option: nameState})
	}
}

// meaning notes a change if the same value of an option means something else than before, and says whether it does.
func (d *differ) meaning(place, option string, before, after *Host) bool {
	switch option {
	case "external_auth_command":
		return d.commands(place, before, after)
	case "gatehouse_upstream_ca", "gatehouse_upstream_trust":
		return d.upstreamFiles(place, option, before.Upstream, after.Upstream)
	}
	return false
}

// upstreamFiles notes that a file has another content that an upstream's option names.
func (d *differ) upstreamFiles(host, option string, before, after *Upstream) bool {
	if before == nil || after == nil {
		return false
	}
	c := Change{Host: host, Option: option}
	switch {
	case option == "gatehouse_upstream_trust" && before.TrustFile == after.TrustFile && before.Trust != nil &&
		after.Trust != nil && !before.Trust.Equal(after.Trust):
	case option == "gatehouse_upstream_ca" && before.CA != nil && after.CA != nil && !sameChain(*before.CA, *after.CA):
		c.show(validity([]Certificate{*before.CA}), validity([]Certificate{*after.CA}))
	default:
		return false
	}
	d.hosts[host] = append(d.hosts[host], c)
	return true
}

func sameChain(a, b Certificate) bool {
	return slices.EqualFunc(a.TLS.Certificate, b.TLS.Certificate, bytes.Equal)
}

// commands notes that the same external_auth_command means another program than before: one that came into being.
func (d *differ) commands(host string, before, after *Host) bool {
	var words [2][]string
	for i, h := range []*Host{before, after} {
		if h.External != nil {
			words[i] = h.External.Command
		}
	}
	if slices.Equal(words[0], words[1]) {
		return false
	}
	c := Change{Host: host, Option: "external_auth_command"}
	if len(words[0]) > 0 && len(words[1]) > 0 {
		c.show(strconv.Quote(words[0][0]), strconv.Quote(words[1][0]))
	}
	d.hosts[host] = append(d.hosts[host], c)
	return true
}

func (d *differ) certificates(host string, before, after []Certificate) {
	if slices.EqualFunc(before, after, sameChain) {
		return
	}
	c := Change{Host: host, Option: OptionCertificate}
	c.show(validity(before), validity(after))
	d.hosts[host] = append(d.hosts[host], c)
}

// validity says until when all the certificates are valid.
func validity(certs []Certificate) string {
	if len(certs) == 0 {
		return "none"
	}
	end := certs[0].TLS.Leaf.NotAfter
	for _, c := range certs {
		if c.TLS.Leaf.NotAfter.Before(end) {
			end = c.TLS.Leaf.NotAfter
		}
	}
	return "valid until " + end.UTC().Format(time.DateOnly)
}

// show sets the values, unless they look the same.
func (c *Change) show(before, after string) {
	before, after = strings.ToValidUTF8(clip(before), ""), strings.ToValidUTF8(clip(after), "")
	if before != after {
		c.Old, c.New = before, after
	}
}

// same compares values as they stand in the file.
func same(a, b luaconf.Value) bool {
	return a.Kind == b.Kind && a.Bool == b.Bool && a.Number == b.Number && a.Str == b.Str &&
		slices.EqualFunc(a.List, b.List, same) && maps.EqualFunc(a.Map, b.Map, same)
}

// normal brings a value into the form that its option has, as section reads it.
func (o OptionInfo) normal(v luaconf.Value) luaconf.Value {
	if v.Kind == luaconf.Nil {
		return v
	}
	single := v
	if v.Kind == luaconf.Table && len(v.List) == 1 && len(v.Map) == 0 {
		single = v.List[0]
	}
	switch {
	case o.Type == "boolean":
		switch {
		case single.Str == "true", single.Number == 1:
			return luaconf.Value{Kind: luaconf.Bool, Bool: true}
		case single.Str == "false", single.Kind == luaconf.Number && single.Number == 0:
			return luaconf.Value{Kind: luaconf.Bool}
		}
		return single
	case o.Name == "c2s_timeout":
		if d, ok := parsePeriod(single.Str); ok {
			return luaconf.Value{Kind: luaconf.Number, Number: d.Seconds()}
		}
		return asNumberValue(single)
	case strings.Contains(o.Type, "number") && !strings.Contains(o.Type, "list"):
		return asNumberValue(single)
	case o.Type == "string":
		return asStringValue(single)
	case o.Type == "list of numbers":
		return eachOf(v, asNumberValue)
	case o.Type == "list":
		return eachOf(v, asStringValue)
	case o.Type == "string or list":
		return single
	}
	return v
}

func asNumberValue(v luaconf.Value) luaconf.Value {
	if n, ok := asNumber(v); ok {
		return luaconf.Value{Kind: luaconf.Number, Number: n}
	}
	return v
}

func asStringValue(v luaconf.Value) luaconf.Value {
	if v.Kind == luaconf.Number {
		return luaconf.Value{Kind: luaconf.String, Str: strconv.FormatFloat(v.Number, 'f', -1, 64)}
	}
	return v
}

// eachOf is a list with its elements converted; a single value is a list of one.
func eachOf(v luaconf.Value, convert func(luaconf.Value) luaconf.Value) luaconf.Value {
	if v.Kind != luaconf.Table {
		v = luaconf.Value{Kind: luaconf.Table, List: []luaconf.Value{v}}
	}
	list := make([]luaconf.Value, len(v.List))
	for i, item := range v.List {
		list[i] = convert(item)
	}
	v.List = list
	return v
}

// text writes a value as in the file, and the default where there is none. With show it leaves out what may be a secret.
func (o OptionInfo) text(v luaconf.Value, show bool) string {
	switch {
	case v.Kind == luaconf.Nil && o.Default == "":
		return "unset"
	case v.Kind == luaconf.Nil:
		return o.Default
	case show && o.Name == "external_auth_command":
		return programOf(v)
	}
	return luaText(v, show)
}

// programOf is a command without its arguments: a password may be among them.
func programOf(v luaconf.Value) string {
	words := strings.Fields(v.Str)
	if v.Kind == luaconf.Table {
		words = nil
		for _, item := range v.List {
			words = append(words, item.Str)
		}
	}
	switch len(words) {
	case 0:
		return luaText(v, true)
	case 1:
		return strconv.Quote(words[0])
	}
	return strconv.Quote(words[0] + " ...")
}

// luaText writes a value in Lua's syntax, or nearly so.
func luaText(v luaconf.Value, show bool) string {
	switch v.Kind {
	case luaconf.Bool:
		return strconv.FormatBool(v.Bool)
	case luaconf.Number:
		return strconv.FormatFloat(v.Number, 'f', -1, 64)
	case luaconf.String:
		return strconv.Quote(v.Str)
	case luaconf.Opaque:
		return "(" + v.Str + ")"
	case luaconf.Nil:
		return "nil"
	}
	if len(v.List)+len(v.Map) == 0 {
		return "{}"
	}
	var parts []string
	for _, item := range v.List {
		parts = append(parts, luaText(item, show))
	}
	for _, key := range v.Keys() {
		value := redacted
		if !show || !isSecret(key) {
			value = luaText(v.Map[key], show)
		}
		if !identifier(key) {
			key = "[" + strconv.Quote(key) + "]"
		}
		parts = append(parts, key+" = "+value)
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

func identifier(key string) bool {
	for i := range len(key) {
		c := key[i]
		if c != '_' && !('a' <= c && c <= 'z') && !('A' <= c && c <= 'Z') && !(i > 0 && '0' <= c && c <= '9') {
			return false
		}
	}
	return key != ""
}
