package credentials

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// window is the time in which every bucket is full again, so that one unused for so long need not be kept.
	window = time.Minute
	// triesBurst wrong credentials may come from one address at once, and as many in a window then.
	triesBurst = 60
	// maxAddresses bounds the addresses whose wrong credentials are counted, in one window. The rest share one bucket.
	maxAddresses = 10000
	// totalRate tokens are made a second, and totalBurst at once: more than 31000 users cannot be counted in one window.
	totalRate, totalBurst = 500, 1000
)

// buckets are token buckets by name, kept for one window at least and two at most after their last use.
type buckets struct {
	max int // in one window; 0 for as many as come

	mu                sync.Mutex // guards what follows
	current, previous map[string]*rate.Limiter
	turned            time.Time
}

// get returns the bucket of a name, which holds burst and is full after a window.
func (b *buckets) get(name string, burst int, now time.Time) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	bucket := b.find(name, now)
	if bucket == nil {
		if b.max > 0 && len(b.current) >= b.max {
			name = ""
			bucket = b.find(name, now)
		}
		if bucket == nil {
			bucket = rate.NewLimiter(perWindow(burst), burst)
		}
		b.current[name] = bucket
	}
	if bucket.Burst() != burst { // the config has changed
		bucket.SetLimitAt(now, perWindow(burst))
		bucket.SetBurstAt(now, burst)
	}
	return bucket
}

// empty says for how long the bucket of a name has nothing; 0 if it has, or there is none.
func (b *buckets) empty(name string, now time.Time) time.Duration {
	b.mu.Lock()
	bucket := b.find(name, now)
	if bucket == nil && b.max > 0 && len(b.current) >= b.max {
		bucket = b.find("", now)
	}
	b.mu.Unlock()
	if bucket == nil {
		return 0
	}
	return pause(bucket, now)
}

// find returns the bucket of a name, if there is one. b.mu is held.
func (b *buckets) find(name string, now time.Time) *rate.Limiter {
	if since := now.Sub(b.turned); since >= window || b.current == nil {
		b.previous, b.current, b.turned = b.current, make(map[string]*rate.Limiter), now
		if since >= 2*window {
			b.previous = nil
		}
	}
	if bucket := b.current[name]; bucket != nil {
		return bucket
	}
	bucket := b.previous[name]
	if bucket != nil {
		b.current[name] = bucket
	}
	return bucket
}

func perWindow(n int) rate.Limit { return rate.Limit(float64(n) / window.Seconds()) }

// pause says for how long a bucket has nothing; 0 if it has.
func pause(bucket *rate.Limiter, now time.Time) time.Duration {
	missing := 1 - bucket.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / float64(bucket.Limit()) * float64(time.Second))
}

// addressOf is what wrong credentials are counted by: an IPv4 address, or an IPv6 network of 64 bits, which is what one
// customer has. Those who come by a unix socket are one.
func addressOf(remote string) string {
	ip, err := netip.ParseAddr(remote)
	if err != nil {
		at, err := netip.ParseAddrPort(remote)
		if err != nil {
			return "unix"
		}
		ip = at.Addr()
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		network, _ := ip.Prefix(64)
		return network.String()
	}
	return ip.String()
}
