package integration

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const unitFile = "../packaging/systemd/gatehouse.service"

// output runs a program and returns what it prints, with its standard error.
func output(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// TestPackaging_unitIsHardened: systemd rates the unit at most 2.0, of 10.
func TestPackaging_unitIsHardened(t *testing.T) {
	t.Parallel()
	out := output(t, "", "systemd-analyze", "security", "--offline=true", "--no-pager", unitFile)
	m := regexp.MustCompile(`Overall exposure level for gatehouse\.service: ([0-9.]+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no rating in %q", out)
	}
	if score, err := strconv.ParseFloat(m[1], 64); err != nil || score > 2.0 {
		t.Errorf("rated %s, want at most 2.0\n%s", m[1], out)
	}
}

// TestPackaging_unitsAreValid: systemd understands all of the units. What came after systemd 252 is in a line of its own,
// which an older one passes over.
func TestPackaging_unitsAreValid(t *testing.T) {
	t.Parallel()
	const newer = "Type=notify-reload\n"
	verify := func(service string) (string, error) {
		dir := t.TempDir()
		for name, text := range map[string]string{
			"gatehouse.service": service, "gatehouse.socket": readText(t, "../packaging/systemd/gatehouse.socket"),
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("systemd-analyze", "verify", "--man=no", "./gatehouse.service", "./gatehouse.socket")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	unit := regexp.MustCompile(`(?m)^(Exec\w+=)/usr/bin/gatehouse`).ReplaceAllString(readText(t, unitFile), "${1}"+gatehouse)
	if !strings.Contains(unit, "\nType=notify\n"+newer) {
		t.Error("the unit has not both types")
	}
	if out, err := verify(strings.Replace(unit, newer, "", 1)); err != nil || out != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, _ := verify(unit) // it fails where it does not know the type
	for line := range strings.Lines(out) {
		if !strings.Contains(line, "Failed to parse service type, ignoring: notify-reload") {
			t.Errorf("systemd-analyze verify: %s", line)
		}
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// systemd is what the service manager is to a daemon: a socket to be told over, and sockets to pass.
type systemd struct{ conn *net.UnixConn }

func newSystemd(t *testing.T, dir string) *systemd {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &systemd{conn}
}

func (s *systemd) env() string { return "NOTIFY_SOCKET=" + s.conn.LocalAddr().String() }

// told waits for a message that matches, and passes over others.
func (s *systemd) told(t *testing.T, pattern string) {
	t.Helper()
	if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var others []string
	for message := make([]byte, 4096); ; {
		n, err := s.conn.Read(message)
		if err != nil {
			t.Fatalf("waiting for %q: %v, after %q", pattern, err, others)
		}
		if regexp.MustCompile(`\A` + pattern + `\z`).Match(message[:n]) {
			return
		}
		others = append(others, string(message[:n]))
	}
}

// TestPackaging_notify: systemd is told of the start, a reload, a reload that is refused, and the end, and the watchdog
// is pinged. What it shows as the status is true of changes that nobody asked for, too.
func TestPackaging_notify(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	external := options{"authentication": "external", "external_auth_command": []any{s.path}}
	config := writeConfig(t, dir, []host{{"localhost", external}}, baseOptions(dir))
	manager := newSystemd(t, dir)
	d := start(t, config, manager.env(), "WATCHDOG_USEC=200000")
	manager.told(t, `READY=1\nSTATUS=.+`)
	manager.told(t, `WATCHDOG=1`)

	d.signal(t, syscall.SIGHUP)
	manager.told(t, `RELOADING=1\nMONOTONIC_USEC=[0-9]+`)
	manager.told(t, `READY=1\nSTATUS=.+`)
	good := readText(t, config)
	if err := os.WriteFile(config, []byte("nonsense("), 0o600); err != nil {
		t.Fatal(err)
	}
	manager.told(t, `STATUS=serving 1 host\(s\) on 2 port\(s\); the config file is broken: .+`)
	d.signal(t, syscall.SIGHUP)
	manager.told(t, `RELOADING=1\nMONOTONIC_USEC=[0-9]+`)
	manager.told(t, `READY=1\nSTATUS=.+; the config file is broken: .+`)
	manager.told(t, `WATCHDOG=1`)

	// Everybody may see it, so it has nothing of what a script says.
	dying := filepath.Join(dir, "dying")
	if err := os.WriteFile(dying, []byte("#!/bin/sh\necho database password hunter2 >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ config, status string }{
		{strings.Replace(good, s.path, dying, 1), `; the config file is broken: .+; the log has what it wrote to standard error`},
		{good, ""},
	} {
		if err := os.WriteFile(config, []byte(tt.config), 0o600); err != nil {
			t.Fatal(err)
		}
		manager.told(t, `STATUS=serving 1 host\(s\) on 2 port\(s\)`+tt.status)
	}

	d.signal(t, syscall.SIGTERM)
	manager.told(t, `STOPPING=1\nEXTEND_TIMEOUT_USEC=[0-9]+`)
	if code := d.wait(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// TestPackaging_socketActivation: sockets that systemd passes serve the ports of the config that they are bound to, and
// the script knows nothing of them.
func TestPackaging_socketActivation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var files []*os.File
	var ports []any
	for range 2 { // the config asks for the first only
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		files = append(files, f)
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
		_ = ln.Close() // f still listens
	}
	seen := filepath.Join(dir, "environment")
	script := filepath.Join(dir, "auth.sh")
	text := fmt.Sprintf("#!/bin/sh\nenv >%s\nwhile read -r line; do echo 1; done\n", seen)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	external := options{"authentication": "external", "external_auth_command": []any{script}}
	config := writeConfig(t, dir, []host{{"localhost", external}}, baseOptions(dir), options{
		"c2s_ports": ports[:1], "c2s_direct_tls_ports": nil})
	// What was asked for at the start can be given up and asked for again, though the manager never lets go of it.
	given := readText(t, config)
	other := strings.Replace(given, fmt.Sprint(ports[0]), fmt.Sprint(freePorts(t, 1)[0]), 1)
	manager, log := newSystemd(t, dir), newLogBuffer()
	// LISTEN_PID is the daemon's own number, which is known only in its process.
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", gatehouse, "serve", "--config", config, "--log-format", "text")
	cmd.Env = append(os.Environ(), manager.env(), "LISTEN_FDS=2", "LISTEN_FDNAMES=clients:other")
	cmd.ExtraFiles = files
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log)
		}
	})
	manager.told(t, `READY=1\nSTATUS=.+`)
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	expectAuth(t, "through a passed socket", address, "localhost", "PLAIN", plain("alice", "secret"), "success")
	unused := fmt.Sprintf("systemd passed a socket that the config does not ask for; nobody answers there address=127.0.0.1:%d socket=other", ports[1])
	if !strings.Contains(log.String(), unused) {
		t.Errorf("the log does not tell of the other socket")
	}
	for _, text := range []string{other, given} {
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(gatehouse, "reload", "--config", config).CombinedOutput(); err != nil {
			t.Fatalf("reload: %v: %s", err, out)
		}
	}
	if gone := "not listening any more address=" + address; !strings.Contains(log.String(), gone) {
		t.Errorf("the log does not say %q", gone)
	}
	expectAuth(t, "through a passed socket that was given up for a while", address, "localhost", "PLAIN", plain("alice", "secret"), "success")
	for line := range strings.Lines(readText(t, seen)) {
		if name, _, _ := strings.Cut(line, "="); strings.HasPrefix(name, "LISTEN_") || name == "NOTIFY_SOCKET" {
			t.Errorf("the script sees %s", name)
		}
	}
}

// TestPackaging_deb builds the Debian package as docs/install.md has it, and looks at what is in it.
func TestPackaging_deb(t *testing.T) {
	t.Parallel()
	if documented := "\napt install \"./$(make deb)\"\n"; !strings.Contains(readText(t, "../docs/install.md"), documented) {
		t.Errorf("docs/install.md has no %q", documented)
	}
	cmd := exec.Command("make", "deb")
	var errs bytes.Buffer
	cmd.Dir, cmd.Stderr = "..", &errs
	cmd.Env = append(os.Environ(), "VERSION=0~test")
	// As by hand, though `make test` runs this.
	cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=") })
	name, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, &errs)
	}
	deb := filepath.Join("..", strings.TrimSpace(string(name)))
	t.Cleanup(func() { _ = os.Remove(deb) })
	dir := t.TempDir()
	root, control := filepath.Join(dir, "root"), filepath.Join(dir, "control")
	output(t, "", "dpkg-deb", "--extract", deb, root)
	output(t, "", "dpkg-deb", "--control", deb, control)

	for path, mode := range map[string]os.FileMode{
		"usr/bin/gatehouse":                                                 0o755,
		"usr/lib/systemd/system/gatehouse.service":                          0o644,
		"usr/lib/systemd/system/gatehouse.socket":                           0o644,
		"usr/share/bash-completion/completions/gatehouse":                   0o644,
		"usr/share/zsh/vendor-completions/_gatehouse":                       0o644,
		"usr/share/fish/vendor_completions.d/gatehouse.fish":                0o644,
		"usr/share/doc/gatehouse/prosody.cfg.lua.example":                   0o644,
		"usr/share/doc/gatehouse/README.md":                                 0o644,
		"usr/share/doc/gatehouse/docs/install.md":                           0o644,
		"usr/share/doc/gatehouse/docs/status.png":                           0o644,
		"usr/share/doc/gatehouse/examples/auth.sh":                          0o755,
		"usr/share/doc/gatehouse/examples/mod_auth_gatehouse.lua":           0o644,
		"usr/share/doc/gatehouse/examples/fail2ban/filter.d/gatehouse.conf": 0o644,
		"usr/share/doc/gatehouse/examples/fail2ban/jail.d/gatehouse.conf":   0o644,
		"usr/share/doc/gatehouse/examples/grafana/gatehouse.json":           0o644,
		"usr/share/doc/gatehouse/examples/scripts-with-sudo.conf":           0o644,
		"etc/gatehouse":         os.ModeDir | 0o755,
		"etc/default/gatehouse": 0o644,
	} {
		if info, err := os.Stat(filepath.Join(root, path)); err != nil {
			t.Error(err)
		} else if info.Mode() != mode {
			t.Errorf("%s: mode %v, want %v", path, info.Mode(), mode)
		}
	}
	program := filepath.Join(root, "usr/bin/gatehouse")
	for section, page := range map[string]string{"8": "man8/gatehouse.8.gz", "5": "man5/gatehouse.cfg.5.gz"} {
		packed, err := os.Open(filepath.Join(root, "usr/share/man", page))
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		unpacked, err := gzip.NewReader(packed)
		if err == nil {
			_, err = got.ReadFrom(unpacked)
		}
		_ = packed.Close()
		if want := output(t, "", program, "man", section); err != nil || got.String() != want {
			t.Errorf("%s is not what the program prints (%v)", page, err)
		}
	}
	for shell, path := range map[string]string{
		"bash": "bash-completion/completions/gatehouse", "zsh": "zsh/vendor-completions/_gatehouse", "fish": "fish/vendor_completions.d/gatehouse.fish",
	} {
		if readText(t, filepath.Join(root, "usr/share", path)) != output(t, "", program, "completion", shell) {
			t.Errorf("%s is not what the program prints", path)
		}
	}
	output(t, filepath.Join(root, "usr/share/doc/gatehouse"), program, "check", "--config", "prosody.cfg.lua.example")
	if got := readText(t, filepath.Join(control, "conffiles")); got != "/etc/default/gatehouse\n" {
		t.Errorf("conffiles: %q", got)
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		output(t, "", "sh", "-n", filepath.Join(control, script))
	}
	// What a service manager is told is there.
	for _, m := range regexp.MustCompile(`(?m)^Exec\w+=(\S+)`).FindAllStringSubmatch(readText(t, unitFile), -1) {
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Errorf("the unit starts %v", err)
		}
	}
}
