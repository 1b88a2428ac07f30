package webserver_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/webserver"
)

// What a session that waits for its client may cost, in heap and stacks, and in goroutines. Most of it with TLS is
// crypto/tls's.
const (
	idleBytes      = 12 << 10
	idleBytesTLS   = 24 << 10
	idleGoroutines = 1.01
)

// idleClients are the other end, in a process of its own, until its standard input ends.
func idleClients(t *testing.T, addr string) {
	s := &site{addr: addr}
	if os.Getenv("IDLE_TLS") != "" {
		s.trust = &tls.Config{InsecureSkipVerify: true} // the authority is in the other process
	}
	for range idleCount {
		c := s.upgrade(t, "", frame(whole, "<open/>"))
		c.expect(whole)
		if err := c.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// TestConn_idle measures what sessions cost that have said one thing and now wait.
func TestConn_idle(t *testing.T) {
	if addr := os.Getenv("IDLE_CLIENTS_OF"); addr != "" {
		idleClients(t, addr)
		return
	}
	eachWay(t, func(t *testing.T, secure bool) {
		s := serve(t, secure, webserver.Config{Accept: echo, PingEvery: time.Hour, PingWait: time.Minute})
		before, goroutines := held(), runtime.NumGoroutine()

		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self, "-test.run=^TestConn_idle$")
		cmd.Env = append(os.Environ(), "IDLE_CLIENTS_OF="+s.addr)
		if secure {
			cmd.Env = append(cmd.Env, "IDLE_TLS=1")
		}
		cmd.Stderr = os.Stderr
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			stdin.Close()
			_ = cmd.Wait()
		}()
		line := make([]byte, 6)
		if _, err := io.ReadFull(stdout, line); err != nil || string(line) != "ready\n" {
			t.Fatalf("got %q, %v", line, err)
		}
		if n := s.Sessions(); n != idleCount {
			t.Fatalf("%d sessions", n)
		}
		each := (held() - before) / idleCount
		per := float64(runtime.NumGoroutine()-goroutines) / idleCount
		t.Logf("%d bytes of heap and stacks and %.3f goroutines a session", each, per)
		if path := os.Getenv("IDLE_PROFILE"); path != "" {
			f, err := os.Create(path + "." + strings.ReplaceAll(t.Name(), "/", "-"))
			if err != nil {
				t.Fatal(err)
			}
			if err := pprof.WriteHeapProfile(f); err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
		limit := int64(idleBytes)
		if secure {
			limit = idleBytesTLS
		}
		if !raceEnabled && each > limit {
			t.Errorf("more than %d bytes", limit)
		}
		if per > idleGoroutines {
			t.Errorf("more than %v goroutines", idleGoroutines)
		}
	})
}

// held is what the heap and the stacks have in use.
func held() int64 {
	debug.FreeOSMemory() // twice: stacks shrink during one collection and are free after the next
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
