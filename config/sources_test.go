package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// relative writes paths one after the other, the directory cut off.
func relative(dir string, paths []string) string {
	var list []string
	for _, path := range paths {
		list = append(list, strings.TrimPrefix(path, dir+"/"))
	}
	return strings.Join(list, " ")
}

func TestLoad_sources(t *testing.T) {
	cert, key := makeCert(t, "ec", time.Hour, "a.example")
	const host = "VirtualHost 'a.example' authentication = 'external' external_auth_command = "
	certs := []string{"certs/x.crt", cert, "certs/x.key", key, "certs/.hidden", "", "certs/b.example/fullchain.pem", cert}
	tests := []struct {
		name, source             string
		files                    []string
		wantFiles, wantPatterns  string
		withoutError, foundCerts bool
	}{
		{"script and certificates directory", external, certs, "prosody.cfg.lua auth.sh certs/x.crt certs/x.key", "certs/* certs/b.example/*", true, true},
		{"no certificates directory", external, nil, "prosody.cfg.lua auth.sh", "certs/*", true, false},
		{"arguments that are scripts", host + "{ './auth.sh', 'users.txt', '--flag', 'run', 'none.py', '.' }", []string{"users.txt", "a:b", "run", "#!/bin/sh\n"},
			"prosody.cfg.lua auth.sh run none.py", "certs/*", true, false},
		{"command line", host + "'./auth.sh x.php'", nil, "prosody.cfg.lua auth.sh x.php ./auth.sh", "certs/*", true, false},
		{"named certificate", "ssl = { certificate = 'c.crt', key = 'c.key' }\n" + external, []string{"c.crt", cert, "c.key", key},
			"prosody.cfg.lua c.crt c.key auth.sh", "", true, true},
		{"named certificate that is missing", "ssl = { certificate = 'c.crt', key = 'c.key' }\n" + external, nil,
			"prosody.cfg.lua c.crt c.key auth.sh", "", false, false},
		{"certificate option, a directory", external + "certificate = 'own'", []string{"own/README", ""},
			"prosody.cfg.lua auth.sh own own/a.example.crt own/a.example.key own/a.example/fullchain.pem own/a.example/privkey.pem own/a.example.pem",
			"certs/*", true, false},
		{"certificate option that leads nowhere", external + "certificate = 'own'", nil, "prosody.cfg.lua auth.sh own", "certs/*", false, false},
		{"script that is missing", host + "'./none.sh'", nil, "prosody.cfg.lua none.sh", "certs/*", false, false},
		{"includes", "Include 'conf.d/*.lua'\n" + external, []string{"conf.d/b.lua", "", "conf.d/a.lua", ""},
			"prosody.cfg.lua conf.d/a.lua conf.d/b.lua auth.sh", "conf.d/*.lua certs/*", true, false},
		{"include that matches nothing", "Include 'conf.d/*.lua'\n" + external, []string{"conf.d/README", ""}, "prosody.cfg.lua auth.sh", "conf.d/*.lua certs/*", true, false},
		{"missing include", "Include 'none.lua'\n" + external, nil, "prosody.cfg.lua none.lua", "", false, false},
		{"missing directory", "Include 'conf.d/*.lua'\n" + external, nil, "prosody.cfg.lua", "conf.d/*.lua", false, false},
		{"directory that is a file", "Include 'conf.d/*.lua'\n" + external, []string{"conf.d", ""}, "prosody.cfg.lua", "conf.d/*.lua", false, false},
		{"error in an include", "Include 'conf.d/*.lua'\n" + external, []string{"conf.d/a.lua", "x = = 1", "conf.d/b.lua", ""}, "prosody.cfg.lua conf.d/a.lua", "conf.d/*.lua", false, false},
		{"error in a value", "secret = FileLine 's.txt'\n" + external + "external_auth_timeout = 'x'", []string{"s.txt", "x"}, "prosody.cfg.lua s.txt auth.sh", "certs/*", false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := writeFiles(t, append([]string{"prosody.cfg.lua", test.source, "auth.sh", "#!/bin/sh\n"}, test.files...)...)
			c, _, err := Load(filepath.Join(dir, "prosody.cfg.lua"))
			if (err == nil) != test.withoutError {
				t.Fatal(err)
			}
			var s Sources
			var failed *Error
			if errors.As(err, &failed) {
				s = failed.Sources
			} else {
				s = c.Sources
				if (len(c.Hosts[0].Certificates) > 0) != test.foundCerts {
					t.Errorf("certificates: %d", len(c.Hosts[0].Certificates))
				}
			}
			wantFiles := strings.Fields(test.wantFiles)
			for i, file := range wantFiles {
				if strings.HasPrefix(file, "./") { // the whole command line was looked for as a file
					wantFiles[i] = "auth.sh x.php"
				}
			}
			got := strings.Split(strings.TrimPrefix(strings.Join(s.Files, "\n"), dir+"/"), "\n"+dir+"/")
			slices.Sort(got)
			slices.Sort(wantFiles)
			if !slices.Equal(got, wantFiles) {
				t.Errorf("files\n%q, want\n%q", got, wantFiles)
			}
			if got := relative(dir, s.Patterns); got != test.wantPatterns {
				t.Errorf("patterns %q, want %q", got, test.wantPatterns)
			}
			// Nothing has changed since: what was seen is part of what there is now.
			if now := s.take(); !s.seen.over(now).equal(now) {
				t.Errorf("seen\n%v\nnow\n%v", s.seen, now)
			}
		})
	}
}

// TestSources_seen: what Load saw tells a change that came after it, of whatever kind.
func TestSources_seen(t *testing.T) {
	cert, key := makeCert(t, "ec", time.Hour, "a.example")
	changes := map[string]func(t *testing.T, dir string) error{
		"write": func(_ *testing.T, dir string) error {
			return os.WriteFile(dir+"/prosody.cfg.lua", []byte("x = 1"), 0o600)
		},
		"same size":       func(_ *testing.T, dir string) error { return rewriteSameSize(dir + "/conf.d/a.lua") },
		"chmod":           func(_ *testing.T, dir string) error { return os.Chmod(dir+"/auth.sh", 0o700) },
		"removed":         func(_ *testing.T, dir string) error { return os.Remove(dir + "/auth.sh") },
		"new include":     func(_ *testing.T, dir string) error { return os.WriteFile(dir+"/conf.d/c.lua", nil, 0o600) },
		"new certificate": func(_ *testing.T, dir string) error { return os.WriteFile(dir+"/certs/c.crt", nil, 0o600) },
		"key replaced": func(_ *testing.T, dir string) error {
			return errors.Join(os.WriteFile(dir+"/new", nil, 0o600), os.Rename(dir+"/new", dir+"/certs/a.key"))
		},
		"directory moved": func(_ *testing.T, dir string) error { return os.Rename(dir+"/certs", dir+"/certs.old") },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			dir := writeFiles(t, "prosody.cfg.lua", "Include 'conf.d/*.lua'\n"+external, "auth.sh", "#!/bin/sh\n",
				"conf.d/a.lua", "x = 1", "certs/a.crt", cert, "certs/a.key", key)
			c, _, err := Load(dir + "/prosody.cfg.lua")
			if err != nil {
				t.Fatal(err)
			}
			if err := change(t, dir); err != nil {
				t.Fatal(err)
			}
			if now := c.Sources.take(); c.Sources.seen.over(now).equal(now) {
				t.Error("the change is not seen")
			}
		})
	}
}

// TestSources_unlistable: a directory that may not be listed is not the same as one with nothing in it, and stays as it is
// until it may.
func TestSources_unlistable(t *testing.T) {
	for _, closed := range []string{"conf.d", "certs", "certs/a"} {
		t.Run(closed, func(t *testing.T) {
			dir := writeFiles(t, "prosody.cfg.lua", "Include 'conf.d/*.lua'\n"+external, "auth.sh", "#!/bin/sh\n",
				"conf.d/.keep", "", "certs/a/.keep", "")
			load := func() Sources {
				c, _, err := Load(dir + "/prosody.cfg.lua")
				var failed *Error
				if errors.As(err, &failed) {
					return failed.Sources
				}
				return c.Sources
			}
			asNobody(t, dir, func() {
				open := load()
				if err := os.Chmod(filepath.Join(dir, closed), 0); err != nil {
					t.Error(err)
				}
				defer os.Chmod(filepath.Join(dir, closed), 0o700)
				now := open.take()
				if open.seen.over(now).equal(now) {
					t.Error("that it was closed is not seen")
				}
				shut := load()
				if now = shut.take(); !shut.seen.over(now).equal(now) {
					t.Errorf("seen\n%v\nnow\n%v", shut.seen, now)
				}
				if err := os.Chmod(filepath.Join(dir, closed), 0o700); err != nil {
					t.Error(err)
				}
				if now = shut.take(); shut.seen.over(now).equal(now) {
					t.Error("that it was opened is not seen")
				}
			})
		})
	}
}

// TestSources_closedPath: a directory of PATH that this user may not enter is none to watch; trying would be said in the log.
func TestSources_closedPath(t *testing.T) {
	dir := writeFiles(t, "prosody.cfg.lua", strings.Replace(external, "./auth.sh", "auth.sh", 1), "auth.sh", "#!/bin/sh\n",
		"closed/bin/.keep", "", "open/.keep", "")
	t.Setenv("PATH", dir+"/closed/bin:"+dir+"/open")
	asNobody(t, dir, func() {
		if err := os.Chmod(dir+"/closed", 0); err != nil {
			t.Error(err)
		}
		defer os.Chmod(dir+"/closed", 0o700)
		c, _, err := Load(dir + "/prosody.cfg.lua")
		if err != nil {
			t.Error(err)
			return
		}
		if files := c.Sources.Files; slices.Contains(files, dir+"/closed/bin/auth.sh") || !slices.Contains(files, dir+"/open/auth.sh") {
			t.Errorf("files %q", files)
		}
	})
}

// asNobody runs f with the rights of a user that permissions count for, who owns all in dir and may get there.
func asNobody(t *testing.T, dir string, f func()) {
	t.Helper()
	const nobody = 65534
	if os.Geteuid() != 0 {
		f()
		return
	}
	for up := dir; strings.HasPrefix(up, os.TempDir()+"/"); up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, nobody, nobody))
	}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := syscall.Setfsuid(nobody); err != nil {
			t.Error(err)
		}
		f()
	}()
	<-done
}

// rewriteSameSize writes other bytes over a file, and waits for a time stamp that differs: the kernel's clock for files
// may tick as slowly as a hundred times a second.
func rewriteSameSize(path string) error {
	before := stampFile(path)
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for stampFile(path) == before {
		data[0] ^= 1
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
