package main

import (
	"bytes"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	dir := t.TempDir()
	serve := func(name string, code int, answer string) string {
		path := filepath.Join(dir, name)
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.Path != "/readyz" {
				t.Errorf("asked for %s %s", r.Method, r.URL.Path)
			}
			w.WriteHeader(code)
			_, _ = w.Write([]byte(answer))
		})}
		t.Cleanup(func() { srv.Close() })
		go func() { _ = srv.Serve(ln) }()
		return path
	}
	for _, tt := range []struct {
		name, socket string
		code         int
		out, errs    string
	}{
		{"ready", serve("ready", 200, "ok\n"), 0, "ok\n", ""},
		{"not ready", serve("trouble", 503, "example.org: no process of the script could be started\nstopping\n"), exitUnavailable,
			"", "gatehouse: example.org: no process of the script could be started\nstopping\n"},
		{"no daemon", filepath.Join(dir, "nobody"), exitUnavailable, "", "gatehouse: no daemon answers at "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run([]string{"health", "--socket", tt.socket}, globals{Stdout: &out, Stderr: &errs})
			if code != tt.code || out.String() != tt.out || !strings.HasPrefix(errs.String(), tt.errs) {
				t.Errorf("exit code %d, %q, %q; want %d, %q, %q", code, &out, &errs, tt.code, tt.out, tt.errs)
			}
		})
	}
	var out, errs bytes.Buffer
	t.Setenv("STATE_DIRECTORY", dir)
	if code := run([]string{"health", "--config", filepath.Join(dir, "none.cfg.lua")}, globals{Stdout: &out, Stderr: &errs}); code != exitUnavailable ||
		!strings.Contains(errs.String(), filepath.Join(dir, controlSocket)) {
		t.Errorf("without a config: exit code %d, %q", code, &errs)
	}
}
