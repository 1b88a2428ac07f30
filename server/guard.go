package server

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"gatehouse.im/gatehouse/saslmech"
)

// Guard keeps people from guessing passwords.
type Guard interface {
	// Try says whether a judge may be asked about a user's secret, by a client at an address that has waited so long for
	// this attempt already: yes, and done must be called with the judge's outcome; or after wait, if that is positive, it is
	// to be asked again; or no, for err. The address is the zero Addr where the client has none, and the error is logged.
	// Both Try and done may ask others, and block for 250 ms at most.
	Try(from netip.Addr, user, host, secret string, waited time.Duration) (done func(ok bool, err error), wait time.Duration, err error)
}

// maxGuarded is how often a stream may be turned away by the guard before it is
// ended.
const maxGuarded = 2

const textGuarded = "There were too many failed attempts to log in. Try again later."

var (
	errDelayed  = errors.New("the time for the login would have been over before the delay that the guard wants")
	errGone     = errors.New("somebody else has got the place of this connection meanwhile")
	errNoAnswer = errors.New("the judge did not return")
)

// admit waits until the host's guard lets the judge be asked; nobody is asked
// meanwhile. done is to be called with the outcome.
func (c *conn) admit(a *attempt, cred saslmech.Credentials, secret string) (done func(bool, error), fail *saslmech.Failure) {
	var waited time.Duration
	for c.host.Guard != nil {
		done, wait, err := c.host.Guard.Try(c.address(), cred.Username, c.host.Name, secret, waited)
		if err != nil {
			a.guarded = true
			c.guarded++
			return nil, &saslmech.Failure{Condition: saslmech.TemporaryAuthFailure, Cause: err, Text: textGuarded}
		}
		if wait <= 0 {
			a.delayed = waited
			return done, nil
		}
		if err := c.pause(wait); err != nil {
			return nil, &saslmech.Failure{Condition: saslmech.TemporaryAuthFailure, Cause: err, Text: textTemporary}
		}
		waited += wait
		if c.refresh() != nil || !slices.Contains(c.mechanisms(), cred.Mechanism) {
			return nil, &saslmech.Failure{Condition: saslmech.TemporaryAuthFailure, Cause: errNotOffered, Text: textTemporary}
		}
	}
	return func(bool, error) {}, nil
}

// ask asks a judge, and tells the guard what came of it, come what may.
func (c *conn) ask(ctx context.Context, judge Authenticator, user, secret string, done func(bool, error)) (ok bool, err error) {
	err = errNoAnswer
	defer func() { done(ok, err) }()
	c.asked = time.Now()
	ok, err = judge.Authenticate(ctx, user, c.host.Name, secret)
	return ok, err
}

// pause waits. It returns errDelayed, at once, where the time for the login does
// not allow it, and when the connection is to end; and errGone if it is ended.
func (c *conn) pause(d time.Duration) error {
	if time.Until(c.deadline) < d {
		return errDelayed
	}
	if c.sleep(d, c.place.Gone()) {
		return nil
	}
	select {
	case <-c.place.Gone():
		return errGone
	default:
		return errDelayed
	}
}

// address is where the client is, whatever stands between.
func (c *conn) address() netip.Addr {
	if tcp, ok := c.raw.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
