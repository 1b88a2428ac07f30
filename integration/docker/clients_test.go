package docker

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// python is Debian's own interpreter, which sees Debian's packages; another one may come first in PATH.
const python = "/usr/bin/python3"

// talker is a client that we did not write, while it runs.
type talker struct {
	cmd   *exec.Cmd
	lines chan string // what it prints; closed at its end
}

// talk starts a client that is killed when the test ends.
func talk(t *testing.T, cmd *exec.Cmd) *talker {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	cmd.Stdout, cmd.Stderr = w, w
	cmd.Env = append(slices.DeleteFunc(os.Environ(), isProxy), "SSL_CERT_FILE="+caFile)
	var stdin io.Closer
	if cmd.Stdin == nil {
		stdin, err = cmd.StdinPipe() // which stays open until the test ends
		must(t, err)
	}
	err = cmd.Start()
	_ = w.Close()
	must(t, err)
	c := &talker{cmd: cmd, lines: make(chan string, 1000)}
	go func() {
		defer close(c.lines)
		for scanner := bufio.NewScanner(r); scanner.Scan(); {
			c.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		if stdin != nil {
			_ = stdin.Close()
		}
		_ = cmd.Process.Kill()
		for line := range c.lines { // until the reader is done
			t.Log(line)
		}
		_ = r.Close()
		_ = cmd.Wait() // it was killed, or said what it had to say
	})
	return c
}

// isProxy says whether a variable of the environment names a proxy. Ours may have one for packages, and some clients would
// look for gatehouse behind it.
func isProxy(variable string) bool {
	name, _, _ := strings.Cut(strings.ToLower(variable), "=")
	return strings.HasSuffix(name, "_proxy")
}

// next waits for a line, which should be one that is given for the error alone.
func (c *talker) next(t *testing.T, want string) string {
	t.Helper()
	select {
	case line, ok := <-c.lines:
		if !ok {
			t.Fatalf("%s ended before it printed %q", c.cmd, want)
		}
		return line
	case <-time.After(patience):
		t.Fatalf("%s did not print %q", c.cmd, want)
	}
	return ""
}

// prints waits for a line that contains text.
func (c *talker) prints(t *testing.T, text string) {
	t.Helper()
	for {
		line := c.next(t, text)
		t.Log(line)
		if strings.Contains(line, text) {
			return
		}
	}
}

// echo starts bob, who sends back what he gets, with slixmpp.
func (h host) echo(t *testing.T) *talker {
	t.Helper()
	address, err := servers.address("gatehouse")
	must(t, err)
	name, port, err := net.SplitHostPort(address)
	must(t, err)
	bob := talk(t, exec.Command(python, "testdata/echo.py", "bob@"+h.name, password("bob"), name, port, caFile))
	bob.prints(t, "session bob@"+h.name)
	return bob
}

// sendxmpp is go-sendxmpp as alice.
func (h host) sendxmpp(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	address, err := servers.address("gatehouse")
	must(t, err)
	return exec.Command("go-sendxmpp", append([]string{"-u", "alice@" + h.name, "-p", password("alice"),
		"-j", address, "--timeout", "20"}, args...)...)
}

// TestClients_talk: alice writes with go-sendxmpp, bob answers with slixmpp, and alice, who listens with another
// go-sendxmpp, reads the answer.
func TestClients_talk(t *testing.T) {
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) {
			bob := h.echo(t)
			listener := talk(t, h.sendxmpp(t, "-l"))
			send := h.sendxmpp(t, "bob@"+h.name)
			send.Stdin = strings.NewReader("a wörd & <more>\n")
			sender := talk(t, send)
			bob.prints(t, "message alice@"+h.name)
			listener.prints(t, "a wörd & <more>")
			for line := range sender.lines {
				t.Errorf("the sender says: %s", line)
			}
		})
	}
}

// TestClients_much: a file's worth of data, as large messages that alice sends with go-sendxmpp and bob, with slixmpp, sends
// back, arrives whole at either end.
func TestClients_much(t *testing.T) {
	const (
		count = 20
		lines = 100 // of 1000 characters; go-sendxmpp takes no long ones
	)
	for _, h := range byTicket {
		t.Run(h.name, func(t *testing.T) {
			bob := h.echo(t)
			listener := talk(t, h.sendxmpp(t, "-l"))
			for range count {
				var message []string
				for range lines {
					random := make([]byte, 500)
					_, _ = rand.Read(random) // it cannot fail
					message = append(message, hex.EncodeToString(random))
				}
				body := strings.Join(message, "\n")
				send := h.sendxmpp(t, "bob@"+h.name)
				send.Stdin = strings.NewReader(body)
				sender := talk(t, send)
				bob.prints(t, fmt.Sprintf("message alice@%s %x", h.name, sha256.Sum256([]byte(body))))
				for _, want := range message {
					// The first one has time and sender before it.
					for line := listener.next(t, want); !strings.HasSuffix(line, want); line = listener.next(t, want) {
						if strings.TrimSpace(line) != "" {
							t.Fatalf("alice reads %q, want %q", line, want)
						}
					}
				}
				for line := range sender.lines {
					t.Errorf("the sender says: %s", line)
				}
			}
		})
	}
}
