package integration

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// A sandbox is where the commands of a page run.
type sandbox struct {
	t           *testing.T
	root        string            // has etc, var and so on
	there, back *strings.Replacer // ports of the page to those here, and back; back makes paths short as well
	env         []string
}

// docPorts are what pages listen on.
var docPorts = []string{"15222", "15223", "5222", "5223", "5280", "5281", "5290", "8010", "8453", "8454"}

// docWrapper runs gatehouse as on a machine whose /etc is that of the sandbox, and where DNS has it for every host.
const docWrapper = `#!/bin/sh
case "$*" in
*--config*|*" -c "*|"token keys"|completion*|extauth*|man*|*--help) ;;
*) set -- "$@" --config %s/etc/prosody/prosody.cfg.lua ;;
esac
case "$*" in
*--connect*) ;;
login*) set -- "$@" --connect 127.0.0.1:%s ;;
esac
exec %s "$@"
`

var (
	docServe   = regexp.MustCompile(`(?m)^gatehouse serve.*$`)
	docPath    = regexp.MustCompile(`(^|[^\w/.])/(etc/(?:prosody|gatehouse|letsencrypt)|var|run|srv|opt|usr/local)\b`)
	docHosts   = regexp.MustCompile(`VirtualHost\s*\(?\s*"([^"]+)"`)
	docScripts = regexp.MustCompile(`external_auth_command = \{?\s*"([^" ]+)`)
	docCerts   = regexp.MustCompile(`\b(certificate|key) = "([^"]+)"`)
)

func newSandbox(t *testing.T, page string) *sandbox {
	root, err := os.MkdirTemp("", "docs") // short, for the paths of sockets
	if err != nil {
		t.Fatal(err)
	}
	s := &sandbox{t: t, root: root}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	var there, back []string
	for i, free := range freePorts(t, len(docPorts)) {
		there, back = append(there, docPorts[i], fmt.Sprint(free)), append(back, fmt.Sprint(free), docPorts[i])
	}
	s.there, s.back = strings.NewReplacer(there...), strings.NewReplacer(append(back, root, "")...)

	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	hosts := []string{"example.org"}
	for _, m := range docHosts.FindAllStringSubmatch(page, -1) {
		if !slices.Contains(hosts, m[1]) {
			hosts = append(hosts, m[1])
		}
	}
	pair, err := ca.IssueUntil(time.Now().AddDate(0, 0, 80), xmpptest.ECDSA, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	certs := filepath.Join(root, "etc/prosody/certs")
	for _, dir := range []string{certs, filepath.Join(root, "var/lib/gatehouse"), filepath.Join(root, "var/log/prosody")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := pair.Write(certs, "example.org"); err != nil {
		t.Fatal(err)
	}
	s.write("ca.pem", string(ca.PEM()))
	s.copy("prosody/mod_auth_gatehouse.lua", "../prosody/mod_auth_gatehouse.lua")
	s.copy("etc/prosody/auth.sh", "../examples/auth.sh")
	s.copy("etc/prosody/users.txt", "../examples/users.txt")
	s.write("bin/gatehouse", fmt.Sprintf(docWrapper, root, s.there.Replace("5222"), gatehouse))
	s.env = []string{"PATH=" + root + "/bin:" + os.Getenv("PATH"), "HOME=" + root, "STATE_DIRECTORY=" + root + "/var/lib/gatehouse",
		"SSL_CERT_FILE=" + root + "/ca.pem", "GATEHOUSE_PASSWORD=secret", "NO_COLOR=1"}
	return s
}

// real turns what a page says into what there is in the sandbox.
func (s *sandbox) real(text string) string {
	return docPath.ReplaceAllString(s.there.Replace(text), "${1}"+s.root+"/$2")
}

func (s *sandbox) write(path, text string) {
	s.t.Helper()
	path = filepath.Join(s.root, path)
	mode := fs.FileMode(0o640)
	if strings.HasPrefix(text, "#!") {
		mode = 0o755
	}
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), mode)
	}
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *sandbox) copy(path, from string) {
	s.t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(path, string(text))
}

// do does one step of a page.
func (s *sandbox) do(step docStep) error {
	path, isFile := step.mark("file")
	if isFile {
		text := s.real(step.text)
		if strings.HasSuffix(path, ".cfg.lua") && !strings.Contains(text, "Include") {
			// Without a line of its own, so that those that follow keep their numbers.
			if !strings.Contains(text, "interfaces =") {
				// Pages are about ports that everybody reaches, and check would miss the proxy before others.
				text = `interfaces = "127.0.0.1" gatehouse_proxy_protocol_from = "127.0.0.1" ` + text
			}
			if !strings.Contains(text, "c2s_ports =") {
				text = "c2s_ports = { " + s.there.Replace("5222") + " } " + text
			}
		}
		s.write(path, text)
	}
	if _, ok := step.mark("for"); ok {
		return nil
	}
	switch step.lang {
	case "start":
		port, command, _ := strings.Cut(step.text, " ")
		return s.start(s.there.Replace(port), command)
	case "lua":
		return s.check(step)
	case "run", "sh":
		parts := []string{step.text}
		if at := docServe.FindStringIndex(step.text); at != nil {
			parts = []string{step.text[:at[0]], step.text[at[0]:at[1]], step.text[at[1]:]}
		}
		for _, part := range parts {
			if _, err := s.shell(part); err != nil {
				return err
			}
		}
		return nil
	case "console":
		return s.console(step.text)
	case "log":
		return s.logged(step.text)
	case "yaml": // of Prometheus
		kind := "config"
		if strings.HasPrefix(step.text, "groups:") {
			kind = "rules"
		}
		s.write("block.yml", step.text)
		_, err := s.shell("promtool check " + kind + " block.yml")
		return err
	}
	if !isFile {
		return fmt.Errorf("nothing is known about a block of %q; mark it with what proves it", step.lang)
	}
	return nil
}

// check loads a config.
func (s *sandbox) check(step docStep) error {
	text := step.text
	if !docHosts.MatchString(text) {
		frame := ""
		for option, value := range map[string]string{"authentication": "external", "external_auth_command": "/etc/prosody/auth.sh"} {
			if !strings.Contains(text, option+" =") {
				frame += fmt.Sprintf("%s = %q\n", option, value)
			}
		}
		text = frame + text + "\nVirtualHost \"example.org\"\n"
	}
	text = s.real(text)
	path, ok := step.mark("file")
	if !ok {
		path = "/etc/prosody/block.cfg.lua"
		s.write(path, text)
		defer os.Remove(filepath.Join(s.root, path))
	}
	for _, m := range docScripts.FindAllStringSubmatch(text, -1) {
		if path, err := filepath.Rel(s.root, m[1]); err == nil && filepath.IsAbs(m[1]) && filepath.IsLocal(path) {
			if _, err := os.Stat(m[1]); err != nil {
				s.copy(path, "../examples/auth.sh")
			}
		}
	}
	for _, m := range docCerts.FindAllStringSubmatch(text, -1) {
		path := m[2]
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.root, "etc/prosody", path)
		}
		have := map[string]string{"certificate": "etc/prosody/certs/example.org.crt", "key": "etc/prosody/certs/example.org.key"}[m[1]]
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		_ = os.Symlink(filepath.Join(s.root, have), path) // it may be there
	}
	out, err := s.shell("gatehouse check --quiet --user $(id -un) --config " + path)
	for _, m := range step.marks {
		if m.kind == "check" && !strings.Contains(out, m.value) {
			return fmt.Errorf("check does not say %q:\n%s", m.value, out)
		}
	}
	for finding := range strings.Lines(out) {
		announced := false
		for _, m := range step.marks {
			announced = announced || m.kind == "check" && strings.Contains(finding, m.value)
		}
		if !announced {
			return fmt.Errorf("no mark announces that check says: %s", finding)
		}
	}
	return err
}

// shell runs commands and returns what they print, in the page's words. The error has it as well.
func (s *sandbox) shell(script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	script = s.real(strings.TrimSpace(script))
	if args, ok := strings.CutPrefix(script, "gatehouse serve"); ok && !strings.Contains(script, "\n") {
		return s.serve(args)
	}
	cmd := exec.CommandContext(ctx, "bash", "-e", "-u", "-c", script)
	cmd.Dir, cmd.Env, cmd.WaitDelay = s.root, s.env, time.Second
	out, err := cmd.CombinedOutput()
	text := s.back.Replace(string(out))
	if err != nil {
		err = fmt.Errorf("%w of\n%s\nwhich prints\n%s%s", err, script, text, s.log())
	}
	return text, err
}

// console runs commands one by one and compares what they print.
func (s *sandbox) console(text string) error {
	for _, part := range strings.Split("\n"+strings.TrimSpace(text), "\n$ ")[1:] {
		command, want, _ := strings.Cut(part, "\n")
		for strings.HasSuffix(command, `\`) {
			var more string
			more, want, _ = strings.Cut(want, "\n")
			command += "\n" + more
		}
		got, err := s.shell(command)
		if want = strings.TrimSpace(want); want == "" && err != nil {
			return err // what shows no output is meant to succeed
		}
		pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*?")
		if !regexp.MustCompile(`(?s)^`+pattern+`$`).MatchString(strings.TrimSpace(got)) && want != "" {
			return fmt.Errorf("%s\nprints\n%s\nand not\n%s%s", command, got, want, s.log())
		}
	}
	return nil
}

// serve starts a daemon and returns when it is ready or has ended.
func (s *sandbox) serve(args string) (string, error) {
	cmd := exec.Command("bash", "-c", "exec gatehouse serve --log-format text "+args)
	cmd.Dir, cmd.Env = s.root, s.env
	log, err := os.OpenFile(filepath.Join(s.root, "var/log/serve.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return "", err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	before := len(s.log())
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the log says how it ended
		close(ended)
	}()
	gone := false
	until(s.t, "the daemon is ready", patience, func() bool {
		select {
		case <-ended:
			gone = true
		default:
		}
		return gone || strings.Contains(s.log()[before:], " info ready ")
	})
	if gone {
		return strings.TrimPrefix(s.log()[before:], "\n"), fmt.Errorf("gatehouse serve ended:\n%s", s.log()[before:])
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			s.t.Error("the daemon did not end")
		}
	})
	return "", nil
}

// start starts another server and returns when it takes connections. PORT.pid tells steps how to end it.
func (s *sandbox) start(port, command string) error {
	log, err := os.OpenFile(filepath.Join(s.root, "var/log/other.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("bash", "-c", "exec "+s.real(command))
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.root, s.env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.write(port+".pid", fmt.Sprint(cmd.Process.Pid))
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	s.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	})
	gone := false
	until(s.t, command+" takes connections", patience, func() bool {
		select {
		case <-ended:
			gone = true
			return true
		default:
		}
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	if gone {
		return fmt.Errorf("%s ended:%s", command, s.log())
	}
	return nil
}

// log returns all that servers have logged, in the page's words.
func (s *sandbox) log() string {
	var all strings.Builder
	_ = filepath.WalkDir(filepath.Join(s.root, "var/log"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			text, _ := os.ReadFile(path)
			all.WriteString("\n" + s.back.Replace(string(text)))
		}
		return nil
	})
	return all.String()
}

// logged waits until the log has lines that match.
func (s *sandbox) logged(text string) error {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		line = strings.TrimSpace(line)
		pattern := regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(line), "…", `[^\n]*`))
		timeout := time.Now().Add(patience / 4)
		for !pattern.MatchString(s.log()) {
			if time.Now().After(timeout) {
				return fmt.Errorf("the log has no line like\n%s\n%s", line, s.log())
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	return nil
}
