package docker

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/integration/docker/engine"
	"gatehouse.im/gatehouse/internal/xmpptest"
)

// TestUpstream_failOver: of two servers behind a host either may go away, in whatever way, and logins end at the other one
// without the client noticing. The one that worked last is asked first.
func TestUpstream_failOver(t *testing.T) {
	ids := map[string]string{}
	for _, service := range []string{"prosody", "ejabberd"} {
		id, err := servers.container(service)
		must(t, err)
		ids[service] = id
	}
	for _, o := range outages {
		for _, test := range []struct{ gone, left string }{{"prosody", "ejabberd"}, {"ejabberd", "prosody"}} {
			t.Run(test.gone+"/"+o.name, func(t *testing.T) {
				must(t, o.away(ids[test.gone]))
				t.Cleanup(func() {
					must(t, o.back(ids[test.gone], test.gone))
					must(t, servers.healthy(test.gone))
					both.recovers(t, "gatehouse")
				})
				for range 2 {
					both.answers(t, "alice", password("alice"), "success", quickly)
				}
				both.answers(t, "alice", "wrong", "not-authorized", soon)
				c := both.login(t, "alice", "saved")
				version, err := c.IQ("get", both.name, "<query xmlns='jabber:iq:version'/>")
				must(t, err)
				if name := version.Child("query").Child("name"); name == nil || !strings.EqualFold(name.Text, test.left) {
					t.Errorf("the server that answers, with %s away: %s", test.gone, version.Raw)
				}
			})
		}
	}
}

// TestUpstream_proxyProtocol: a client's address goes all the way, from a load balancer's header into ejabberd's log.
func TestUpstream_proxyProtocol(t *testing.T) {
	address, err := servers.address("gatehouse")
	must(t, err)
	for _, client := range []string{"192.0.2.77", "2001:db8::77"} {
		t.Run(client, func(t *testing.T) {
			c, err := xmpptest.Dial(address)
			must(t, err)
			t.Cleanup(func() { _ = c.Close() })
			family := "TCP4"
			if strings.Contains(client, ":") {
				family = "TCP6"
			}
			must(t, c.Sendf("PROXY %s %s %s 40000 5222\r\n", family, client, client))
			_, err = c.Login(proxied.name, "alice", password("alice"), "far", trust)
			must(t, err)
			must(t, engine.Poll(func() error {
				log, err := servers.logs("ejabberd")
				if err != nil {
					return err
				}
				for line := range strings.Lines(log) {
					if strings.Contains(line, "Accepted c2s PLAIN authentication for alice@"+proxied.name) && hasAddress(line, client) {
						return nil
					}
				}
				return fmt.Errorf("ejabberd's log does not have a login from %s", client)
			}))
		})
	}
}

// hasAddress says whether a word of a line is an IP address, however written.
func hasAddress(line, address string) bool {
	want := net.ParseIP(address)
	for word := range strings.FieldsSeq(line) {
		if ip := net.ParseIP(strings.Trim(word, "()[],")); ip != nil && ip.Equal(want) {
			return true
		}
	}
	return false
}
