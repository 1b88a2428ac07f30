package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// startTimeout is how long a server may take until it listens.
const startTimeout = 30 * time.Second

// A process is a running server. Stop it.
type process struct {
	name    string
	address string
	cmd     *exec.Cmd
	log     string // the file that it writes to
	ended   chan struct{}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// script is how a gatehouse asks the auth program.
type script struct {
	protocol  string // generic if empty
	pipes     bool   // not on a terminal
	processes int    // 1 if 0
	delay     time.Duration
}

// gatehouse starts a gatehouse as its operator would: the config says no more
// than it must, and the log is of the default level. More are further lines of
// the host's options.
func (r *rig) gatehouse(ctx context.Context, name string, s script, more ...string) (*process, error) {
	r.made++
	base := r.path(fmt.Sprint("gatehouse-", r.made))
	var b bytes.Buffer
	option := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	option("c2s_ports = { 0 }")
	option("c2s_interfaces = { \"127.0.0.1\" }")
	option("c2s_direct_tls_ports = {}")
	option("gatehouse_data_dir = %q", base+".data")
	option("VirtualHost %q", domain)
	option("authentication = \"external\"")
	command := fmt.Sprintf("%q, \"-delay\", \"%v\"", r.path("authscript"), s.delay)
	if s.protocol != "" {
		option("external_auth_protocol = %q", s.protocol)
		command += fmt.Sprintf(", \"-proto\", %q", s.protocol)
	}
	option("external_auth_command = { %s }", command)
	if s.pipes {
		option("gatehouse_external_auth_pty = false")
	}
	if s.processes > 0 {
		option("external_auth_processes = %d", s.processes)
	}
	option("ssl = { certificate = %q, key = %q }", r.path("ecdsa.crt"), r.path("ecdsa.key"))
	for _, m := range more {
		option("%s", m)
	}
	if err := os.WriteFile(base+".cfg.lua", b.Bytes(), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, r.path("gatehouse"), "serve", "--config", base+".cfg.lua", "--log-format", "text")
	return start(name, cmd, base+".log", regexp.MustCompile(`(?s)info listening address=(\S+).*info ready`))
}

// floor starts the server that plays its part from fixed strings.
func (r *rig) floor(ctx context.Context) (*process, error) {
	r.made++
	cmd := exec.CommandContext(ctx, r.path("xmppload"), "floor-server", "-addr", "127.0.0.1:0", "-kind", "canned",
		"-cert", r.path("ecdsa.crt"), "-key", r.path("ecdsa.key"), "-script", r.path("authscript"))
	return start("floor", cmd, r.path(fmt.Sprint("floor-", r.made, ".log")), regexp.MustCompile(`listening (\S+)\n`))
}

// start runs cmd and waits until its log says, by ready's first group, where it
// listens.
func start(name string, cmd *exec.Cmd, log string, ready *regexp.Regexp) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: cmd, log: log, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // it was told to end, or its log says why it did
		close(p.ended)
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(startTimeout)
	defer limit.Stop()
	for {
		text, err := os.ReadFile(log)
		if err != nil {
			return nil, errors.Join(err, p.stop())
		}
		if m := ready.FindSubmatch(text); m != nil {
			p.address = string(m[1])
			return p, nil
		}
		select {
		case <-tick.C:
			continue
		case <-p.ended:
			return nil, fmt.Errorf("%s did not start\n%s", name, p.lastWords())
		case <-limit.C:
		}
		return nil, errors.Join(fmt.Errorf("%s does not listen\n%s", name, p.lastWords()), p.stop())
	}
}

// stop ends the server and waits for its end.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(20 * time.Second):
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	return fmt.Errorf("%s did not end when told to, and was killed", p.name)
}

// lastWords are the last lines of its log that are not about good logins.
func (p *process) lastWords() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return ""
	}
	var lines []string
	for l := range strings.Lines(string(text)) {
		if !strings.Contains(l, "verdict=accepted") {
			lines = append(lines, "  "+l)
		}
	}
	return strings.Join(lines[max(0, len(lines)-10):], "")
}
