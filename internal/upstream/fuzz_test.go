package upstream

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmlstream"
)

// memConn is a server that says what it says whatever it hears. It counts what
// is read, and ends with io.EOF.
type memConn struct {
	says   string
	chunk  int
	remote net.Addr
	read   int
	heard  strings.Builder
}

func (m *memConn) Read(b []byte) (int, error) {
	rest := m.says[m.read:]
	if rest == "" {
		return 0, io.EOF
	}
	n := copy(b, rest[:min(len(rest), m.chunk)])
	m.read += n
	return n, nil
}

func (m *memConn) Write(b []byte) (int, error)      { return m.heard.Write(b) }
func (m *memConn) Close() error                     { return nil }
func (m *memConn) LocalAddr() net.Addr              { return m.remote }
func (m *memConn) RemoteAddr() net.Addr             { return m.remote }
func (m *memConn) SetDeadline(time.Time) error      { return nil }
func (m *memConn) SetReadDeadline(time.Time) error  { return nil }
func (m *memConn) SetWriteDeadline(time.Time) error { return nil }

var (
	loopback  = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5222}
	elsewhere = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5222}
)

// inMemory is a leg that has been dialled.
func inMemory(c Config, conn *memConn) *leg {
	c.TLS = &tls.Config{ServerName: "example.org"}
	if c.Credentials == nil {
		c.Credentials = plain
	}
	return &leg{
		config: &c, tls: c.tlsConfig(), login: login{user: "alice", host: "example.org"},
		raw: conn, conn: conn, in: xmlstream.NewReader(conn, limits),
	}
}

// TestLeg_secretStaysHere: no secret crosses an unencrypted link to another
// machine, whatever the config calls its address.
func TestLeg_secretStaysHere(t *testing.T) {
	good := header + offer + success
	for name, tt := range map[string]struct {
		config Config
		remote net.Addr
		want   error
	}{
		"loopback":            {Config{Mode: None}, loopback, nil},
		"loopback, IPv6":      {Config{Mode: None}, &net.TCPAddr{IP: net.IPv6loopback}, nil},
		"loopback, mapped":    {Config{Mode: None}, &net.TCPAddr{IP: net.ParseIP("::ffff:127.0.0.1")}, nil},
		"unix":                {Config{Mode: None}, &net.UnixAddr{Name: "/x", Net: "unix"}, nil},
		"loopback, automatic": {Config{}, loopback, nil},
		"elsewhere":           {Config{Mode: None}, elsewhere, ErrInsecure},
		"elsewhere, allowed":  {Config{Mode: None, AllowUnencrypted: true}, elsewhere, nil},
		// What is allowed is not what one falls back to: TLS was asked for.
		"elsewhere, automatic": {Config{AllowUnencrypted: true}, elsewhere, ErrInsecure},
		"STARTTLS stripped":    {Config{Mode: StartTLS, AllowUnencrypted: true}, loopback, ErrInsecure},
	} {
		t.Run(name, func(t *testing.T) {
			conn := &memConn{says: good, chunk: len(header + offer), remote: tt.remote}
			g := inMemory(tt.config, conn)
			if err := g.authenticate(context.Background()); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if sent := strings.Contains(conn.heard.String(), "<auth"); sent != (tt.want == nil) {
				t.Errorf("sent %q", conn.heard.String())
			}
		})
	}
}

// FuzzLeg: whatever a server says, a leg ends with a kind of error or a login
// that was answered by success and nothing else, in bounded memory; the secret is
// sent once, to who offers to take it, and is in no error.
func FuzzLeg(f *testing.F) {
	for _, s := range []string{
		header + offer + success,
		header + offer + refusal,
		header + offerTLS + proceed,
		header + offerTLS + proceed + header + offer + success,
		header + offer + success + " ",
		header + offer + success + header,
		header + offer + "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>dj1hYg==</success>",
		"\xef\xbb\xbf" + header + "\n" + offer + "\n" + success,
		header + "<stream:features/>",
		header + "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
		header + "</stream:stream>",
		"<!DOCTYPE x>" + header,
		"HTTP/1.1 400 Bad Request\r\n\r\n",
		"\x15\x03\x01\x00\x02\x02\x46",
		"",
	} {
		for _, mode := range []byte{0, 1, 2} {
			f.Add(s, mode, uint16(len(s)))
		}
		f.Add(s, byte(0), uint16(1))
	}
	encoded := base64.StdEncoding.EncodeToString([]byte("\x00alice\x00" + secret))
	f.Fuzz(func(t *testing.T, says string, mode byte, chunk uint16) {
		conn := &memConn{says: says, chunk: int(max(chunk, 1)), remote: loopback}
		g := inMemory(Config{Mode: []Mode{None, StartTLS, DirectTLS}[mode%3]}, conn)
		err := g.authenticate(context.Background())
		heard := conn.heard.String()
		sent := strings.Count(heard, encoded)
		switch {
		case conn.read > limits.Total+1<<15:
			t.Errorf("read %d bytes", conn.read)
		case sent > 1, sent == 1 && !strings.Contains(says, Plain), sent == 1 && g.config.Mode != None, sent == 1 != g.sent:
			t.Errorf("sent the secret %d times: %q", sent, heard)
		}
		if err == nil {
			if sent != 1 || !strings.Contains(says[:conn.read], "success") || g.in.Buffered() != 0 {
				t.Errorf("a login by %q", says)
			}
			return
		}
		kinds := 0
		for _, kind := range []error{ErrDown, ErrSlow, ErrRefused, ErrProtocol, ErrInsecure} {
			if errors.Is(err, kind) {
				kinds++
			}
		}
		if kinds != 1 || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), encoded) {
			t.Errorf("%d kinds: %v", kinds, err)
		}
	})
}
