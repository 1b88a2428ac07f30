package config

import (
	"encoding/base32"
	"strings"
	"time"
	"unicode"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// readHost reads one virtual host that is ours.
func (l *loader) readHost(s section, h *luaconf.Host) *Host {
	host := &Host{
		Name:                  h.Name,
		Pos:                   h.Pos,
		RequireEncryption:     s.bool("c2s_require_encryption", s.bool("require_encryption", true)),
		AllowUnencryptedPlain: s.bool("allow_unencrypted_plain_auth", false),
		AllowRegistration:     s.bool("allow_registration", false),
		ConflictResolve: s.enum("conflict_resolve", ConflictKickOld,
			ConflictKickOld, ConflictKickNew, ConflictIncrement, ConflictRandom),
	}
	if strings.ContainsAny(h.Name, " /@") || strings.Contains(h.Name, ":") && !strings.HasPrefix(h.Name, "[") { // an IPv6 address is a host, too
		l.problems = append(l.problems, Problem{Pos: h.Pos, Host: h.Name,
			Msg: `is no domain; write VirtualHost "example.org", without a port, a path or a user`})
	}
	auth := s.string("authentication", "")
	host.ScriptPasswords = auth != authToken
	if host.ScriptPasswords || s.has("external_auth_command") {
		host.External = s.external()
	}
	host.Token = s.token(auth)
	if host.Token != nil && host.Token.CheckUser && host.External == nil && !s.has("external_auth_command") && !host.ScriptPasswords {
		s.problem("gatehouse_token_check_user", "needs a script to ask; set external_auth_command")
	}
	host.OfferPlain = host.ScriptPasswords || host.Token != nil && host.Token.InPlain
	host.OfferToken = host.Token != nil
	s.disableMechanisms(host)
	host.Guard = s.bool("gatehouse_guard", true)
	host.WebSocketURL = s.webSocketURL()
	host.Credentials = s.credentials(host)
	host.Upstream = s.upstream(host)
	host.MinTLS, host.Certificates = l.hostTLS(s)
	return host
}

// disableMechanisms takes back what disable_sasl_mechanisms names. X-TOKEN counts in any case of letters, for Prosody
// compares names as they are and people write them as they like.
func (s section) disableMechanisms(host *Host) {
	const name = "disable_sasl_mechanisms"
	offered := host.OfferPlain || host.OfferToken
	for mechanism := range s.names(name) {
		switch strings.ToUpper(mechanism) {
		case "PLAIN":
			host.OfferPlain = false
		case "X-TOKEN":
			host.OfferToken = false
		}
	}
	if offered && !host.OfferPlain && !host.OfferToken {
		s.problem(name, "leaves the host without any mechanism")
	}
}

// external reads how the script is asked.
func (s section) external() *ExternalAuth {
	command := s.command()
	x := &ExternalAuth{
		Command:      command,
		Scripts:      s.scripts(command),
		Protocol:     s.enum("external_auth_protocol", ProtocolGeneric, ProtocolGeneric, ProtocolEjabberd),
		Timeout:      s.seconds("external_auth_timeout", 5*time.Second),
		StartTimeout: s.seconds("gatehouse_external_auth_start_timeout", 30*time.Second),
		Processes:    s.integer("external_auth_processes", 1, 1, 1000),
		Blocking:     s.bool("external_auth_blocking", false),
		Queue:        s.integer("gatehouse_external_auth_queue", 1000, 1, 1_000_000),
		Cache:        s.authCache(),
		Pos:          s.pos("external_auth_command"),
	}
	x.PTY = s.bool("gatehouse_external_auth_pty", x.Protocol == ProtocolGeneric)
	if x.PTY && x.Protocol == ProtocolEjabberd {
		s.problem("gatehouse_external_auth_pty", "a terminal changes bytes of the ejabberd protocol; set it to false, or take it out")
	}
	if x.Blocking && x.Processes > 1 {
		s.warn("external_auth_processes", "blocking mode has one process; set external_auth_blocking = false to use %d", x.Processes)
		x.Processes = 1
	}
	return x
}

// token reads how tokens are judged; nil without tokens.
func (s section) token(auth string) *Token {
	hasSecret, hasSeed := s.has("token_secret"), s.has("otp_seed")
	if auth == authToken && !hasSecret && (s.has("app_id") || s.has("app_secret")) {
		s.problem("authentication", `app_id and app_secret belong to Jitsi's JWT module, which has the name "token" as well; `+
			"gatehouse judges the tokens of mod_auth_token, which has token_secret and otp_seed")
		return nil
	}
	if auth != authToken && !(hasSecret && hasSeed) {
		for _, name := range []string{"token_secret", "otp_seed"} {
			if s.has(name) {
				s.warn(name, "X-TOKEN needs both token_secret and otp_seed; it is not offered")
			}
		}
		return nil
	}
	t := &Token{
		Secrets:   s.secrets("token_secret"),
		Seeds:     s.seeds("otp_seed"),
		CheckUser: s.bool("gatehouse_token_check_user", false),
		InPlain:   s.bool("gatehouse_token_in_plain", false),
	}
	return t
}

// exampleSecret is how the secret in prosody.cfg.lua.example begins.
const exampleSecret = "example-only-"

// secrets reads token_secret and its like: the bytes of each string are the key.
func (s section) secrets(name string) [][]byte {
	values := s.keys(name)
	secrets := make([][]byte, 0, len(values))
	for i, v := range values {
		switch {
		case v == "":
			s.problem(name, "secret %d is empty, so that anybody could make tokens; `gatehouse token keys` prints good ones", i+1)
		case strings.HasPrefix(v, exampleSecret):
			s.warn(name, "secret %d is the one of gatehouse's example, which everybody knows; "+
				"on a real server anybody could come in by it: `gatehouse token keys` prints good ones", i+1)
		case len(v) < 16:
			s.warn(name, "secret %d has %d bytes, which can be guessed; use 32", i+1, len(v))
		}
		secrets = append(secrets, []byte(v))
	}
	return secrets
}

// seeds reads otp_seed and its like: base32 (RFC 4648 section 6) in any case of letters, with or without padding. As in the original's
// library (basexx) bits that make no whole byte are dropped; unlike there white space is, too.
func (s section) seeds(name string) [][]byte {
	values := s.keys(name)
	seeds := make([][]byte, 0, len(values))
	for i, v := range values {
		seed, err := decodeSeed(v)
		switch {
		case err != nil:
			s.problem(name, "seed %d is not base32 (letters A-Z and digits 2-7)", i+1)
		case len(seed) == 0:
			s.problem(name, "seed %d is empty, so that anybody could make tokens; `gatehouse token keys` prints good ones", i+1)
		}
		seeds = append(seeds, seed)
	}
	return seeds
}

func decodeSeed(s string) ([]byte, error) {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return -1
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		}
		return r
	}, s)
	s = strings.TrimRight(s, "=")
	switch len(s) % 8 {
	case 1, 3, 6: // the last letter completes no byte
		if _, err := base32.StdEncoding.DecodeString(s[len(s)-1:] + "A======"); err != nil {
			return nil, err
		}
		s = s[:len(s)-1]
	}
	return base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(s)
}

// keys reads an option that is a key or a list of keys.
func (s section) keys(name string) []string {
	if !s.has(name) {
		s.problem(name, "is missing; `gatehouse token keys` prints good values")
		return nil
	}
	values, ok := s.list(name)
	if !ok {
		return nil
	}
	if len(values) == 0 {
		s.problem(name, "is an empty list; `gatehouse token keys` prints good values")
	}
	keys := make([]string, 0, len(values))
	for _, v := range values {
		if v.Kind != luaconf.String {
			s.problem(name, "want a string or a list of strings, got %s; put it in quotes", describe(name, v))
			continue
		}
		keys = append(keys, v.Str)
	}
	return keys
}
