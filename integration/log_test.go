package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

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
	d := launch(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path,
	}}}, baseOptions(dir), options{"gatehouse_log": log, "gatehouse_log_format": "text"}))
	address := listeningIn(t, log)["127.0.0.1"]
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
	rules = strings.Replace(rules, signal, fmt.Sprintf("kill -HUP %d", d.cmd.Process.Pid), 1)
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
