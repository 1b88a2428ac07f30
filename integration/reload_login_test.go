package integration

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// crowd is those who log in while a config changes.
type crowd struct {
	t       *testing.T
	history *history
	score   score

	starttls, direct, extra, web string // addresses of ports

	mu   sync.Mutex // guards used
	used []try      // by tokens that were accepted
}

// users is how many accounts each host has.
const users = 8

func userName(n int) string { return fmt.Sprintf("user%d", n) }

// password is the password of a user in the version-th edition of the accounts.
func password(host string, user, version int) string {
	return fmt.Sprintf("%s-%d-%d", host, user, version)
}

func edition(host string, version int) map[string]string {
	table := make(map[string]string, users)
	for n := range users {
		table[userName(n)] = password(host, n, version)
	}
	return table
}

// run makes one login after another, each when tick lets it, until tick is closed.
func (c *crowd) run(seed uint64, tick <-chan time.Time) {
	r := rand.New(rand.NewPCG(seed, seed))
	for range tick {
		newest, first := c.history.now()
		a := c.choose(r, newest)
		began := time.Now()
		c.login(r, a)
		took := time.Since(began)
		c.score.add(c.history.since(first), a, took)
	}
}

var hostsOfCrowd = []string{genHost, genHost, genHost, ejdHost, ejdHost, tokHost, tokHost, bothHost, bothHost, bothHost, farHost, farHost, comeHost}

// choose thinks up somebody who wants in.
func (c *crowd) choose(r *rand.Rand, w *world) *try {
	a := &try{host: hostsOfCrowd[r.IntN(len(hostsOfCrowd))], extraPort: r.IntN(12) == 0}
	s := w.sites[a.host]
	n := r.IntN(users)
	a.user, a.mechanism = userName(n), "PLAIN"
	byToken := a.host == tokHost || a.host == bothHost && r.IntN(2) == 0
	if r.IntN(20) == 0 {
		byToken = !byToken // with a mechanism that most likely is not offered
	}
	if byToken {
		a.mechanism = "X-TOKEN"
		c.chooseToken(r, a, s)
		return a
	}
	switch r.IntN(8) {
	case 0:
		a.secret = "nobody's password"
	case 1:
		a.secret = password(a.host, (n+1)%users, 0) // somebody else's, of yore
	case 2:
		// What was right, or will be, near the next change.
		a.secret = neighbour(r, s.accounts[a.user])
	default:
		a.secret = s.accounts[a.user]
	}
	if a.secret == "" {
		a.secret = "of a host that is not there"
	}
	return a
}

// neighbour changes the number of the edition in a password by one.
func neighbour(r *rand.Rand, secret string) string {
	var n int
	at := len(secret)
	for at > 0 && secret[at-1] >= '0' && secret[at-1] <= '9' {
		at--
	}
	if _, err := fmt.Sscan(secret[at:], &n); err != nil {
		return secret
	}
	return fmt.Sprintf("%s%d", secret[:at], n-1+2*r.IntN(2))
}

func (c *crowd) chooseToken(r *rand.Rand, a *try, s site) {
	kind := r.IntN(8)
	if kind == 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.used) > 0 {
			extra := a.extraPort
			*a = c.used[r.IntN(len(c.used))]
			a.used, a.extraPort, a.outcome, a.serial = true, extra, "", ""
			return
		}
	}
	a.key = tokenKeys{a.host, "a secret of nobody, long enough", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}
	if len(s.secrets) > 0 && kind > 1 {
		// Not always the newest: after a rotation others are about.
		a.key.secret = s.secrets[r.IntN(len(s.secrets))]
		a.key.seed = s.seeds[r.IntN(len(s.seeds))]
	}
	plan := &tokenPlan{Nonce: fmt.Sprintf("%016d%016d", r.Int64N(1e16), r.Int64N(1e16)), SignJID: a.user + "@" + a.host}
	if kind == 2 {
		a.spoilt, plan.Flip = true, 1+r.IntN(32)
	}
	a.secret = plan.mint(c.t, a.key.secret, a.key.seed, time.Now())
}

// login does what was thought up, and notes the outcome.
func (c *crowd) login(r *rand.Rand, a *try) {
	address, kind := c.starttls, "starttls"
	switch {
	case a.extraPort:
		address = c.extra
	case r.IntN(6) == 0:
		address, kind = c.web, "WebSocket"
	case r.IntN(2) == 0:
		address, kind = c.direct, "direct"
	}
	a.outcome = c.attempt(a, address, kind, r.IntN(10) == 0)
	if a.outcome == letIn && a.mechanism == "X-TOKEN" {
		c.mu.Lock()
		c.used = append(c.used, *a)
		c.mu.Unlock()
	}
}

// attempt is one login from the connection to the end. If it is let in, it may bind a resource and ask for a ping before
// it goes.
func (c *crowd) attempt(a *try, address, kind string, bind bool) string {
	config := insecureTLS(a.host)
	config.VerifyConnection = func(state tls.ConnectionState) error {
		a.serial = state.PeerCertificates[0].SerialNumber.String()
		return nil
	}
	if kind == "WebSocket" {
		return c.overWebSocket(a, address, config, bind)
	}
	conn, err := xmpptest.Dial(address)
	if err != nil {
		return outcomeOf(err)
	}
	defer func() { _ = conn.Close() }()
	conn.Timeout = patience
	if kind == "direct" {
		if err := conn.Handshake(config); err != nil {
			return outcomeOf(err)
		}
	}
	if _, err := conn.Secure(a.host, config); err != nil {
		return outcomeOf(err)
	}
	return c.enter(a, conn, bind, func() error {
		_, err := conn.Open(a.host)
		return err
	})
}

// overWebSocket is the same over a WebSocket.
func (c *crowd) overWebSocket(a *try, address string, config *tls.Config, bind bool) string {
	config.NextProtos = []string{"http/1.1"}
	conn, err := webDial{secure: true, host: a.host, tls: config}.client(c.t, address)
	if err != nil {
		return outcomeOf(err)
	}
	defer conn.ws.cut()
	open := func() error {
		_, err := conn.open(a.host)
		return err
	}
	if err := open(); err != nil {
		return outcomeOf(err)
	}
	return c.enter(a, conn.Client, bind, open)
}

// enter is the login on a stream that is secure, and what comes after it.
func (c *crowd) enter(a *try, conn *xmpptest.Client, bind bool, reopen func() error) string {
	outcome, err := attempt(conn, a.mechanism, plain(a.user, a.secret))
	if err != nil {
		return outcomeOf(err)
	}
	if outcome != letIn {
		return outcomeIn(outcome)
	}
	if !bind {
		return outcome
	}
	if err := reopen(); err != nil {
		return outcomeOf(err)
	}
	if _, err := conn.Bind(""); err != nil {
		return outcomeOf(err)
	}
	if err := conn.Ping(); err != nil {
		return outcomeOf(err)
	}
	return outcome
}

var streamErrorIn = regexp.MustCompile(`<stream:error[^>]*><([a-z-]+)`)

// outcomeOf says what became of a login that did not get as far as an answer to <auth/>.
func outcomeOf(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return notOpen
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return cutOff
	}
	return outcomeIn(err.Error())
}

// outcomeIn finds the stream error in what came instead of something else.
func outcomeIn(text string) string {
	if found := streamErrorIn.FindStringSubmatch(text); found != nil {
		return "stream error " + found[1]
	}
	return text
}
