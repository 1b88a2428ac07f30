package xmpptest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestSplit(t *testing.T) {
	header := "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1'>"
	cases := []struct {
		name, in string
		kind     pieceKind
		piece    string
		fails    bool
	}{
		{"nothing", "", pieceNone, "", false},
		{"white space", " \n", pieceNone, "", false},
		{"header", header, pieceHeader, header, false},
		{"header after declaration", "<?xml version='1.0'?>" + header + "<a/>", pieceHeader, header, false},
		{"half a tag", "<message", pieceNone, "", false},
		{"half an element", "<a><b/>", pieceNone, "", false},
		{"empty element", "<a/><b/>", pieceElement, "<a/>", false},
		{"nested", " <a><b>x</b></a><c/>", pieceElement, "<a><b>x</b></a>", false},
		{"greater in quotes", "<a b='>'><c/></a>", pieceElement, "<a b='>'><c/></a>", false},
		{"footer", "</stream:stream>", pieceFooter, "</stream:stream>", false},
		{"stream inside an element", "<a><stream/></a>", pieceElement, "<a><stream/></a>", false},
		{"text", "HTTP/1.1 400<a/>", pieceNone, "", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			kind, begin, end, err := split([]byte(c.in))
			if (err != nil) != c.fails {
				t.Fatalf("error %v, want one: %v", err, c.fails)
			}
			if kind != c.kind || c.in[begin:end] != c.piece {
				t.Errorf("got %d %q, want %d %q", kind, c.in[begin:end], c.kind, c.piece)
			}
		})
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("<?xml version='1.0'?><stream:stream id='1'><a b='>'/></stream:stream>")
	f.Add("<a><b>x</b></a><!-- -->")
	f.Add("<>")
	f.Fuzz(func(t *testing.T, in string) {
		for rest := in; ; {
			kind, begin, end, err := split([]byte(rest))
			if err != nil || kind == pieceNone {
				return
			}
			if begin >= end || end > len(rest) {
				t.Fatalf("%q: piece at %d to %d", rest, begin, end)
			}
			rest = rest[end:]
		}
	})
}

// serve plays a server: it waits for each line of the script that begins with "C " and sends the others.
func serve(t *testing.T, conn net.Conn, script ...string) {
	t.Helper()
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		defer func() { _ = conn.Close() }()
		for _, line := range script {
			want, isInput := strings.CutPrefix(line, "C ")
			if !isInput {
				if _, err := io.WriteString(conn, line); err != nil {
					t.Errorf("server: %v", err)
					return
				}
				continue
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
				t.Errorf("server read %q, %v; want %q", got, err, want)
				return
			}
		}
	}()
}

const testHeader = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' " +
	"xmlns:stream='http://etherx.jabber.org/streams' from='localhost' id='x' xml:lang='en' version='1.0'>"

func TestClient_readsPiecesInOrder(t *testing.T) {
	ours, theirs := net.Pipe()
	c := New(ours)
	defer func() { _ = c.Close() }()
	serve(t, theirs, "C "+Header("localhost"), testHeader+"<stream:feat",
		"ures><mechanisms xmlns='"+NSSASL+"'><mechanism>PLAIN</mechanism></mechanisms></stream:features>",
		"<failure xmlns='"+NSSASL+"'><not-authorized/><text>no</text></failure>"+
			"<stream:error><host-unknown xmlns='"+NSStreams+"'/></stream:error></stream:stream>")
	features, err := c.Open("localhost")
	if err != nil {
		t.Fatal(err)
	}
	if got := features.Child("mechanisms").Child("mechanism"); got == nil || got.Text != "PLAIN" || got.NS != NSSASL {
		t.Errorf("mechanism %+v", got)
	}
	failure, err := c.Expect("failure")
	if err != nil || failure.Condition() != "not-authorized" {
		t.Errorf("failure %+v, %v", failure, err)
	}
	if err := c.ExpectError("host-unknown"); err != nil {
		t.Error(err)
	}
}

func TestClient_timeoutLosesNothing(t *testing.T) {
	ours, theirs := net.Pipe()
	c := New(ours)
	defer func() { _ = c.Close() }()
	serve(t, theirs, "<a><b", "C go", "/></a><half")
	if e, err := c.ReadElementIn(20 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %+v, %v", e, err)
	}
	if err := c.Send("go"); err != nil {
		t.Fatal(err)
	}
	e, err := c.ReadElement()
	if err != nil || e.Raw != "<a><b/></a>" || e.Child("b") == nil || e.NS != NSClient {
		t.Errorf("got %+v, %v", e, err)
	}
	if _, err := c.ReadElement(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

func TestClient_headerAttributes(t *testing.T) {
	e, err := build(pieceHeader, testHeader[strings.Index(testHeader, "<stream"):])
	if err != nil {
		t.Fatal(err)
	}
	if !e.Header || e.NS != NSStream || e.Attr("xml:lang") != "en" || e.Attr("from") != "localhost" || len(e.Attrs) != 4 {
		t.Errorf("got %+v", e)
	}
}

func TestCA_clientTrustsOnlyItsOwn(t *testing.T) {
	ca, err := NewCA()
	if err != nil {
		t.Fatal(err)
	}
	for _, keyType := range []KeyType{ECDSA, RSA} {
		pair, err := ca.Issue(keyType, "one.example", "two.example")
		if err != nil {
			t.Fatal(err)
		}
		for name, good := range map[string]bool{"two.example": true, "three.example": false} {
			ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair.TLS}})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				if conn, err := ln.Accept(); err == nil {
					// The client's verdict is what counts here.
					_ = conn.(*tls.Conn).Handshake()
					_ = conn.Close()
				}
			}()
			config := ca.ClientConfig()
			config.ServerName = name
			c, err := DialTLS(ln.Addr().String(), config)
			if (err == nil) != good {
				t.Errorf("key type %d, %s: %v", keyType, name, err)
			}
			if err == nil {
				_ = c.Close()
			}
			<-done
			_ = ln.Close()
		}
	}
}

func TestPair_writeKeepsKeyPrivate(t *testing.T) {
	ca, err := NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(ECDSA, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := pair.Write(t.TempDir(), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
}
