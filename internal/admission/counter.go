package admission

import (
	"container/list"
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
	turns   *turns // of handshakes

	// mu guards what is below.
	mu         sync.Mutex
	limits     Limits
	all        int
	strangers  [3]list.List         // of *Place, oldest first, by what they are at
	addresses  map[netip.Prefix]int // strangers
	refusals   tally
	expulsions tally
}

// lingering is who has not logged in after so long. When there are too many connections he goes, or those who never log in
// would have all the places that users leave. Others are let finish, or of many who come at once nobody would get in.
const lingering = 5 * time.Second

// What strangers are at.
const (
	plain  = iota // without TLS yet
	secure        // with it
	judged        // somebody is asked about what they have sent
)

// A tally is what the log has not told of yet.
type tally struct {
	count int
	told  time.Time
}

// due counts one more. Once a second it says how many there are, to be told.
func (t *tally) due(now time.Time) (count int) {
	t.count++
	if now.Sub(t.told) < time.Second {
		return 0
	}
	count, t.count, t.told = t.count, 0, now
	return count
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
		turns:     newTurns(runtime.GOMAXPROCS(0)),
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
	return Counts{c.limits, c.all, c.unauthed(), len(c.addresses)}
}

// Later is implemented by connections whose RemoteAddr waits for what the other side sends.
type Later interface{ AddrLater() }

// A Place is that of one connection. It must be given back by [Place.Leave]. Nil is that of a connection which nobody
// counts.
type Place struct {
	counter *Counter
	conn    net.Conn
	since   time.Time
	taken   chan struct{} // closed when somebody else has it
	// What is below is guarded by counter.mu.
	from  netip.Prefix // not valid if it is not counted
	queue *list.List   // of strangers; nil for whoever has logged in
	entry *list.Element
	at    int // plain or secure
	left  bool
}

// Accept takes a place for a connection that was just accepted. If there is none, it returns nil, and the caller closes the
// connection. The address counts at once, unless the connection is a [Later]: then [Place.From] is still to be called.
//
// When there are too many strangers, the one who has been there longest goes: the connection that its place was taken for is
// closed, here, by whoever accepts the next. So it is when there are too many connections, if that stranger lingers.
func (c *Counter) Accept(nc net.Conn) *Place {
	var from netip.Prefix
	if _, later := nc.(Later); !later {
		from = prefix(nc.RemoteAddr())
	}
	return c.enter(nc, from)
}

// AcceptUncounted is Accept for a connection whose address is not the client's.
func (c *Counter) AcceptUncounted(nc net.Conn) *Place { return c.enter(nc, netip.Prefix{}) }

func (c *Counter) enter(nc net.Conn, from netip.Prefix) *Place {
	p, expelled := c.enterAt(nc, from, time.Now())
	for _, old := range expelled {
		_ = old.conn.Close()
	}
	return p
}

func (c *Counter) enterAt(nc net.Conn, from netip.Prefix, now time.Time) (p *Place, expelled []*Place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.limits
	if from.IsValid() && full(l.PerAddress, c.addresses[from]) {
		c.refuse(PerAddress, l.PerAddress, from, now)
		return nil, nil
	}
	if full(l.Connections, c.all) {
		if oldest := c.oldest(); oldest == nil || now.Sub(oldest.since) < lingering {
			c.refuse(Connections, l.Connections, from, now)
			return nil, nil
		}
		expelled = append(expelled, c.expel(Connections, l.Connections, now))
	}
	for full(l.Unauthed, c.unauthed()) {
		expelled = append(expelled, c.expel(Unauthed, l.Unauthed, now))
	}
	p = &Place{counter: c, conn: nc, since: now, taken: make(chan struct{})}
	c.all++
	p.wait(&c.strangers[plain])
	p.count(from)
	return p, expelled
}

// unauthed is how many strangers there are. c.mu must be held.
func (c *Counter) unauthed() (n int) {
	for i := range c.strangers {
		n += c.strangers[i].Len()
	}
	return n
}

// oldest is the stranger who has been there longest, of those who are the most; nil if there is none. So those without TLS,
// those with it and those who are judged have a third of the places each, if they need them: whoever has got through a
// handshake can only be driven out by those who have as well, and for them that is work; and who waits for a slow script is
// driven out by nobody who lingers. c.mu must be held.
func (c *Counter) oldest() *Place {
	queue := &c.strangers[plain]
	for i := range c.strangers {
		if c.strangers[i].Len() > queue.Len() {
			queue = &c.strangers[i]
		}
	}
	if queue.Len() == 0 {
		return nil
	}
	return queue.Front().Value.(*Place)
}

// expel takes the oldest stranger's place. There must be one, and c.mu be held.
func (c *Counter) expel(which Limit, limit int, now time.Time) *Place {
	p := c.oldest()
	from := p.from
	p.leave()
	close(p.taken)
	c.refused(which)
	if count := c.expulsions.due(now); count > 0 {
		c.logger.Warn("strangers had to go", "limit", string(which), "allowed", limit,
			"remote", remote(from), "after", now.Sub(p.since), "ended", count)
	}
	return p
}

func full(limit, n int) bool { return limit > 0 && n >= limit }

// refuse tells of a connection that gets no place. c.mu must be held.
func (c *Counter) refuse(which Limit, limit int, from netip.Prefix, now time.Time) {
	c.refused(which)
	if count := c.refusals.due(now); count > 0 {
		c.logger.Warn("connections refused", "limit", string(which), "allowed", limit, "remote", remote(from), "refused", count)
	}
}

// remote is an address for the log.
func remote(from netip.Prefix) string {
	switch {
	case !from.IsValid():
		return "unknown"
	case from.IsSingleIP():
		return from.Addr().String()
	}
	return from.String()
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
	if p.queue == nil || from == p.from || !from.IsValid() {
		return true
	}
	if full(c.limits.PerAddress, c.addresses[from]) {
		c.refuse(PerAddress, c.limits.PerAddress, from, time.Now())
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

// Leave gives the place back. Calling it again does nothing, nor does it once somebody else has the place.
func (p *Place) Leave() {
	if p == nil {
		return
	}
	p.counter.mu.Lock()
	defer p.counter.mu.Unlock()
	p.leave()
}

// Secure says that a TLS handshake is over: one here, or with a proxy in front.
func (p *Place) Secure() {
	if p == nil {
		return
	}
	p.counter.mu.Lock()
	defer p.counter.mu.Unlock()
	p.at = secure
	if p.queue == &p.counter.strangers[plain] {
		p.wait(&p.counter.strangers[secure])
	}
}

// Judged says whether somebody is being asked about the client, so that it is not the client who lingers.
func (p *Place) Judged(now bool) {
	if p == nil {
		return
	}
	p.counter.mu.Lock()
	defer p.counter.mu.Unlock()
	switch {
	case p.queue == nil:
	case now:
		p.wait(&p.counter.strangers[judged])
	default:
		p.wait(&p.counter.strangers[p.at])
	}
}

// Gone is closed when somebody else has the place, and the connection is closed. It is nil, which never is, for a nil Place.
func (p *Place) Gone() <-chan struct{} {
	if p == nil {
		return nil
	}
	return p.taken
}

// The methods below need counter.mu to be held.

func (p *Place) leave() {
	if p.left {
		return
	}
	p.known()
	p.left = true
	p.counter.all--
}

func (p *Place) known() {
	if p.queue == nil {
		return
	}
	p.wait(nil)
	p.uncount()
}

// wait takes the place from one queue to another, or to none.
func (p *Place) wait(queue *list.List) {
	if p.queue == queue {
		return
	}
	if p.queue != nil {
		p.queue.Remove(p.entry)
	}
	if p.queue = queue; queue != nil {
		p.entry = queue.PushBack(p)
	}
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
