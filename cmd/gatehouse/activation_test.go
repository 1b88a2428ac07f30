package main

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// passSockets makes this process look as if systemd had passed it these
// listeners, and returns what inherited makes of them.
//
// The protocol numbers descriptors from 3, which a test process uses for other
// things, so the files do not come from the environment here;
// TestInherited_fromEnvironment does that part in a process of its own.
func passSockets(t *testing.T, listeners ...net.Listener) inheritedSockets {
	t.Helper()
	var all inheritedSockets
	for _, ln := range listeners {
		f, err := ln.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close(); ln.Close() })
		s, err := inherit(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func listen(t *testing.T, network, addr string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func portOf(ln net.Listener) string { return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port) }

func TestInheritedSockets_take(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	one4, all4 := listen(t, "tcp4", "127.0.0.1:0"), listen(t, "tcp4", ":0")
	one6, all6 := listen(t, "tcp6", "[::1]:0"), listen(t, "tcp6", ":0")
	both, local := listen(t, "tcp", ":0"), listen(t, "unix", path)
	sockets := passSockets(t, one4, all4, one6, all6, both, local)
	for _, tt := range []struct {
		network, addr string
		want          net.Listener // nil for none
	}{
		{"tcp4", "127.0.0.1:" + portOf(one4), one4},
		{"tcp4", ":" + portOf(one4), nil}, // the config asks for more than there is
		{"tcp4", "127.0.0.1:1", nil},
		{"tcp4", ":0", nil},
		{"tcp4", ":" + portOf(all4), all4},
		{"tcp4", "0.0.0.0:" + portOf(all4), all4},
		{"tcp6", ":" + portOf(all4), nil},
		{"tcp4", "127.0.0.1:" + portOf(all4), nil}, // and here for less
		{"tcp6", "[::1]:" + portOf(one6), one6},
		{"tcp6", ":" + portOf(all6), all6},
		{"tcp4", ":" + portOf(all6), nil},
		{"tcp4", ":" + portOf(both), both},
		{"tcp6", ":" + portOf(both), both},
		{"tcp6", "[::1]:" + portOf(both), nil},
		{"tcp4", "localhost", nil},
		{"unix", path, local},
		{"unix", filepath.Dir(path) + "//admin.sock", local},
		{"unix", path + "2", nil},
		{"unix", "", nil},
	} {
		got, ok := sockets.take(tt.network, tt.addr)
		switch {
		case !ok && tt.want != nil:
			t.Errorf("take(%s, %s) = nothing, want %v", tt.network, tt.addr, tt.want.Addr())
		case ok && tt.want == nil:
			t.Errorf("take(%s, %s) = %v, want nothing", tt.network, tt.addr, got.Addr())
		case ok && got.Addr().String() != tt.want.Addr().String():
			t.Errorf("take(%s, %s) = %v, want %v", tt.network, tt.addr, got.Addr(), tt.want.Addr())
		}
		if ok {
			got.Close()
		}
	}
}

func TestInheritedSockets_takenAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	sockets := passSockets(t, listen(t, "unix", path))
	for range 2 { // as when a reload closes a port and another wants it back
		ln, ok := sockets.take("unix", path)
		if !ok {
			t.Fatal("the socket is lost")
		}
		accepted := make(chan error, 1)
		go func() {
			c, err := ln.Accept()
			if err == nil {
				err = c.Close()
			}
			accepted <- err
		}()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if err := <-accepted; err != nil {
			t.Fatal(err)
		}
		ln.Close()
	}
}

func TestInheritedSockets_closeRest(t *testing.T) {
	used, unused := listen(t, "tcp4", "127.0.0.1:0"), listen(t, "tcp4", "127.0.0.1:0")
	sockets := passSockets(t, used, unused)
	take := func(addr string) bool {
		ln, ok := sockets.take("tcp4", addr)
		if ok {
			ln.Close()
		}
		return ok
	}
	if !take(used.Addr().String()) {
		t.Fatal("the socket is lost")
	}
	var log bytes.Buffer
	sockets.closeRest(slog.New(slog.NewTextHandler(&log, nil)))
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, unused.Addr().String()) {
		t.Errorf("log = %q, want one line about %v", got, unused.Addr())
	}
	if take(unused.Addr().String()) {
		t.Error("a closed socket can be taken")
	}
	if !take(used.Addr().String()) {
		t.Error("the socket in use is lost")
	}
}

func TestInherit_refusesWhatDoesNotListen(t *testing.T) {
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	ln := listen(t, "tcp4", "127.0.0.1:0")
	defer ln.Close()
	conn, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	plain, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	connected, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	datagram, err := udp.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer datagram.Close()
	for name, f := range map[string]*os.File{"datagram": datagram, "connection": connected, "no socket": plain} {
		if s, err := inherit(f); err == nil {
			t.Errorf("%s: %v, want an error", name, s.addr)
		}
	}
}

// inheritedVariable makes the test binary a child of
// TestInherited_fromEnvironment.
const inheritedVariable = "GATEHOUSE_TEST_INHERITED"

// sayInherited is what that child does: it says what it was passed, twice.
func sayInherited() {
	os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	for range 2 {
		all, err := inherited()
		if err != nil {
			os.Stdout.WriteString("error: " + err.Error() + "\n")
		}
		for _, s := range all {
			os.Stdout.WriteString(s.file.Name() + " " + s.addr.String() + "\n")
		}
	}
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "LISTEN_") {
			os.Stdout.WriteString("left: " + kv + "\n")
		}
	}
}

func TestInherited_fromEnvironment(t *testing.T) {
	if os.Getenv(inheritedVariable) != "" {
		sayInherited()
		os.Exit(0)
	}
	first, second := listen(t, "tcp4", "127.0.0.1:0"), listen(t, "tcp4", "127.0.0.1:0")
	defer first.Close()
	defer second.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	file := func(ln net.Listener) *os.File {
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	for _, tt := range []struct {
		name  string
		files []*os.File
		env   string
		want  string
	}{
		{"none", nil, "", ""},
		{"two", []*os.File{file(first), file(second)}, "LISTEN_FDS=2 LISTEN_FDNAMES=clients:direct LISTEN_PIDFDID=7",
			"clients " + first.Addr().String() + "\ndirect " + second.Addr().String() + "\n"},
		{"one that is none", []*os.File{file(first), null}, "LISTEN_FDS=2 LISTEN_FDNAMES=clients:other",
			"error: the socket \"other\" that systemd passed: socket operation on non-socket; its unit needs ListenStream= and Accept=no\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestInherited_fromEnvironment$")
			cmd.Env = append(os.Environ(), append(strings.Fields(tt.env), inheritedVariable+"=1")...)
			cmd.ExtraFiles = tt.files
			got, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, got)
			}
			if string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
