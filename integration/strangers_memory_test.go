package integration

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// A hoarder makes the daemon hold as much as it can before its login.
type hoarder struct {
	name string
	at   func(*besieged) string
	do   intrusion
}

// An intrusion writes what the daemon may well refuse, and returns what its answer can be read from.
type intrusion func(net.Conn) net.Conn

// pour writes text.
func pour(text string) intrusion {
	return func(conn net.Conn) net.Conn {
		_, _ = io.WriteString(conn, text)
		return conn
	}
}

// inTLS does what it does behind a handshake.
func inTLS(do intrusion) intrusion {
	return func(conn net.Conn) net.Conn {
		over := tls.Client(conn, insecureTLS("localhost"))
		if over.Handshake() != nil {
			return over
		}
		return do(over)
	}
}

// upgraded sends frames of its own making on a WebSocket.
func upgraded(frames ...[]byte) intrusion {
	return pour(halfHTTP + webRest + "\r\n" + string(bytes.Join(frames, nil)))
}

// maskedFrame is a frame as a client sends it, masked with zeros, that claims to have more than it has.
func maskedFrame(kind byte, claims int, payload string) []byte {
	return append([]byte{kind, 0x80 | 126, byte(claims >> 8), byte(claims), 0, 0, 0, 0}, payload...)
}

// manyAttributes are that of one tag.
func manyAttributes(count int) string {
	var b strings.Builder
	for n := range count {
		fmt.Fprintf(&b, " a%d='b'", n)
	}
	return b.String()
}

// manyFields are as many as a header has room for.
func manyFields() string {
	var b strings.Builder
	for n := 0; b.Len() < 11000; n++ {
		fmt.Fprintf(&b, "%x:\r\n", n)
	}
	return b.String()
}

// idleHeap is how much garbage, in KiB, the daemon lets come together however small its heap is (serve.go).
const idleHeap = 16 << 10

// TestStrangers_hoarders: two thousand at once who send the worst that there is take no more than 64 KiB each of memory,
// garbage included, at the worst moment: the daemon's own peak.
func TestStrangers_hoarders(t *testing.T) {
	t.Parallel()
	const count = 2000
	for _, h := range hoarders() {
		if !tortured() && !slices.Contains(dearest, h.name) {
			continue
		}
		t.Run(h.name, func(t *testing.T) {
			b := besiege(t)
			b.logins(t, 20, time.Second)
			before := b.memory(t, "VmRSS")
			conns := make([]net.Conn, count)
			var group sync.WaitGroup
			next := make(chan int)
			for range 16 {
				group.Go(func() {
					for n := range next {
						conn, err := strangerFrom(n, h.at(b))
						if err != nil {
							t.Error(err)
							continue
						}
						conns[n] = conn
						_ = conn.SetDeadline(time.Now().Add(patience))
						h.do(conn)
					}
				})
			}
			for n := range count {
				next <- n
			}
			close(next)
			group.Wait()
			last, held := -1.0, 0.0
			until(t, "all is read", patience, func() bool {
				last, held = held, b.metric(t, "gatehouse_unauthed_connections")
				return held == last
			})
			peak := b.memory(t, "VmHWM")
			for _, conn := range conns {
				if conn != nil {
					_ = conn.Close()
				}
			}
			t.Logf("%4d KiB each, %v are still there: %s", (peak-before)/count, held, h.name)
			if peak-before > count*64 {
				t.Errorf("%d KiB each", (peak-before)/count)
			}
		})
	}
}

// TestStrangers_abuse: what cannot be a login ends the connection that it came on, with an error where there is somebody to
// tell, and no other.
func TestStrangers_abuse(t *testing.T) {
	t.Parallel()
	b := besiege(t, options{"c2s_timeout": 8})
	header := xmpptest.Header("localhost")
	auth := func(message string) string {
		return header + "<auth xmlns='" + xmpptest.NSSASL + "' mechanism='PLAIN'>" + message + "</auth>"
	}
	tests := []struct {
		name string
		at   func(*besieged) string
		do   intrusion
		want string // in the answer; empty for none
	}{
		{"an entity bomb", (*besieged).plain, pour("<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]>" + header), "restricted-xml"},
		{"an entity", (*besieged).tls, inTLS(pour(header + "<a>&lol;</a>")), "stream:error"},
		{"deep nesting", (*besieged).tls, inTLS(pour(header + strings.Repeat("<a>", 500) + strings.Repeat("</a>", 500))), "policy-violation"},
		{"a huge attribute", (*besieged).tls, inTLS(pour(header + "<a b='" + strings.Repeat("c", 1<<20))), "policy-violation"},
		{"too many attributes", (*besieged).tls, inTLS(pour(header + "<a" + manyAttributes(200) + "/>")), "policy-violation"},
		{"broken UTF-8", (*besieged).tls, inTLS(pour(header + "<a>\xc3\x28\xff</a>")), "stream:error"},
		{"an overlong character", (*besieged).tls, inTLS(pour(header + "<a>\xc0\xaf</a>")), "stream:error"},
		{"a NUL", (*besieged).tls, inTLS(pour(header + "<a>\x00</a>")), "not-well-formed"},
		{"a NUL as a reference", (*besieged).tls, inTLS(pour(header + "<a>&#0;</a>")), "not-well-formed"},
		{"TLS where there is none", (*besieged).plain, pour(halfHello), "not-well-formed"},
		{"garbage for TLS", (*besieged).tls, pour(header), ""},
		{"garbage in a TLS record", (*besieged).tls, pour("\x16\x03\x01\x00\x04\xff\xff\xff\xff"), "\x15\x03"},
		{"a TLS record too long", (*besieged).tls, pour("\x16\x03\x01\xff\xff" + strings.Repeat("x", 1<<16)), ""},
		{"application data before TLS", (*besieged).tls, pour("\x17\x03\x03\x00\x10" + strings.Repeat("x", 16)), ""},
		{"an endless ClientHello", (*besieged).tls, pour(strings.Repeat("\x16\x03\x01\x10\x00"+"\x01\x00\xff\xf0"+strings.Repeat("h", 4092), 8)), ""},
		{"a TLS record too long before the login", (*besieged).tls, layered(tls.VersionTLS13, func(l *layer) { l.say(header + strings.Repeat(" ", 14<<10)) }), "policy-violation"},
		{"a TLS record too long on a WebSocket", (*besieged).https, layered(tls.VersionTLS12, func(l *layer) {
			l.say(halfHTTP + webRest + "\r\n")
			l.say(strings.Repeat("\x8a\x80\x00\x00\x00\x00", 2400))
		}), "\x88\x1b\x03\xf0too much before the login"},
		{"STARTTLS injection", (*besieged).plain, pour(header + "<starttls xmlns='" + xmpptest.NSTLS + "'/>" + auth("AGFsaWNlAHNlY3JldA==")), "<failure xmlns='" + xmpptest.NSTLS},
		{"an oversized SASL message", (*besieged).tls, inTLS(pour(auth(strings.Repeat("A", 1<<20)))), "stanza-too-big"},
		{"a user name of a megabyte", (*besieged).tls, inTLS(pour(auth(encoded(plain(strings.Repeat("u", 1<<20), "x"))))), "stanza-too-big"},
		{"a user name of five kilobytes", (*besieged).tls, inTLS(pour(auth(encoded(plain(strings.Repeat("u", 5000), "x"))) + "</stream:stream>")), "</failure>"},
		{"a request line of a megabyte", (*besieged).http, pour("GET /" + strings.Repeat("a", 1<<20)), "HTTP/1.1 431"},
		{"fields of a megabyte", (*besieged).https, inTLS(pour(halfHTTP + strings.Repeat("A: b\r\n", 1<<18))), "HTTP/1.1 4"},
		{"a frame of 2^62 bytes", (*besieged).http, upgraded([]byte{0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 'a'}), "HTTP/1.1 101"},
		{"a ping of a kilobyte", (*besieged).http, upgraded(maskedFrame(0x89, 1024, strings.Repeat("a", 1024))), "HTTP/1.1 101"},
		{"a frame without a mask", (*besieged).http, upgraded([]byte("\x81\x05hello")), "HTTP/1.1 101"},
		{"the rest of nothing", (*besieged).http, upgraded(maskedFrame(0x80, 200, strings.Repeat("a", 200))), "HTTP/1.1 101"},
	}
	memory := b.memory(t, "VmHWM")
	var group sync.WaitGroup
	for n, test := range tests {
		group.Go(func() {
			conn, err := strangerFrom(n, test.at(b))
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
				return
			}
			defer func() { _ = conn.Close() }()
			began := time.Now()
			_ = conn.SetDeadline(began.Add(patience))
			text, err := io.ReadAll(test.do(conn))
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: still connected after %v", test.name, time.Since(began))
			}
			// A reset may overtake the answer when much is still on its way.
			if test.want != "" && !strings.Contains(string(text), test.want) && err == nil {
				t.Errorf("%s: %q", test.name, text)
			}
		})
	}
	group.Wait()
	if grown := b.memory(t, "VmHWM") - memory; grown > len(tests)*64+4096 {
		t.Errorf("they have taken %d KiB", grown)
	}
	expectAuth(t, "afterwards", b.starttls, "localhost", "PLAIN", plain("alice", "secret"), "success")
}
