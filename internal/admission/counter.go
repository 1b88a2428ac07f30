package admission

import (
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

// Limits are how many connections there may be; 0 is no limit.
type Limits struct {
	Connections int // in all
	Unauthed    int // that have not logged in
	PerAddress  int // of these, from one IPv4 address or one IPv6 /64
}

// A Limit is one of them, by the name of its option without "gatehouse_".
type Limit string

// The limits.
const (
	Connections Limit = "connections"
	Unauthed    Limit = "unauthed_connections"
	PerAddress  Limit = "unauthed_connections_per_address"
)

// A Counter counts connections. Create it with [New].
type Counter struct {
	logger  *slog.Logger
	refused func(Limit)
	turns   chan struct{} // of handshakes

	// mu guards what is below.
	mu        sync.Mutex
	limits    Limits
	all       int
	strangers int
	addresses map[netip.Prefix]int // strangers
	silent    int                  // refusals since the last line of the log
	logged    time.Time
}

// New returns a Counter without limits. The logger gets a line about connections that were refused, once a second at most;
// refused is told of each, must not block, and may be nil.
func New(logger *slog.Logger, refused func(Limit)) *Counter {
	if refused == nil {
		refused = func(Limit) {}
	}
	return &Counter{
		logger:    logger,
		refused:   refused,
		turns:     make(chan struct{}, runtime.GOMAXPROCS(0)),
		addresses: make(map[netip.Prefix]int),
	}
}

// SetLimits replaces the limits for connections to come.
func (c *Counter) SetLimits(l Limits) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limits = l
}

// Counts are how many connections there are.
type Counts struct {
	Limits
	Connections int
	Unauthed    int
	Addresses   int // that those come from, each /64 for one
}

// Counts returns how many connections there are, and may be.
func (c *Counter) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Counts{c.limits, c.all, c.strangers, len(c.addresses)}
}

// Later is implemented by connections whose RemoteAddr waits for what the other side sends.
type Later interface{ AddrLater() }

// A Place is that of one connection. It must be given back by [Place.Leave]. Nil is that of a connection which nobody
// counts.
type Place struct {
	counter *Counter
	// What is below is guarded by counter.mu.
	from     netip.Prefix // not valid if it is not counted
	loggedIn bool
	left     bool
}

// Accept takes a place for a connection that was just accepted. If there is none, it returns nil, and the caller closes the
// connection. The address counts at once, unless the connection is a [Later]: then [Place.From] is still to be called.
func (c *Counter) Accept(nc net.Conn) *Place {
	var from netip.Prefix
	if _, later := nc.(Later); !later {
		from = prefix(nc.RemoteAddr())
	}
	return c.enter(from)
}

// AcceptUncounted is Accept for a connection whose address is not the client's.
func (c *Counter) AcceptUncounted() *Place { return c.enter(netip.Prefix{}) }

func (c *Counter) enter(from netip.Prefix) *Place {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch l := c.limits; {
	case full(l.Connections, c.all):
		c.refuse(Connections, l.Connections, from)
	case full(l.Unauthed, c.strangers):
		c.refuse(Unauthed, l.Unauthed, from)
	case from.IsValid() && full(l.PerAddress, c.addresses[from]):
		c.refuse(PerAddress, l.PerAddress, from)
	default:
		c.all++
		c.strangers++
		p := &Place{counter: c}
		p.count(from)
		return p
	}
	return nil
}

func full(limit, n int) bool { return limit > 0 && n >= limit }

// refuse tells of a connection that gets no place. c.mu must be held.
func (c *Counter) refuse(which Limit, limit int, from netip.Prefix) {
	c.refused(which)
	c.silent++
	now := time.Now()
	if now.Sub(c.logged) < time.Second {
		return
	}
	remote := "unknown"
	if from.IsValid() {
		remote = from.Addr().String()
		if !from.IsSingleIP() {
			remote = from.String()
		}
	}
	c.logger.Warn("connections refused", "limit", string(which), "allowed", limit, "remote", remote, "refused", c.silent)
	c.silent, c.logged = 0, now
}

// From counts the connection for the address of its client, which is known by now, instead of for another one. It returns
// false if there are too many from there: then the caller closes the connection. That of somebody who has logged in does
// not count.
func (p *Place) From(remote net.Addr) bool {
	if p == nil {
		return true
	}
	from := prefix(remote)
	c := p.counter
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.left || p.loggedIn || from == p.from || !from.IsValid() {
		return true
	}
	if full(c.limits.PerAddress, c.addresses[from]) {
		c.refuse(PerAddress, c.limits.PerAddress, from)
		return false
	}
	p.uncount()
	p.count(from)
	return true
}

// LoggedIn says that the client is no stranger any more.
func (p *Place) LoggedIn() {
	if p == nil {
		return
	}
	p.counter.mu.Lock()
	defer p.counter.mu.Unlock()
	p.known()
}

// Leave gives the place back. Calling it again does nothing.
func (p *Place) Leave() {
	if p == nil {
		return
	}
	p.counter.mu.Lock()
	defer p.counter.mu.Unlock()
	if !p.left {
		p.known()
		p.left = true
		p.counter.all--
	}
}

// The methods below need counter.mu to be held.

func (p *Place) known() {
	if p.loggedIn || p.left {
		return
	}
	p.loggedIn = true
	p.counter.strangers--
	p.uncount()
}

func (p *Place) count(from netip.Prefix) {
	if p.from = from; from.IsValid() {
		p.counter.addresses[from]++
	}
}

func (p *Place) uncount() {
	if !p.from.IsValid() {
		return
	}
	if p.counter.addresses[p.from]--; p.counter.addresses[p.from] == 0 {
		delete(p.counter.addresses, p.from)
	}
	p.from = netip.Prefix{}
}

// prefix is what an address counts for; not valid for what is no IP address.
func prefix(remote net.Addr) netip.Prefix {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address
	}
	return p
}
