package docker

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
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
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+caFile)
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

// prints waits for a line that contains text.
func (c *talker) prints(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				t.Fatalf("%s ended before it printed %q", c.cmd, text)
			}
			t.Log(line)
			if strings.Contains(line, text) {
				return
			}
		case <-timeout:
			t.Fatalf("%s did not print %q", c.cmd, text)
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

// TestClients_much: some megabytes, as large messages that bob sends back, arrive whole and in order.
func TestClients_much(t *testing.T) {
	const (
		count = 50
		size  = 100_000
	)
	for _, h := range byTicket {
		t.Run(h.name, func(t *testing.T) {
			h.echo(t)
			alice := h.login(t, "alice", "much")
			must(t, alice.Send("<presence/>"))
			for i := range count {
				body := strings.Repeat(fmt.Sprintf("%05d", i), size/5)
				must(t, alice.Sendf("<message to='bob@%s' type='chat'><body>%s</body></message>", h.name, body))
				if e := next(t, alice, "message").Child("body"); e == nil || e.Text != body {
					t.Fatalf("message %d came back changed", i)
				}
			}
		})
	}
}
