package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReload_refusedLeavesNothing: whatever keeps a reload from being done, at whatever step, all is as it was before: what
// the daemon does, its goroutines, processes and descriptors, and what is on the disk.
func TestReload_refusedLeavesNothing(t *testing.T) {
	t.Parallel()
	taken := newScene(t)
	s := newScene(t, options{"certificates": "certs"})
	stays, _ := session(t, s.starttls(), "localhost", "alice", "secret", "desk")
	inTheWay := filepath.Join(s.dir, "file")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// Where the certificate of new.example would be made.
	if err := os.MkdirAll(filepath.Join(s.dir, "data", "self-signed", "unmade.example.pem", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	works := s.newHost(t, "new.example", planFile(accounts("alice", "new")))
	works.options["gatehouse_upstream"] = loopback(s.ports[0] + 1)
	works.options["gatehouse_upstream_auth"] = "password"
	unmade := s.newHost(t, "unmade.example", planFile(accounts("alice", "new")))
	dies := s.newHost(t, "localhost2", planFile(map[string]any{"rules": []any{map[string]any{"at": "start", "do": []any{do("exit", 3)}}}}))
	more := freePorts(t, 2)
	steps := []struct {
		name, says string
		rounds     int
		global     options
		own        options // of localhost
		hosts      []host
	}{
		{"a file that is none", "external_auth_timeout", 40, nil, options{"external_auth_timeout": "x"}, nil},
		{"certificate that cannot be made", "unmade.example", 40, nil, nil, []host{works, unmade}},
		{"port of somebody else", "cannot listen", 40, options{"c2s_ports": []any{s.ports[0], more[0], taken.ports[0]}}, nil, []host{works}},
		{"admin port of somebody else", "gatehouse_admin", 40, options{"c2s_ports": []any{s.ports[0], more[0]}, "gatehouse_websocket_ports": []any{more[1]},
			"gatehouse_admin": []any{filepath.Join(s.dir, "a.sock"), loopback(taken.ports[0])}}, nil, []host{works}},
		{"socket that cannot be made", "gatehouse_extauth_socket", 40, options{"gatehouse_admin": filepath.Join(s.dir, "a.sock"),
			"gatehouse_extauth_socket": filepath.Join(inTheWay, "e.sock")}, options{"external_auth_processes": 7}, []host{works}},
		{"script that dies", "new script is not taken into use", 10, options{"c2s_ports": []any{s.ports[0], more[0]}},
			options{"external_auth_command": s.script(dies.name)}, []host{works}},
	}
	try := func(round int) {
		for _, step := range steps {
			if round >= step.rounds {
				continue
			}
			global, own := options{}, options{}
			for name, value := range s.global {
				global[name] = value
			}
			for name, value := range step.global {
				global[name] = value
			}
			for name, value := range s.hosts[0].options {
				own[name] = value
			}
			for name, value := range step.own {
				own[name] = value
			}
			writeConfig(t, s.dir, append([]host{{"localhost", own}}, step.hosts...), global)
			code, answer, err := s.ask(http.MethodPost, "/reload")
			if err != nil || code != http.StatusUnprocessableEntity || !strings.Contains(answer, step.says) {
				t.Fatalf("%s: %d, %v: %s", step.name, code, err, answer)
			}
		}
	}
	files := func() (list []string) {
		for _, dir := range []string{s.dir, filepath.Join(s.dir, "data"), filepath.Join(s.dir, "data", "self-signed")} {
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range entries {
				list = append(list, filepath.Join(dir, entry.Name()))
			}
		}
		return list
	}
	try(0) // what is made once: a certificate for new.example
	s.expect(t, "a login", "localhost", "secret", letIn)
	before, had := s.settledAt(t, usage{}), strings.Join(files(), "\n")
	for round := range 40 {
		try(round)
	}
	after := s.settledAt(t, before)
	if !after.within(before) {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if has := strings.Join(files(), "\n"); has != had {
		t.Errorf("before:\n%s\nafter:\n%s", had, has)
	}
	for _, port := range more {
		if err := knock(loopback(port)); err == nil {
			t.Errorf("port %d is open", port)
		}
	}
	s.expect(t, "a login", "localhost", "secret", letIn)
	if err := stays.Ping(); err != nil {
		t.Errorf("a session: %v", err)
	}
	s.write(t)
	if code, answer, err := s.ask(http.MethodPost, "/reload"); err != nil || code != http.StatusOK || !strings.Contains(answer, "nothing changed") {
		t.Errorf("as in the beginning: %d, %v: %s", code, err, answer)
	}
}

// settledAt waits until the daemon takes no more than limit, if that is not zero, and returns what it takes.
func (s *scene) settledAt(t *testing.T, limit usage) (u usage) {
	t.Helper()
	until(t, "connections closed", patience, func() bool {
		now := s.status(t).Connections
		return now["login"]+now["handshake"] == 0
	})
	calm := usage{}
	until(t, "settled", patience, func() bool {
		u, calm = s.usage(t), u
		return limit == usage{} && u == calm || limit != usage{} && u.within(limit)
	})
	return u
}
