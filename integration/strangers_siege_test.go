package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// Strangers live in a process of their own, with less priority than the daemon: on their own machines they would not take
// its processors either. What they make it do is not less for that unless they starve, so a siege says how often they came.
func init() {
	if job := os.Getenv(besiegersEnv); job != "" {
		if err := beBesiegers(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// besiegersEnv has the besiegers as JSON for the process that is to be them.
const besiegersEnv = "GATEHOUSE_TEST_BESIEGERS"

// besiegers are strangers of every kind.
type besiegers struct {
	Fresh                     bool // all of them are; otherwise there are all of slowKinds
	Count                     int
	StartTLS, Direct, WS, WSS string // where the daemon is
}

// A slowloris is one way to be slow. It returns once it has stopped where it wanted to, or has been thrown out.
type slowloris struct {
	name string
	at   func(*besieged) string
	do   func(ctx context.Context, conn net.Conn) error
}

// sayThen sends text and then one byte of rest a second.
func sayThen(text, rest string) func(context.Context, net.Conn) error {
	return func(ctx context.Context, conn net.Conn) error {
		if _, err := io.WriteString(conn, text); err != nil {
			return err
		}
		return slowly(ctx, conn, rest)
	}
}

func slowly(ctx context.Context, w io.Writer, text string) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for _, b := range []byte(text) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if _, err := w.Write([]byte{b}); err != nil {
			return err
		}
	}
	return nil
}

// halfHello is how a ClientHello begins.
const halfHello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "0123456789abcdef"

// webRest ends halfHTTP, but for the empty line.
const webRest = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: xmpp\r\n"

var (
	endless  = strings.Repeat("a", 200)
	halfHTTP = "GET /xmpp-websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"

	slowKinds = []slowloris{
		{"nothing sent", (*besieged).plain, sayThen("", "")},
		{"a byte a second", (*besieged).plain, sayThen("", " "+xmpptest.Header("localhost")+endless)},
		{"half a ClientHello", (*besieged).tls, sayThen(halfHello, endless)},
		{"TLS, then silence", (*besieged).tls, func(_ context.Context, conn net.Conn) error {
			return tls.Client(conn, insecureTLS("localhost")).Handshake()
		}},
		{"a header, then a byte a second", (*besieged).plain, sayThen(xmpptest.Header("localhost")+"<auth xmlns='", endless)},
		{"half an upgrade", (*besieged).http, sayThen(halfHTTP, endless)},
		{"half an upgrade inside TLS", (*besieged).https, func(_ context.Context, conn net.Conn) error {
			over := tls.Client(conn, insecureTLS("localhost"))
			if err := over.Handshake(); err != nil {
				return err
			}
			_, err := io.WriteString(over, halfHTTP)
			return err
		}},
		{"never reads", (*besieged).plain, neverRead},
	}
)

// fresh is a stranger who costs as much as he can and does nothing for it: a ClientHello is always the same, and the answer is
// not looked at.
var fresh = slowloris{"a ClientHello, then silence", (*besieged).tls, func(_ context.Context, conn net.Conn) error {
	_, err := conn.Write(wholeHello())
	return err
}}

// wholeHello is what crypto/tls begins a handshake with.
var wholeHello = sync.OnceValue(func() []byte {
	ours, theirs := net.Pipe()
	defer func() { _ = ours.Close() }()
	go func() { _ = tls.Client(theirs, insecureTLS("localhost")).Handshake() }()
	hello := make([]byte, 16<<10)
	n, err := ours.Read(hello)
	if err != nil {
		panic(err) // a pipe
	}
	return hello[:n]
})

// neverRead asks and does not read what it is told.
func neverRead(ctx context.Context, conn net.Conn) error {
	if err := conn.(*net.TCPConn).SetReadBuffer(1024); err != nil {
		return err
	}
	text := xmpptest.Header("localhost") + strings.Repeat("<iq id='a' type='get'><query xmlns='jabber:iq:register'/></iq>", 400)
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	// Writes fail once the other side has closed the connection; until then they wait for it.
	for ctx.Err() == nil {
		if err := slowly(ctx, conn, endless); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// beBesiegers keeps them connected until the standard input ends: whoever is thrown out comes back. It says when all are
// there, and in the end how often they came, and how often they could not.
func beBesiegers(job string) error {
	var b besiegers
	if err := json.Unmarshal([]byte(job), &b); err != nil {
		return err
	}
	at := &besieged{starttls: b.StartTLS, direct: b.Direct, ws: b.WS, wss: b.WSS}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var strangers, first sync.WaitGroup
	var came, failed atomic.Int64
	first.Add(b.Count)
	for n := range b.Count {
		kind := slowKinds[n%len(slowKinds)]
		if b.Fresh {
			kind = fresh
		}
		there := sync.OnceFunc(first.Done)
		strangers.Go(func() {
			for ctx.Err() == nil {
				conn, err := strangerFrom(n, kind.at(at))
				if err != nil {
					failed.Add(1)
					select {
					case <-time.After(time.Second):
					case <-ctx.Done():
					}
					continue
				}
				stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
				came.Add(1)
				there()
				// To be thrown out is what strangers are for.
				if kind.do(ctx, conn) == nil {
					_, _ = io.Copy(io.Discard, conn)
				}
				stop()
				_ = conn.Close()
			}
		})
	}
	first.Wait()
	fmt.Println("there")
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	strangers.Wait()
	fmt.Println(came.Load(), failed.Load())
	return nil
}

// A siege is the process of the besiegers.
type siege struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *bufio.Reader
}

// siege starts count strangers, of every kind or fresh ones, and returns once all have been there.
func (b *besieged) siege(t *testing.T, count int, fresh bool) *siege {
	t.Helper()
	job, err := json.Marshal(besiegers{fresh, count, b.starttls, b.direct, b.ws, b.wss})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &siege{cmd: exec.Command("nice", "-n", "10", self)}
	s.cmd.Env = append(os.Environ(), besiegersEnv+"="+string(job))
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.stdout = bufio.NewReader(out)
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
	s.line(t)
	return s
}

func (s *siege) line(t *testing.T) string {
	t.Helper()
	line, err := s.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("the besiegers: %v", err)
	}
	return strings.TrimSpace(line)
}

// over ends it and says how often they came, and how often they could not.
func (s *siege) over(t *testing.T) (came, failed int) {
	t.Helper()
	_ = s.stdin.Close()
	if _, err := fmt.Sscan(s.line(t), &came, &failed); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return came, failed
}

// cpuTime is what a process has used of the processors.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var ticks time.Duration
	for _, field := range fields[11:13] { // utime and stime: 14 and 15 of proc(5)
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += time.Duration(n)
	}
	return ticks * (time.Second / 100) // USER_HZ
}

// An influx is what came of logins.
type influx struct {
	offered, in int
	late        int             // not begun, since too many were under way
	failed      error           // of one of the others
	took        []time.Duration // those that came in, sorted
	daemon      time.Duration   // what it has used of the processors meanwhile
}

func (i influx) String() string {
	at := func(share float64) time.Duration {
		if len(i.took) == 0 {
			return 0
		}
		return i.took[int(share*float64(len(i.took)-1))].Round(time.Millisecond / 10)
	}
	return fmt.Sprintf("%d of %d logins, in %v, a hundredth in more than %v; %d were not begun; the daemon took %v",
		i.in, i.offered, at(0.5), at(0.99), i.late, i.daemon)
}

// logins logs alice in again and again, so many times a second, and says what came of it. Half of them come from one address,
// as from behind one router, the others from 200.
func (b *besieged) logins(t *testing.T, perSecond int, during time.Duration) influx {
	t.Helper()
	slots := make(chan struct{}, 64)
	var people sync.WaitGroup
	var mu sync.Mutex // guards got
	got := influx{offered: perSecond * int(during/time.Second)}
	daemon := cpuTime(t, b.cmd.Process.Pid)
	began := time.Now()
	for n := range got.offered {
		<-time.After(time.Until(began.Add(time.Duration(n) * time.Second / time.Duration(perSecond))))
		select {
		case slots <- struct{}{}:
		default:
			got.late++ // nobody waits for ever
			continue
		}
		from := net.IPv4(127, 0, 0, 1)
		if n%2 == 0 {
			from = net.IPv4(127, 2, 0, byte(1+rand.IntN(200)))
		}
		people.Go(func() {
			defer func() { <-slots }()
			began := time.Now()
			err := b.login(from)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				got.failed = err
				return
			}
			got.in++
			got.took = append(got.took, time.Since(began))
		})
	}
	people.Wait()
	got.daemon = cpuTime(t, b.cmd.Process.Pid) - daemon
	slices.Sort(got.took)
	return got
}

// login logs alice in once.
func (b *besieged) login(from net.IP) error {
	conn, err := dialFrom(from, b.starttls)
	if err != nil {
		return err
	}
	c := xmpptest.New(conn)
	defer func() { _ = c.Close() }()
	c.Timeout = patience
	_, err = c.Login("localhost", "alice", "secret", "", insecureTLS("localhost"))
	return err
}

// TestStrangers_siege: thousands who are slow in every way at once take little from those who log in, cost little memory
// each, and nothing once they are gone.
func TestStrangers_siege(t *testing.T) {
	count, rate, during, timeout := 1600, 40, 8*time.Second, 6
	if tortured() {
		count, rate, during, timeout = 10000, 200, 35*time.Second, 30 // c2s_timeout is the default
	}
	b := besiege(t, options{"c2s_timeout": timeout})
	b.logins(t, rate, time.Second)
	before := settled(t, b.reloadable)
	memory := b.memory(t, "VmRSS")
	alone := b.logins(t, rate, during)
	s := b.siege(t, count, false)
	besieging := 0.0
	until(t, "they besiege it", patience, func() bool {
		besieging = max(besieging, b.metric(t, "gatehouse_unauthed_connections"))
		return besieging >= float64(count)*0.6
	})
	strangers := cpuTime(t, s.cmd.Process.Pid)
	meanwhile := b.logins(t, rate, during)
	strangers = cpuTime(t, s.cmd.Process.Pid) - strangers
	peak := b.memory(t, "VmHWM")
	came, failed := s.over(t)
	t.Logf("alone, in %v: %v", during, alone)
	t.Logf("among strangers: %v", meanwhile)
	t.Logf("%d strangers, up to %v at a time, came %d times, could not %d times, and took %v; %d KiB before, %d KiB at most", count, besieging, came, failed, strangers, memory, peak)
	for _, got := range []influx{alone, meanwhile} {
		if got.failed != nil {
			t.Errorf("a login: %v", got.failed)
		}
	}
	if meanwhile.in*10 < alone.in*8 {
		t.Errorf("%d logins besieged, %d alone", meanwhile.in, alone.in)
	}
	if each := (peak - memory) / count; each > 64 {
		t.Errorf("%d KiB for a stranger", each)
	}
	until(t, "everything is given back", 2*patience, func() bool {
		after := settled(t, b.reloadable)
		return after.goroutines <= before.goroutines && after.descriptors <= before.descriptors && after.children <= before.children
	})
	for _, name := range []string{"unauthed_connections", "unauthed_addresses"} {
		if n := b.metric(t, "gatehouse_"+name); n != 0 {
			t.Errorf("%s is %v", name, n)
		}
	}
	if b.metric(t, `gatehouse_limit_reached_total{limit="login_time"}`) == 0 {
		t.Error("nobody was ended for being slow")
	}
}

// TestStrangers_fullTable: strangers who fill all the places that there are keep nobody out.
func TestStrangers_fullTable(t *testing.T) {
	t.Parallel()
	const places = 600
	b := besiege(t, options{"gatehouse_unauthed_connections": places})
	at := []string{b.starttls, b.direct, b.ws, b.wss}
	strangers := make([]net.Conn, 2*places)
	for n := range strangers {
		conn, err := strangerFrom(n, at[n%len(at)])
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		strangers[n] = conn
	}
	until(t, "all places are taken", patience, func() bool { return b.metric(t, "gatehouse_unauthed_connections") == places })
	got := b.logins(t, 20, 4*time.Second)
	if t.Logf("%v", got); got.in != got.offered {
		t.Errorf("of %d logins %d came in; %v", got.offered, got.in, got.failed)
	}
	// Those who came first had to go (each port lets them in by itself, so it is not exactly the first half), and the log does
	// not repeat itself for that.
	for _, conn := range strangers[:places/2] {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("one who has been there for long: %v", err)
		}
	}
	if n := b.metric(t, `gatehouse_limit_reached_total{limit="unauthed_connections"}`); n < places {
		t.Errorf("%v had to go", n)
	}
	if n := strings.Count(b.log.String(), "strangers had to go"); n == 0 || n > 30 {
		t.Errorf("%d lines in the log", n)
	}
	if n := strings.Count(b.log.String(), "stream ended"); n > 0 {
		t.Errorf("%d of those who had to go are in the log", n)
	}
}

// TestStrangers_flood: as many fresh strangers as the machine can do, more than there are places, each of whom has the daemon
// compute a handshake, leave room for others.
func TestStrangers_flood(t *testing.T) {
	count, rate, during := 1500, 10, 6*time.Second
	global := options{"gatehouse_unauthed_connections": 1000}
	if tortured() {
		count, rate, during = 17000, 50, 30*time.Second
		global = nil // the default, which the descriptors that we may have leave 14808 of
	}
	b := besiege(t, global)
	b.logins(t, rate, time.Second)
	alone := b.logins(t, rate, during)
	s := b.siege(t, count, true)
	before := b.metric(t, `gatehouse_limit_reached_total{limit="unauthed_connections"}`)
	meanwhile := b.logins(t, rate, during)
	ended := b.metric(t, `gatehouse_limit_reached_total{limit="unauthed_connections"}`) - before
	peak := b.memory(t, "VmHWM")
	came, failed := s.over(t)
	t.Logf("alone, in %v: %v", during, alone)
	t.Logf("among strangers: %v", meanwhile)
	t.Logf("%d strangers came %d times, could not %d times; %v had to go meanwhile; %d KiB at most", count, came, failed, ended, peak)
	if meanwhile.in*2 < alone.in {
		t.Errorf("%d logins besieged, %d alone; %v", meanwhile.in, alone.in, meanwhile.failed)
	}
	if ended == 0 {
		t.Error("nobody had to go")
	}
}
