package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/upstream"
)

// behind explains the server that gets a host's clients after the login.
func (r *report) behind(cfg *config.Config, h *config.Host) {
	u := h.Upstream
	names := make([]string, len(u.Addresses))
	for i, a := range upstreamConfig(u).Addresses {
		names[i] = a.String()
	}
	r.row("upstream", "%s%s", clean(strings.Join(names, ", else ")), r.at(u.Pos))
	r.row("", "%s", r.wayBehind(u))
	r.row("", "%s", r.knownBehind(cfg, h))
	text := fmt.Sprintf("%s to be logged in there", u.Timeout)
	if u.ProxyProtocol != 0 {
		text += fmt.Sprintf("; the client's address is told by the PROXY protocol, version %d", u.ProxyProtocol)
	}
	r.row("", "%s", text)
	if u.CA != nil {
		r.key(*u.CA, func(l level, format string, args ...any) {
			r.add(l, config.Problem{Pos: u.CA.Pos, Option: "gatehouse_upstream_ca", Msg: fmt.Sprintf(format, args...)})
		})
	}
	if u.TrustFile != "" && !r.who.self {
		if err := r.who.may(u.TrustFile, mayRead); err != nil {
			r.add(warning, config.Problem{Pos: cfg.Pos(h.Name, "gatehouse_upstream_trust"), Option: "gatehouse_upstream_trust",
				Msg: err.Error() + ", so serve would refuse to start"})
		}
	}
	if r.tryUpstream {
		r.tryBehind(cfg, h)
	}
}

// wayBehind says how the way to the server is secured.
func (r *report) wayBehind(u *config.Upstream) string {
	trust := "one that the system trusts"
	if u.TrustFile != "" {
		trust = "one of " + r.short(u.TrustFile)
	}
	switch {
	case u.TLS == config.UpstreamTLSStartTLS:
		return "STARTTLS, with a certificate for " + clean(u.TLSName) + " from " + trust
	case u.TLS == config.UpstreamTLSDirect:
		return "direct TLS, with a certificate for " + clean(u.TLSName) + " from " + trust
	case u.AllowUnencrypted:
		return r.bad("no TLS") + ", and it may leave this machine (gatehouse_upstream_allow_unencrypted)"
	}
	return "no TLS, as it does not leave this machine"
}

// knownBehind says how the server knows who the client is.
func (r *report) knownBehind(cfg *config.Config, h *config.Host) string {
	switch h.Upstream.Auth {
	case config.UpstreamAuthToken:
		return "knows its users by tokens that gatehouse mints (X-TOKEN)"
	case config.UpstreamAuthExternal:
		return "knows its users by certificates that gatehouse signs for each login (EXTERNAL), with " + r.short(h.Upstream.CA.CertFile)
	case config.UpstreamAuthPassword:
		return "checks their passwords itself (PLAIN)"
	}
	var ways []string
	if cfg.ExtauthSocket != nil {
		ways = append(ways, "gatehouse extauth at "+r.short(cfg.ExtauthSocket.Addr))
	}
	if cfg.AuthAPI != nil {
		for _, a := range cfg.Admin {
			at := a.Addr
			if a.Network == "tcp" {
				at = "http://" + at
			}
			ways = append(ways, r.short(at)+"/auth/")
		}
	}
	if len(ways) == 0 {
		ways = []string{r.bad("NOWHERE")}
	}
	return "knows its users by tickets (PLAIN), about which it asks " + strings.Join(ways, " or ")
}

// tryBehind goes to each address as far as one can without a user, and the whole
// way for the one that there is.
func (r *report) tryBehind(cfg *config.Config, h *config.Host) {
	c := upstreamConfig(h.Upstream)
	want := map[string]string{
		config.UpstreamAuthTicket: upstream.Plain, config.UpstreamAuthPassword: upstream.Plain,
		config.UpstreamAuthToken: upstream.XToken, config.UpstreamAuthExternal: upstream.External,
	}[h.Upstream.Auth]
	for _, at := range c.Addresses {
		began := time.Now()
		seen, err := upstream.Look(context.Background(), c, at, h.Name)
		took := time.Since(began).Round(100 * time.Microsecond)
		if err != nil {
			r.behindFailed(at, err.Error())
			r.row("  tried", "%s: %s (%s)", clean(at.String()), r.bad(clean(err.Error())), took)
			continue
		}
		result := fmt.Sprintf("answers in %s%s, and offers %s", took, tlsSeen(seen.TLS), offeredThere(seen.Mechanisms))
		switch {
		case slices.Contains(seen.Mechanisms, want):
		case want == upstream.External:
			result += "; EXTERNAL is for those who show a certificate, which this did not"
		default:
			r.behindFailed(at, "it does not offer "+want)
			r.row("  tried", "%s: %s; %s", clean(at.String()), result, r.bad("not "+want+", which gatehouse needs there"))
			continue
		}
		r.row("  tried", "%s: %s", clean(at.String()), result)
		if r.trial != nil && r.trial.host == h.Name {
			r.logInBehind(cfg, h, at)
		}
	}
}

// behindFailed notes a server behind that cannot be used.
func (r *report) behindFailed(at upstream.Address, fault string) {
	r.unusable = append(r.unusable, clean(at.String()+": "+fault))
}

func offeredThere(mechanisms []string) string {
	if len(mechanisms) == 0 {
		return "no mechanism"
	}
	return clean(strings.Join(mechanisms, ", "))
}

// tlsSeen says by whom a connection is secured.
func tlsSeen(state *tls.ConnectionState) string {
	if state == nil {
		return " without TLS"
	}
	leaf := state.PeerCertificates[0]
	return fmt.Sprintf(" over %s, with a certificate from %s until %s", tls.VersionName(state.Version),
		clean(issuerName(leaf)), leaf.NotAfter.Format(time.DateOnly))
}
