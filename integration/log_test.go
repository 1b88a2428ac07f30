package integration

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// serveLogging starts the program on a config that has it log to a file, in the format that the config says. It
// returns the STARTTLS ports by address, 127.0.0.1 and ::1, and the process id.
func serveLogging(t *testing.T, log, config string) (listening map[string]string, pid int) {
	t.Helper()
	cmd := exec.Command(gatehouse, "serve", "--config", config)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log)
			t.Logf("standard error:\n%s\n%s:\n%s", &stderr, log, text)
		}
	})
	var text []byte
	until(t, "ready", patience, func() bool {
		text, _ = os.ReadFile(log)
		return regexp.MustCompile(`info ready |"msg":"ready"`).Match(text)
	})
	listening = make(map[string]string)
	pattern := regexp.MustCompile(`listening.*?address(?:=|":")(\S+?:\d+)(?: |",").*starttls`)
	for _, m := range pattern.FindAllStringSubmatch(string(text), -1) {
		ip, _, err := net.SplitHostPort(m[1])
		if err != nil {
			t.Fatal(err)
		}
		listening[ip] = m[1]
	}
	return listening, cmd.Process.Pid
}

// TestLog_rotation: logrotate, configured as docs/log.md has it, moves the file away; the daemon goes on in a new one,
// and its script stays.
func TestLog_rotation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	logs := filepath.Join(dir, "logs")
	if err := os.Mkdir(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	log := filepath.Join(logs, "gatehouse.log")
	listening, pid := serveLogging(t, log, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path,
	}}}, baseOptions(dir), options{"gatehouse_log": log, "gatehouse_log_format": "text"}))
	address := listening["127.0.0.1"]
	expectAuth(t, "before", address, "localhost", "PLAIN", plain("alice", "secret"), "success")

	page, err := os.ReadFile("../docs/log.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := regexp.MustCompile(`(?s)/var/log/gatehouse/\*\.log \{.*?\n\}\n`).FindString(string(page))
	const signal = "systemctl kill --kill-whom=main --signal=HUP gatehouse.service"
	if !strings.Contains(rules, signal) {
		t.Fatalf("docs/log.md: %q", rules)
	}
	rules = strings.Replace(rules, signal, fmt.Sprintf("kill -HUP %d", pid), 1)
	rules = strings.Replace(rules, "/var/log/gatehouse", logs, 1)
	conf := filepath.Join(dir, "rotate.conf")
	if err := os.WriteFile(conf, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	rotate := exec.Command("/usr/sbin/logrotate", "--force", "--state="+filepath.Join(dir, "state"), conf)
	if out, err := rotate.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %v\n%s", rotate, err, out)
	}
	// The daemon says in the new file that it was asked.
	text := func(path string) string {
		b, _ := os.ReadFile(path)
		return string(b)
	}
	until(t, "a line in the new file", patience, func() bool { return strings.Contains(text(log), "by=SIGHUP") })
	expectAuth(t, "after", address, "localhost", "PLAIN", plain("alice", "wrong"), "not-authorized")
	until(t, "the login in the new file", patience, func() bool { return strings.Contains(text(log), "verdict=refused") })
	if old := text(log + ".1"); !strings.Contains(old, "verdict=accepted") || strings.Contains(old, "verdict=refused") {
		t.Errorf("old file: %s", old)
	}
	if pids := s.pids(t); len(pids) != 1 {
		t.Errorf("the script has had the processes %v", pids)
	}
}
