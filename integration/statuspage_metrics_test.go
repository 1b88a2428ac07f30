package integration

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/redistest"
)

const killed = syscall.SIGKILL

// measuredScript knows alice. It dies of "down", and does not answer who is "held" while there is a file of that name, nor
// anybody sensibly while there is one of the name "nonsense".
const measuredScript = `#!/bin/sh
while IFS= read -r q; do
	[ -e nonsense ] && { echo out of order; continue; }
	case $q in
	auth:down:*) exit 3 ;;
	auth:held*) while [ -e held ]; do sleep 0.05; done; echo 1 ;;
	auth:alice:*:secret) echo 1 ;;
	*) echo 0 ;;
	esac
done
`

// measured is a daemon whose numbers are compared with what happens to it.
type measured struct {
	*daemon
	dir, config, admin string
	hosts              []host
	global             options
	connections        int // with TLS, that were made
}

func newMeasured(t testing.TB, hosts []host, global options) *measured {
	t.Helper()
	dir := t.TempDir()
	m := &measured{dir: dir, admin: unusedAddress(t), hosts: hosts, global: options{
		"gatehouse_admin": "", "gatehouse_guard_allow": []any{}, "gatehouse_guard_delay": 0, "gatehouse_guard_address_attempts": 0,
		"certificates": filepath.Join(dir, "certs"),
	}}
	maps.Copy(m.global, global)
	m.global["gatehouse_admin"] = m.admin
	if err := os.Mkdir(filepath.Join(dir, "certs"), 0o700); err != nil {
		t.Fatal(err)
	}
	m.put(t, "auth.sh", measuredScript)
	return m
}

// put makes a file in the daemon's directory.
func (m *measured) put(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

func (m *measured) remove(t testing.TB, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(m.dir, name)); err != nil {
		t.Fatal(err)
	}
}

func (m *measured) write(t testing.TB) {
	t.Helper()
	m.config = writeConfig(t, m.dir, m.hosts, baseOptions(m.dir), webPorts(0, 0), m.global)
}

// login makes an attempt that ends as it should.
func (m *measured) login(t testing.TB, host, mechanism, message, right string) {
	t.Helper()
	m.connections++
	expectAuth(t, host+" "+mechanism, m.address(t, "starttls"), host, mechanism, message, right)
}

// expect waits until the daemon's numbers are these, and then says which are not.
func (m *measured) expect(t testing.TB, when string, want map[string]float64) {
	t.Helper()
	var wrong []string
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		have := scrape(t, m.admin)
		wrong = wrong[:0]
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if v, there := have["gatehouse_"+name]; !there || v != want[name] {
				wrong = append(wrong, fmt.Sprintf("%s is %v (%t), want %v", name, v, there, want[name]))
			}
		}
		if len(wrong) == 0 {
			return
		}
	}
	t.Errorf("%s:\n%s", when, strings.Join(wrong, "\n"))
}

// startMeasured serves four hosts with scripts, of which one is to be removed, and one with tokens.
func startMeasured(t testing.TB) *measured {
	t.Helper()
	script := func(o options) options {
		all := options{"authentication": "external", "external_auth_command": "./auth.sh"}
		maps.Copy(all, o)
		return all
	}
	m := newMeasured(t, []host{
		{"plain.example", script(options{"external_auth_processes": 2})},
		{"busy.example", script(options{"gatehouse_external_auth_queue": 1, "external_auth_timeout": 4})},
		{"guessed.example", script(nil)},
		{"gone.example", script(nil)},
		{"tokens.example", options{"authentication": "token", "token_secret": hostKeys.secret, "otp_seed": hostKeys.seed}},
	}, options{"gatehouse_unauthed_connections": 6})
	cmd := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
		"-keyout", "plain.example.key", "-out", "plain.example.crt", "-days", "5", "-subj", "/CN=plain.example", "-addext", "subjectAltName=DNS:plain.example")
	cmd.Dir = filepath.Join(m.dir, "certs")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v\n%s", err, text)
	}
	m.write(t)
	m.daemon = start(t, m.config)
	return m
}

// happens is all that happens to the daemon.
func (m *measured) happens(t *testing.T) {
	m.expect(t, "before anything", map[string]float64{
		`logins_total{host="plain.example",mechanism="PLAIN",outcome="accepted"}`:   0,
		`logins_total{host="tokens.example",mechanism="X-TOKEN",outcome="refused"}`: 0,
		`pool_restarts_total{host="plain.example"}`:                                 0,
		`tls_handshakes_total{result="succeeded"}`:                                  0,
		`config_reloads_total{result="refused"}`:                                    0,
		`config_last_reload_successful`:                                             1,
	})
	m.logins(t)
	m.fullQueue(t)
	m.guesses(t)
	m.strangers(t)
	m.reloads(t)
}

// logins: right, wrong, undecided, by two mechanisms and one that there is not, over three kinds of port.
func (m *measured) logins(t *testing.T) {
	alice := plain("alice", "secret")
	for range 5 {
		m.login(t, "plain.example", "PLAIN", alice, "success")
	}
	for i := range 3 {
		m.login(t, "plain.example", "PLAIN", plain(fmt.Sprint("user", i), "wrong"), "not-authorized")
	}
	for range 3 {
		m.login(t, "plain.example", "PLAIN", plain("down", "x"), "temporary-auth-failure")
		m.login(t, "plain.example", "PLAIN", alice, "success")
	}
	for i := range 3 {
		m.login(t, "plain.example", fmt.Sprint("STRANGE-", i), "x", "invalid-mechanism")
	}
	keys := hostKeys
	keys.host = "tokens.example"
	roomInWindow(5 * time.Second)
	token := keys.message(t, "alice")
	m.login(t, "tokens.example", "X-TOKEN", token, "success")
	m.login(t, "tokens.example", "X-TOKEN", token, "not-authorized")

	c, _ := session(t, m.address(t, "starttls"), "plain.example", "alice", "secret", "phone")
	web := webWays(t, m.daemon)[1]
	w := webSession(t, web.dial, web.address, "plain.example", "alice", "secret", "page")
	m.connections += 2
	if conn, err := dial(t, m.address(t, "direct"), "direct", "plain.example"); err != nil {
		t.Error(err)
	} else {
		m.connections++
		_ = conn.Close()
	}
	garbage, err := net.Dial("tcp", m.address(t, "direct"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := garbage.Write([]byte("this is no TLS, whatever else it may be")); err != nil {
		t.Error(err)
	}
	until(t, "the end of garbage", patience, func() bool {
		_, err := garbage.Read(make([]byte, 100))
		return err != nil
	})
	_ = garbage.Close()

	pid := m.worker(t, "plain.example")
	if err := syscall.Kill(pid, killed); err != nil {
		t.Error(err)
	}
	const here = `{host="plain.example",mechanism="PLAIN"`
	m.expect(t, "after the logins", map[string]float64{
		`logins_total` + here + `,outcome="accepted"}`:                                10,
		`logins_total` + here + `,outcome="refused"}`:                                 3,
		`logins_total` + here + `,outcome="undecided"}`:                               3,
		`login_duration_seconds_count` + here + `}`:                                   16,
		`logins_total{host="plain.example",mechanism="other",outcome="refused"}`:      3,
		`logins_total{host="plain.example",mechanism="other",outcome="accepted"}`:     0,
		`logins_total{host="tokens.example",mechanism="X-TOKEN",outcome="accepted"}`:  1,
		`logins_total{host="tokens.example",mechanism="X-TOKEN",outcome="refused"}`:   1,
		`logins_total{host="tokens.example",mechanism="X-TOKEN",outcome="undecided"}`: 0,
		`replay_entries`: 1,
		`replay_up`:      1,
		`queries_total{host="plain.example",result="answered"}`:                     13,
		`queries_total{host="plain.example",result="failed"}`:                       3,
		`query_queue_duration_seconds_count{host="plain.example"}`:                  16,
		`query_script_duration_seconds_count{host="plain.example"}`:                 16,
		`auth_answers_total{from="script",host="plain.example"}`:                    16,
		`auth_answers_total{from="cache",host="plain.example"}`:                     0,
		`pool_processes{host="plain.example"}`:                                      2,
		`pool_busy{host="plain.example"}`:                                           0,
		`pool_queue{host="plain.example"}`:                                          0,
		`pool_restarts_total{host="plain.example"}`:                                 7, // two for each that asks twice, and the one that was killed
		`pool_timeouts_total{host="plain.example"}`:                                 0,
		`connections{state="session"}`:                                              2,
		`connections{state="login"}`:                                                0,
		`connections{state="handshake"}`:                                            0,
		`connections{state="relay"}`:                                                0,
		`unauthed_connections`:                                                      0,
		`tls_handshakes_total{result="succeeded"}`:                                  float64(m.connections),
		`tls_handshake_duration_seconds_count`:                                      float64(m.connections),
		`tls_handshakes_total{result="failed"}`:                                     1,
		`limit{limit="unauthed_connections"}`:                                       6,
		`guard_attempts_total{reason="pair",result="refused"}`:                      0,
		`certificate_expiry_timestamp_seconds` + m.certificateLabels():              m.certificateEnd(t),
		`limit_reached_total{limit="unauthed_connections"}`:                         0,
		`guard_entries{kind="known"}`:                                               2,
		`config_reload_duration_seconds_count`:                                      0,
		`limit_reached_total{limit="unauthed_connections_per_address"}`:             0,
		`logins_total{host="guessed.example",mechanism="PLAIN",outcome="accepted"}`: 0,
	})
	_, _ = c.Close(), w.Close()
}

func (m *measured) certificateLabels() string {
	return fmt.Sprintf(`{file="%s",host="plain.example"}`, filepath.Join(m.dir, "certs", "plain.example.crt"))
}

func (m *measured) certificateEnd(t testing.TB) float64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.dir, "certs", "plain.example.crt"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return float64(cert.NotAfter.Unix())
}

// worker returns the process of a host's script, as the status page has it.
func (m *measured) worker(t testing.TB, name string) (pid int) {
	t.Helper()
	until(t, "a process of "+name, patience, func() bool {
		resp, err := http.Get("http://" + m.admin + "/status.json")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var status struct {
			Hosts []struct {
				Name string
				Pool *struct{ Workers []struct{ PID int } }
			}
		}
		if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
			t.Fatal(err)
		}
		for _, h := range status.Hosts {
			if h.Name == name && h.Pool != nil && len(h.Pool.Workers) > 0 {
				pid = h.Pool.Workers[0].PID
			}
		}
		return pid != 0
	})
	return pid
}

// fullQueue: one process is busy, one question waits, and there is no room for a third; the script answers neither.
func (m *measured) fullQueue(t *testing.T) {
	m.put(t, "held", "")
	var held sync.WaitGroup
	hold := func(user string) {
		m.connections++
		held.Go(func() {
			expectAuth(t, user, m.address(t, "starttls"), "busy.example", "PLAIN", plain(user, "x"), "temporary-auth-failure")
		})
	}
	hold("held1")
	m.expect(t, "one is asked", map[string]float64{`pool_busy{host="busy.example"}`: 1, `pool_queue{host="busy.example"}`: 0})
	hold("held2")
	m.expect(t, "one waits", map[string]float64{`pool_busy{host="busy.example"}`: 1, `pool_queue{host="busy.example"}`: 1, `connections{state="login"}`: 2})
	m.login(t, "busy.example", "PLAIN", plain("held3", "x"), "temporary-auth-failure")
	held.Wait()
	m.remove(t, "held")
	m.login(t, "busy.example", "PLAIN", plain("alice", "secret"), "success")
	m.expect(t, "after the full queue", map[string]float64{
		`logins_total{host="busy.example",mechanism="PLAIN",outcome="undecided"}`: 3,
		`logins_total{host="busy.example",mechanism="PLAIN",outcome="accepted"}`:  1,
		`queries_total{host="busy.example",result="failed"}`:                      3,
		`queries_total{host="busy.example",result="answered"}`:                    1,
		`pool_timeouts_total{host="busy.example"}`:                                2,
		`pool_queue{host="busy.example"}`:                                         0,
		`pool_processes{host="busy.example"}`:                                     1,
	})
}

// guesses: somebody tries passwords until the guard has had enough, and then goes on.
func (m *measured) guesses(t *testing.T) {
	const tries, patient = 700, 10 // gatehouse_guard_attempts
	m.connections++
	c, err := dial(t, m.address(t, "starttls"), "starttls", "guessed.example")
	if err != nil {
		t.Fatal(err)
	}
	for i := range tries {
		got, err := attempt(c, "PLAIN", plain("mallory", fmt.Sprint("guess", i)))
		if err != nil || got == "" || got[0] == '<' { // as many as a stream may
			_ = c.Close()
			m.connections++
			if c, err = dial(t, m.address(t, "starttls"), "starttls", "guessed.example"); err != nil {
				t.Fatal(err)
			}
			got, err = attempt(c, "PLAIN", plain("mallory", fmt.Sprint("guess", i)))
		}
		right := "not-authorized"
		if i >= patient {
			right = "temporary-auth-failure"
		}
		if err != nil || got != right {
			t.Fatalf("guess %d: %q, %v", i, got, err)
		}
	}
	_ = c.Close()
	m.expect(t, "after the guesses", map[string]float64{
		`logins_total{host="guessed.example",mechanism="PLAIN",outcome="refused"}`: tries,
		`queries_total{host="guessed.example",result="answered"}`:                  patient,
		`guard_attempts_total{reason="pair",result="refused"}`:                     tries - patient,
		`tls_handshakes_total{result="succeeded"}`:                                 float64(m.connections),
	})
}

// strangers: who says nothing makes room for others, and nobody from outside makes a new series.
func (m *measured) strangers(t *testing.T) {
	m.expect(t, "before the strangers", map[string]float64{`unauthed_connections`: 0})
	for range 8 {
		c, err := net.Dial("tcp", m.address(t, "starttls"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	m.expect(t, "strangers", map[string]float64{
		`unauthed_connections`: 6, `unauthed_addresses`: 1, `limit_reached_total{limit="unauthed_connections"}`: 2,
	})
	before := scrape(t, m.admin)
	for i := range 20 {
		c, err := dial(t, m.address(t, "starttls"), "starttls", fmt.Sprintf("stranger%d.example", i))
		if err == nil { // the certificate of another host, and then the end of the stream
			_ = c.Close()
		}
		_, _ = authenticate(t, m.address(t, "starttls"), "plain.example", fmt.Sprint("NEW-", i), "x")
		_, _ = authenticate(t, m.address(t, "starttls"), "plain.example", "PLAIN", plain(fmt.Sprintf("user%d\x00", i), "x"))
	}
	for name := range scrape(t, m.admin) {
		if _, there := before[name]; !there {
			t.Errorf("strangers have made %s", name)
		}
	}
}

// reloads: one that changes nothing, one that does, one of the script, one that is refused.
func (m *measured) reloads(t *testing.T) {
	if text, err := runCommand(t, "reload", "--config", m.config); err != nil {
		t.Errorf("reload: %v\n%s", err, text)
	}
	m.expect(t, "nothing changed", map[string]float64{
		`config_reloads_total{result="unchanged"}`: 1, `config_reload_duration_seconds_count`: 1, `pool_processes{host="gone.example"}`: 1,
	})
	m.login(t, "gone.example", "PLAIN", plain("alice", "secret"), "success")
	before := scrape(t, m.admin)
	m.hosts = slices.DeleteFunc(m.hosts, func(h host) bool { return h.name == "gone.example" })
	m.hosts[0].options["external_auth_processes"] = 3
	m.hosts = append(m.hosts, host{"new.example", options{"authentication": "external", "external_auth_command": "./auth.sh"}})
	m.write(t)
	m.expect(t, "a host less and one more", map[string]float64{
		`config_reloads_total{result="changed"}`: 1, `pool_processes{host="plain.example"}`: 3, `pool_restarts_total{host="new.example"}`: 0,
		`logins_total{host="new.example",mechanism="PLAIN",outcome="undecided"}`: 0,
	})
	m.put(t, "auth.sh", measuredScript+"# a new one\n")
	m.expect(t, "another script", map[string]float64{`config_reloads_total{result="changed"}`: 2, `config_last_reload_successful`: 1})
	var after map[string]float64
	until(t, "the end of the series of a host that is gone", patience, func() bool {
		after = scrape(t, m.admin)
		for name := range after {
			if strings.Contains(name, `host="gone.example"`) {
				return false
			}
		}
		return true
	})
	for name, was := range before {
		now, there := after[name]
		ours, gone := strings.HasPrefix(name, "gatehouse_"), strings.Contains(name, `host="gone.example"`)
		counter := strings.Contains(name, "_total") || strings.Contains(name, "_count") || strings.Contains(name, "_bucket") || strings.Contains(name, "_sum")
		switch {
		case ours && !gone && !there && !strings.Contains(name, "auth_cache"):
			t.Errorf("%s is gone", name)
		case ours && there && counter && now < was:
			t.Errorf("%s went from %v to %v", name, was, now)
		}
	}
	m.global["gatehouse_admin"] = lua("nonsense nonsense")
	m.write(t)
	m.expect(t, "a broken file", map[string]float64{
		`config_reloads_total{result="refused"}`: 1, `config_last_reload_successful`: 0, `config_reload_duration_seconds_count`: 4,
	})
}

// forgetful is a daemon that loses its Redis, and its script.
type forgetful struct {
	*measured
	redis *redistest.Server
}

func startForgetful(t *testing.T) *forgetful {
	t.Helper()
	redis, address := startRedis(t)
	f := &forgetful{redis: redis, measured: newMeasured(t, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": "./auth.sh", "token_secret": hostKeys.secret, "otp_seed": hostKeys.seed,
	}}}, options{"gatehouse_state": address, "gatehouse_auth_cache": true, "gatehouse_auth_cache_yes": 0, "gatehouse_auth_cache_outage": 3600})}
	f.write(t)
	f.daemon = start(t, f.config)
	return f
}

func (f *forgetful) happens(t *testing.T) {
	f.expect(t, "before anything", map[string]float64{
		`guard_shared`: 1, `replay_up`: 1, `guard_alone_total`: 0, `state_errors_total{operation="token"}`: 0, `auth_cache_entries{host="localhost",verdict="yes"}`: 0,
	})
	alice := plain("alice", "secret")
	f.login(t, "localhost", "PLAIN", alice, "success")
	f.login(t, "localhost", "X-TOKEN", hostKeys.message(t, "alice"), "success")
	f.expect(t, "with everything", map[string]float64{
		`state_duration_seconds_count{operation="token"}`: 1, `auth_cache_entries{host="localhost",verdict="yes"}`: 1,
		`auth_answers_total{from="outage",host="localhost"}`: 0,
	})
	f.redis.Kill()
	f.put(t, "nonsense", "")
	f.login(t, "localhost", "PLAIN", alice, "success")
	f.login(t, "localhost", "X-TOKEN", hostKeys.message(t, "alice"), "temporary-auth-failure")
	f.expect(t, "with nothing", map[string]float64{
		`guard_shared`: 0, `replay_up`: 0, `auth_answers_total{from="outage",host="localhost"}`: 1, `state_errors_total{operation="token"}`: 1,
		`logins_total{host="localhost",mechanism="PLAIN",outcome="accepted"}`:    2,
		`logins_total{host="localhost",mechanism="X-TOKEN",outcome="undecided"}`: 1,
		`queries_total{host="localhost",result="failed"}`:                        1,
	})
}
