package guard

import (
	"net/netip"
	"slices"
	"time"
)

// Settings are what is too much. They must not change once a [Guard] has them.
type Settings struct {
	// PerPair, PerAddress and PerUser are how many wrong passwords of one user from one address, of all users from one
	// address, and of one user from all addresses are let through; the count of a secret has the limit of pairs. Zero does
	// not count.
	PerPair, PerAddress, PerUser int
	// HalfLife is the time in which half of a count fades. It is positive.
	HalfLife time.Duration
	// Delay is how long an attempt waits at most: none up to half of a limit, and so long at the limit.
	Delay time.Duration
	// Allow are the networks whose attempts are neither counted nor stopped. IPv4 networks are of IPv4.
	Allow []netip.Prefix
}

// Defaults are settings for a server of people: ten guesses at a user, and one every five minutes after that.
func Defaults() Settings {
	return Settings{
		PerPair: 10, PerAddress: 50, PerUser: 50,
		HalfLife: 30 * time.Minute,
		Delay:    5 * time.Second,
		Allow:    []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	}
}

func (s *Settings) allowed(from netip.Addr) bool {
	return slices.ContainsFunc(s.Allow, func(p netip.Prefix) bool { return p.Contains(from) })
}

// limit returns how high a count may get; 0 if it is not counted.
func (s *Settings) limit(r Reason) float64 {
	return float64([...]int{Secret: s.PerPair, Pair: s.PerPair, Address: s.PerAddress, User: s.PerUser}[r])
}

// delay is how long an attempt waits while a count is this high: nothing up to half the limit, then more with each.
func (s *Settings) delay(score, limit float64) time.Duration {
	over := min((2*score-limit)/limit, 1)
	if over <= 0 {
		return 0
	}
	return time.Duration(over * float64(s.Delay)).Round(time.Millisecond)
}

// enough is up to which count so long a wait is enough. It stays clear of what delay rounds.
func (s *Settings) enough(r Reason, waited time.Duration) float64 {
	waited += time.Millisecond
	if waited >= s.Delay {
		return MaxScore
	}
	return s.limit(r) / 2 * (1 + float64(waited)/float64(s.Delay))
}

// Reason is which count it is about.
type Reason int

// The reasons, in the order in which they are looked at.
const (
	Secret Reason = iota
	Pair
	Address
	User
	// Reasons is how many there are.
	Reasons
)

// String returns one lower-case word.
func (r Reason) String() string { return [Reasons]string{"secret", "pair", "address", "user"}[r] }

// Refusal is the error of an attempt that is turned away.
type Refusal Reason

// Error begins with "guard: ", and is for the log.
func (r Refusal) Error() string {
	return "guard: " + [Reasons]string{
		Secret:  "this user sends the same wrong password again and again from this address",
		Pair:    "too many wrong passwords for this user from this address",
		Address: "too many wrong passwords from this address",
		User:    "too many wrong passwords for this user, and no login from this address lately",
	}[r]
}
