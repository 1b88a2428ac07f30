package token

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childEnv makes the test binary play a part of its own, in a process whose
// limits or crashes concern nobody else. Its value is the path of a file.
const childEnv = "GATEHOUSE_TEST_REPLAY_CHILD"

func child(t *testing.T, test, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	return cmd
}

// The disk takes nothing more, then it does again.
func TestReplay_fullDisk(t *testing.T) {
	path := os.Getenv(childEnv)
	if path == "" {
		path = filepath.Join(t.TempDir(), "replay.db")
		out, err := child(t, "TestReplay_fullDisk", path).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "the disk is full") {
			t.Fatalf("%v\n%s", err, out)
		}
		// A new process sees what the other promised.
		r := openReplay(t, path)
		for i, want := range []bool{false, false, true} {
			use(t, r, testID(i), testTime.Add(time.Minute), testTime, want)
		}
		return
	}
	key := testKey(t)
	r := openReplay(t, path)
	v := newVerifier(t, r, key)
	use(t, r, testID(0), testTime.Add(time.Minute), testTime, true)
	good := mint(t, key, alice, testTime, testNonce)

	var limit syscall.Rlimit
	if err := syscall.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(unix.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 0, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	t.Log("the disk is full")
	for range 3 {
		if ok, err := v.Verify(good, alice, testTime); ok || !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, %v, want EFBIG and the path", ok, err)
		}
	}
	if n, err := r.State(); n != 1 || !errors.Is(err, syscall.EFBIG) {
		t.Errorf("State: %d, %v, want 1 token and EFBIG", n, err)
	}
	use(t, r, testID(0), testTime.Add(time.Minute), testTime, false) // known without the disk
	if _, err := OpenReplay(filepath.Join(filepath.Dir(path), "other.db")); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("%v, want EFBIG", err)
	}

	if err := syscall.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	check(t, v, good, alice, testTime, true) // the fault used nothing up
	check(t, v, good, alice, testTime, false)
	use(t, r, testID(1), testTime.Add(time.Minute), testTime, true)
	closeReplay(t, r)
}

// A process that is killed has kept what it promised.
func TestReplay_killedProcess(t *testing.T) {
	if path := os.Getenv(childEnv); path != "" {
		r := openReplay(t, path)
		for i := range 10 {
			use(t, r, testID(i), testTime.Add(time.Minute), testTime, true)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	path := filepath.Join(t.TempDir(), "replay.db")
	out, err := child(t, "TestReplay_killedProcess", path).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("%v\n%s", err, out)
	}
	r := openReplay(t, path)
	for i := range 10 {
		use(t, r, testID(i), testTime.Add(time.Minute), testTime, false)
	}
}
