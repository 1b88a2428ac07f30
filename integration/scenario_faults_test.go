package integration

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// faultTime is how long each fault lasts.
const faultTime = 2 * time.Second

// recovery is how soon after the end of a fault the right password has to work again.
const recovery = 3 * time.Second

// TestFaults_wrongPasswordNeverSucceeds breaks the script in every way while clients log in with right and wrong
// passwords. A wrong one must never succeed, the right one must never be called wrong, and it must work again soon
// after the fault ends.
func TestFaults_wrongPasswordNeverSucceeds(t *testing.T) {
	t.Parallel()
	// What the script does when mallory logs in.
	faults := map[string][]any{
		"killed":               {do("sleep", 0.05), do("kill", 9)},
		"exits":                {do("exit", 1)},
		"hangs":                {},
		"late":                 {do("sleep", 1.3), do("write_hex", "{yes}")},
		"garbage":              {do("write", "what?\n")},
		"two answers":          {do("write_hex", "{yes}{yes}")},
		"second answer later":  {do("write_hex", "{no}"), do("sleep", 0.1), do("write_hex", "{yes}")},
		"half an answer":       {do("write_hex", "{half}")},
		"answer, then dies":    {do("write_hex", "{no}"), do("kill", 9)},
		"echoes":               {do("echo", true), do("write_hex", "{yes}")},
		"floods":               {do("write", strings.Repeat("1\n", 40000))},
		"errors on the side":   {do("stderr", strings.Repeat("1\n", 2000)), do("write_hex", "{no}")},
		"yes to the next line": {do("write_hex", "{no}0a{yes}")},
	}
	for protocol := range answers {
		for name, actions := range faults {
			t.Run(protocol+"/"+name, func(t *testing.T) {
				t.Parallel()
				runFault(t, protocol, inProtocol(protocol, actions))
			})
		}
	}
}

// answers are the bytes of answers, in hexadecimal.
var answers = map[string]*strings.Replacer{
	"generic":  strings.NewReplacer("{yes}", "310a", "{no}", "300a", "{half}", "0d"),
	"ejabberd": strings.NewReplacer("{yes}", "00020001", "{no}", "00020000", "{half}", "000200"),
}

// inProtocol puts the answers of a protocol in the place of {yes}, {no} and {half} of actions.
func inProtocol(protocol string, actions []any) []any {
	translated := []any{}
	for _, a := range actions {
		m := map[string]any{}
		for key, value := range a.(map[string]any) {
			if text, ok := value.(string); ok {
				value = answers[protocol].Replace(text)
			}
			m[key] = value
		}
		translated = append(translated, m)
	}
	return translated
}

// do is one action of a script's plan.
func do(what string, value any) any { return map[string]any{what: value} }

func runFault(t *testing.T, protocol string, actions []any) {
	t.Helper()
	dir := t.TempDir()
	plan := accounts("alice", "secret", "bob", "hunter2")
	plan["protocol"] = protocol
	plan["rules"] = []any{map[string]any{"match": "auth:mallory:", "do": actions}}
	s := installScript(t, dir, "auth", plan)
	d := start(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path, "external_auth_protocol": protocol,
		"external_auth_timeout": 1, "external_auth_processes": 2,
	}}}, baseOptions(dir)))
	address := d.address(t, "starttls")
	expectAuth(t, "before the fault", address, "localhost", "PLAIN", plain("alice", "secret"), "success")
	underFault(t, address)
	began := time.Now()
	recovers(t, address, began)
	expectAuth(t, "wrong password after the fault", address, "localhost", "PLAIN", plain("alice", "hunter2"), "not-authorized")
	expectAuth(t, "right password after the fault", address, "localhost", "PLAIN", plain("bob", "hunter2"), "success")
}

// underFault lets mallory trigger the fault for a while and others log in meanwhile.
func underFault(t *testing.T, address string) {
	t.Helper()
	end := time.Now().Add(faultTime)
	var group sync.WaitGroup
	var judged atomic.Int64
	try := func(user, password string, wrong bool) {
		group.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				if wrong {
					password = fmt.Sprintf("wrong-%d", n)
				}
				got, err := authenticate(t, address, "localhost", "PLAIN", plain(user, password))
				switch {
				case err != nil:
					t.Errorf("%s: %v", user, err)
					return
				case wrong && got == "success":
					t.Errorf("%s was let in with a wrong password", user)
					return
				case !wrong && got == "not-authorized":
					t.Errorf("%s was told that the right password is wrong", user)
					return
				case got != "success" && got != "not-authorized" && got != "temporary-auth-failure":
					t.Errorf("%s: %s", user, got)
					return
				}
				judged.Add(1)
			}
		})
	}
	try("mallory", "", true)
	try("mallory", "", true)
	try("alice", "", true)
	try("alice", "secret", false)
	try("bob", "hunter2", false)
	try("nobody", "", true)
	group.Wait()
	if judged.Load() == 0 {
		t.Error("no login was judged")
	}
}

// recovers tries the right password until it works, which has to be soon.
func recovers(t *testing.T, address string, began time.Time) {
	t.Helper()
	until(t, "the right password works again", recovery-time.Since(began), func() bool {
		got, err := authenticate(t, address, "localhost", "PLAIN", plain("alice", "secret"))
		if err != nil {
			t.Fatal(err)
		}
		if got == "not-authorized" {
			t.Fatal("the right password was called wrong")
		}
		return got == "success"
	})
}

// TestFaults_killedFromOutside kills the script's processes while clients log in.
func TestFaults_killedFromOutside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plan := accounts("alice", "secret", "bob", "hunter2")
	plan["think"] = 0.02
	s := installScript(t, dir, "auth", plan)
	d := start(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path, "external_auth_timeout": 1,
		"external_auth_processes": 2,
	}}}, baseOptions(dir)))
	address := d.address(t, "starttls")
	done := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() {
		tick := time.NewTicker(30 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				for _, pid := range s.pids(t) {
					if alive(pid) {
						_ = syscall.Kill(pid, syscall.SIGKILL)
					}
				}
			}
		}
	})
	underFault(t, address)
	close(done)
	killer.Wait()
	recovers(t, address, time.Now())
	expectAuth(t, "wrong password after the fault", address, "localhost", "PLAIN", plain("alice", "hunter2"), "not-authorized")
}

// TestKill_leavesNoScript: scripts, busy and idle, do not outlive a program that is killed.
func TestKill_leavesNoScript(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"generic", "ejabberd"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			plan := accounts("alice", "secret")
			plan["protocol"] = protocol
			plan["rules"] = []any{map[string]any{"match": "auth:mallory:", "do": []any{do("sleep", 60)}}}
			s := installScript(t, dir, "auth", plan)
			d := start(t, writeConfig(t, dir, []host{{"localhost", options{
				"authentication": "external", "external_auth_command": s.path, "external_auth_protocol": protocol,
				"external_auth_processes": 3, "external_auth_timeout": 30,
			}}}, baseOptions(dir)))
			address := d.address(t, "starttls")
			c, err := dial(t, address, "starttls", "localhost")
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Sendf("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AG1hbGxvcnkAeA==</auth>"); err != nil {
				t.Fatal(err)
			}
			until(t, "mallory's query", patience, func() bool { return len(s.queries(t)) == 1 })
			expectAuth(t, "another worker", address, "localhost", "PLAIN", plain("alice", "secret"), "success")
			pids := s.pids(t)
			if len(pids) < 2 {
				t.Fatalf("processes %v, want a busy and an idle one", pids)
			}
			d.signal(t, syscall.SIGKILL)
			d.wait(t)
			until(t, "the end of the scripts", 5*time.Second, func() bool {
				for _, pid := range pids {
					if alive(pid) {
						return false
					}
				}
				return true
			})
		})
	}
}

// alive says whether a script's process is there. A zombie that waits for its parent is not, and neither is somebody
// else's process that got the same id.
func alive(pid int) bool {
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && program == testscript
}
