package integration

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// A claim is what somebody shows who wants in. It says what verdict is right.
type claim string

const (
	rightPassword claim = "right password"
	wrongPassword claim = "wrong password"
	unknownUser   claim = "unknown user"
	freshClaim    claim = "fresh token"
	usedToken     claim = "used token"
	forgedToken   claim = "forged token"
)

func (c claim) good() bool    { return c == rightPassword || c == freshClaim }
func (c claim) byToken() bool { return c == freshClaim || c == usedToken || c == forgedToken }

// door is a host, and where it is reached.
type door struct {
	host, address, kind string // starttls or direct
	claims              []claim
}

// visit is one login from its beginning to its end.
type visit struct {
	door         door
	claim        claim
	began, ended time.Time
	outcome      string
	serial       string // of the certificate
}

// wrong says whether the visitor got a verdict, and not the right one: a yes for a no, or a no for a yes.
func (v *visit) wrong() bool {
	if v.claim.good() {
		return v.outcome == "not-authorized"
	}
	return v.outcome == letIn
}

// judged says whether the visitor got the right verdict.
func (v *visit) judged() bool {
	if v.claim.good() {
		return v.outcome == letIn
	}
	return v.outcome == "not-authorized"
}

// honest says whether the visitor was told that nobody can say now, or was told nothing.
func (v *visit) honest() bool {
	switch v.outcome {
	case "temporary-auth-failure", cutOff, notOpen, "stream error system-shutdown":
		return true
	}
	return false
}

// tortureKeys are those of every host's tokens.
const tortureSecret, tortureSeed = "a secret for torture, long enough", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

// load is people who log in, so many a second, whose right verdicts are known. Those who find nobody free to go for them
// do not come.
type load struct {
	t     *testing.T
	doors []door
	clock func() time.Time // that of whoever makes tokens

	over   chan struct{}
	people sync.WaitGroup

	mu     sync.Mutex // guards the rest
	visits []visit
	used   []usedBy // tokens that were accepted
}

type usedBy struct{ host, message string }

// maxGoers is how many logins are under way at a time.
const maxGoers = 256

// maxUsedShown is how many of the tokens that were accepted last are shown again.
const maxUsedShown = 2000

// startLoad begins. It goes on until stop.
func startLoad(t *testing.T, perSecond int, clock func() time.Time, doors []door) *load {
	l := &load{t: t, doors: doors, clock: clock, over: make(chan struct{})}
	goers := make(chan uint64, maxGoers)
	for range maxGoers {
		l.people.Go(func() {
			for seed := range goers {
				l.visit(rand.New(rand.NewPCG(seed, 1)))
			}
		})
	}
	l.people.Go(func() {
		defer close(goers)
		every := time.NewTicker(5 * time.Millisecond)
		defer every.Stop()
		began := time.Now()
		for n := uint64(0); ; {
			select {
			case <-l.over:
				return
			case now := <-every.C:
				for due := uint64(now.Sub(began).Seconds() * float64(perSecond)); n < due; n++ {
					select {
					case goers <- n:
					default:
					}
				}
			}
		}
	})
	return l
}

// stop waits until those under way are done.
func (l *load) stop() {
	close(l.over)
	l.people.Wait()
}

func (l *load) visit(r *rand.Rand) {
	d := l.doors[r.IntN(len(l.doors))]
	v := visit{door: d, claim: d.claims[r.IntN(len(d.claims))], began: time.Now()}
	user := r.IntN(users)
	name, mechanism := userName(user), "PLAIN"
	var message string
	switch v.claim {
	case rightPassword:
		message = plain(name, password(d.host, user, 0))
	case wrongPassword:
		message = plain(name, password(d.host, user, 1))
	case unknownUser:
		message = plain("nobody", password(d.host, user, 0))
	default:
		mechanism = "X-TOKEN"
		message = l.token(r, d.host, name, v.claim)
	}
	if message == "" { // no token was used yet
		return
	}
	v.outcome, v.serial = enter(d, mechanism, message)
	v.ended = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.visits = append(l.visits, v)
	// What was cut off may have been used as well; such a token may not be shown again as a fresh one, and nobody does.
	if mechanism == "X-TOKEN" && v.outcome == letIn {
		if len(l.used) == 2*maxUsedShown {
			l.used = append(l.used[:0], l.used[maxUsedShown:]...)
		}
		l.used = append(l.used, usedBy{d.host, message})
	}
}

// token is an X-TOKEN message, or empty if it should be a used one of a host that has none.
func (l *load) token(r *rand.Rand, host, user string, c claim) string {
	plan := &tokenPlan{Nonce: fmt.Sprintf("%016d%016d", r.Int64N(1e16), rand.Int64N(1e16)), SignJID: user + "@" + host}
	switch c {
	case usedToken:
		l.mu.Lock()
		defer l.mu.Unlock()
		// Young ones are good but for having been used.
		for range 20 {
			if len(l.used) == 0 {
				return ""
			}
			if u := l.used[max(0, len(l.used)-1-r.IntN(maxUsedShown))]; u.host == host {
				return u.message
			}
		}
		return ""
	case forgedToken:
		plan.Flip = 1 + r.IntN(32)
	}
	return plain(user, plan.mint(l.t, tortureSecret, tortureSeed, l.clock()))
}

// enter is one login up to the answer.
func enter(d door, mechanism, message string) (outcome, serial string) {
	conn, err := xmpptest.Dial(d.address)
	if err != nil {
		return outcomeOf(err), ""
	}
	defer func() { _ = conn.Close() }()
	conn.Timeout = patience
	config := insecureTLS(d.host)
	if d.kind == "direct" {
		if err := conn.Handshake(config); err != nil {
			return outcomeOf(err), ""
		}
	}
	if _, err := conn.Secure(d.host, config); err != nil {
		return outcomeOf(err), ""
	}
	serial = serialOf(conn)
	outcome, err = attempt(conn, mechanism, message)
	if err != nil {
		return outcomeOf(err), serial
	}
	return outcomeIn(outcome), serial
}

// since returns the visits that began at a time or later.
func (l *load) since(at time.Time) []visit {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []visit
	for _, v := range l.visits {
		if !v.began.Before(at) {
			found = append(found, v)
		}
	}
	return found
}

// take returns the visits that nobody has taken yet.
func (l *load) take() []visit {
	l.mu.Lock()
	defer l.mu.Unlock()
	visits := l.visits
	l.visits = nil
	return visits
}

// countOutcomes counts outcomes by claim.
func countOutcomes(visits []visit) string {
	counts := make(map[string]int)
	for _, v := range visits {
		counts[fmt.Sprintf("%s at %s: %s", v.claim, v.door.host, v.outcome)]++
	}
	text := ""
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		text += fmt.Sprintf("\n  %6d %s", counts[what], what)
	}
	return text
}
