package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/client"
)

func TestStepPrinter(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	a, b := client.Target{Address: "a.example:443", DirectTLS: true}, client.Target{Address: "b.example:5222"}
	for _, c := range []struct {
		name string
		step client.Step
		want string
	}{
		{"found", client.Found{Targets: []client.Target{a, b}, SRV: true}, "find      DNS says a.example:443 (direct TLS), then b.example:5222\n"},
		{"not found", client.Found{Targets: []client.Target{b}}, "find      no SRV records, so it is b.example:5222\n"},
		{"broken DNS", client.Found{Targets: []client.Target{b}, Err: errors.New("timeout")}, "find      ! SRV records cannot be had: timeout\n          trying b.example:5222\n"},
		{"unreachable", client.Unreachable{Target: b, Err: errors.New("connection refused")}, "connect   ✗ b.example:5222: connection refused\n"},
		{"nothing offered", client.Opened{From: "b.example"}, "stream    b.example offers no way to log in\n"},
		{"everything offered", client.Opened{StartTLS: true, Mechanisms: []string{"PLAIN"}, Bindings: []string{"tls-exporter"}, Others: []string{"bind"}},
			"stream    a server without a name offers STARTTLS, PLAIN\n          channel bindings tls-exporter\n          also bind\n"},
		{"expired certificate", client.Encrypted{
			Version: "TLS 1.2", Cipher: "X", Issuer: "CN=authority", Key: "RSA 2048", Expires: now.Add(-time.Second), Fingerprint: "ab", Err: errors.New("expired"),
		}, `tls       TLS 1.2, X, 0s
          certificate for no name at all; by CN=authority; RSA 2048
          valid until 2026-01-01 (EXPIRED)
          SHA-256 ab
          ✗ not trusted: expired
`},
		{"bound mechanism", client.Authenticating{Mechanism: "SCRAM-SHA-1-PLUS", Binding: "tls-unique"}, "login     SCRAM-SHA-1-PLUS, bound to TLS by tls-unique, the strongest that both sides know\n"},
		{"pings unknown", client.Pinged{Took: time.Second, Condition: "service-unavailable"}, "ping      ✓ answered after 1s, with service-unavailable\n"},
		{"rude end", client.Closed{Err: errors.New("EOF")}, "close     ! the server did not close the stream: EOF\n"},
		{"XML that nobody asked for", client.XML{Text: "<a/>"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			p := newStepPrinter(&out, false)
			p.now = func() time.Time { return now }
			p.step(c.step)
			if out.String() != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", out.String(), c.want)
			}
		})
	}
}

func TestStepPrinter_distance(t *testing.T) {
	p := newStepPrinter(new(bytes.Buffer), false)
	now := time.Now()
	p.now = func() time.Time { return now }
	const day = 24 * time.Hour
	for left, want := range map[time.Duration]string{
		-time.Second: "EXPIRED", time.Hour: "in 1 h", 47 * time.Hour: "in 47 h", 3 * day: "in 3 days", 90 * day: "in 90 days", 3650 * day: "in 10 years",
	} {
		if got := p.distance(now.Add(left)); got != want {
			t.Errorf("%v: %q, want %q", left, got, want)
		}
	}
}

func TestPalette_coloursTerminalsOnly(t *testing.T) {
	if got := (palette{true}).good("x"); got != "\x1b[32mx\x1b[0m" {
		t.Errorf("on: %q", got)
	}
	if got := newPalette(new(strings.Builder)).good("x"); got != "x" {
		t.Errorf("off: %q", got)
	}
}
