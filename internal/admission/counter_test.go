package admission_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
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
	addr net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.addr }

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
	a, b := c.Accept(later{}), c.AcceptUncounted()
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
	c, refused := newCounter(admission.Limits{Connections: 3, Unauthed: 2})
	var places []*admission.Place
	enter := func() bool {
		p := c.Accept(from{addr: at(fmt.Sprintf("192.0.2.%d", len(places)))})
		if p != nil {
			places = append(places, p)
		}
		return p != nil
	}
	for n := range 3 {
		if in := enter(); in != (n < 2) {
			t.Errorf("stranger %d: %v", n, in)
		}
	}
	places[0].LoggedIn()
	places[0].LoggedIn()
	if !enter() {
		t.Error("not one more, when one has logged in")
	}
	if enter() {
		t.Error("two more, when one has logged in")
	}
	places[1].LoggedIn()
	if enter() {
		t.Error("a fourth")
	}
	places[1].Leave()
	places[1].Leave()
	if !enter() {
		t.Error("no third, when one has left")
	}
	if refused[admission.Connections] != 2 || refused[admission.Unauthed] != 1 {
		t.Errorf("told of %v", refused)
	}
	c.SetLimits(admission.Limits{})
	if !enter() {
		t.Error("there are no limits any more")
	}
}

func TestCounter_nobodysPlace(t *testing.T) {
	var p *admission.Place
	p.LoggedIn()
	if !p.From(at("192.0.2.1")) {
		t.Error("refused")
	}
	p.Leave()
}

// One line a second is written at most, and none of those refused is lost from it.
func TestCounter_log(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := admission.New(slog.New(slog.NewTextHandler(&log, nil)), nil)
		c.SetLimits(admission.Limits{PerAddress: 1})
		c.Accept(from{addr: at("2001:db8::1")})
		for range 25 {
			c.Accept(from{addr: at("2001:db8::2")})
			time.Sleep(100 * time.Millisecond)
		}
		var got []string
		for line := range strings.Lines(log.String()) {
			_, rest, _ := strings.Cut(line, "msg=")
			got = append(got, strings.TrimSpace(rest))
		}
		const want = `"connections refused" limit=unauthed_connections_per_address allowed=1 remote=2001:db8::/64 refused=`
		if len(got) != 3 || got[0] != want+"1" || got[1] != want+"10" || got[2] != want+"10" {
			t.Errorf("%q", got)
		}
	})
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
