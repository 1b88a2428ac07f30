package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/server"
)

// testPorts are served by a server that has no host.
func testPorts(t *testing.T) *ports {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	p := &ports{logger: logger, beside: func() []net.Listener { return nil }, server: server.New(&server.Config{
		LoginTimeout: 10 * time.Second, UnauthedStanzaLimit: 10000, Logger: logger,
	})}
	t.Cleanup(func() {
		if err := p.server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		p.serving.Wait()
	})
	return p
}

func (p *ports) mustHave(t *testing.T, wanted ...config.Listener) {
	t.Helper()
	c, err := p.prepare(context.Background(), wanted, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.apply()
}

func at(addr string) config.Listener {
	return config.Listener{Network: "tcp4", Addr: addr, Option: "c2s_ports"}
}

// answers says whether somebody speaks XMPP at an address.
func answers(addr string) error {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, "<stream:stream to='nobody' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"); err != nil {
		return err
	}
	b, err := io.ReadAll(c)
	if err == nil && !strings.Contains(string(b), "host-unknown") {
		err = errors.New(string(b))
	}
	return err
}

func TestPorts_sayWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for addr, want := range map[string]string{
		taken.Addr().String(): "Is another server",
		"192.0.2.1:" + strconv.Itoa(taken.Addr().(*net.TCPAddr).Port): "no such address",
	} {
		_, err := testPorts(t).prepare(context.Background(), []config.Listener{at(addr)}, nil)
		var e *exitError
		if !errors.As(err, &e) || e.Code != exitUnavailable || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", addr, err, want)
		}
	}
	if hint := listenHint(syscall.EACCES, "c2s_ports"); !strings.Contains(hint, "c2s_ports") || !strings.Contains(hint, "CAP_NET_BIND_SERVICE") {
		t.Errorf("a port of root's: %q", hint)
	}
}

func TestPorts_changeOnlyWhatIsNamed(t *testing.T) {
	p := testPorts(t)
	p.mustHave(t, at("127.0.0.1:0"), at("127.0.0.1:0"))
	first, second := p.list()[0], p.list()[1]
	p.mustHave(t, at("127.0.0.1:0"))
	if len(p.list()) != 1 || p.list()[0] != first {
		t.Fatal("the port that stayed is another one")
	}
	if err := answers(first.Addr().String()); err != nil {
		t.Error(err)
	}
	if err := answers(second.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a port that was closed: %v", err)
	}
	direct := at("127.0.0.1:0")
	direct.DirectTLS = true
	p.mustHave(t, direct)
	if p.list()[0] != first || p.addr(true) != first.Addr().String() {
		t.Error("a port that begins with TLS now is another one")
	}
}

// What cannot be had leaves everything as it was.
func TestPorts_allOrNone(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := testPorts(t)
	p.mustHave(t, at("127.0.0.1:0"))
	before := p.list()[0]
	if _, err := p.prepare(context.Background(), []config.Listener{at("127.0.0.2:0"), at(taken.Addr().String())}, nil); err == nil {
		t.Fatal("a port of somebody else's was opened")
	}
	if len(p.list()) != 1 || p.list()[0] != before {
		t.Error("the ports changed")
	}
	if err := answers(before.Addr().String()); err != nil {
		t.Error(err)
	}
}

// quietPort returns a port that is free on all addresses, and that the system
// gives to nobody who does not ask for it: a client that is bound to another
// address of loopback would be in the way of one on all.
func quietPort(t *testing.T) string {
	t.Helper()
	for range 100 {
		number := strconv.Itoa(10_000 + rand.IntN(20_000))
		if ln, err := net.Listen("tcp4", ":"+number); err == nil {
			ln.Close()
			return number
		}
	}
	t.Fatal("no port is free")
	return ""
}

// Clients find the port open all the time while its interface changes, and nobody
// who connects is cut off.
func TestPorts_widenAndNarrow(t *testing.T) {
	p := testPorts(t)
	number := quietPort(t)
	addr := "127.0.0.1:" + number
	p.mustHave(t, at(addr))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	end := sync.OnceFunc(func() {
		close(stop)
		wg.Wait()
	})
	defer end()
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := net.DialTimeout("tcp", addr, 5*time.Second)
				if err != nil {
					t.Error(err)
					return
				}
				c.Close()
			}
		})
	}
	for range 20 {
		p.mustHave(t, at(":"+number))
		p.mustHave(t, at(addr))
	}
	end()
	if err := answers(addr); err != nil {
		t.Error(err)
	}
}

func TestListenUnix_replacesWhatIsDead(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/admin.sock"
	first, err := listenUnix(context.Background(), path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(context.Background(), path, 0o600); err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("a socket that is in use: %v", err)
	}
	// As a daemon that was killed leaves it.
	if err := first.(*unixSocket).UnixListener.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := listenUnix(context.Background(), path, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	if info := second.(*unixSocket).made; info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
	first.Close() // is not there any more, and takes nothing of the second with it
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	second.Close()
	if _, err := net.Dial("unix", path); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("after Close: %v", err)
	}
}

func TestListenUnix_leavesWhatIsNoSocket(t *testing.T) {
	dir := t.TempDir()
	file, link, loose := dir+"/file", dir+"/link", dir+"/loose"
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(file, link), os.Symlink(dir+"/nothing", loose)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, loose} {
		if ln, err := listenUnix(context.Background(), path, 0o600); err == nil || !strings.Contains(err.Error(), "is no socket") {
			t.Errorf("%s: %v", path, err)
			if err == nil {
				ln.Close()
			}
		}
	}
	if data, err := os.ReadFile(link); err != nil || string(data) != "precious" {
		t.Errorf("afterwards: %q, %v", data, err)
	}
}
