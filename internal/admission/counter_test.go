package admission_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.im/gatehouse/internal/admission"
)

// from is a connection of which nothing is known but the address.
type from struct {
	net.Conn
	addr   net.Addr
	closed *[]string // gets the address when it is
}

func (f from) RemoteAddr() net.Addr { return f.addr }

func (f from) Close() error {
	if f.closed != nil {
		*f.closed = append(*f.closed, f.addr.String())
	}
	return nil
}

// later is one that must not be asked for it.
type later struct{ net.Conn }

func (later) AddrLater()           {}
func (later) RemoteAddr() net.Addr { panic("asked too early") }

func at(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 4000} }

func newCounter(l admission.Limits) (*admission.Counter, map[admission.Limit]int) {
	refused := make(map[admission.Limit]int)
	c := admission.New(slog.New(slog.DiscardHandler), func(l admission.Limit) { refused[l]++ })
	c.SetLimits(l)
	return c, refused
}

func TestCounter_perAddress(t *testing.T) {
	tests := []struct {
		name, first, second string
		same                bool
	}{
		{"one IPv4 address", "192.0.2.1", "192.0.2.1", true},
		{"two IPv4 addresses", "192.0.2.1", "192.0.2.2", false},
		{"IPv4 in IPv6", "192.0.2.1", "::ffff:192.0.2.1", true},
		{"one /64", "2001:db8:1:2::1", "2001:db8:1:2:ffff::1", true},
		{"two /64", "2001:db8:1:2::1", "2001:db8:1:3::1", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, refused := newCounter(admission.Limits{PerAddress: 1})
			first := c.Accept(from{addr: at(test.first)})
			if first == nil {
				t.Fatal("the first is refused")
			}
			if second := c.Accept(from{addr: at(test.second)}); (second == nil) != test.same {
				t.Errorf("the second is refused: %v", second == nil)
			}
			if (refused[admission.PerAddress] == 1) != test.same {
				t.Errorf("told of %v", refused)
			}
		})
	}
}

func TestCounter_addressThatComesLater(t *testing.T) {
	c, refused := newCounter(admission.Limits{PerAddress: 1})
	known := c.Accept(from{addr: at("192.0.2.1")})
	a, b := c.Accept(later{}), c.AcceptUncounted(from{})
	if a.From(at("192.0.2.1")) {
		t.Error("a second one from there")
	}
	for range 2 {
		if !b.From(at("192.0.2.2")) {
			t.Error("the first one from elsewhere is refused")
		}
	}
	if !b.From(&net.UnixAddr{}) {
		t.Error("what is no IP address counts")
	}
	if b.From(at("192.0.2.1")) {
		t.Error("it can move to where it is full")
	}
	known.Leave()
	if !b.From(at("192.0.2.1")) {
		t.Error("there is a place again")
	}
	if got := c.Counts(); got.Addresses != 1 || got.Unauthed != 2 || refused[admission.PerAddress] != 2 {
		t.Errorf("%+v, %v", got, refused)
	}
}

func TestCounter_inAll(t *testing.T) {
	c, refused := newCounter(admission.Limits{Connections: 3})
	var places []*admission.Place
	enter := func() bool {
		p := c.Accept(from{addr: at(fmt.Sprintf("192.0.2.%d", len(places)))})
		if p != nil {
			places = append(places, p)
		}
		return p != nil
	}
	for n := range 4 {
		if in := enter(); in != (n < 3) {
			t.Errorf("connection %d: %v", n, in)
		}
	}
	places[0].LoggedIn()
	places[0].LoggedIn()
	if enter() {
		t.Error("who has logged in does not count")
	}
	places[1].Leave()
	places[1].Leave()
	if !enter() {
		t.Error("no third, when one has left")
	}
	if enter() {
		t.Error("who has left twice counts twice")
	}
	if refused[admission.Connections] != 3 || len(refused) != 1 {
		t.Errorf("told of %v", refused)
	}
	c.SetLimits(admission.Limits{})
	if !enter() {
		t.Error("there are no limits any more")
	}
}

// When there are too many strangers, those go who have been there longest: of those with TLS if they are more than those
// without, of the others otherwise. Nobody else goes, and nobody for somebody who is refused.
func TestCounter_expels(t *testing.T) {
	tests := []struct {
		name  string
		do    string // in order: a letter comes, ! after it has TLS, + logs in, - leaves
		gone  string // in order
		count int    // who are there afterwards
	}{
		{"room for four", "abcd", "", 4},
		{"the oldest", "abcdef", "ab", 4},
		{"who logs in makes room", "abcda+ef", "b", 5},
		{"who leaves makes room", "abcdb-ef", "a", 4},
		{"not those who spoke TLS, while they are few", "aba!b!cdefg", "cde", 4},
		{"those who spoke TLS, if they are more", "abca!b!c!dee!fg", "abd", 4},
		{"TLS makes nobody older", "abcdb!a!c!d!e", "b", 4},
		{"who speaks TLS after he is gone", "abcdea!a+a-f", "ab", 4},
		{"not those who are judged, while they are few", "aa!a?bb!cc!dd!ee!ff!", "bc", 4},
		{"those who are judged, if they are most", "aa!a?bb!b?cc!c?de", "a", 4},
		{"who is judged no more is one of the others, and the last", "aa!a?bb!cc!a.de", "b", 4},
		{"who was judged without TLS", "aa!bb!cc?c.dee!f", "ca", 4},
		{"who is judged after he is gone", "abcdea?a.f", "ab", 4},
		{"who is judged after he has logged in", "aa+a?a.bcdef", "b", 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, refused := newCounter(admission.Limits{Unauthed: 4})
			var gone []string
			places := make(map[byte]*admission.Place)
			shakes := make(map[byte]*admission.Handshake)
			for n := 0; n < len(test.do); n++ {
				who, what := test.do[n], byte(' ')
				if n+1 < len(test.do) {
					what = test.do[n+1]
				}
				switch what {
				case '!':
					shakes[who].Done()
				case '?', '.':
					places[who].Judged(what == '?')
				case '+':
					places[who].LoggedIn()
				case '-':
					places[who].Leave()
				default:
					places[who] = c.Accept(from{addr: at(fmt.Sprintf("192.0.2.%d", who)), closed: &gone})
					shakes[who] = c.Handshake(places[who])
					continue
				}
				n++
			}
			want := make([]string, 0, len(test.gone))
			for _, who := range []byte(test.gone) {
				want = append(want, at(fmt.Sprintf("192.0.2.%d", who)).String())
			}
			if !slices.Equal(gone, want) || refused[admission.Unauthed] != len(want) {
				t.Errorf("%v had to go, told of %v; want %v", gone, refused, want)
			}
			if got := c.Counts().Connections; got != test.count {
				t.Errorf("%d are there", got)
			}
		})
	}
	t.Run("not for somebody who is refused", func(t *testing.T) {
		c, refused := newCounter(admission.Limits{Connections: 3, Unauthed: 2, PerAddress: 1})
		var gone []string
		enter := func(n int) *admission.Place {
			return c.Accept(from{addr: at(fmt.Sprintf("192.0.2.%d", n)), closed: &gone})
		}
		enter(1).LoggedIn()
		enter(2)
		enter(3)
		if enter(3) != nil || enter(4) != nil {
			t.Error("somebody is let in")
		}
		if len(gone) > 0 || refused[admission.Unauthed] > 0 {
			t.Errorf("%v had to go", gone)
		}
	})
	t.Run("who lingers where users have nearly all places", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, refused := newCounter(admission.Limits{Connections: 4, Unauthed: 3})
			var gone []string
			enter := func(n int) *admission.Place {
				return c.Accept(from{addr: at(fmt.Sprintf("192.0.2.%d", n)), closed: &gone})
			}
			enter(1).LoggedIn()
			enter(2).LoggedIn()
			enter(3)
			time.Sleep(3 * time.Second)
			enter(4)
			if enter(5) != nil {
				t.Error("nobody lingers, and somebody is let in")
			}
			time.Sleep(2 * time.Second)
			enter(6).LoggedIn()
			if enter(7) != nil {
				t.Error("the next one does not linger yet")
			}
			time.Sleep(3 * time.Second)
			enter(8).LoggedIn()
			if enter(9) != nil {
				t.Error("all are logged in, and somebody is let in")
			}
			want := []string{at("192.0.2.3").String(), at("192.0.2.4").String()}
			if !slices.Equal(gone, want) || refused[admission.Connections] != 5 || len(refused) != 1 {
				t.Errorf("%v had to go, told of %v", gone, refused)
			}
			if got := c.Counts(); got.Connections != 4 || got.Unauthed != 0 {
				t.Errorf("%+v", got)
			}
		})
	})
	t.Run("all at once for a smaller limit", func(t *testing.T) {
		c, _ := newCounter(admission.Limits{})
		var gone []string
		for n := range 10 {
			c.Accept(from{addr: at(fmt.Sprintf("192.0.2.%d", n)), closed: &gone})
		}
		c.SetLimits(admission.Limits{Unauthed: 3})
		c.AcceptUncounted(from{addr: at("192.0.2.99")})
		if got := c.Counts(); len(gone) != 8 || got.Unauthed != 3 || got.Connections != 3 || got.Addresses != 2 {
			t.Errorf("%v had to go, %+v", gone, got)
		}
	})
}

func TestCounter_nobodysPlace(t *testing.T) {
	var p *admission.Place
	p.LoggedIn()
	p.Judged(true)
	if p.Gone() != nil {
		t.Error("somebody may have it")
	}
	if !p.From(at("192.0.2.1")) {
		t.Error("refused")
	}
	p.Leave()
}

// One line a second is written at most, and none of those refused or ended is lost from it.
func TestCounter_log(t *testing.T) {
	tests := []struct {
		name   string
		limits admission.Limits
		want   string
	}{
		{"refused", admission.Limits{PerAddress: 1},
			`"connections refused" limit=unauthed_connections_per_address allowed=1 remote=2001:db8::/64 refused=`},
		{"had to go", admission.Limits{Unauthed: 1},
			`"strangers had to go" limit=unauthed_connections allowed=1 remote=2001:db8::/64 after=100ms ended=`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				c := admission.New(slog.New(slog.NewTextHandler(&log, nil)), nil)
				c.SetLimits(test.limits)
				c.Accept(from{addr: at("2001:db8::1")})
				for range 25 {
					time.Sleep(100 * time.Millisecond)
					c.Accept(from{addr: at("2001:db8::2")})
				}
				var got []string
				for line := range strings.Lines(log.String()) {
					_, rest, _ := strings.Cut(line, "msg=")
					got = append(got, strings.TrimSpace(rest))
				}
				if len(got) != 3 || got[0] != test.want+"1" || got[1] != test.want+"10" || got[2] != test.want+"10" {
					t.Errorf("%q", got)
				}
			})
		})
	}
}

// Whatever becomes of connections, in the end nothing is left of them.
func TestCounter_endsAtZero(t *testing.T) {
	c := admission.New(slog.New(slog.DiscardHandler), func(admission.Limit) {})
	c.SetLimits(admission.Limits{Connections: 50, Unauthed: 30, PerAddress: 3})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 2000 {
				p := c.Accept(from{addr: at(fmt.Sprintf("192.0.2.%d", rand.IntN(20)))})
				if p == nil {
					continue
				}
				if rand.IntN(2) == 0 {
					p.From(at(fmt.Sprintf("192.0.2.%d", rand.IntN(20))))
				}
				if rand.IntN(2) == 0 {
					p.Judged(true)
				}
				if rand.IntN(2) == 0 {
					p.Judged(false)
				}
				if rand.IntN(2) == 0 {
					p.LoggedIn()
				}
				p.Leave()
			}
		})
	}
	group.Wait()
	if got := c.Counts(); got.Connections != 0 || got.Unauthed != 0 || got.Addresses != 0 {
		t.Errorf("%+v", got)
	}
}
