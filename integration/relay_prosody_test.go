package integration

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// relayAPIPassword is what Prosody shows to the auth API.
const relayAPIPassword = "canary-api-password-0123456789"

// backend is a Prosody that gatehouse hands its clients to. It can be stopped and started again, and keeps its address.
type backend struct {
	address string // host:port
	direct  string // the same, for TLS at once
	ca      string // PEM file: who vouches for its certificate
	usersCA string // PEM file: whose client certificates it believes
	log     *logBuffer
	env     []string
	dir     string

	cmd   *exec.Cmd
	ended chan struct{} // closed when the process is gone
}

// startBackend starts Prosody with an authentication provider, which may ask an auth API, and with accounts that
// internal_plain finds.
func startBackend(t testing.TB, authentication, apiURL string, accounts map[string]string) *backend {
	t.Helper()
	dir := t.TempDir()
	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(xmpptest.ECDSA, "localhost", "certificates.localhost")
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := pair.Write(dir, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 2)
	b := &backend{
		address: loopback(ports[0]), direct: loopback(ports[1]), ca: filepath.Join(dir, "ca.pem"), usersCA: filepath.Join(dir, "users.pem"),
		log: newLogBuffer(), dir: dir,
	}
	if err := os.WriteFile(b.ca, ca.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	makeUsersCA(t, dir)
	known := filepath.Join(dir, "localhost", "accounts")
	if err := os.MkdirAll(known, 0o700); err != nil {
		t.Fatal(err)
	}
	for user, password := range accounts {
		text := fmt.Sprintf("return { password = %s };\n", luaString(password))
		if err := os.WriteFile(filepath.Join(known, strings.ToLower(url.PathEscape(user))+".dat"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.env = append(os.Environ(), "TEST_DATA="+dir, "TEST_AUTH="+authentication,
		fmt.Sprint("TEST_PORT=", ports[0]), fmt.Sprint("TEST_DIRECT_PORT=", ports[1]),
		"TEST_API="+apiURL, "TEST_API_PASSWORD="+relayAPIPassword, "TEST_CERTIFICATE="+certificate, "TEST_KEY="+key,
		"TEST_USERS_CA="+b.usersCA, "TEST_MODULES="+absolute(t, "../prosody"))
	t.Cleanup(func() {
		b.kill()
		if t.Failed() {
			text := b.log.String()
			t.Logf("end of Prosody's log:\n%s", text[max(0, len(text)-maxShown/4):])
		}
	})
	b.start(t)
	return b
}

// makeUsersCA makes an authority that vouches for users: users.pem and users.key.
func makeUsersCA(t testing.TB, dir string) {
	t.Helper()
	cmd := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
		"-keyout", "users.key", "-out", "users.pem", "-days", "2", "-subj", "/CN=users of gatehouse",
		"-addext", "keyUsage=critical,keyCertSign")
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v\n%s", err, text)
	}
}

// start starts the process and waits until it takes connections.
func (b *backend) start(t testing.TB) {
	t.Helper()
	b.cmd = exec.Command("prosody", "-F", "--config", absolute(t, "testdata/relay/prosody.cfg.lua"))
	b.cmd.Dir, b.cmd.Env = b.dir, b.env
	b.cmd.Stdout, b.cmd.Stderr = b.log, b.log
	b.cmd.WaitDelay = time.Second
	if err := b.cmd.Start(); err != nil {
		t.Fatalf("%v; run scripts/test-deps.sh as root", err)
	}
	cmd, ended := b.cmd, make(chan struct{})
	b.ended = ended
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	until(t, "Prosody takes connections", patience, func() bool {
		select {
		case <-ended:
			t.Fatal("Prosody ended")
		default:
		}
		conn, err := net.Dial("tcp", b.address)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
}

// signal sends a signal, and waits for the end of the process if it is one that ends it.
func (b *backend) signal(sig syscall.Signal) {
	_ = b.cmd.Process.Signal(sig) // it may have ended
	if sig == syscall.SIGKILL || sig == syscall.SIGTERM {
		<-b.ended
	}
}

func (b *backend) kill() { b.signal(syscall.SIGKILL) }

// relay is gatehouse with a server behind it, for localhost. alice and bob may come in by password, and by tokens of
// hostKeys where the test wants them; the script dies when it is asked about "down".
type relay struct {
	*reloadable
	*backend
	script  *script
	address string // STARTTLS
	direct  string // TLS at once
	api     string // URL of the auth API
	hosts   []host
	global  options
}

var relayAccounts = map[string]string{
	"alice": "secret-of-alice",
	"bob":   "secret-of-bob",
	"björn": "pässwörd: ☃ <&> 😀",
	"♥":     "secret-of-hearts",
}

// newRelay makes all but the running gatehouse, which begin starts: the way behind can still be changed.
func newRelay(t testing.TB, authentication string) *relay {
	t.Helper()
	dir := t.TempDir()
	ports := freePorts(t, 3)
	r := &relay{api: "http://" + loopback(ports[2]) + "/auth", address: loopback(ports[0]), direct: loopback(ports[1])}
	r.script = installScript(t, dir, "auth", map[string]any{
		"protocol": "generic", "accounts": relayAccounts,
		"rules": []any{map[string]any{"match": "auth:down:", "do": []any{do("exit", 1)}}},
	})
	r.backend = startBackend(t, authentication, r.api, relayAccounts)
	r.hosts = []host{{"localhost", options{
		"authentication": "external", "external_auth_command": r.script.path, "external_auth_processes": 2,
		"gatehouse_upstream": r.backend.address,
	}}}
	r.global = reloadOptions(dir, ports[0], ports[1])
	r.global["gatehouse_admin"] = loopback(ports[2])
	r.global["gatehouse_auth_api_user"] = "prosody"
	r.global["gatehouse_auth_api_password"] = relayAPIPassword
	r.reloadable = &reloadable{dir: dir}
	return r
}

// set changes an option of the host.
func (r *relay) set(name string, value any) { r.hosts[0].options[name] = value }

// write writes the config as the options are now.
func (r *relay) write(t testing.TB) string {
	t.Helper()
	return writeConfig(t, r.dir(), r.hosts, r.global)
}

func (r *relay) dir() string { return r.reloadable.dir }

// begin starts gatehouse.
func (r *relay) begin(t testing.TB) *relay {
	t.Helper()
	r.reloadable = startReloadable(t, r.write(t))
	return r
}

// startRelay is a relay by tickets.
func startRelay(t testing.TB) *relay {
	t.Helper()
	return newRelay(t, "gatehouse").begin(t)
}

// reload takes the options as they are now into use.
func (r *relay) reload(t testing.TB) {
	t.Helper()
	r.skip()
	r.write(t)
	r.reloadable.signal(t, syscall.SIGHUP)
	r.nextReload(t, reloaded, "")
}

// login makes one attempt by password and returns what became of it, and how long it took from <auth/> on.
func (r *relay) login(t testing.TB, user, password string) (string, time.Duration) {
	t.Helper()
	c, err := dial(t, r.address, "starttls", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	began := time.Now()
	got, err := attempt(c, "PLAIN", plain(user, password))
	if err != nil {
		got = err.Error()
	}
	return got, time.Since(began)
}

// expect makes an attempt by password that has to end so.
func (r *relay) expect(t testing.TB, what, user, password, right string) {
	t.Helper()
	if got, _ := r.login(t, user, password); got != right {
		t.Errorf("%s: %q, want %q", what, got, right)
	}
}

// says waits until gatehouse's log, from an offset on, holds a text.
func (r *relay) says(t testing.TB, from int, text string) {
	t.Helper()
	until(t, fmt.Sprintf("%q in the log", text), patience, func() bool {
		return strings.Contains(r.reloadable.log.String()[from:], text)
	})
}

// alice is a bound session of hers.
func (r *relay) alice(t testing.TB, resource string) *xmpptest.Client {
	t.Helper()
	c, jid := session(t, r.address, "localhost", "alice", relayAccounts["alice"], resource)
	if jid != "alice@localhost/"+resource {
		t.Fatalf("bound %q", jid)
	}
	return c
}
