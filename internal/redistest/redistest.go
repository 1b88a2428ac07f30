// Package redistest runs Debian's redis-server for tests, on a unix socket and a port of its own, and breaks it.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// patience bounds the start of a server. It is long because the machine may be busy.
const patience = 20 * time.Second

// Server is a Redis. It is started anew with the data that it has written.
type Server struct {
	Addr   string // host:port
	Socket string
	Client *redis.Client // the test's own

	dir   string
	args  []string
	cmd   *exec.Cmd
	log   *bytes.Buffer // of cmd, which has ended
	ended chan struct{}
}

// Start starts a server with more settings, as for its command line, and ends it with the test.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, append([]string{"--save", ""}, args...))
}

// StartSentinel starts a Sentinel with a config file, which it writes to.
func StartSentinel(t testing.TB, config string) *Server {
	t.Helper()
	return start(t, []string{"--sentinel"}, config)
}

func start(t testing.TB, args []string, config ...string) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	port := FreePort(t)
	s := &Server{
		Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Socket: filepath.Join(dir, "redis.sock"), dir: dir,
		args: slices.Concat(config, []string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--unixsocket", filepath.Join(dir, "redis.sock"),
			"--dir", dir, "--daemonize", "no"}, args),
	}
	s.Client = redis.NewClient(&redis.Options{Addr: s.Socket, Network: "unix", DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
	t.Cleanup(func() {
		_ = s.Client.Close()
		s.Kill()
		if t.Failed() {
			t.Logf("redis-server: %s", s.log)
		}
		_ = os.RemoveAll(dir)
	})
	s.Run(t)
	return s
}

// FreePort returns a port of 127.0.0.1 where nobody listens.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// Run starts the server, which must not run, and waits until it answers.
func (s *Server) Run(t testing.TB) {
	t.Helper()
	s.cmd, s.log, s.ended = exec.Command("redis-server", s.args...), new(bytes.Buffer), make(chan struct{})
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("%v; run scripts/test-deps.sh as root", err)
	}
	cmd, ended := s.cmd, s.ended
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.Client.Ping(context.Background()).Err()
		if redis.HasErrorPrefix(err, "NOAUTH") || err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("redis-server ended: %s", s.log)
		case <-tick.C:
		}
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not answer")
		}
	}
}

// Kill ends the server with SIGKILL, also one that is stopped, and waits for the end.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// Signal sends a signal: SIGSTOP, SIGCONT.
func (s *Server) Signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// Do has the server execute a command.
func (s *Server) Do(t testing.TB, args ...any) any {
	t.Helper()
	reply, err := s.Client.Do(context.Background(), args...).Result()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// Aged makes the server's memory for fronts with this prefix look as if it had been in use for an hour, so that no test has
// to wait until tokens are accepted.
func (s *Server) Aged(t testing.TB, prefix string) {
	t.Helper()
	info, err := s.Client.InfoMap(context.Background(), "server", "stats").Result()
	if err != nil {
		t.Fatal(err)
	}
	s.Do(t, "HSET", "{"+prefix+"}:memory", "run", info["Server"]["run_id"], "evicted", info["Stats"]["evicted_keys"],
		"seen", fmt.Sprint(time.Now().Add(-time.Second).UnixMilli()), "since", fmt.Sprint(time.Now().Add(-time.Hour).UnixMilli()), "why", "test")
}
