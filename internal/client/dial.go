package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"
)

// Resolver is the part of *net.Resolver that finds a server.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// errNotServed is what an SRV record with the target "." says (RFC 2782).
var errNotServed = errors.New("its DNS says that it has no XMPP service for clients")

// asciiHost is the domain as DNS, SNI and certificates have it (RFC 5890).
func asciiHost(host string) string {
	if a, err := idna.Lookup.ToASCII(host); err == nil {
		return a
	}
	return host
}

// find returns where to connect, best first: the SRV records of both services
// as one list (XEP-0368 §2), or else the host's own name (RFC 6120 §3.2.2).
// Within one priority direct TLS comes first.
func (l *login) find(ctx context.Context) ([]Target, error) {
	if target, err := l.target(); err != nil || target.Address != "" {
		return []Target{target}, err
	}
	host := asciiHost(l.Host)
	fallback := []Target{{net.JoinHostPort(host, l.defaultPort()), l.DirectTLS}}
	if net.ParseIP(strings.Trim(host, "[]")) != nil || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		// Such names are not in the DNS (RFC 6761 §6.3).
		fallback[0].Address = net.JoinHostPort(strings.Trim(host, "[]"), l.defaultPort())
		l.trace(Found{Targets: fallback})
		return fallback, nil
	}
	type record struct {
		Target
		priority uint16
	}
	var records []record
	var trouble error
	for _, service := range []string{"xmpps-client", "xmpp-client"} {
		direct := service == "xmpps-client"
		if direct && l.Clear || !direct && l.DirectTLS {
			continue
		}
		_, srv, err := l.resolver().LookupSRV(ctx, service, "tcp", host)
		var dns *net.DNSError
		if err != nil && (!errors.As(err, &dns) || !dns.IsNotFound) {
			trouble = err
		}
		for _, r := range srv {
			// "." says that there is no such service; the other may be there.
			if name := strings.TrimSuffix(r.Target, "."); name != "" {
				address := net.JoinHostPort(name, strconv.Itoa(int(r.Port)))
				records = append(records, record{Target{address, direct}, r.Priority})
			} else if !direct {
				trouble = errNotServed
			}
		}
	}
	if len(records) == 0 {
		if errors.Is(trouble, errNotServed) {
			return nil, trouble
		}
		l.trace(Found{Targets: fallback, Err: safe(trouble)})
		return fallback, nil
	}
	slices.SortStableFunc(records, func(a, b record) int { return cmp.Compare(a.priority, b.priority) })
	targets := make([]Target, len(records))
	for i, r := range records {
		targets[i] = r.Target
	}
	l.trace(Found{Targets: targets, SRV: true})
	return targets, nil
}

func (l *login) resolver() Resolver {
	if l.Resolver != nil {
		return l.Resolver
	}
	return net.DefaultResolver
}

// maxTargets bounds how many SRV records are tried.
const maxTargets = 10

// connect opens a TCP connection to the first target that takes one. No target
// may spend all the time.
func (l *login) connect(ctx context.Context, targets []Target) (net.Conn, Target, error) {
	targets = targets[:min(len(targets), maxTargets)]
	var last error
	for i, target := range targets {
		started := time.Now()
		dialer := net.Dialer{Timeout: dialTime(ctx, len(targets)-i)}
		conn, err := dialer.DialContext(ctx, "tcp", target.Address)
		if err == nil {
			l.trace(Connected{Target: target, Remote: conn.RemoteAddr(), Took: time.Since(started)})
			return conn, target, nil
		}
		if ctx.Err() != nil {
			return nil, target, fmt.Errorf("%s: %w", target.Address, context.Cause(ctx))
		}
		last = fmt.Errorf("%s: %w", target.Address, safe(err))
		l.trace(Unreachable{Target: target, Err: safe(err)})
	}
	return nil, Target{}, last
}

// dialTime is the share of the time left for one of n targets; zero, which is no
// limit of its own, without a deadline.
func dialTime(ctx context.Context, n int) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(time.Until(deadline)/time.Duration(n), time.Millisecond)
}
