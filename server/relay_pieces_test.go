package server_test

import (
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// pieces sends what is written to it in pieces of a few bytes.
type pieces struct{ net.Conn }

func (p pieces) Write(b []byte) (int, error) {
	for n := 0; n < len(b); {
		size := min(1+rand.IntN(40), len(b)-n)
		if rand.IntN(8) == 0 {
			size = len(b) - n
		}
		if _, err := p.Conn.Write(b[n : n+size]); err != nil {
			return n, err
		}
		n += size
	}
	return len(b), nil
}

// A TLS record may come in any number of pieces, and its beginning with the end
// of the one before.
func TestRelay_recordsInPieces(t *testing.T) {
	f, b := startRelay(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			raw, err := net.Dial("tcp", f.direct)
			if err != nil {
				t.Fatal(err)
			}
			_ = raw.SetDeadline(time.Now().Add(30 * time.Second))
			config := withName(f.client)
			config.MinVersion, config.MaxVersion = version, version
			c := tls.Client(pieces{raw}, config)
			defer c.Close()
			mustWrite(t, c, "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='"+host+"'>"+
				"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+plainText("alice", "secret")+"</auth>")
			leg := b.leg(t)
			var want strings.Builder
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for i := range 3000 {
					text := strings.Repeat(string(rune('a'+i%26)), 1+rand.IntN(60))
					want.WriteString(text)
					if _, err := io.WriteString(c, text); err != nil {
						t.Error(err)
						return
					}
				}
				_ = c.CloseWrite()
			}()
			got, err := io.ReadAll(leg)
			<-sent
			if err != nil || string(got) != want.String() {
				t.Errorf("%d of %d bytes, or others: %v", len(got), want.Len(), err)
			}
		})
	}
}

// A client may change its keys, and ask for new ones of ours, in the middle of
// the stream (RFC 8446 §4.6.3).
func TestRelay_keyUpdate(t *testing.T) {
	f, b := startRelay(t)
	c := exec.Command("openssl", "s_client", "-connect", f.direct, "-servername", host, "-tls1_3")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = c.Stdout
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	mustWrite(t, in, "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='"+host+"'>"+
		"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+plainText("alice", "secret")+"</auth>\n")
	leg := b.leg(t)
	heard := make(chan string, 100)
	go func() {
		defer close(heard)
		buf := make([]byte, 4096)
		for {
			n, err := out.Read(buf)
			if err != nil {
				return
			}
			heard <- string(buf[:n])
		}
	}()
	expect := func(want string) {
		t.Helper()
		timeout := time.After(10 * time.Second)
		for seen := ""; !strings.Contains(seen, want); {
			select {
			case text, ok := <-heard:
				if !ok {
					t.Fatalf("openssl ends: %s", seen)
				}
				seen += text
			case <-timeout:
				t.Fatalf("no %q: %s", want, seen)
			}
		}
	}
	for _, command := range []string{"K\n", "k\n", "K\n"} {
		mustWrite(t, in, command) // on a line of its own, it isn't sent
		expect("KEYUPDATE")
		mustWrite(t, in, "<from client>\n")
		mustRead(t, leg, "<from client>\n")
		mustWrite(t, leg, "<from server>")
		expect("<from server>")
	}
}
