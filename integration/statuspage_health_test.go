package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// healthIs waits until /readyz says so, /healthz that the daemon is alive, and `gatehouse health` the same as /readyz.
func (m *measured) healthIs(t testing.TB, when, ready string) {
	t.Helper()
	get := func(path string) string {
		resp, err := http.Get("http://" + m.admin + path)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(resp.StatusCode, " ", strings.TrimSpace(string(text)))
	}
	until(t, when+": /readyz says "+ready, patience, func() bool { return strings.HasPrefix(get("/readyz"), ready) })
	if got := get("/healthz"); got != "200 ok" {
		t.Errorf("%s: /healthz says %s", when, got)
	}
	text, err := runCommand(t, "health", "--socket", filepath.Join(m.dir, "data", "gatehouse.sock"))
	code, want, _ := strings.Cut(ready, " ")
	if (err == nil) != (code == "200") || !strings.HasPrefix(strings.TrimPrefix(text, "gatehouse: "), want) {
		t.Errorf("%s: gatehouse health says %q, %v", when, text, err)
	}
}

// expired makes a certificate that is no longer valid.
func expired(t testing.TB, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().AddDate(0, -3, 0), NotAfter: time.Now().Add(-time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: certificate}, name + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHealth_states: what the table in docs/metrics.md says.
func TestHealth_states(t *testing.T) {
	t.Parallel()
	m := newMeasured(t, []host{{"localhost", options{"authentication": "external", "external_auth_command": "./auth.sh", "external_auth_timeout": 60}}}, nil)
	expired(t, filepath.Join(m.dir, "certs"), "localhost")
	m.global["ssl"] = map[string]any{
		"certificate": filepath.Join(m.dir, "certs", "localhost.crt"), "key": filepath.Join(m.dir, "certs", "localhost.key"),
	}
	m.write(t)
	socket := filepath.Join(m.dir, "data", "gatehouse.sock")
	nobody := func(when string) {
		t.Helper()
		if text, err := runCommand(t, "health", "--socket", socket); err == nil || !strings.HasPrefix(text, "gatehouse: no daemon answers at "+socket) {
			t.Errorf("%s: gatehouse health says %q, %v", when, text, err)
		}
	}
	nobody("before the start")
	m.daemon = start(t, m.config)
	m.healthIs(t, "with a certificate that has expired", "200 ok")

	m.login(t, "localhost", "PLAIN", plain("down", "x"), "temporary-auth-failure")
	m.healthIs(t, "after a question that the script died of", "200 ok")

	good := m.global["gatehouse_data_dir"]
	m.global["gatehouse_data_dir"] = lua("nonsense nonsense")
	m.write(t)
	m.expect(t, "a broken file", map[string]float64{`config_last_reload_successful`: 0})
	m.healthIs(t, "with a broken file", "200 ok")
	m.global["gatehouse_data_dir"] = good
	m.write(t)
	m.expect(t, "a good file", map[string]float64{`config_last_reload_successful`: 1})

	m.put(t, "auth.sh", "#!/bin/sh\nexit 3\n")
	m.expect(t, "a script that does not start is not taken into use", map[string]float64{`config_last_reload_successful`: 0})
	if err := syscall.Kill(m.worker(t, "localhost"), killed); err != nil {
		t.Error(err)
	}
	m.healthIs(t, "with a script that does not start", "503 localhost: worker ")
	m.put(t, "auth.sh", measuredScript)
	m.healthIs(t, "with a good script again", "200 ok")

	m.put(t, "held", "")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = authenticate(t, m.address(t, "starttls"), "localhost", "PLAIN", plain("held1", "x"))
	}()
	m.expect(t, "a question", map[string]float64{`pool_busy{host="localhost"}`: 1})
	m.signal(t, syscall.SIGTERM)
	m.healthIs(t, "shutting down", "503 the daemon is starting or shutting down")
	until(t, "the port is closed", patience, func() bool {
		c, err := net.Dial("tcp", m.address(t, "starttls"))
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	select {
	case <-ended:
		t.Error("the question was not answered, so that it proves little that the port is closed")
	default:
	}
	m.remove(t, "held")
	<-ended
	if code := m.wait(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	nobody("after the end")
}
