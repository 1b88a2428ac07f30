package integration

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// proxyHeader1 is a header of the PROXY protocol as haproxy's proxy-protocol.txt has it in section 2.1.
func proxyHeader1(from, to netip.AddrPort) string {
	family := "TCP4"
	if from.Addr().Is6() {
		family = "TCP6"
	}
	return fmt.Sprintf("PROXY %s %s %s %d %d\r\n", family, from.Addr(), to.Addr(), from.Port(), to.Port())
}

// proxyHeader2 is one as section 2.2 has it.
func proxyHeader2(from, to netip.AddrPort) string {
	b := []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11")
	if from.Addr().Is6() {
		b[len(b)-1] = '\x21'
	}
	body := append(from.Addr().AsSlice(), to.Addr().AsSlice()...)
	body = binary.BigEndian.AppendUint16(body, from.Port())
	body = binary.BigEndian.AppendUint16(body, to.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return string(append(b, body...))
}

// dialProxied is dial by STARTTLS with something sent before the stream.
func dialProxied(t testing.TB, address, before string) (*xmpptest.Client, error) {
	t.Helper()
	c, err := xmpptest.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	c.Timeout = patience
	if err := c.Send(before); err != nil {
		return nil, err
	}
	_, err = c.Secure("localhost", insecureTLS("localhost"))
	return c, err
}

// expectTurnedAway wants what is sent before the stream to end the connection.
func expectTurnedAway(t testing.TB, address, what, before string) {
	t.Helper()
	c, err := dialProxied(t, address, before)
	if err == nil {
		t.Errorf("%s: the stream is served", what)
		return
	}
	for err == nil || errors.Is(err, xmpptest.ErrUnexpected) { // a stream error, in place of features
		_, err = c.ReadElement()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: the connection stays open", what)
	}
}

// remotes are where the logins in the log came from.
func (r *relay) remotes(t testing.TB) (found []string) {
	t.Helper()
	for line := range strings.Lines(r.reloadable.log.String()) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		var l struct{ Msg, Remote string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Msg == "login" {
			found = append(found, l.Remote)
		}
	}
	return found
}

// expectRemote wants the n-th login to be from an address. Its line may come after the client has heard.
func (r *relay) expectRemote(t testing.TB, what string, n int, right string) {
	t.Helper()
	var got []string
	until(t, what+": the line of the login", patience, func() bool {
		got = r.remotes(t)
		return len(got) >= n
	})
	if len(got) != n || got[n-1] != right {
		t.Errorf("%s: login %d of %q, want %q", what, n, got, right)
	}
}

var proxiedClients = []struct {
	name     string
	from, to netip.AddrPort
}{
	{"IPv4", netip.MustParseAddrPort("203.0.113.7:40001"), netip.MustParseAddrPort("198.51.100.1:5222")},
	{"IPv6", netip.MustParseAddrPort("[2001:db8::7]:40002"), netip.MustParseAddrPort("[2001:db8::1]:5222")},
}

var proxyHeaders = map[int]func(from, to netip.AddrPort) string{1: proxyHeader1, 2: proxyHeader2}

// TestRelay_proxyProtocolIn puts the test in the place of a load balancer. It is believed while it is on the list.
func TestRelay_proxyProtocolIn(t *testing.T) {
	t.Parallel()
	r := newRelay(t, "gatehouse")
	r.global["gatehouse_proxy_protocol_from"] = []any{"192.0.2.0/24", "127.0.0.1"}
	r.begin(t)
	right := []byte(plain("alice", relayAccounts["alice"]))
	logins := 0
	for version, header := range proxyHeaders {
		for _, p := range proxiedClients {
			c, err := dialProxied(t, r.address, header(p.from, p.to))
			if err != nil {
				t.Fatalf("version %d, %s: %v", version, p.name, err)
			}
			if answer, err := c.Auth("PLAIN", right); err != nil || answer.Name != "success" {
				t.Fatalf("version %d, %s: %v, %v", version, p.name, answer, err)
			}
			if _, err := c.Open("localhost"); err != nil {
				t.Fatal(err)
			}
			if jid, err := c.Bind("phone"); err != nil || jid != "alice@localhost/phone" {
				t.Errorf("version %d, %s: bound %q, %v", version, p.name, jid, err)
			}
			logins++
			r.expectRemote(t, fmt.Sprintf("version %d, %s", version, p.name), logins, p.from.String())
		}
	}

	// The load balancer itself looks whether we are there.
	c, err := dialProxied(t, r.address, "")
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := c.Auth("PLAIN", right); err != nil || answer.Name != "success" {
		t.Errorf("without a header: %v, %v", answer, err)
	}
	logins++
	r.expectRemote(t, "without a header", logins, c.Conn().LocalAddr().String())

	p := proxiedClients[0]
	for name, bad := range map[string]string{
		"no addresses": "PROXY TCP4\r\n",
		"no port":      "PROXY TCP4 203.0.113.7 198.51.100.1 70000 5222\r\n",
		"endless":      "PROXY TCP4 " + strings.Repeat("1", 4096),
		"half a v2":    proxyHeader2(p.from, p.to)[:20] + strings.Repeat("\xff", 64),
	} {
		expectTurnedAway(t, r.address, name, bad)
	}

	r.global["gatehouse_proxy_protocol_from"] = []any{"192.0.2.0/24"}
	r.reload(t)
	for version, header := range proxyHeaders {
		expectTurnedAway(t, r.address, fmt.Sprintf("version %d from a stranger", version), header(p.from, p.to))
	}
	c, err = dialProxied(t, r.address, "")
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := c.Auth("PLAIN", right); err != nil || answer.Name != "success" {
		t.Errorf("a stranger without a header: %v, %v", answer, err)
	}
	r.expectRemote(t, "a stranger without a header", logins+1, c.Conn().LocalAddr().String())
}

// TestRelay_proxyProtocolOut listens in the place of the server behind: the first that it gets is the header, with the
// client's address, whether the client has come by itself or through a load balancer.
func TestRelay_proxyProtocolOut(t *testing.T) {
	t.Parallel()
	r := newRelay(t, "gatehouse")
	r.global["gatehouse_proxy_protocol_from"] = "127.0.0.1"
	r.set("gatehouse_upstream_timeout", 1)
	r.begin(t)
	for version, header := range proxyHeaders {
		for _, p := range append(proxiedClients[:2:2], struct {
			name     string
			from, to netip.AddrPort
		}{name: "by itself"}) {
			name := fmt.Sprintf("version %d, %s", version, p.name)
			deaf := newTap(t, "")
			r.set("gatehouse_upstream", deaf.address)
			r.set("gatehouse_upstream_proxy_protocol", version)
			r.reload(t)
			before := ""
			if p.from.IsValid() {
				before = header(p.from, p.to)
			}
			c, err := dialProxied(t, r.address, before)
			if err != nil {
				t.Fatal(err)
			}
			if answer, err := c.AuthPlain("alice", relayAccounts["alice"]); err != nil || answer.Condition() != temporary {
				t.Errorf("%s: %v, %v", name, answer, err)
			}
			if !p.from.IsValid() {
				local, remote := c.Conn().LocalAddr().(*net.TCPAddr), c.Conn().RemoteAddr().(*net.TCPAddr)
				p.from, p.to = local.AddrPort(), remote.AddrPort()
			}
			sent := []byte(deaf.sent.String())
			if want := []byte(header(p.from, p.to) + "<?xml"); !bytes.HasPrefix(sent, want) {
				t.Errorf("%s: the server behind got %q, want %q", name, sent[:min(len(sent), len(want))], want)
			}
			if n := bytes.Count(sent, []byte("<stream:stream")); n != 1 {
				t.Errorf("%s: %d streams", name, n)
			}
		}
	}
}
