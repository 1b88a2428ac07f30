package integration

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// script is an installed auth script: a link to testscript with a plan beside it.
type script struct {
	path string
}

// scriptEvent is a line of a script's record; see testscript.
type scriptEvent struct {
	At   float64 `json:"at"`
	Ev   string  `json:"ev"`
	Life int     `json:"life"`
	PID  int     `json:"pid"`
	Hex  string  `json:"hex"`

	script string // which script wrote it
}

// installScript puts a script named name into dir. The plan is what testscript reads, as a value or as raw JSON.
func installScript(t testing.TB, dir, name string, plan any) *script {
	t.Helper()
	s := &script{path: filepath.Join(dir, name)}
	s.setPlan(t, plan)
	if err := os.Symlink(testscript, s.path); err != nil {
		t.Fatal(err)
	}
	return s
}

// setPlan replaces the plan; processes that run keep the one they have.
func (s *script) setPlan(t testing.TB, plan any) {
	t.Helper()
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path+".plan", text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// events returns the record so far.
func (s *script) events(t testing.TB) []scriptEvent {
	t.Helper()
	text, err := os.ReadFile(s.path + ".log")
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var events []scriptEvent
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		e := scriptEvent{script: s.path}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("record of %s: %v", s.path, err)
		}
		events = append(events, e)
	}
	return events
}

// queries returns all that the script was asked, as text.
func (s *script) queries(t testing.TB) []string {
	t.Helper()
	var found []string
	for _, e := range s.events(t) {
		if e.Ev != "recv" {
			continue
		}
		raw, err := hex.DecodeString(e.Hex)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, strings.TrimSuffix(string(raw), "\n"))
	}
	return found
}

// pids returns the process ids of all processes that the script ever had.
func (s *script) pids(t testing.TB) []int {
	t.Helper()
	var found []int
	for _, e := range s.events(t) {
		if !slices.Contains(found, e.PID) {
			found = append(found, e.PID)
		}
	}
	return found
}
