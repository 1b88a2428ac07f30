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
	"time"
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
		if regexp.MustCompile(`^reloaded in`).MatchString(r.out) {
			changed++
		}
	}
	if changed != 1 {
		t.Errorf("%d of them made the change", changed)
	}
}

// TestReload_duringShutdown: once the daemon shuts down, nothing is reloaded any more, and nobody waits for it.
func TestReload_duringShutdown(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	slow := accounts("alice", "secret")
	slow["think"] = 3
	s.skip()
	s.newHost(t, "localhost", planFile(slow))
	s.nextReload(t, reloaded, "script started anew")
	answer := make(chan string, 1)
	go func() {
		got, err := authenticate(t, s.starttls(), "localhost", "PLAIN", plain("alice", "secret"))
		answer <- fmt.Sprint(got, err)
	}()
	until(t, "the query is under way", patience, func() bool { return s.status(t).Hosts[0].Pool.Busy == 1 })
	s.signal(t, syscall.SIGTERM)
	s.next(t, "shutting down", func(l logLine) bool { return l.Msg == "shutting down" })
	began := time.Now()
	s.hosts[0].options["external_auth_timeout"] = 7
	s.write(t)
	r := command(t, "", "reload", "--socket", s.socket())
	r.expect(t, "reload", exitUnavailable, "shutting down")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	if got := <-answer; got != "success<nil>" {
		t.Errorf("the query that was under way: %s", got)
	}
	if code := s.wait(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Lstat(s.socket()); !os.IsNotExist(err) {
		t.Errorf("the control socket is still there: %v", err)
	}
}

// TestReload_socketRemoved: a control socket that somebody removed is there again after the next reload.
func TestReload_socketRemoved(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	if err := os.RemoveAll(filepath.Dir(s.socket())); err != nil {
		t.Fatal(err)
	}
	command(t, "", "reload", "--config", s.config).expect(t, "without the socket", exitUnavailable, "no daemon answers at")
	s.signal(t, syscall.SIGHUP)
	s.nextReload(t, nothingNew, "")
	command(t, "", "reload", "--config", s.config).expect(t, "after SIGHUP", exitOK, "nothing changed")
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
