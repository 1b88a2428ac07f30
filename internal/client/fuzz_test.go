package client

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmlstream"
	"gatehouse.im/gatehouse/saslmech"
)

// recording is a connection to a server that says its bytes whatever it hears.
type recording struct {
	net.Conn // the methods that nobody calls
	io.Reader
}

func (r recording) Read(b []byte) (int, error) { return r.Reader.Read(b) }
func (recording) Write(b []byte) (int, error)  { return len(b), nil }
func (recording) SetDeadline(time.Time) error  { return nil }
func (recording) Close() error                 { return nil }

// FuzzLogin proves that whatever a server says, the login ends, shows nothing
// that a terminal would obey nor the secret, and comes to a session only by a
// <success/>.
func FuzzLogin(f *testing.F) {
	in := header + "<stream:features>" + offer("PLAIN") + "</stream:features>" + inSASL("<success/>")
	f.Add([]byte(in + header + "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>" +
		"<iq id='bind' type='result'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>a@b/c</jid></bind></iq>" +
		"<iq id='ping' type='error'><error><x xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>" + farewell))
	f.Add([]byte(header + "<stream:features>" + offer("SCRAM-SHA-1", "X-TOKEN") + "</stream:features>" + inSASL("<challenge>cj1h</challenge>")))
	f.Add([]byte(header + "<stream:features>" + offer("X-TOKEN") + "</stream:features>" + inSASL("<failure><not-authorized/><text>&#x202e;</text></failure>")))
	f.Add([]byte(header + "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>[::1]:5222</see-other-host></stream:error>"))
	f.Fuzz(func(t *testing.T, said []byte) {
		var steps []Step
		l := &login{Options: Options{
			User: "alice", Host: testHost, Clear: true, Secret: saslmech.NewSecret([]byte(testSecret)),
			Trace: func(s Step) { steps = append(steps, s) },
		}}
		l.conn = recording{Reader: bytes.NewReader(said)}
		l.reader = xmlstream.NewReader(l.conn, limits)
		s, stage, err := l.negotiate(context.Background(), false)
		if err != nil {
			checkSeen(t, steps, l.failed(context.Background(), stage, err))
			return
		}
		if !bytes.Contains(said, []byte("success")) {
			t.Errorf("a session without <success/>")
		}
		err = s.Ping(context.Background())
		_ = s.Close() // whatever the end is like
		checkSeen(t, steps, err)
	})
}
