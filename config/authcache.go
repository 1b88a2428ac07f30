package config

import "time"

// AuthCache says which verdicts of a host's script on passwords are remembered.
type AuthCache struct {
	// Yes and No are how long a verdict is given again without asking (gatehouse_auth_cache_yes, 5 min;
	// gatehouse_auth_cache_no, 0).
	Yes, No time.Duration
	// Outage is how old a yes may be that counts when the script cannot say (gatehouse_auth_cache_outage, 0).
	Outage time.Duration
	// Entries is how many are kept (gatehouse_auth_cache_entries, 10000).
	Entries int
}

// authCache reads it; nil without gatehouse_auth_cache.
func (s section) authCache() *AuthCache {
	const nameYes, nameOutage = "gatehouse_auth_cache_yes", "gatehouse_auth_cache_outage"
	c := &AuthCache{
		Yes:     s.secondsOrNone(nameYes, 5*time.Minute),
		No:      s.secondsOrNone("gatehouse_auth_cache_no", 0),
		Outage:  s.secondsOrNone(nameOutage, 0),
		Entries: s.integer("gatehouse_auth_cache_entries", 10_000, 1, 1_000_000),
	}
	if !s.bool("gatehouse_auth_cache", false) {
		return nil
	}
	if s.has(nameOutage) && c.Outage > 0 && c.Outage <= c.Yes {
		s.warn(nameOutage, "has no effect: it is counted from the last answer of the script too, and %s is %v", nameYes, c.Yes)
	}
	return c
}

// secondsOrNone reads a length of time that may be 0.
func (s section) secondsOrNone(name string, otherwise time.Duration) time.Duration {
	n := s.number(name, "a number of seconds, or 0", otherwise.Seconds(), 0, maxSeconds)
	return time.Duration(n * float64(time.Second))
}
