package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocs_proofs: each test and fuzz target that a page names as proof is there; and docs/reliability.md names all targets.
func TestDocs_proofs(t *testing.T) {
	t.Parallel()
	declared := make(map[string]bool)
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range function.FindAllStringSubmatch(string(source), -1) {
			declared[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := make(map[string]bool)
	span := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")
	for _, p := range docPages(t) {
		for _, m := range span.FindAllStringSubmatch(p.prose, -1) {
			if !declared[m[1]] {
				t.Errorf("%s: there is no %s", p.path, m[1])
			}
			if strings.HasSuffix(p.path, "/reliability.md") {
				named[m[1]] = true
			}
		}
	}
	for name := range declared {
		if strings.HasPrefix(name, "Fuzz") && name != "FuzzSplit" && !named[name] { // FuzzSplit is of the tests' own client
			t.Errorf("docs/reliability.md does not name %s", name)
		}
	}
}
