package upstream

import (
	"context"
	"time"
)

// watch probes the addresses that rest, when their rest is over, until ctx ends.
// So a login need not spend its time to find out that one is still down.
func (u *Upstream) watch(ctx context.Context) {
	defer close(u.done)
	for {
		i, at := u.nextProbe()
		if i < 0 {
			select {
			case <-ctx.Done():
				return
			case <-u.wake:
			}
			continue
		}
		timer := time.NewTimer(time.Until(at))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-u.wake: // another one may be due earlier
			timer.Stop()
		case <-timer.C:
			u.probe(ctx, i)
		}
	}
}

// nextProbe returns which address is to be probed next, and when; -1 is none.
func (u *Upstream) nextProbe() (next int, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	next = -1
	for i := range u.addresses {
		if h := &u.addresses[i]; !h.Up && (next < 0 || h.until.Before(at)) {
			next, at = i, h.until
		}
	}
	return next, at
}

// probe looks whether a server answers at an address, unless a login has found
// out already.
func (u *Upstream) probe(ctx context.Context, i int) {
	u.mu.Lock()
	host, up := u.host, u.addresses[i].Up
	u.mu.Unlock()
	if up {
		return
	}
	began := time.Now()
	deadline := began.Add(u.config.Timeout)
	g := &leg{config: u.config, tls: u.tls, login: login{host: host}, patience: deadline, deadline: deadline}
	_, err := g.look(ctx, u.config.Addresses[i])
	if ctx.Err() != nil {
		return
	}
	u.mu.Lock()
	h := &u.addresses[i]
	rose := false
	if err == nil {
		rose = h.answered(time.Now(), false)
	} else {
		h.fault(began, time.Now(), u.named(i, err))
	}
	u.mu.Unlock()
	u.logUp(rose, i, host)
}
