package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
)

// TestReload_command: `gatehouse reload` prints what came of it, and its exit code says so.
func TestReload_command(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	reload := func() result { return command(t, "", "reload", "--config", s.config) }
	reload().expect(t, "nothing", exitOK, `^nothing changed\n$`)
	s.hosts[0].options["external_auth_timeout"] = 7
	s.write(t)
	reload().expect(t, "a change", exitOK, `^reloaded in \d+`, `localhost: external_auth_timeout unset -> 7|localhost: external_auth_timeout 5 -> 7`)
	s.expect(t, "after it", "localhost", "secret", "success")

	s.hosts[0].options["token_secret"], s.hosts[0].options["otp_seed"] = hostKeys.secret, hostKeys.seed
	s.write(t)
	r := reload()
	r.expect(t, "a secret", exitOK, `otp_seed changed|token_secret changed`)
	r.holdsNot(t, "a secret", hostKeys.secret, hostKeys.seed)

	s.global["gatehouse_data_dir"] = filepath.Join(s.dir, "elsewhere")
	s.write(t)
	command(t, "", "reload", "--socket", s.socket()).expect(t, "what needs a restart", exitOK, `restart is needed.*gatehouse_data_dir`)
	reload().expect(t, "the socket that the new config means", exitUnavailable, `no daemon answers at`, `elsewhere/gatehouse.sock`, `--socket`)
	s.global["gatehouse_data_dir"] = filepath.Join(s.dir, "data")

	s.hosts[0].options["external_auth_timeout"] = -1
	s.write(t)
	place := regexp.QuoteMeta(s.config) + `:\d+: .*external_auth_timeout`
	reload().expect(t, "a broken file", exitConfig, place, "keeps the config")
	command(t, "", "reload", "--socket", s.socket()).expect(t, "a broken file, by the daemon", exitConfig, place, "keeps the config")
	s.expect(t, "after it", "localhost", "secret", "success")

	s.hosts[0].options["external_auth_timeout"] = 7
	s.write(t)
	reload().expect(t, "mended", exitOK)
	s.stop(t)
	reload().expect(t, "no daemon", exitUnavailable, "no daemon answers at", "gatehouse.sock")
}

// TestReload_signal: SIGHUP reloads at once.
func TestReload_signal(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.hosts[0].options["external_auth_timeout"] = 7
	s.skip()
	s.write(t)
	s.signal(t, syscall.SIGHUP)
	if line := s.nextReload(t, reloaded, "external_auth_timeout"); line.By != "SIGHUP" {
		t.Errorf("%+v", line)
	}
	s.signal(t, syscall.SIGHUP)
	if line := s.nextReload(t, nothingNew, ""); line.By != "SIGHUP" || line.Level != "info" {
		t.Errorf("%+v", line)
	}
}

// TestReload_commandsAtOnce: many who ask at the same time all get an answer, and one of them the change.
func TestReload_commandsAtOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.hosts[0].options["external_auth_timeout"] = 7
	s.write(t)
	var wg sync.WaitGroup
	results := make([]result, 10)
	for n := range results {
		wg.Go(func() { results[n] = command(t, "", "reload", "--socket", s.socket()) })
	}
	wg.Wait()
	changed := 0
	for n, r := range results {
		r.expect(t, fmt.Sprint("number ", n), exitOK, `reloaded|nothing changed`)
		if regexp.MustCompile(`external_auth_timeout`).MatchString(r.out) {
			changed++
		}
	}
	if changed != 1 {
		t.Errorf("%d of them made the change", changed)
	}
}

// TestReload_afterKill: the socket that a killed daemon left does not hinder the next one.
func TestReload_afterKill(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.signal(t, syscall.SIGKILL)
	s.wait(t)
	if _, err := os.Lstat(s.socket()); err != nil {
		t.Fatalf("no socket is left over, so that this proves nothing: %v", err)
	}
	command(t, "", "reload", "--config", s.config).expect(t, "no daemon", exitUnavailable, "no daemon answers at")
	again := startReloadable(t, s.config)
	command(t, "", "reload", "--config", s.config).expect(t, "the next daemon", exitOK, "nothing changed")
	if info, err := os.Lstat(again.socket()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("control socket: %v, %v", info, err)
	}
}

// TestReload_sameDataDir: a second daemon with the data directory of the first says so, and the first keeps its socket.
func TestReload_sameDataDir(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	second := &scene{ports: freePorts(t, 2), hosts: s.hosts}
	second.reloadable = &reloadable{dir: t.TempDir()}
	second.global = reloadOptions(s.dir, second.ports[0], second.ports[1])
	d := launchLogging(t, "text", second.write(t))
	line, err := d.waitFor(regexp.MustCompile(`(?m)^.*another daemon.*$`))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(regexp.QuoteMeta(s.socket())).MatchString(line) {
		t.Errorf("it does not say where: %s", line)
	}
	conn, err := net.Dial("unix", s.socket())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if s.status(t).Listeners[0].Address != s.starttls() {
		t.Error("the control socket is not the first daemon's any more")
	}
}
