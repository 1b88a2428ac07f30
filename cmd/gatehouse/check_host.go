package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/saslmech"
)

// daemon explains what is the same for all hosts, besides the ports.
func (r *report) daemon(cfg *config.Config) {
	r.row("data", "%s", cfg.DataDir)
	for i, sink := range cfg.Log {
		to := map[string]string{
			config.LogToConsole: "standard error", config.LogToFile: sink.File,
			config.LogToSyslog: "syslog", config.LogToNowhere: "nowhere",
		}[sink.To]
		r.row(map[bool]string{true: "log"}[i == 0], "%s: %s%s", to, sink.Levels, r.at(sink.Pos))
	}
	if cfg.LogFormat != "" {
		r.row("", "as %s", cfg.LogFormat)
	}
	for _, p := range cfg.ProxyProtocolFrom {
		r.row("believes", "%s%s: where clients are, by the PROXY protocol", p, r.at(cfg.Pos("*", "gatehouse_proxy_protocol_from")))
	}
	if a := cfg.ExtauthSocket; a != nil {
		r.row("extauth", "%s%s: for gatehouse extauth, of its owner and group", r.short(a.Addr), r.at(a.Pos))
	}
	r.shared(cfg)
	for _, a := range cfg.Admin {
		r.row("admin", "%s%s: metrics and a status page, for whoever reaches it on this machine", a.Addr, r.at(a.Pos))
	}
}

// listenerName is host:port as a person would write it.
func listenerName(l config.Listener) string {
	if strings.HasPrefix(l.Addr, ":") { // every interface of one family
		return map[string]string{"tcp4": "*", "tcp6": "[::]"}[l.Network] + l.Addr
	}
	return l.Addr
}

func spokenOn(l config.Listener) string {
	switch {
	case l.WebSocket && l.DirectTLS:
		return "WebSocket over TLS"
	case l.WebSocket:
		return "WebSocket without TLS"
	case l.DirectTLS:
		return "direct TLS"
	}
	return "STARTTLS"
}

func (r *report) ports(cfg *config.Config) {
	r.title("Client ports")
	for _, l := range cfg.Listeners {
		where := r.at(l.Pos)
		if where == "" {
			where = r.faint(" (the default)")
		}
		fmt.Fprintf(r.w, "  %-24s %s%s\n", listenerName(l), spokenOn(l), where)
	}
}

// host explains one host, and finds what is dangerous about it.
func (r *report) host(cfg *config.Config, h *config.Host, s settings) {
	r.title("Host %s%s", h.Name, r.at(h.Pos))
	r.mechanisms(h, s)
	if h.External != nil {
		r.script(cfg, h, s)
	}
	if h.Token != nil {
		r.tokens(cfg, h, s)
	}
	if h.AllowRegistration {
		r.row("registration", "the script tells clients which names are taken; no account is made")
	}
	if h.Upstream != nil {
		r.behind(cfg, h)
	}
	r.certificates(cfg, h)
}

// mechanisms says what the host offers and what it does not, and why.
func (r *report) mechanisms(h *config.Host, s settings) {
	r.row("mechanisms", "%s", strings.Join(saslmech.Offered(h.OfferPlain, h.OfferToken), ", "))
	plain, token := r.whyPlain(h, s), r.whyToken(h, s)
	verb := map[bool]string{true: "because", false: "not offered:"}
	r.row("  PLAIN", "%s %s%s", verb[h.OfferPlain], plain, r.when(h.OfferPlain, h.RequireEncryption, h.AllowUnencryptedPlain))
	r.row("  X-TOKEN", "%s %s%s", verb[h.OfferToken], token, r.when(h.OfferToken, h.RequireEncryption, true))

	find := func(l level, option, msg string) { r.add(l, s.problem(h, option, msg)) }
	switch {
	case h.RequireEncryption:
		return
	case h.AllowUnencryptedPlain && h.OfferPlain:
		find(danger, "allow_unencrypted_plain_auth", "passwords pass without TLS, and whoever is on the way can read them; "+
			"take it out, and c2s_require_encryption = false with it")
	case h.OfferPlain && !h.OfferToken:
		find(warning, "c2s_require_encryption", "is off: PLAIN waits for TLS nevertheless, but the rest of a stream may pass without it; take it out")
	}
	if h.OfferToken {
		find(danger, "c2s_require_encryption", "is off: tokens pass without TLS, and who reads one before its owner uses it comes in by it; take it out")
	}
}

// when says whether a mechanism waits for TLS.
func (r *report) when(offered, requireTLS, clear bool) string {
	switch {
	case !offered:
		return ""
	case requireTLS:
		return "; after TLS only"
	case !clear:
		return "; after TLS, which is not required for the rest"
	}
	return "; " + r.bad("also WITHOUT TLS")
}

func (r *report) whyPlain(h *config.Host, s settings) string {
	auth := "authentication = " + s.text(h.Name, "authentication")
	switch {
	case h.OfferPlain && !h.ScriptPasswords:
		return "of gatehouse_token_in_plain: a token in the place of the password, and nothing else"
	case h.OfferPlain && h.Token != nil && h.Token.InPlain:
		return auth + ": the script judges passwords, but for those of token shape (gatehouse_token_in_plain)"
	case h.OfferPlain:
		return auth + ": the script judges passwords"
	case !h.ScriptPasswords && !h.Token.InPlain:
		return auth + ", so passwords are not asked for"
	}
	return "disable_sasl_mechanisms" + s.place(h.Name, "disable_sasl_mechanisms")
}

func (r *report) whyToken(h *config.Host, s settings) string {
	_, secret := s.get(h.Name, "token_secret")
	_, seed := s.get(h.Name, "otp_seed")
	switch {
	case h.OfferToken && !h.ScriptPasswords:
		return "authentication = " + s.text(h.Name, "authentication")
	case h.OfferToken:
		return "token_secret and otp_seed are set" + s.place(h.Name, "token_secret")
	case h.Token != nil:
		return "disable_sasl_mechanisms" + s.place(h.Name, "disable_sasl_mechanisms")
	case secret && !seed:
		return "token_secret is set, but otp_seed is not"
	case seed && !secret:
		return "otp_seed is set, but token_secret is not"
	}
	return "token_secret and otp_seed are not set"
}

// minSeed is below the 80 bits that authenticator programs have always had.
const minSeed = 10

func (r *report) tokens(cfg *config.Config, h *config.Host, s settings) {
	t := h.Token
	text := fmt.Sprintf("%s, %s; used ones are remembered in %s", plural(len(t.Secrets), "secret"), plural(len(t.Seeds), "seed"),
		filepath.Join(cfg.DataDir, "replay.db"))
	if t.CheckUser {
		text += "; the script is asked whether the user exists"
	}
	r.row("tokens", "%s", text)
	r.weakSecrets(h)
	for i, seed := range t.Seeds {
		if len(seed) < minSeed {
			r.add(warning, s.problem(h, "otp_seed",
				fmt.Sprintf("seed %d has %d bytes, which can be guessed; `gatehouse token keys` prints a good one", i+1, len(seed))))
		}
	}
}

const (
	// minSecret is below what anybody could find by trying.
	minSecret = 16
	// publicSecret is how the one in prosody.cfg.lua.example begins.
	publicSecret = "example-only-"
)

// weakSecrets makes a danger of what Load warns of: who knows or finds
// token_secret and otp_seed comes in as anybody.
func (r *report) weakSecrets(h *config.Host) {
	if !slices.ContainsFunc(h.Token.Secrets, func(s []byte) bool {
		return len(s) < minSecret || strings.HasPrefix(string(s), publicSecret)
	}) {
		return
	}
	for i, f := range r.findings {
		if f.level == warning && f.Option == "token_secret" && (f.Host == "" || f.Host == h.Name) {
			r.findings[i].level = danger
		}
	}
}
