package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The hosts of the storm: a script of each protocol, tokens, both, one with a server behind, and one that comes and goes.
const (
	genHost  = "gen.example"
	ejdHost  = "ejd.example"
	tokHost  = "tok.example"
	bothHost = "both.example"
	farHost  = "far.example"
	comeHost = "come.example"
)

// change is one thing that an operator does.
type change struct {
	name string
	// edit makes the world that the change leads to, or spoil damages files so that the daemon has to go on with what it
	// has.
	edit  func(s *storm, w *world)
	spoil func(s *storm, files map[string]file)
	// says is what the log has to say of it; nothing means "nothing changed".
	says string
}

// site changes one host.
func (w *world) site(host string, edit func(*site)) {
	s := w.sites[host]
	s.options = maps.Clone(s.options)
	edit(&s)
	w.sites[host] = s
}

// option sets an option of a host, or a global one where host is empty.
func option(host, name string, value any) func(*storm, *world) {
	return func(_ *storm, w *world) {
		if host == "" {
			w.settings[name] = value
			return
		}
		w.site(host, func(s *site) { s.options[name] = value })
	}
}

// newAccounts makes the next edition of a host's passwords, in the script that it has.
func newAccounts(host string) func(*storm, *world) {
	return func(s *storm, w *world) {
		w.site(host, func(at *site) { at.accounts = s.nextEdition(host) })
	}
}

// otherScript moves a host from the one of two scripts to the other, which has other passwords and may speak another
// protocol.
func otherScript(host string, protocolOf map[string]string) func(*storm, *world) {
	return func(s *storm, w *world) {
		w.site(host, func(at *site) {
			now := at.script
			for name, protocol := range protocolOf {
				if name != now {
					at.script, at.protocol, at.accounts = name, protocol, s.nextEdition(host)
				}
			}
		})
	}
}

// renewed gives hosts new certificates.
func renewed(hosts ...string) func(*storm, *world) {
	return func(s *storm, w *world) {
		for _, host := range hosts {
			w.site(host, func(at *site) { at.serial = s.issue(host) })
		}
	}
}

// replaced puts other content into a file.
func replaced(path func(*storm) string, content file) func(*storm, map[string]file) {
	return func(s *storm, files map[string]file) { files[path(s)] = content }
}

// misconfigured replaces a text in the config.
func misconfigured(old, with string) func(*storm, map[string]file) {
	return func(s *storm, files map[string]file) {
		f := files[s.config]
		f.content = strings.Replace(f.content, old, with, 1)
		files[s.config] = f
	}
}

func scriptOf(host string) func(*storm) string {
	return func(s *storm) string {
		w, _ := s.history.now()
		return s.scriptPath(w.sites[host].script)
	}
}

// changes are what happens in the storm, in an order that makes sense to begin with.
func changes() []change {
	first := "0-first-secret-of-tok.example, long enough"
	second := "1-second-secret-of-tok.example, long enough"
	seeds := []string{"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "MFRGGZDFMZTWQ2LKMFRGGZDFMZTWQ2LK"}
	commands := map[string]string{"gen-a": "generic", "gen-b": "generic"}
	protocols := map[string]string{"ejd": "ejabberd", "ejd-generic": "generic"}
	token := func(host string, edit func(*site)) func(*storm, *world) {
		return func(_ *storm, w *world) { w.site(host, edit) }
	}
	return []change{
		{name: "host added", says: comeHost, edit: func(s *storm, w *world) { s.addHost(w) }},
		{name: "password script changed", edit: newAccounts(genHost), says: genHost + ": script started anew"},
		{name: "mechanism disabled", says: "disable_sasl_mechanisms", edit: token(bothHost, func(at *site) { at.plain = false })},
		{name: "broken Lua", says: "prosody.cfg.lua", spoil: misconfigured("VirtualHost", "VirtualHost = = ")},
		{name: "ejabberd script changed", edit: newAccounts(ejdHost), says: ejdHost + ": script started anew"},
		{name: "mechanism enabled", says: "disable_sasl_mechanisms", edit: token(bothHost, func(at *site) { at.plain = true })},
		{name: "token secret added", says: "token_secret", edit: token(tokHost, func(at *site) { at.secrets = []string{second, first} })},
		{name: "more processes", says: "external_auth_processes", edit: option(genHost, "external_auth_processes", 4)},
		{name: "certificate renewed, cert and key", says: "certificate", edit: renewed(genHost)},
		{name: "wrong type", says: "external_auth_timeout", spoil: misconfigured("external_auth_command", "external_auth_timeout = { }; external_auth_command")},
		{name: "token secret retired", says: "token_secret", edit: token(tokHost, func(at *site) { at.secrets = []string{second} })},
		{name: "other command", says: "external_auth_command", edit: otherScript(genHost, commands)},
		{name: "port opened", says: "c2s_ports", edit: func(_ *storm, w *world) { w.extraPort = true }},
		{name: "timeout", says: "external_auth_timeout", edit: option(ejdHost, "external_auth_timeout", 7.5)},
		{name: "certificate is garbage", says: tokHost, spoil: replaced(func(s *storm) string { return s.certPath(tokHost) }, file{"-----BEGIN garbage", 0o600})},
		{name: "other protocol and command", says: "external_auth_protocol", edit: otherScript(ejdHost, protocols)},
		{name: "limits", says: "c2s_stanza_size_limit", edit: func(_ *storm, w *world) {
			w.settings["c2s_stanza_size_limit"], w.settings["c2s_unauthed_stanza_size_limit"], w.settings["c2s_timeout"] = 100000, 20000, 25
		}},
		{name: "log level", says: "log", edit: option("", "log", map[string]any{"debug": "*console"})},
		{name: "script dies at once", says: "new script is not taken into use", spoil: replaced(scriptOf(genHost), planFile(map[string]any{
			"rules": []any{map[string]any{"at": "start", "do": []any{do("exit", 3)}}}}))},
		{name: "certificates renewed, one file each", says: "certificate", edit: renewed(tokHost, bothHost)},
		{name: "host removed", says: comeHost, edit: func(_ *storm, w *world) { delete(w.sites, comeHost) }},
		{name: "otp_seed rotated", says: "otp_seed", edit: token(bothHost, func(at *site) { at.seeds = seeds })},
		{name: "other protocol back", says: "external_auth_protocol", edit: otherScript(ejdHost, protocols)},
		{name: "script not executable", says: "executable", spoil: func(s *storm, files map[string]file) {
			path := scriptOf(ejdHost)(s)
			f := files[path]
			f.mode = 0o644
			files[path] = f
		}},
		{name: "fewer processes", says: "external_auth_processes", edit: option(genHost, "external_auth_processes", 2)},
		{name: "port closed", says: "c2s_ports", edit: func(_ *storm, w *world) { w.extraPort = false }},
		{name: "a comment", edit: func(s *storm, w *world) { w.settings["a_remark"] = lua(fmt.Sprintf("nil --[[ remark %d ]]", s.count)) }},
		{name: "script of both changed", edit: newAccounts(bothHost), says: bothHost + ": script started anew"},
		{name: "log level back, and a file", says: "log", edit: func(s *storm, w *world) {
			w.settings["log"] = map[string]any{"info": "*console", "warn": s.dir + "/gatehouse.log"}
		}},
		{name: "script is gone", says: "no file", spoil: func(s *storm, files map[string]file) { delete(files, scriptOf(bothHost)(s)) }},
		{name: "admin port opened", says: "gatehouse_admin", edit: func(s *storm, w *world) { w.settings["gatehouse_admin"] = loopback(s.ports[3]) }},
		{name: "other command back", says: "external_auth_command", edit: otherScript(genHost, commands)},
		{name: "admin port closed", says: "gatehouse_admin", edit: option("", "gatehouse_admin", nil)},
		{name: "config is gone", says: "prosody.cfg.lua", spoil: func(s *storm, files map[string]file) { delete(files, s.config) }},
		{name: "an option in a host", says: "conflict_resolve", edit: option(bothHost, "conflict_resolve", "random")},
		{name: "other server behind", says: "gatehouse_upstream", edit: func(s *storm, w *world) {
			w.site(farHost, func(at *site) {
				for _, other := range s.behind {
					if address := other.Addr().String(); address != at.options["gatehouse_upstream"] {
						at.options["gatehouse_upstream"] = address
						return
					}
				}
			})
		}},
		{name: "script of the relayed host changed", edit: newAccounts(farHost), says: farHost + ": script started anew"},
		{name: "no cache", says: "gatehouse_auth_cache", edit: option(genHost, "gatehouse_auth_cache", false)},
		{name: "pages of elsewhere", says: "gatehouse_websocket_origins", edit: option("", "gatehouse_websocket_origins", "https://shop.example")},
		{name: "a guard that forgets", says: "gatehouse_guard_half_life", edit: option("", "gatehouse_guard_half_life", 60)},
		{name: "cache again", says: "gatehouse_auth_cache", edit: option(genHost, "gatehouse_auth_cache", true)},
		{name: "scripts of two hosts swapped", says: "external_auth_command", edit: func(_ *storm, w *world) {
			a, b := w.sites[bothHost], w.sites[farHost]
			a.script, b.script = b.script, a.script
			a.accounts, b.accounts = b.accounts, a.accounts
			w.sites[bothHost], w.sites[farHost] = a, b
		}},
		{name: "back to where it began", says: " -> ", edit: func(s *storm, w *world) { s.restore(w) }},
	}
}

// restore takes a world back to the options that the first one had. Passwords, keys and certificates stay as they are.
func (s *storm) restore(w *world) {
	begin := s.history.since(0)[0]
	w.settings = maps.Clone(begin.settings)
	w.extraPort = begin.extraPort
	for host, at := range begin.sites {
		now := w.sites[host]
		now.options = maps.Clone(at.options)
		now.plain, now.token = at.plain, at.token
		now.secrets, now.seeds = slices.Clone(at.secrets), slices.Clone(at.seeds)
		w.sites[host] = now
	}
	delete(w.sites, comeHost)
}
