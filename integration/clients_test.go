package integration

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// python is Debian's own interpreter, which sees Debian's packages; another one may come first in PATH.
const python = "/usr/bin/python3"

// clientRun is one login of somebody else's client.
type clientRun struct {
	address  string // host:port
	kind     string // starttls or direct
	password string
	change   string // the new password, for clients that can change it
	ca       string // PEM file
}

// foreignClient is a client that we did not write.
type foreignClient struct {
	name    string
	check   []string // a command that succeeds if the client is installed
	command func(r clientRun) *exec.Cmd
	// says are the lines it prints on the way when all is well, refused what it prints when the password is wrong.
	says    []string
	refused string
	// refusedCode is its exit code then.
	refusedCode int
}

var foreignClients = []foreignClient{
	{
		name:  "slixmpp",
		check: []string{python, "-c", "import slixmpp"},
		command: func(r clientRun) *exec.Cmd {
			hostname, port, _ := net.SplitHostPort(r.address)
			args := []string{"testdata/slixmpp_client.py", "alice@localhost", r.password, hostname, port, r.kind, r.ca}
			if r.change != "" {
				args = append(args, r.change)
			}
			return exec.Command(python, args...)
		},
		says:        []string{"session alice@localhost/", "roster 0", "identities True", "version gatehouse", "time", "stayed"},
		refused:     "refused not-authorized",
		refusedCode: 3,
	},
	{
		name:  "nbxmpp",
		check: []string{python, "-c", "import nbxmpp.client"},
		command: func(r clientRun) *exec.Cmd {
			hostname, port, _ := net.SplitHostPort(r.address)
			return exec.Command(python, "testdata/nbxmpp_client.py", "alice", "localhost", r.password, hostname, port, r.kind)
		},
		says:        []string{"session alice@localhost/nbxmpp", "roster", "identities", "ping", "stayed ACTIVE"},
		refused:     "failed StreamError.SASL not-authorized",
		refusedCode: 3,
	},
	{
		// It can only send a message and leave. To oneself, that is the whole of a login and a stanza.
		name:  "go-sendxmpp",
		check: []string{"go-sendxmpp", "--version"},
		command: func(r clientRun) *exec.Cmd {
			args := []string{"-u", "alice@localhost", "-p", r.password, "-j", r.address, "--timeout", "10"}
			if r.kind == "direct" {
				args = append(args, "-t")
			}
			cmd := exec.Command("go-sendxmpp", append(args, "alice@localhost")...)
			cmd.Stdin = strings.NewReader("a word to myself\n")
			cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+r.ca)
			return cmd
		},
		refused:     "auth failure",
		refusedCode: 1,
	},
}

// run runs the client to its end and returns all that it printed and its exit code.
func (f *foreignClient) run(t *testing.T, r clientRun) (output string, code int) {
	t.Helper()
	cmd := f.command(r)
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return text.String(), cmd.ProcessState.ExitCode()
}

// installed fails the test if the client is missing: without it the test proves nothing.
func (f *foreignClient) installed(t *testing.T) {
	t.Helper()
	if text, err := exec.Command(f.check[0], f.check[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s is missing; run scripts/test-deps.sh as root (%v: %s)", f.name, err, text)
	}
}

// TestForeignClients logs in with each client over STARTTLS and direct TLS, with the right and a wrong password.
func TestForeignClients(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	ca, d := startWithCertificate(t, dir, s)
	for _, f := range foreignClients {
		for _, kind := range []string{"starttls", "direct"} {
			t.Run(f.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				f.installed(t)
				r := clientRun{address: d.address(t, kind), kind: kind, password: "secret", ca: ca}
				output, code := f.run(t, r)
				if code != 0 {
					t.Errorf("right password: exit code %d, output:\n%s", code, output)
				}
				rest := output
				for _, line := range f.says {
					_, after, found := strings.Cut(rest, line)
					if !found {
						t.Errorf("right password: no line %q after the others in:\n%s", line, output)
						break
					}
					rest = after
				}
				r.password = "wrong"
				output, code = f.run(t, r)
				if code != f.refusedCode || !strings.Contains(output, f.refused) {
					t.Errorf("wrong password: exit code %d, want %d and %q in:\n%s", code, f.refusedCode, f.refused, output)
				}
			})
		}
	}
}

// TestForeignClients_passwordChange changes the password in the band with slixmpp: the new one works at the next login
// and the old one no longer does.
func TestForeignClients_passwordChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	ca, d := startWithCertificate(t, dir, s)
	f := foreignClients[0]
	f.installed(t)
	r := clientRun{address: d.address(t, "starttls"), kind: "starttls", password: "secret", change: "n3w passwörd", ca: ca}
	output, code := f.run(t, r)
	if code != 0 || !strings.Contains(output, "changed") {
		t.Fatalf("change: exit code %d, output:\n%s", code, output)
	}
	r.password, r.change = r.change, ""
	if output, code := f.run(t, r); code != 0 {
		t.Errorf("new password: exit code %d, output:\n%s", code, output)
	}
	r.password = "secret"
	if output, code := f.run(t, r); code != f.refusedCode {
		t.Errorf("old password: exit code %d, output:\n%s", code, output)
	}
}

// accounts is the plan of a script that answers right, for pairs of user and password.
func accounts(pairs ...string) map[string]any {
	table := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		table[pairs[i]] = pairs[i+1]
	}
	return map[string]any{"protocol": "generic", "accounts": table}
}

// startWithCertificate starts the program for localhost with a script and a certificate that the returned CA file
// vouches for.
func startWithCertificate(t *testing.T, dir string, s *script) (caFile string, d *daemon) {
	t.Helper()
	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(xmpptest.ECDSA, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := pair.Write(dir, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(caFile, ca.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	config := writeConfig(t, dir, []host{{"localhost", options{
		"authentication":        "external",
		"external_auth_command": s.path,
		"ssl":                   map[string]any{"certificate": cert, "key": key},
	}}}, baseOptions(dir), options{"gatehouse_self_signed": nil})
	return caFile, start(t, config)
}
