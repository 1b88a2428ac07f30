package integration

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
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

// TestTokens_storeFull: when the memory of used tokens cannot grow any more, tokens are refused as not judged rather than
// accepted and forgotten; passwords go on; with room again tokens work again; and none that was accepted is good twice.
func TestTokens_storeFull(t *testing.T) {
	t.Parallel()
	t.Run("file size limit", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		storeFull(t, dir, func(d *daemon) (end func()) {
			limit := func(bytes uint64) {
				if err := unix.Prlimit(d.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
					t.Fatal(err)
				}
			}
			limit(largestFile(t, filepath.Join(dir, "data")))
			return func() { limit(unix.RLIM_INFINITY) }
		})
	})
	t.Run("full file system", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		data := filepath.Join(dir, "data")
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("none", data, "tmpfs", 0, "size=1m,mode=700"); errors.Is(err, unix.EPERM) {
			t.Log("no right to mount a file system here; the other case stands for this one")
			return
		} else if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(data, unix.MNT_DETACH); err != nil {
				t.Errorf("unmount: %v", err)
			}
		})
		storeFull(t, dir, func(*daemon) (end func()) {
			ballast := filepath.Join(data, "ballast")
			fill(t, ballast)
			return func() {
				if err := os.Remove(ballast); err != nil {
					t.Fatal(err)
				}
			}
		})
	})
}

// storeFull runs the program while the store's disk is full. Begin starts the fault and returns what ends it.
func storeFull(t *testing.T, dir string, begin func(*daemon) (end func())) {
	t.Helper()
	s := installScript(t, dir, "auth", accounts("alice", "secret"))
	config := tokenConfig(t, dir, s)
	d := start(t, config)
	address := d.address(t, "starttls")
	expectAuth(t, "before", address, "localhost", "X-TOKEN", hostKeys.message(t, "alice"), "success")

	end := begin(d)
	var used []string
	got := "success"
	for n := 0; got == "success"; n++ {
		// What was set aside for the store may still be used up.
		if n > 3000 {
			t.Fatal("the store cannot grow and still all tokens are accepted")
		}
		message := hostKeys.message(t, "alice")
		var err error
		if got, err = authenticate(t, address, "localhost", "X-TOKEN", message); err != nil {
			t.Fatal(err)
		}
		if got == "success" {
			used = append(used, message)
		}
	}
	t.Logf("%d tokens were accepted before", len(used))
	if got != "temporary-auth-failure" {
		t.Fatalf("token without room in the store: %s", got)
	}
	expectAuth(t, "password meanwhile", address, "localhost", "PLAIN", plain("alice", "secret"), "success")
	expectAuth(t, "wrong password meanwhile", address, "localhost", "PLAIN", plain("alice", "wrong"), "not-authorized")

	end()
	until(t, "tokens work again", recovery, func() bool {
		message := hostKeys.message(t, "alice")
		got, err := authenticate(t, address, "localhost", "X-TOKEN", message)
		if err == nil && got == "success" {
			used = append(used, message)
		}
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

// largestFile is the size in bytes of the largest file of a directory.
func largestFile(t *testing.T, dir string) uint64 {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var largest int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if !e.IsDir() {
			largest = max(largest, info.Size())
		}
	}
	return uint64(largest)
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
