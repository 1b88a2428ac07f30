package guard

import "time"

// Counters are the memory of a [Guard]: counts that fade, the places of attempts that are under way, and where users are at
// home. [Memory] is one in this process; internal/state has one that several gatehouses share. Every method is safe for
// concurrent use, and one step as far as places are concerned: two callers never get the same one.
type Counters interface {
	// Take takes a place in each count that the attempt is judged by, if there is one in all of them and the client has
	// waited long enough.
	Take(a *Attempt) (Answer, error)
	// Settle gives back the places that Take has granted, and counts the outcome. The Answer is the zero one if others were
	// asked about the attempt: then there is the outcome to count, and no place.
	Settle(a *Attempt, got Answer, o Outcome) error
	// Forgive drops the counts that an address and a user have a part in; one that is 0 stands for any, but not both. Places
	// stay. It returns how many there were.
	Forgive(address, user uint64) (int, error)
}

// Attempt is one to log in, as far as Counters may know it.
type Attempt struct {
	Address, User uint64 // hashes with a key, not 0
	Mark          uint16 // of a hash of the secret
	Settings      *Settings
	Waited        time.Duration // by the client, for this attempt
}

// Limit returns how high a count may get with this attempt; 0 if it does not matter.
func (a *Attempt) Limit(r Reason) float64 { return a.Settings.limit(r) }

// Enough returns up to which count the client has waited long enough.
func (a *Attempt) Enough(r Reason) float64 { return a.Settings.enough(r, a.Waited) }

// allows says whether a count is not in the way of an attempt, however many others are under way.
func (a *Attempt) allows(r Reason, score float64) bool {
	limit := a.Limit(r)
	return limit == 0 || score+1 <= limit && score <= a.Enough(r)
}

// Answer is what Counters say to an attempt.
type Answer struct {
	Granted bool // it may be made, and has its places
	Known   bool // the user has logged in from this address lately
	// Scores are the counts that it is judged by, 0 for others, without the places that are taken.
	Scores [Reasons]float64
	Place  int64 // is for the Counters alone
}

// Judges says whether a count matters for the attempt: those of the address and the user do not where he is known.
func (n Answer) Judges(a *Attempt, r Reason) bool { return (r <= Pair || !n.Known) && a.Limit(r) > 0 }

// Possible says whether the parts of an answer agree.
func (n Answer) Possible(a *Attempt) bool {
	for r := range Reasons {
		s := n.Scores[r]
		if !(s >= 0 && s <= MaxScore) { // which NaN is not either
			return false
		}
		if n.Granted && n.Judges(a, r) && !a.allows(r, s) {
			return false
		}
	}
	return true
}

// MaxScore is how high a count gets.
const MaxScore = 1e6

// Outcome is what became of an attempt.
type Outcome int

// The outcomes.
const (
	Undecided Outcome = iota // nobody could say, which counts for nothing
	Refused
	Accepted
)

// negligible is a count that is as good as none: seven half-lives after a single failure.
const negligible = 1.0 / 128
