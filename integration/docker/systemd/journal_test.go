package systemd

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/integration/docker/engine"
)

// TestJournal_login: the journal has a login with the fields of docs/log.md.
func TestJournal_login(t *testing.T) {
	text, err := os.ReadFile("../../../docs/log.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile(`(?m)^(GATEHOUSE_\w+|PRIORITY|SYSLOG_IDENTIFIER|MESSAGE)=`).FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, m[1])
	}
	slices.Sort(documented)
	onEach(t, serving, func(t *testing.T, m *machine) {
		m.setUp(t, simple, "")
		since := m.cursor(t)
		m.sh(t, "systemctl start gatehouse")
		m.answers(t, host, "alice", "wrong", "not-authorized")
		// The answer may be there before the line.
		var entry map[string]any
		if err := engine.Poll(func() error {
			// 252 leaves out the first entry that matches after a cursor; that of the login is not the service's first.
			line, err := m.run("journalctl --unit gatehouse --output json --after-cursor '" + since + "' | grep '\"MESSAGE\":\"login '")
			if err != nil {
				return err
			}
			return json.Unmarshal([]byte(line), &entry)
		}); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]any{
			"_SYSTEMD_UNIT": "gatehouse.service", "SYSLOG_IDENTIFIER": "gatehouse", "PRIORITY": "6",
			"GATEHOUSE_HOST": host, "GATEHOUSE_MECHANISM": "PLAIN", "GATEHOUSE_TLS": "TLS 1.3",
			"GATEHOUSE_VERDICT": "refused", "GATEHOUSE_CONDITION": "not-authorized",
		} {
			if entry[name] != want {
				t.Errorf("%s is %v, want %v", name, entry[name], want)
			}
		}
		if message, _ := entry["MESSAGE"].(string); !strings.HasPrefix(message, "login host="+host+" user=alice ") {
			t.Errorf("MESSAGE is %q", message)
		}
		var names []string
		for name := range entry {
			if !strings.HasPrefix(name, "_") {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		if !slices.Equal(names, documented) {
			t.Errorf("fields:\n%q, documented are\n%q", names, documented)
		}
	})
}
