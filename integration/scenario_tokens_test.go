package integration

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

var hostKeys = tokenKeys{"localhost", "canary-token-secret-0123456789", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}

// tokenConfig is a config with a script and tokens for localhost.
func tokenConfig(t testing.TB, dir string, s *script, extra ...options) string {
	t.Helper()
	return writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "external", "external_auth_command": s.path,
		"token_secret": hostKeys.secret, "otp_seed": hostKeys.seed,
	}}}, append([]options{baseOptions(dir)}, extra...)...)
}

// TestTokens_replayRefusedAfterKill: a token that was used is not good a second time, not even after the program was
// killed the moment it had said yes.
func TestTokens_replayRefusedAfterKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	config := tokenConfig(t, dir, s)
	roomInWindow(12 * time.Second)
	d := start(t, config)
	var used []string
	for range 5 {
		message := hostKeys.message(t, "alice")
		expectAuth(t, "fresh token", d.address(t, "starttls"), "localhost", "X-TOKEN", message, "success")
		used = append(used, message)
	}
	d.signal(t, syscall.SIGKILL)
	d.wait(t)
	d = start(t, config)
	for _, message := range used {
		expectAuth(t, "used token", d.address(t, "starttls"), "localhost", "X-TOKEN", message, "not-authorized")
	}
	expectAuth(t, "fresh token after the restart", d.address(t, "starttls"), "localhost", "X-TOKEN",
		hostKeys.message(t, "alice"), "success")
	d.stop(t)
}

// TestTokens_storeCorrupt: with a spoilt memory of used tokens no token can be judged, while passwords go on.
func TestTokens_storeCorrupt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	config := tokenConfig(t, dir, s)
	d := start(t, config)
	expectAuth(t, "before", d.address(t, "starttls"), "localhost", "X-TOKEN", hostKeys.message(t, "alice"), "success")
	d.stop(t)
	stores, err := filepath.Glob(filepath.Join(dir, "data", "*.db"))
	if err != nil || len(stores) == 0 {
		t.Fatalf("no store in the data directory: %v", err)
	}
	for _, path := range stores {
		if err := os.WriteFile(path, []byte("this is no store"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d = start(t, config)
	address := d.address(t, "starttls")
	expectAuth(t, "token", address, "localhost", "X-TOKEN", hostKeys.message(t, "alice"), "temporary-auth-failure")
	expectAuth(t, "password", address, "localhost", "PLAIN", plain("alice", "secret"), "success")
	expectAuth(t, "wrong password", address, "localhost", "PLAIN", plain("alice", "wrong"), "not-authorized")
	d.stop(t)
}

// TestTokens_diskFull: when the memory of used tokens cannot grow any more, tokens are refused as not judged rather than
// accepted and forgotten; passwords go on; with room again tokens work again; and none that was accepted is good twice.
func TestTokens_diskFull(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Fatal("this test mounts a small file system; run it as root")
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", data, "tmpfs", 0, "size=1m,mode=700"); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	config := tokenConfig(t, dir, s)
	roomInWindow(20 * time.Second)
	d := start(t, config)
	address := d.address(t, "starttls")
	expectAuth(t, "before", address, "localhost", "X-TOKEN", hostKeys.message(t, "alice"), "success")

	ballast := filepath.Join(data, "ballast")
	fill(t, ballast)
	var used []string
	refused := false
	for range 3000 {
		message := hostKeys.message(t, "alice")
		got, err := authenticate(t, address, "localhost", "X-TOKEN", message)
		if err != nil {
			t.Fatal(err)
		}
		if got == "success" {
			used = append(used, message)
			continue
		}
		refused = got == "temporary-auth-failure"
		if !refused {
			t.Fatalf("token on a full disk: %s", got)
		}
		break
	}
	if !refused {
		t.Fatal("the disk is full and still all tokens are accepted")
	}
	expectAuth(t, "password on a full disk", address, "localhost", "PLAIN", plain("alice", "secret"), "success")
	expectAuth(t, "wrong password on a full disk", address, "localhost", "PLAIN", plain("alice", "wrong"), "not-authorized")

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	until(t, "tokens work again", recovery, func() bool {
		got, err := authenticate(t, address, "localhost", "X-TOKEN", hostKeys.message(t, "alice"))
		return err == nil && got == "success"
	})
	d.signal(t, syscall.SIGKILL)
	d.wait(t)
	d = start(t, config)
	for _, message := range used[max(0, len(used)-50):] {
		got, err := authenticate(t, d.address(t, "starttls"), "localhost", "X-TOKEN", message)
		if err != nil || got == "success" {
			t.Fatalf("a used token: %q, %v", got, err)
		}
	}
}

// fill writes a file until the file system is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for size := 64 << 10; size > 0; size /= 2 {
		chunk := make([]byte, size)
		for err == nil {
			_, err = f.Write(chunk)
		}
		err = nil
	}
}
