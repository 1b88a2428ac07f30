package upstream

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestTry logs in, sees the stream that is the client's, and leaves.
func TestTry(t *testing.T) {
	const bind = "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"
	ended := make(chan string, 1)
	a := serve(t, func(p *peer) {
		p.stream(offer)
		if m := p.message(Plain); m != "\x00alice\x00"+secret {
			t.Errorf("PLAIN message %q", m)
		}
		p.send(success)
		p.stream(bind)
		ended <- p.expect("</")
	})
	c := Config{Mode: None, Timeout: 10 * time.Second, Credentials: plain}
	if err := Try(t.Context(), c, a, "alice", "example.org", ""); err != nil {
		t.Fatal(err)
	}
	if got := <-ended; got != streamEnd {
		t.Errorf("sent %q behind its last header", got)
	}

	for _, tt := range []struct {
		name   string
		user   string
		script func(*peer)
		want   error
	}{
		{"refused", "alice", func(p *peer) { p.stream(offer); p.message(Plain); p.send(refusal) }, ErrRefused},
		{"gone after the login", "alice", func(p *peer) { p.stream(offer); p.message(Plain); p.send(success) }, ErrDown},
		{"nothing to bind", "alice", func(p *peer) { p.stream(offer); p.message(Plain); p.send(success); p.stream(offer); p.hang() }, ErrProtocol},
		{"a name that can be read in two ways", "♥", func(*peer) { t.Error("dialled") }, ErrName},
	} {
		if err := Try(t.Context(), c, serve(t, tt.script), tt.user, "example.org", ""); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	slow := serve(t, func(p *peer) {
		p.stream(offer)
		p.message(Plain)
		p.send(success)
		p.expect("to=")
		cancel()
		p.hang()
	})
	if err := Try(ctx, c, slow, "alice", "example.org", ""); err == nil {
		t.Error("nothing answers after the login, and all is well")
	}
}
