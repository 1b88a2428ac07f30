package server

import "time"

// Observer is told what happens, for statistics. Its methods are called by the
// goroutines of the connections and must not block.
type Observer interface {
	// Login tells of an attempt that is over, as its line in the log does.
	Login(Login)
	// Handshake tells of a TLS handshake; err is nil if it succeeded.
	Handshake(took time.Duration, err error)
	// Limit tells of a connection that was ended since its client went beyond it.
	Limit(Limit)
}

// Login is one attempt to log in.
type Login struct {
	Time time.Time // when it was over
	Host string
	// User and Mechanism are as the client has them, cut to a bounded length;
	// User is empty where the attempt failed before it was known.
	User, Mechanism string
	Remote          string // address and port
	TLS             string // the version, or "none"
	Verdict         Verdict
	Condition       string // of the failure (RFC 6120 §6.5), or empty
	Cause           string // for people, or empty
	Duration        time.Duration
}

// Verdict is the outcome of an attempt to log in.
type Verdict string

// The verdicts. Undecided is what nobody could say.
const (
	Accepted  Verdict = "accepted"
	Refused   Verdict = "refused"
	Undecided Verdict = "undecided"
)

// State is what a connection is at.
type State int

// The states, in the order in which a connection goes through them. With
// STARTTLS it goes back from StateLogin to StateHandshake once.
const (
	StateHandshake State = iota // TLS
	StateLogin                  // stream negotiation and SASL
	StateSession                // logged in, and served here
	StateRelay                  // logged in, and served by the server behind
	states         int   = iota
)

// String returns one lower-case word.
func (s State) String() string { return [states]string{"handshake", "login", "session", "relay"}[s] }

// Connections returns how many connections there are in each state.
func (s *Server) Connections() map[State]int {
	counts := make(map[State]int, states)
	for state := range s.counts {
		counts[State(state)] = int(s.counts[state].Load())
	}
	return counts
}

// enter moves the connection to another state.
func (c *conn) enter(state State) {
	c.server.counts[c.state].Add(-1)
	c.state = state
	c.server.counts[state].Add(1)
}
