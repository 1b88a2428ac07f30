package webserver

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// FuzzClientOf: no header makes the server panic, and none makes up an address that no trusted proxy has vouched for.
func FuzzClientOf(f *testing.F) {
	for _, seed := range []string{
		"", "192.0.2.1", "192.0.2.1, 10.0.0.1", "[2001:db8::1]:80", "unknown", "_x", ",,", "fe80::1%eth0",
		`for=192.0.2.1;proto=https`, `for="[2001:db8::1]:80";by=_x, for=10.0.0.1`, `for="\"`, `for=a;for=b`, `FOR = x`,
	} {
		f.Add(seed, "192.0.2.9:1")
		f.Add(seed, "10.0.0.9:1")
	}
	f.Fuzz(func(t *testing.T, header, peer string) {
		for _, rfc7239 := range []bool{false, true} {
			s := newSettings(Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Forwarded: rfc7239})
			name := "X-Forwarded-For"
			if rfc7239 {
				name = "Forwarded"
			}
			c, err := s.clientOf(&http.Request{RemoteAddr: peer, Header: http.Header{name: {header}, "X-Forwarded-Proto": {header}}})
			if err != nil {
				continue
			}
			from, perr := netip.ParseAddrPort(peer)
			trusted := perr == nil && s.trusts(from.Addr().Unmap())
			switch {
			case !trusted && (c.proxy || c.secure):
				t.Errorf("%q from %q: believed: %+v", header, peer, c)
			case c.proxy && !c.addr.IsValid():
				t.Errorf("%q from %q: no address: %+v", header, peer, c)
			case c.proxy && !strings.ContainsAny(header, ".:"):
				t.Errorf("%q from %q: made up: %+v", header, peer, c)
			case !c.proxy && perr == nil && c.addr.Addr() != from.Addr().Unmap():
				t.Errorf("%q from %q: not its own: %+v", header, peer, c)
			}
			// What the last proxy appends decides, whatever stands before it.
			appended, sep := "198.51.100.1", ","
			if rfc7239 {
				appended = "for=198.51.100.1"
			}
			c, err = s.clientOf(&http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{name: {header + sep + appended}}})
			if err == nil && c.addr.Addr() != netip.MustParseAddr("198.51.100.1") {
				t.Errorf("%q: passed for %v", header, c.addr)
			}
		}
	})
}

// FuzzAllowOrigin: an origin that may connect names the host that it connects to.
func FuzzAllowOrigin(f *testing.F) {
	for _, seed := range []string{"https://a.example:443", "null", "https://a@b", "https://[::1]:443/", "HTTP://A:80", "https://a:443:443", "//a", "https://a.example:443/%"} {
		f.Add(seed, "a.example")
	}
	f.Fuzz(func(t *testing.T, origin, host string) {
		s := newSettings(Config{})
		r := &http.Request{Host: host, Header: http.Header{"Origin": {origin}}}
		if s.allowOrigin(r) == nil && !strings.Contains(strings.ToLower(origin), strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(host), ":443"), ":80")) {
			t.Errorf("%q may connect to %q", origin, host)
		}
	})
}

// FuzzUTF8Check: text in two pieces is judged as the whole is.
func FuzzUTF8Check(f *testing.F) {
	f.Add("grün €\U0001f600", 4)
	f.Add("\xe2\x82", 1)
	f.Add("\xed\xa0\x80", 2)
	f.Fuzz(func(t *testing.T, s string, cut int) {
		if cut < 0 || cut > len(s) {
			return
		}
		var u utf8Check
		got := u.add([]byte(s[:cut])) && u.add([]byte(s[cut:])) && !u.partial()
		if want := strings.ToValidUTF8(s, "") == s; got != want {
			t.Errorf("%q at %d: %v", s, cut, got)
		}
	})
}
