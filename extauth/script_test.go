package extauth

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is the auth script as well: TestMain runs it as one if scriptEnv is set.
const (
	scriptEnv  = "EXTAUTH_TEST_SCRIPT" // the mode of the process
	protoEnv   = "EXTAUTH_TEST_PROTOCOL"
	markEnv    = "EXTAUTH_TEST_MARK"    // lets a test find its processes and their children
	dirEnv     = "EXTAUTH_TEST_DIR"     // where the script leaves traces
	versionEnv = "EXTAUTH_TEST_VERSION" // says yes to the users version-<it> and slowversion-<it>
)

func TestMain(m *testing.M) {
	switch mode := os.Getenv(scriptEnv); mode {
	case "":
		os.Exit(m.Run())
	case "daemon":
		runDaemon()
	default:
		runScript(mode)
	}
}

// script is a running auth script.
type script struct {
	in    *bufio.Reader
	proto Protocol
}

// runScript obeys mode at its start, and the name of the user in each query: a query for a user called "garbage" gets
// garbage. Everybody else has the password "right".
func runScript(mode string) {
	proto, err := ParseProtocol(os.Getenv(protoEnv))
	if err != nil {
		panic(err)
	}
	s := &script{in: bufio.NewReader(os.Stdin), proto: proto}
	if dir := os.Getenv(dirEnv); dir != "" {
		if _, err := os.Stat(dir + "/broken"); err == nil {
			fmt.Fprintln(os.Stderr, "the back end is away")
			os.Exit(1)
		}
	}
	switch mode {
	case "die-at-once":
		fmt.Fprintln(os.Stderr, "no database")
		os.Exit(3)
	case "banner":
		s.say("ready\n")
	case "banner-yes":
		s.verdict(true)
	case "never-reads":
		time.Sleep(time.Hour)
	case "slow-start":
		time.Sleep(700 * time.Millisecond)
	}
	for n := 1; ; n++ {
		q, err := s.next()
		if err != nil {
			os.Exit(0)
		}
		s.serve(mode, n, q)
	}
}

// next reads one query; it fails on a frame or line that is not one.
func (s *script) next() (string, error) {
	if s.proto == Generic {
		line, err := s.in.ReadString('\n')
		return strings.TrimSuffix(line, "\n"), err
	}
	var n uint16
	if err := binary.Read(s.in, binary.BigEndian, &n); err != nil {
		return "", err
	}
	b := make([]byte, n)
	_, err := io.ReadFull(s.in, b)
	return string(b), err
}

func (s *script) say(text string) { os.Stdout.WriteString(text) }

func (s *script) bytes(yes bool) string {
	switch {
	case s.proto == Ejabberd && yes:
		return "\x00\x02\x00\x01"
	case s.proto == Ejabberd:
		return "\x00\x02\x00\x00"
	case yes:
		return "1\n"
	}
	return "0\n"
}

func (s *script) verdict(yes bool) { s.say(s.bytes(yes)) }

func (s *script) serve(mode string, n int, q string) {
	f := strings.SplitN(q, ":", 4)
	if len(f) < 3 {
		s.say("not a query\n")
		return
	}
	record(q)
	right := len(f) == 3 || f[3] == "right"
	switch user, version, _ := strings.Cut(f[1], "-"); user {
	case "version":
		s.verdict(version == os.Getenv(versionEnv))
	case "slowversion":
		time.Sleep(testTimeout / 2)
		s.verdict(version == os.Getenv(versionEnv))
	case "slow":
		time.Sleep(150 * time.Millisecond)
		s.verdict(right)
	case "fifty":
		time.Sleep(50 * time.Millisecond)
		s.verdict(right)
	case "hang":
		time.Sleep(time.Hour)
	case "late":
		time.Sleep(2 * testTimeout)
		s.verdict(true)
	case "deaf": // to SIGTERM
		signal.Ignore(syscall.SIGTERM)
		time.Sleep(time.Hour)
	case "exit0":
		os.Exit(0)
	case "query":
		fmt.Fprintln(os.Stderr, q)
		s.verdict(right)
	case "exit3":
		fmt.Fprintln(os.Stderr, "traceback\x1b[31m for", q)
		os.Exit(3)
	case "killed":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "once": // answers, then ends
		s.verdict(right)
		os.Exit(0)
	case "once1":
		s.verdict(right)
		os.Exit(1)
	case "garbage":
		s.say("hello\n")
	case "long":
		s.say(strings.Repeat("x", 5000))
	case "comment":
		s.say("1 # fine\n")
	case "eleven":
		s.say("11\n")
	case "nul":
		s.say("1\x000\n")
	case "nono":
		s.say("0\x001\n")
	case "blank":
		s.say("\n")
	case "two":
		s.say(s.bytes(true) + s.bytes(false))
	case "twolater":
		s.verdict(right)
		time.Sleep(100 * time.Millisecond)
		s.verdict(true)
	case "twiceslow":
		time.Sleep(150 * time.Millisecond)
		s.verdict(right)
		time.Sleep(time.Millisecond)
		s.verdict(true)
	case "echo":
		s.say(q + "\n")
	case "half":
		s.say(s.half())
		time.Sleep(time.Hour)
	case "halfdie":
		s.say(s.half())
		os.Exit(0)
	case "pieces":
		for _, c := range []byte(s.bytes(right)) {
			s.say(string([]byte{c}))
			time.Sleep(20 * time.Millisecond)
		}
	case "crlf":
		s.say(strings.Replace(s.bytes(right), "\n", "\r\n", 1))
	case "bare":
		s.say(strings.TrimSuffix(s.bytes(right), "\n"))
	case "latelf":
		s.say(s.bytes(right)[:1])
		time.Sleep(120 * time.Millisecond)
		s.say(s.bytes(right)[1:])
	case "closed":
		os.Stdout.Close()
		if s.proto == Generic { // on a terminal all three are the same
			os.Stdin.Close()
		}
		time.Sleep(time.Hour)
	case "stderr":
		os.Stderr.Write(bytes.Repeat([]byte("warning: slow\n1\n"), 8000))
		s.verdict(right)
	case "orphan": // ends, and leaves a child behind that holds the output
		if err := exec.Command("/bin/sh", "-c", "sleep 60 & exit 0").Run(); err != nil {
			panic(err)
		}
		c := exec.Command("/bin/sleep", "60")
		c.Stdout = os.Stdout
		if err := c.Start(); err != nil {
			panic(err)
		}
		os.Exit(0)
	case "escaped": // the same, in a session of its own
		c := exec.Command("/bin/sleep", "1")
		c.Stdout, c.Stderr, c.Env = os.Stdout, os.Stderr, []string{"LEFT=behind"}
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			panic(err)
		}
		os.Exit(0)
	default:
		s.verdict(right)
	}
	if mode == "once" || mode == "three" && n == 3 {
		os.Exit(0)
	}
}

// half is the beginning of an answer.
func (s *script) half() string {
	if s.proto == Ejabberd {
		return "\x00\x02\x00"
	}
	return "1\r"
}

// record appends q to a file, for tests that ask what reached the script.
func record(q string) {
	dir := os.Getenv(dirEnv)
	if dir == "" {
		return
	}
	f, err := os.OpenFile(dir+"/queries", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(f, "%d %q\n", os.Getpid(), q)
	f.Close()
}

// runDaemon is a program with a pool, for the test that kills it.
func runDaemon() {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, scriptEnv+"=") {
			env = append(env, kv)
		}
	}
	p, err := NewPool(Config{
		Command: []string{os.Args[0]}, Env: append(env, scriptEnv+"=plain"), Timeout: 5 * time.Second,
		Processes: 2, Queue: 1, PTY: os.Getenv("EXTAUTH_TEST_PTY") != "",
	})
	if err != nil {
		panic(err)
	}
	yes, err := p.Auth(ctxBackground, "alice", "example.org", "right")
	fmt.Println(yes, err)
	select {}
}
