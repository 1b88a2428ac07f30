package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"testing"
	"time"

	"gatehouse.im/gatehouse/extauth"
	"gatehouse.im/gatehouse/internal/xmpptest"
	"gatehouse.im/gatehouse/server"
)

// scriptVariable makes the test binary an auth program.
const scriptVariable = "BENCH_SCRIPT"

func TestMain(m *testing.M) {
	if os.Getenv(scriptVariable) == "" {
		os.Exit(m.Run())
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		answer := "0"
		if p := bytes.SplitN(in.Bytes(), []byte(":"), 4); len(p) == 4 && string(p[3]) == "pass:"+string(p[1]) {
			answer = "1"
		}
		fmt.Println(answer)
	}
}

var heapFile = flag.String("heap", "", "BenchmarkSession: write a heap profile to this file while the sessions are there")

// inProcess is a server with a pool in this process, to be profiled:
//
//	go test -run '^$' -bench '^BenchmarkLogin$' -benchtime 5000x -cpuprofile cpu.out ./bench
//	go tool pprof -tagfocus side=server -top cpu.out
//	go test -run '^$' -bench '^BenchmarkSession$' -benchtime 5000x -memprofilerate 1 ./bench -heap mem.out
//	go tool pprof -inuse_space -focus server.*run -top mem.out
type inProcess struct {
	address string
	client  *tls.Config
	pool    *extauth.Pool
	server  *server.Server
	tls     *tls.Config // the server's
}

// startInProcess starts it, with up behind if that is not nil.
func startInProcess(b *testing.B, up server.Upstream) *inProcess {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	pool, err := extauth.NewPool(extauth.Config{
		Name: domain, Command: []string{self}, Env: append(extauth.Environ(), scriptVariable+"=1"), Protocol: extauth.Generic,
		Timeout: 5 * time.Second, Processes: 1, Queue: 1000, PTY: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	ca, err := xmpptest.NewCA()
	if err != nil {
		b.Fatal(err)
	}
	pair, err := ca.Issue(xmpptest.ECDSA, domain)
	if err != nil {
		b.Fatal(err)
	}
	p := &inProcess{client: ca.ClientConfig(), pool: pool}
	p.tls = &tls.Config{Certificates: []tls.Certificate{pair.TLS}, MinVersion: tls.VersionTLS12}
	p.client.ServerName = domain
	p.client.CurvePreferences = []tls.CurveID{tls.X25519}
	s := server.New(&server.Config{
		Hosts: map[string]*server.Host{domain: {
			Name: domain, Password: judge{pool}, RequireEncryption: true, Conflict: server.KickOld, Upstream: up,
			TLS: p.tls,
		}},
		LoginTimeout:        30 * time.Second,
		StanzaLimit:         262144,
		UnauthedStanzaLimit: 10000,
		Version:             "bench",
		Logger:              slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	p.server = s
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	p.address = ln.Addr().String()
	served := make(chan error, 1)
	// Goroutines inherit the label, so that profiles can be told apart.
	go pprof.Do(context.Background(), pprof.Labels("side", "server"), func(context.Context) {
		served <- s.Serve(ln, func() bool { return false })
	})
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err := errors.Join(s.Shutdown(ctx), p.pool.Close(ctx))
		if e := <-served; !errors.Is(e, server.ErrClosed) {
			err = errors.Join(err, e)
		}
		if err != nil {
			b.Error(err)
		}
	})
	return p
}

// judge asks the pool.
type judge struct{ pool *extauth.Pool }

func (j judge) Authenticate(ctx context.Context, user, host, secret string) (bool, error) {
	return j.pool.Auth(ctx, user, host, secret)
}

// login logs in as the n-th user. The caller closes the client.
func (p *inProcess) login(n int) (*xmpptest.Client, error) {
	c, err := xmpptest.Dial(p.address)
	if err != nil {
		return nil, err
	}
	user := fmt.Sprint("u", n%200)
	if _, err := c.Login(domain, user, "pass:"+user, fmt.Sprint("r", n), p.client); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func BenchmarkLogin(b *testing.B) { benchmarkLogin(b, startInProcess(b, nil)) }

func benchmarkLogin(b *testing.B, p *inProcess) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c, err := p.login(i)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Send("</stream:stream>"); err != nil {
			b.Fatal(err)
		}
		if err := c.ExpectEnd(); err != nil {
			b.Fatal(err)
		}
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSession reports what a silent session keeps, client and server
// together: heap that is in use, and the goroutine's stack.
func BenchmarkSession(b *testing.B) {
	p := startInProcess(b, nil)
	heap, stacks := memory()
	for i := 0; b.Loop(); i++ {
		c, err := p.login(i)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
	}
	reportMemory(b, heap, stacks)
}

// reportMemory says what each session has added, and writes the profile that was
// asked for.
func reportMemory(b *testing.B, heap, stacks float64) {
	heapNow, stacksNow := memory()
	if *heapFile != "" {
		f, err := os.Create(*heapFile)
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(pprof.WriteHeapProfile(f), f.Close()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((heapNow-heap)/float64(b.N), "heap-B/session")
	b.ReportMetric((stacksNow-stacks)/float64(b.N), "stack-B/session")
}

// memory returns bytes of live objects and of stacks.
func memory() (heap, stacks float64) {
	runtime.GC()
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(s)
	return float64(s[0].Value.Uint64()), float64(s[1].Value.Uint64())
}
