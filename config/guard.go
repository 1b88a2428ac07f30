package config

import (
	"net/netip"
	"slices"
	"time"
)

// Guard says how many wrong passwords are too many.
type Guard struct {
	// Attempts are of one user from one address (gatehouse_guard_attempts, 10), AddressAttempts of all users from one address
	// (gatehouse_guard_address_attempts, 50), UserAttempts of one user from all addresses (gatehouse_guard_user_attempts, 50).
	// Zero is no limit.
	Attempts, AddressAttempts, UserAttempts int
	// HalfLife is the time in which half of what was counted fades (gatehouse_guard_half_life, 30 minutes).
	HalfLife time.Duration
	// Delay is how long a login waits at most before it is tried (gatehouse_guard_delay, 5 s).
	Delay time.Duration
	// Allow are the networks from where nothing is counted (gatehouse_guard_allow, loopback). IPv4 networks are of IPv4.
	Allow []netip.Prefix
}

// guard reads what is the same for all hosts.
func (s section) guard() Guard {
	const nameAllow, nameDelay = "gatehouse_guard_allow", "gatehouse_guard_delay"
	g := Guard{
		Attempts:        s.integer("gatehouse_guard_attempts", 10, 0, 1_000_000),
		AddressAttempts: s.integer("gatehouse_guard_address_attempts", 50, 0, 1_000_000),
		UserAttempts:    s.integer("gatehouse_guard_user_attempts", 50, 0, 1_000_000),
		HalfLife:        s.seconds("gatehouse_guard_half_life", 30*time.Minute),
		Delay:           time.Duration(s.number(nameDelay, "a number of seconds from 0 to 60", 5, 0, 60) * float64(time.Second)),
		Allow:           []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	}
	if s.has(nameAllow) {
		g.Allow = nil
	}
	texts, _ := s.strings(nameAllow)
	for _, text := range texts {
		prefix, ok := parsePrefix(text)
		switch {
		case !ok:
			s.problem(nameAllow, `want IP addresses or networks such as "192.0.2.7" or "192.0.2.0/24", got %q`, clip(text))
			continue
		case prefix.Bits() == 0:
			s.warn(nameAllow, "%s is everybody; gatehouse_guard = false says that more clearly", prefix)
		}
		if !slices.Contains(g.Allow, prefix) {
			g.Allow = append(g.Allow, prefix)
		}
	}
	if login := s.period("c2s_timeout", 30*time.Second); g.Delay >= login {
		s.warn(nameDelay, "is as long as a client may take to log in (c2s_timeout), so that nobody comes in who is delayed by that")
	}
	return g
}
