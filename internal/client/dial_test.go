package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/saslmech"
)

// zone answers SRV queries from a table.
type zone map[string][]*net.SRV

var errServFail error = &net.DNSError{Err: "server misbehaving", IsTemporary: true}

func (z zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	key := "_" + service + "._" + proto + "." + name
	records, ok := z[key]
	switch {
	case !ok:
		return "", nil, &net.DNSError{Err: "no such host", Name: key, IsNotFound: true}
	case len(records) == 0:
		return "", nil, errServFail
	}
	return key, records, nil
}

func TestFind(t *testing.T) {
	srv := func(target string, port, priority uint16) *net.SRV {
		return &net.SRV{Target: target, Port: port, Priority: priority}
	}
	const direct, plain = "_xmpps-client._tcp.example.org", "_xmpp-client._tcp.example.org"
	for _, c := range []struct {
		name    string
		options Options
		zone    zone
		want    []Target
		srv     bool
		lookup  error // that is reported
		err     error // that ends it
	}{
		{"an address", Options{Address: "10.0.0.1:222"}, nil, []Target{{"10.0.0.1:222", false}}, false, nil, nil},
		{"an address without port", Options{Address: "chat.example.net"}, nil, []Target{{"chat.example.net:5222", false}}, false, nil, nil},
		{"an IPv6 address without port", Options{Address: "[::1]", DirectTLS: true}, nil, []Target{{"[::1]:5223", true}}, false, nil, nil},
		{"no records", Options{}, zone{}, []Target{{"example.org:5222", false}}, false, nil, nil},
		{"no records, direct TLS", Options{DirectTLS: true}, zone{}, []Target{{"example.org:5223", true}}, false, nil, nil},
		{"records of both kinds", Options{}, zone{
			plain:  {srv("b.example.org.", 5222, 10), srv("c.example.org.", 5222, 20)},
			direct: {srv("a.example.org.", 443, 10)},
		}, []Target{{"a.example.org:443", true}, {"b.example.org:5222", false}, {"c.example.org:5222", false}}, true, nil, nil},
		{"priority goes before kind", Options{}, zone{
			plain: {srv("b.example.org.", 5222, 5)}, direct: {srv("a.example.org.", 443, 10)},
		}, []Target{{"b.example.org:5222", false}, {"a.example.org:443", true}}, true, nil, nil},
		{"direct TLS only, as asked for", Options{DirectTLS: true}, zone{
			plain: {srv("b.example.org.", 5222, 5)}, direct: {srv("a.example.org.", 443, 10)},
		}, []Target{{"a.example.org:443", true}}, true, nil, nil},
		{"no TLS, as asked for", Options{Clear: true}, zone{
			plain: {srv("b.example.org.", 5222, 5)}, direct: {srv("a.example.org.", 443, 1)},
		}, []Target{{"b.example.org:5222", false}}, true, nil, nil},
		{"no service", Options{}, zone{plain: {srv(".", 0, 0)}}, nil, false, nil, errNotServed},
		{"direct TLS only, as DNS says", Options{}, zone{plain: {srv(".", 0, 0)}, direct: {srv("a.example.org.", 443, 1)}},
			[]Target{{"a.example.org:443", true}}, true, nil, nil},
		{"no direct TLS", Options{}, zone{direct: {srv(".", 0, 0)}}, []Target{{"example.org:5222", false}}, false, nil, nil},
		{"the DNS is broken", Options{}, zone{plain: {}, direct: {}}, []Target{{"example.org:5222", false}}, false, errServFail, nil},
		{"an IP address", Options{Host: "192.0.2.1"}, nil, []Target{{"192.0.2.1:5222", false}}, false, nil, nil},
		{"an IPv6 address", Options{Host: "[2001:db8::1]"}, nil, []Target{{"[2001:db8::1]:5222", false}}, false, nil, nil},
		{"localhost", Options{Host: "localhost"}, nil, []Target{{"localhost:5222", false}}, false, nil, nil},
		{"a name in Unicode", Options{Host: "bücher.example"}, zone{"_xmpp-client._tcp.xn--bcher-kva.example": {srv("x.example.", 1, 1)}},
			[]Target{{"x.example:1", false}}, true, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var found *Found
			if c.options.Host == "" {
				c.options.Host = testHost
			}
			c.options.Resolver = c.zone
			c.options.Trace = func(s Step) { f := s.(Found); found = &f }
			l := &login{Options: c.options}
			got, err := l.find(context.Background())
			if !errors.Is(err, c.err) || err == nil && !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got %v, %v; want %v, %v", got, err, c.want, c.err)
			}
			if c.options.Address == "" && err == nil && (found.SRV != c.srv || !errors.Is(found.Err, c.lookup) || !reflect.DeepEqual(found.Targets, c.want)) {
				t.Errorf("reported %+v", found)
			}
		})
	}
}

func TestConnect_triesTheNextTarget(t *testing.T) {
	ca := authority(t)
	addr, outcome := serve(t, serverConfig(certificate(t, ca, testHost)), sequence(starttls("PLAIN"), hear("</auth>"),
		say(inSASL("<failure><not-authorized/></failure>")), goodbye))
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	var port uint16
	if _, err := fmt.Sscan(portText, &port); err != nil {
		t.Fatal(err)
	}
	var steps []Step
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err = Login(ctx, Options{
		User: "alice", Host: testHost, Roots: ca.Pool(), Secret: saslmech.NewSecret([]byte(testSecret)),
		Resolver: zone{"_xmpp-client._tcp.example.org": {{Target: "127.0.0.1", Port: closedPort(t), Priority: 1}, {Target: host, Port: port, Priority: 2}}},
		Trace:    func(s Step) { steps = append(steps, s) },
	})
	var e *Error
	if !errors.As(err, &e) || !e.Refused {
		t.Errorf("error %v", err)
	}
	if _, err := outcome(); err != nil {
		t.Errorf("server: %v", err)
	}
	if u := find[Unreachable](t, steps); !strings.Contains(u.Err.Error(), "refused") {
		t.Errorf("unreachable: %v", u.Err)
	}
	if c := find[Connected](t, steps); c.Target.Address != addr {
		t.Errorf("connected to %v", c.Target)
	}
}

func TestConnect_nobodyThere(t *testing.T) {
	_, err := Login(context.Background(), Options{
		User: "alice", Host: testHost, Address: fmt.Sprint("127.0.0.1:", closedPort(t)), Secret: saslmech.NewSecret([]byte(testSecret)),
	})
	var e *Error
	if !errors.As(err, &e) || e.Stage != StageConnect || e.Refused || !strings.Contains(Explain(err), "Nothing listens") {
		t.Errorf("error %v (%s)", err, Explain(err))
	}
}

// closedPort is a port of 127.0.0.1 on which nobody listens.
func closedPort(t *testing.T) uint16 {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return uint16(ln.Addr().(*net.TCPAddr).Port)
}
