package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Upstream opens the legs of one host. It is safe for concurrent use.
type Upstream struct {
	config *Config
	tls    *tls.Config
	stop   context.CancelFunc
	done   chan struct{} // closed when the watcher has ended
	wake   chan struct{} // an address went to rest
	turns  turns

	mu        sync.Mutex // guards what follows
	addresses []health
	preferred int    // the one that worked last
	host      string // whom to probe for
}

// New returns an Upstream whose addresses are all believed to work. It dials
// nothing. [Upstream.Close] ends it.
func New(c Config) *Upstream {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	u := &Upstream{
		config:    &c,
		tls:       c.tlsConfig(),
		stop:      stop,
		done:      make(chan struct{}),
		wake:      make(chan struct{}, 1),
		turns:     make(turns, maxOpening),
		addresses: make([]health, len(c.Addresses)),
	}
	for i, a := range c.Addresses {
		u.addresses[i].Stats = Stats{Address: a, Up: true}
	}
	go u.watch(ctx)
	return u
}

// Close ends the probing of addresses that rest, and waits for that. Legs stay
// open, and Open goes on working: a login may still be under way that began
// before a reload.
func (u *Upstream) Close() {
	u.stop()
	<-u.done
}

// Stats returns what is known of each address, in the order of the config.
func (u *Upstream) Stats() []Stats {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := make([]Stats, len(u.addresses))
	for i := range u.addresses {
		all[i] = u.addresses[i].Stats
	}
	return all
}

// Open logs in at the upstream as user@host, both prepared, and returns the
// connection there, a *net.TCPConn, *net.UnixConn or *tls.Conn without a
// deadline. The next bytes to send are a stream header of the client's, and
// nothing that the server sent before them is held anywhere. The caller closes
// it.
//
// password is handed to Config.Credentials. client and local are the two ends of
// the client's connection, for the PROXY header; they may be nil.
//
// Open waits until ctx ends for its turn, if many are being opened, and then
// blocks until Config.Timeout is over or ctx ends. Its errors wrap
// [ErrDown], [ErrSlow], [ErrRefused], [ErrProtocol], [ErrInsecure], [ErrName],
// [ErrCredentials] or the error of ctx; those of several addresses are joined.
func (u *Upstream) Open(ctx context.Context, user, host, password string, client, local net.Addr) (net.Conn, error) {
	if !isStable(user) {
		return nil, ErrName
	}
	if err := u.turn(ctx); err != nil {
		return nil, err
	}
	defer u.turns.end()
	deadline := time.Now().Add(u.config.Timeout)
	hurried := false
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline, hurried = d, true
	}
	var room [8]int
	order := u.order(room[:0])
	var failure error
	for n, i := range order {
		began := time.Now()
		left := deadline.Sub(began)
		if left <= 0 {
			break
		}
		g := &leg{
			config:   u.config,
			tls:      u.tls,
			login:    login{user: user, host: host, password: password, client: client, local: local},
			patience: began.Add(left / time.Duration(len(order)-n)),
			deadline: deadline,
		}
		u.began(i)
		conn, err := g.open(ctx, u.config.Addresses[i])
		if err == nil {
			u.loggedIn(i, host, time.Since(began))
			return conn, nil
		}
		if ctx.Err() != nil {
			err = ctx.Err() // what the leg says comes of this
		}
		err = u.named(i, err)
		failure = join(failure, err)
		switch {
		case ctx.Err() != nil, errors.Is(err, ErrCredentials):
			u.gaveUp(i)
			return nil, failure
		case errors.Is(err, ErrRefused):
			u.refused(i, host)
			return nil, failure
		case hurried && errors.Is(err, ErrSlow):
			u.gaveUp(i) // it had less time than it has a right to
		default:
			u.fault(i, host, began, err)
		}
		if g.sent {
			return nil, failure
		}
	}
	if failure == nil {
		failure = ErrSlow // ctx came with nothing left
	}
	return nil, failure
}

func (u *Upstream) named(i int, err error) error {
	return fmt.Errorf("%s: %w", u.config.Addresses[i], err)
}

// join is errors.Join in one line, as logs want it.
func join(before, err error) error {
	if before == nil {
		return err
	}
	return fmt.Errorf("%w; %w", before, err)
}

// order appends the addresses in the order in which to try them.
func (u *Upstream) order(list []int) []int {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.addresses[u.preferred].Up {
		list = append(list, u.preferred)
	}
	for _, up := range []bool{true, false} {
		for i := range u.addresses {
			if u.addresses[i].Up == up && (!up || i != u.preferred) {
				list = append(list, i)
			}
		}
	}
	return list
}

func (u *Upstream) began(i int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.addresses[i].Dials++
	u.addresses[i].Opening++
}

func (u *Upstream) gaveUp(i int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.addresses[i].Opening--
}

func (u *Upstream) loggedIn(i int, host string, d time.Duration) {
	u.mu.Lock()
	h := &u.addresses[i]
	h.Opening--
	h.took(d)
	u.preferred = i
	rose := h.answered(time.Now(), true)
	u.mu.Unlock()
	u.logUp(rose, i, host)
}

func (u *Upstream) refused(i int, host string) {
	u.mu.Lock()
	h := &u.addresses[i]
	h.Opening--
	h.Refused++
	rose := h.answered(time.Now(), false)
	u.mu.Unlock()
	u.logUp(rose, i, host)
}

func (u *Upstream) fault(i int, host string, began time.Time, err error) {
	u.mu.Lock()
	h := &u.addresses[i]
	h.Opening--
	h.Faults++
	fell := h.fault(began, time.Now(), err)
	u.host = host
	u.mu.Unlock()
	if !fell {
		return
	}
	select {
	case u.wake <- struct{}{}:
	default:
	}
	u.config.Logger.Warn("upstream down", slog.String("host", host),
		slog.String("upstream", u.config.Addresses[i].String()), slog.String("cause", err.Error()))
}

func (u *Upstream) logUp(rose bool, i int, host string) {
	if rose {
		u.config.Logger.Info("upstream up", slog.String("host", host),
			slog.String("upstream", u.config.Addresses[i].String()))
	}
}
