package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The programs under test, built by TestMain.
var (
	gatehouse  string // cmd/gatehouse
	testscript string // integration/testscript
)

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gatehouse-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// Auth scripts must be able to run as anybody.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	gatehouse = filepath.Join(dir, "gatehouse")
	testscript = filepath.Join(dir, "testscript")
	for output, pkg := range map[string]string{gatehouse: "../cmd/gatehouse", testscript: "./testscript"} {
		build := exec.Command("go", "build", "-o", output, pkg)
		if text, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v: %v\n%s", build, err, text)
			return 1
		}
	}
	return m.Run()
}
