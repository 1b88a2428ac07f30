package integration

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// scene is a daemon with a few hosts whose config a test changes by hand.
type scene struct {
	*reloadable
	ports  []int // STARTTLS and direct TLS
	global options
	hosts  []host
}

// newScene starts the program with a host localhost, whose script knows alice's password "secret".
func newScene(t *testing.T, extra ...options) *scene {
	t.Helper()
	dir := t.TempDir()
	s := &scene{ports: freePorts(t, 2)}
	s.global = reloadOptions(dir, s.ports[0], s.ports[1])
	for _, o := range extra {
		maps.Copy(s.global, o)
	}
	s.reloadable = &reloadable{dir: dir}
	s.hosts = []host{s.newHost(t, "localhost", planFile(accounts("alice", "secret")))}
	s.reloadable = startReloadable(t, s.write(t))
	return s
}

// newHost is a host with a script of its own.
func (s *scene) newHost(t *testing.T, name string, script file) host {
	t.Helper()
	if err := writeInPlace(s.script(name), script); err != nil {
		t.Fatal(err)
	}
	return host{name, options{"authentication": "external", "external_auth_command": s.script(name)}}
}

func (s *scene) script(name string) string { return filepath.Join(s.dir, name+".auth") }

// write puts the config on the disk as it should be now.
func (s *scene) write(t testing.TB) string {
	t.Helper()
	return writeConfig(t, s.dir, s.hosts, s.global)
}

// change writes the config and waits until the daemon has taken it over, with a text among the changes.
func (s *scene) change(t testing.TB, text string) logLine {
	t.Helper()
	s.skip()
	s.write(t)
	return s.nextReload(t, reloaded, text)
}

func (s *scene) starttls() string { return loopback(s.ports[0]) }
func (s *scene) direct() string   { return loopback(s.ports[1]) }

// expect logs in with a password.
func (s *scene) expect(t *testing.T, what, name, secret, right string) {
	t.Helper()
	expectAuth(t, what, s.starttls(), name, "PLAIN", plain("alice", secret), right)
}

// TestReload_sessionStays: a session at a host that stays goes on through twenty reloads, whatever they change. Of each kind one
// at least is in effect as soon as it should be; how soon the others are, the machine has its say in. See TestReload_storm.
func TestReload_sessionStays(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	c, _ := session(t, s.starttls(), "localhost", "alice", "secret", "desk")
	edits := []struct {
		says string
		edit func(n int)
	}{
		{"external_auth_timeout", func(n int) { s.hosts[0].options["external_auth_timeout"] = n + 6 }},
		{"external_auth_processes", func(n int) { s.hosts[0].options["external_auth_processes"] = n + 2 }},
		{"script started anew", func(n int) {
			s.newHost(t, "localhost", planFile(accounts("alice", fmt.Sprint("secret", n))))
		}},
		{"c2s_timeout", func(n int) { s.global["c2s_timeout"] = n + 10 }},
	}
	soonest := make(map[string]time.Duration)
	for n := range 20 {
		e := edits[n%len(edits)]
		s.skip()
		e.edit(n)
		s.write(t)
		written := time.Now()
		took := s.nextReload(t, reloaded, e.says).Time.Sub(written)
		if best, ok := soonest[e.says]; !ok || took < best {
			soonest[e.says] = took
		}
		if err := c.Ping(); err != nil {
			t.Fatalf("after reload %d, of %s: %v", n+1, e.says, err)
		}
	}
	for says, took := range soonest {
		if took > settleTime+effectTime {
			t.Errorf("%s: in effect %v after the last write, want %v", says, took, settleTime+effectTime)
		}
	}
	t.Logf("in effect after the last write: %v", soonest)
}

// TestReload_removedHost: sessions and streams at a host that is removed end with host-gone within a second, those at
// another go on, and the script of the host ends.
func TestReload_removedHost(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.hosts = append(s.hosts, s.newHost(t, "other.example", planFile(accounts("alice", "other"))))
	s.change(t, "host other.example added")
	stays, _ := session(t, s.starttls(), "localhost", "alice", "secret", "desk")
	goes, _ := session(t, s.starttls(), "other.example", "alice", "other", "desk")
	stranger, err := dial(t, s.direct(), "direct", "other.example")
	if err != nil {
		t.Fatal(err)
	}
	processes := len(children(t, s.cmd.Process.Pid))
	s.hosts = s.hosts[:1]
	s.change(t, "host other.example removed")
	for name, c := range map[string]*xmpptest.Client{"session": goes, "stranger": stranger} {
		c.Timeout = time.Second
		if err := c.ExpectError("host-gone"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := stays.Ping(); err != nil {
		t.Errorf("session at the host that stays: %v", err)
	}
	if c, err := dial(t, s.starttls(), "starttls", "other.example"); err == nil || !strings.Contains(err.Error(), "host-unknown") {
		t.Errorf("a new stream to the host: %v, %v", c, err)
	}
	until(t, "the script of the host ended", patience, func() bool {
		return len(children(t, s.cmd.Process.Pid)) == processes-1
	})
}

// TestReload_brokenFile: with a file that cannot be used everything goes on as before; the log says once where the error is,
// and status page and metrics show it until the file is mended.
func TestReload_brokenFile(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	c, _ := session(t, s.starttls(), "localhost", "alice", "secret", "desk")
	good, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	last := strings.Count(string(good), "\n") + 1
	const successful = "gatehouse_config_last_reload_successful"
	told := 0
	for name, broken := range map[string]struct {
		line int
		text string
	}{
		"syntax":     {last, string(good) + "c2s_timeout = = 5\n"},
		"wrong type": {1, "c2s_timeout = {} " + string(good)},
		"no script":  {last, string(good) + "external_auth_command = '/there/is/no/script'\n"},
	} {
		s.skip()
		if err := renameOver(s.config, file{broken.text, 0o600}); err != nil { // nobody sees half of it
			t.Fatal(err)
		}
		told++
		place := fmt.Sprintf("%s:%d:", s.config, broken.line)
		line := s.nextReload(t, refused, place)
		if line.Level != "error" {
			t.Errorf("%s: level %s", name, line.Level)
		}
		if now := s.status(t).Config; now.OK || !strings.Contains(now.Error, place) || now.BrokenAt.IsZero() {
			t.Errorf("%s: the status page has %+v", name, now)
		}
		if v := s.metric(t, successful); v != 0 {
			t.Errorf("%s: %s is %v", name, successful, v)
		}
		s.expect(t, name, "localhost", "secret", "success")
		s.expect(t, name, "localhost", "wrong", "not-authorized")
		if err := c.Ping(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.skip()
	if err := renameOver(s.config, file{string(good), 0o600}); err != nil {
		t.Fatal(err)
	}
	s.nextReload(t, mended, "")
	if n := strings.Count(s.log.String(), `"level":"error"`); n != told {
		t.Errorf("%d errors in the log, want one for each of %d files", n, told)
	}
	if now := s.status(t).Config; !now.OK || now.Error != "" || !now.BrokenAt.IsZero() {
		t.Errorf("mended: the status page has %+v", now)
	}
	if v := s.metric(t, successful); v != 1 {
		t.Errorf("mended: %s is %v", successful, v)
	}
}

// TestReload_nothingChanged: a file that was touched or got a comment changes nothing: no line above debug, and the same
// processes.
func TestReload_nothingChanged(t *testing.T) {
	t.Parallel()
	s := newScene(t, options{"debug": true})
	s.expect(t, "before", "localhost", "secret", "success")
	before := children(t, s.cmd.Process.Pid)
	for what, edit := range map[string]func() error{
		"touched":   func() error { return os.Chtimes(s.config, time.Time{}, time.Now()) },
		"commented": func() error { return appendTo(s.config, "-- a remark\n") },
		"renamed over": func() error {
			text, err := os.ReadFile(s.config)
			if err != nil {
				return err
			}
			return renameOver(s.config, file{string(text), 0o600})
		},
	} {
		s.skip()
		if err := edit(); err != nil {
			t.Fatal(err)
		}
		line := s.next(t, what, logLine.ofReload)
		if line.Msg != nothingNew || line.Level != "debug" || line.By != "file" {
			t.Errorf("%s: %+v", what, line)
		}
	}
	s.expect(t, "after", "localhost", "secret", "success")
	if after := children(t, s.cmd.Process.Pid); !slices.Equal(before, after) {
		t.Errorf("processes %v before, %v after", before, after)
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// TestReload_certificate: after a renewal the next handshake on ports that were open before shows the new certificate.
func TestReload_certificate(t *testing.T) {
	t.Parallel()
	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	certs := t.TempDir()
	renew := func() string {
		pair, err := ca.Issue(xmpptest.ECDSA, "localhost")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := pair.Write(certs, "localhost"); err != nil {
			t.Fatal(err)
		}
		return pair.TLS.Leaf.SerialNumber.String()
	}
	serial := renew()
	s := newScene(t, options{"gatehouse_self_signed": nil, "certificates": certs})
	stays, _ := session(t, s.starttls(), "localhost", "alice", "secret", "desk")
	for n := range 3 {
		for kind, address := range map[string]string{"starttls": s.starttls(), "direct": s.direct()} {
			c, err := dial(t, address, kind, "localhost")
			if err != nil {
				t.Fatal(err)
			}
			if got := serialOf(c); got != serial {
				t.Errorf("after %d renewals, %s: certificate %s, want %s", n, kind, got, serial)
			}
		}
		s.skip()
		serial = renew()
		s.nextReload(t, reloaded, "certificate")
	}
	if err := stays.Ping(); err != nil {
		t.Errorf("a session from before: %v", err)
	}
}

// TestReload_scriptWhileAsked: a query that the old script has is answered by the old script, while new queries go to the
// new one and need not wait for it.
func TestReload_scriptWhileAsked(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	slow := accounts("alice", "old")
	slow["think"] = 2
	s.skip()
	s.newHost(t, "localhost", planFile(slow))
	s.nextReload(t, reloaded, "script started anew")

	began := time.Now()
	old := make(chan string, 1)
	go func() {
		got, err := authenticate(t, s.starttls(), "localhost", "PLAIN", plain("alice", "old"))
		old <- fmt.Sprint(got, err)
	}()
	until(t, "the query is under way", patience, func() bool { return s.status(t).Hosts[0].Pool.Busy == 1 })
	s.skip()
	s.newHost(t, "localhost", planFile(accounts("alice", "new")))
	s.nextReload(t, reloaded, "script started anew")
	s.expect(t, "old password, new script", "localhost", "old", "not-authorized")
	s.expect(t, "new password, new script", "localhost", "new", "success")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("new queries were answered after %v, so that they may have waited for the old script", took)
	}
	if got := <-old; got != "success<nil>" {
		t.Errorf("the query that the old script had: %s", got)
	}
	until(t, "one process is left", patience, func() bool { return len(children(t, s.cmd.Process.Pid)) == 1 })
}

// TestReload_badScript: a script that cannot do its work is not taken into use, and the reason is in the log.
func TestReload_badScript(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.expect(t, "before", "localhost", "secret", "success")
	before := children(t, s.cmd.Process.Pid)
	for _, bad := range []struct {
		script file
		says   string
	}{
		{file{"#!/bin/sh\nif then fi\n", 0o755}, "yntax error"},
		{file{"#!/there/is/no/interpreter\n", 0o755}, "/there/is/no/interpreter"},
		{file{"#!/bin/sh\nexec cat\n", 0o644}, "not executable"},
		{file{"", 0o755}, ""},
	} {
		s.skip()
		if err := renameOver(s.script("localhost"), bad.script); err != nil {
			t.Fatal(err)
		}
		s.nextReload(t, refused, bad.says)
		s.expect(t, "right", "localhost", "secret", "success")
		s.expect(t, "wrong", "localhost", "wrong", "not-authorized")
		if after := children(t, s.cmd.Process.Pid); !slices.Equal(before, after) {
			t.Errorf("processes %v before, %v after", before, after)
		}
	}
	s.skip()
	s.newHost(t, "localhost", planFile(accounts("alice", "mended")))
	s.nextReload(t, reloaded, "script started anew")
	s.expect(t, "mended", "localhost", "mended", "success")
	s.expect(t, "mended", "localhost", "secret", "not-authorized")
}

// TestReload_sameTimes: a script that was replaced in place by one of the same size, with its time set back, is another
// script.
func TestReload_sameTimes(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.expect(t, "before", "localhost", "secret", "success")
	info, err := os.Stat(s.script("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	s.skip()
	s.newHost(t, "localhost", planFile(accounts("alice", "s3cr3t")))
	if err := os.Chtimes(s.script("localhost"), time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	s.nextReload(t, reloaded, "script started anew")
	s.expect(t, "new", "localhost", "s3cr3t", "success")
	s.expect(t, "old", "localhost", "secret", "not-authorized")
}

// TestReload_noFiles: what is no file where the config wants one is refused at once, and holds up nothing.
func TestReload_noFiles(t *testing.T) {
	t.Parallel()
	for what, put := range map[string]func(path string) error{
		"FIFO":           func(path string) error { return unix.Mkfifo(path, 0o700) },
		"directory":      func(path string) error { return os.Mkdir(path, 0o755) },
		"endless file":   func(path string) error { return os.Symlink("/dev/zero", path) },
		"link to itself": func(path string) error { return os.Symlink(path, path) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.expect(t, "before", "localhost", "secret", "success")
			for _, path := range []string{s.script("localhost"), s.config} {
				s.skip()
				if err := os.Rename(path, path+".away"); err != nil {
					t.Fatal(err)
				}
				if err := put(path); err != nil {
					t.Fatal(err)
				}
				s.nextReload(t, refused, path)
				s.expect(t, path, "localhost", "secret", "success")
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(path+".away", path); err != nil {
					t.Fatal(err)
				}
				s.next(t, "mended", func(l logLine) bool { return l.Msg == mended || l.Msg == reloaded })
			}
			s.stop(t)
		})
	}
}
