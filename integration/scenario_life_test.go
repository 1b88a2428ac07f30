package integration

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// TestLife_shutdown: SIGTERM tells everybody who is connected that the system shuts down, and the program ends well
// with its scripts.
func TestLife_shutdown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	d := start(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path,
	}}}, baseOptions(dir)))
	address := d.address(t, "starttls")
	bound, _ := session(t, address, "localhost", "alice", "secret", "desk")
	stranger, err := xmpptest.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	if _, err := stranger.Open("localhost"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	d.signal(t, syscall.SIGTERM)
	for name, c := range map[string]*xmpptest.Client{"session": bound, "stranger": stranger} {
		if err := c.ExpectError("system-shutdown"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if code := d.wait(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v to end", took)
	}
	for _, pid := range s.pids(t) {
		if alive(pid) {
			t.Errorf("script process %d is still there", pid)
		}
	}
	if _, err := xmpptest.Dial(address); err == nil {
		t.Error("the port is still open")
	}
}

// TestLife_interrupt: Ctrl-C does the same.
func TestLife_interrupt(t *testing.T) {
	t.Parallel()
	d := strangersDaemon(t)
	d.signal(t, syscall.SIGINT)
	if code := d.wait(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// TestLife_hangup: SIGHUP reloads, and ends nothing.
func TestLife_hangup(t *testing.T) {
	t.Parallel()
	d := strangersDaemon(t)
	d.signal(t, syscall.SIGHUP)
	if _, err := d.waitFor(regexp.MustCompile(`(?m)^.*reload: nothing changed by=SIGHUP.*$`)); err != nil {
		t.Fatal(err)
	}
	c, err := xmpptest.Dial(d.address(t, "starttls"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Open("localhost"); err != nil {
		t.Error(err)
	}
}

// TestLife_noCertificate: without a certificate the program does not start, and says what to do.
func TestLife_noCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	d := launch(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path,
	}}}, baseOptions(dir), options{"gatehouse_self_signed": nil}))
	if code := d.wait(t); code != exitConfig {
		t.Errorf("exit code %d, want %d", code, exitConfig)
	}
	for _, word := range []string{"certificate", "localhost", "gatehouse_self_signed"} {
		if !strings.Contains(d.log.String(), word) {
			t.Errorf("the message has no %q", word)
		}
	}
}

// TestLife_selfSigned: the certificate that the program makes itself stays the same over restarts, and its fingerprint
// is in the log.
func TestLife_selfSigned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	config := writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path,
	}}}, baseOptions(dir))
	var first string
	for range 2 {
		d := start(t, config)
		c, err := xmpptest.DialTLS(d.address(t, "direct"), insecureTLS("localhost"))
		if err != nil {
			t.Fatal(err)
		}
		state := c.Conn().(*tls.Conn).ConnectionState()
		_ = c.Close()
		if err := state.PeerCertificates[0].VerifyHostname("localhost"); err != nil {
			t.Error(err)
		}
		sum := sha256.Sum256(state.PeerCertificates[0].Raw)
		print := hex.EncodeToString(sum[:])
		if first == "" {
			first = print
		}
		if print != first {
			t.Errorf("the certificate changed from %s to %s", first, print)
		}
		if !strings.Contains(strings.ToLower(strings.ReplaceAll(d.log.String(), ":", "")), print) {
			t.Errorf("no fingerprint %s in the log", print)
		}
		d.stop(t)
	}
}

// TestLife_portTaken: a port that somebody else has is said at once.
func TestLife_portTaken(t *testing.T) {
	t.Parallel()
	first := strangersDaemon(t)
	_, port, _ := strings.Cut(first.address(t, "starttls"), ":")
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	d := launch(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path,
	}}}, baseOptions(dir), options{"c2s_ports": []any{lua(port)}}))
	if code := d.wait(t); code != exitUnavailable {
		t.Errorf("exit code %d, want %d", code, exitUnavailable)
	}
	if !strings.Contains(d.log.String(), port) {
		t.Error("the message does not name the port")
	}
}

// TestLife_secretsStayOut: no password and no token that anybody showed is in what a run leaves or shows: the log, even at
// debug level and when the script repeats it; the status page and the metrics; the data directory, which is the user's
// alone; command lines and environments. And there are no core dumps.
func TestLife_secretsStayOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plan := accounts("alice", "canary-right", "bob", "canary-bob")
	plan["rules"] = []any{
		map[string]any{"match": "auth:echo:", "do": []any{do("echo", true)}},
		map[string]any{"match": "auth:twice:", "do": []any{do("write", "1\n"), do("echo", true)}},
		map[string]any{"match": "auth:dies:", "do": []any{do("exit", 1)}},
		map[string]any{"match": "auth:hangs:", "do": []any{}},
	}
	s := installScript(t, dir, "auth", plan)
	config := tokenConfig(t, dir, s, options{
		"log": map[string]any{"debug": "*console"}, "gatehouse_token_in_plain": true, "external_auth_timeout": 1,
		"gatehouse_admin": filepath.Join(dir, "admin.sock"),
	})
	d := start(t, config)
	address := d.address(t, "starttls")
	var secrets []string
	secret := func(text string) string {
		secrets = append(secrets, text)
		return text
	}
	try := func(mechanism, message, right string) {
		t.Helper()
		secret(base64.StdEncoding.EncodeToString([]byte(message)))
		expectAuth(t, mechanism+" "+right, address, "localhost", mechanism, message, right)
	}
	try("PLAIN", plain("alice", secret("canary-right")), "success")
	try("PLAIN", plain("alice", secret("canary-wrong")), "not-authorized")
	try("PLAIN", plain("alice", secret("canary-control\x07")), "malformed-request")
	try("PLAIN", plain("alice", secret("canary-third")+"\x00more"), "malformed-request")
	try("PLAIN", "eve@localhost\x00alice\x00"+secret("canary-authzid"), "invalid-authzid")
	try("PLAIN", plain("alice", secret("canary-long-"+strings.Repeat("x", 1000))), "not-authorized")
	try("PLAIN", plain("echo", secret("canary-echo")), "temporary-auth-failure")
	try("PLAIN", plain("twice", secret("canary-twice")), "temporary-auth-failure")
	try("PLAIN", plain("dies", secret("canary-dies")), "temporary-auth-failure")
	try("PLAIN", plain("hangs", secret("canary-hangs")), "temporary-auth-failure")
	token := secret(freshToken(t, hostKeys.secret, hostKeys.seed, "alice@localhost"))
	try("X-TOKEN", plain("alice", token), "success")
	try("X-TOKEN", plain("alice", token), "not-authorized")
	token = secret(freshToken(t, hostKeys.secret, hostKeys.seed, "alice@localhost"))
	try("PLAIN", plain("alice", token), "success")
	secret(hostKeys.secret)
	secret(hostKeys.seed)

	c, _ := session(t, address, "localhost", "bob", secret("canary-bob"), "desk")
	answer, err := c.IQ("set", "", "<query xmlns='jabber:iq:register'><username>bob</username><password>"+
		secret("canary-new")+"</password></query>")
	if err != nil || answer.Attr("type") != "result" {
		t.Errorf("password change: %+v, %v", answer, err)
	}
	expectAuth(t, "changed password", address, "localhost", "PLAIN", plain("bob", "canary-new"), "success")
	seen := make(map[string]string)
	browser := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "admin.sock"))
	}}}
	for _, path := range []string{"/metrics", "/status.json", "/healthz", "/readyz", "/"} {
		answer, err := browser.Get("http://localhost" + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s, %v", path, answer.Status, err)
		}
		seen[path] = string(body)
	}
	processes := append(children(t, d.cmd.Process.Pid), d.cmd.Process.Pid)
	if len(processes) < 2 {
		t.Error("no script runs, so that this proves little")
	}
	for _, pid := range processes {
		for _, name := range []string{"cmdline", "environ", "comm", "limits"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
			if err != nil {
				t.Fatal(err)
			}
			seen[fmt.Sprint(pid, " ", name)] = string(text)
		}
		if limits := seen[fmt.Sprint(pid, " limits")]; !regexp.MustCompile(`Max core file size +0 `).MatchString(limits) {
			t.Errorf("core dumps of %d: %s", pid, limits)
		}
	}
	d.stop(t)
	err = filepath.WalkDir(filepath.Join(dir, "data"), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s may be read by others: %v", path, info.Mode())
		}
		if err == nil && e.Type().IsRegular() {
			var text []byte
			text, err = os.ReadFile(path)
			seen[path] = string(text)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}

	log := d.log.String()
	seen["the log"] = log
	if !strings.Contains(log, " debug ") {
		t.Error("nothing at debug level, so that this proves little")
	}
	for _, text := range append(secrets, "canary") {
		for _, form := range []string{text, hex.EncodeToString([]byte(text)), url.QueryEscape(text)} {
			for where, held := range seen {
				if strings.Contains(held, form) {
					t.Errorf("%s holds %q", where, form)
				}
			}
		}
	}
}
