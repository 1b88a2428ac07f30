package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocs_blocks does what the pages say, each page in a sandbox of its own, from its top to its end:
//
//   - lua is given to gatehouse check, which may say nothing but what a mark announces. What has no VirtualHost is put
//     above one of example.org whose passwords the example script checks. Scripts and certificates that it names exist.
//   - console has commands after "$ ", and under each what it prints, where "…" is anything. sh has commands that
//     succeed. gatehouse serve is left running until the page ends or has another one.
//   - log has lines that the daemon of the page has written by then; "…" is the rest of it.
//   - a block for another server is written to its file; that server runs with it from a hidden step on.
//   - yaml is given to Prometheus's own promtool.
//   - any other block is a file that a command uses, or a mark says what proves it.
//
// The sandbox has the paths of a real machine below a directory of its own, and other ports.
func TestDocs_blocks(t *testing.T) {
	tests := testNames(t)
	for _, page := range docPages(t) {
		t.Run(filepath.Base(page.path), func(t *testing.T) {
			t.Parallel()
			s := newSandbox(t, page.text)
			for _, step := range page.steps {
				where := fmt.Sprintf("%s:%d", page.path, step.line)
				if name, ok := step.mark("test"); ok {
					if why, none := strings.CutPrefix(name, "none, because "); none {
						t.Logf("%s is not tested, because %s", where, why)
					} else if !tests[name] {
						t.Errorf("%s: there is no test %s", where, name)
					}
					continue
				}
				if err := s.do(step); err != nil {
					t.Fatalf("%s: %v", where, err)
				}
			}
		})
	}
}

// testNames returns the names of all tests of the repository.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
