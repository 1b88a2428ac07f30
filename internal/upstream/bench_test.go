package upstream

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmlstream"
	"gatehouse.im/gatehouse/internal/xmpptest"
)

// serverVariable makes the test binary a server for benchmarks: it must be a
// process of its own, for what is measured is the CPU time of ours.
const serverVariable = "UPSTREAM_TEST_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serverVariable) != "" {
		if err := benchServer(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// benchServer prints its authority and its addresses for plain, STARTTLS and
// direct TLS, and lets everybody in until its standard input ends.
func benchServer() error {
	ca, err := xmpptest.NewCA()
	if err != nil {
		return err
	}
	pair, err := ca.Issue(xmpptest.ECDSA, "example.org")
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair.TLS}}
	fmt.Println(base64.StdEncoding.EncodeToString(ca.PEM()))
	for _, mode := range []Mode{None, StartTLS, DirectTLS} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println(ln.Addr())
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					benchLogin(conn, mode, config)
				}()
			}
		}()
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func benchLogin(conn net.Conn, mode Mode, config *tls.Config) {
	say := func(until, answer string) bool {
		var b []byte
		for !bytes.Contains(b, []byte(until)) {
			b = append(b, make([]byte, 1024)...)
			n, err := conn.Read(b[len(b)-1024:])
			if err != nil {
				return false
			}
			b = b[:len(b)-1024+n]
		}
		_, err := io.WriteString(conn, answer)
		return err == nil
	}
	if mode == StartTLS && (!say("'>", header+offerTLS) || !say("<starttls", proceed)) {
		return
	}
	if mode != None {
		conn = tls.Server(conn, config)
	}
	if say("to=", header+offer) && say("</auth>", success) {
		_, _ = io.Copy(io.Discard, conn)
	}
}

// BenchmarkOpen tells what a leg costs us: time, CPU of this process, memory.
func BenchmarkOpen(b *testing.B) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverVariable+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	}()
	lines := bufio.NewScanner(stdout)
	line := func() string {
		if !lines.Scan() {
			b.Fatal("the server ended")
		}
		return lines.Text()
	}
	authority, err := base64.StdEncoding.DecodeString(line())
	if err != nil {
		b.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	for _, mode := range []Mode{None, StartTLS, DirectTLS} {
		u := New(Config{
			Addresses: []Address{{"tcp", line()}}, Mode: mode, Timeout: 10 * time.Second, Credentials: plain,
			TLS: &tls.Config{RootCAs: pool, ServerName: "example.org"},
		})
		b.Run(string(mode), func(b *testing.B) {
			b.ReportAllocs()
			began := cpu(b)
			for b.Loop() {
				conn, err := u.Open(context.Background(), "alice", "example.org", secret, nil, nil)
				if err != nil {
					b.Fatal(err)
				}
				// Without lingering, so that ports do not run out.
				raw := conn
				if t, ok := conn.(*tls.Conn); ok {
					raw = t.NetConn()
				}
				_ = raw.(*net.TCPConn).SetLinger(0)
				_ = raw.Close()
			}
			b.ReportMetric(float64((cpu(b)-began).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
		u.Close()
	}
}

// BenchmarkLeg is BenchmarkOpen without a network: negotiation alone.
func BenchmarkLeg(b *testing.B) {
	b.ReportAllocs()
	conn := &memConn{says: header + offer + success, chunk: len(header + offer), remote: loopback}
	first := inMemory(Config{Mode: None}, conn)
	for b.Loop() {
		conn.read = 0
		conn.heard.Reset()
		g := *first
		g.in = xmlstream.NewReader(conn, limits)
		if err := g.authenticate(context.Background()); err != nil {
			b.Fatal(err)
		}
		g.in.Close()
	}
}

// cpu returns the CPU time that this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
