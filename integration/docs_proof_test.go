package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// TestDocs_developers: what pages have developers run is there, also what takes too long to be run here: targets of make, and
// tests and benchmarks that match the patterns of go test.
func TestDocs_developers(t *testing.T) {
	t.Parallel()
	targets := regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(readText(t, "../Makefile"), -1)
	makes := regexp.MustCompile("(?m)(?:^ *|`)(?:[A-Z]+=\\S+ )?make ([a-z-]+)(?:$|`)")
	goTest := regexp.MustCompile(`(?m)^ *(?:[A-Z_]+=\S+ )*go test (.*)$`)
	seen := 0
	for _, p := range docPages(t) {
		for _, m := range makes.FindAllStringSubmatch(p.text, -1) {
			seen++
			if !slices.ContainsFunc(targets, func(target []string) bool { return target[1] == m[1] }) {
				t.Errorf("%s: make has no %s", p.path, m[1])
			}
		}
		for _, m := range goTest.FindAllStringSubmatch(p.text, -1) {
			words := strings.Fields(strings.ReplaceAll(m[1], "'", ""))
			at := slices.IndexFunc(words, func(word string) bool { return strings.HasPrefix(word, "./") })
			if at < 0 {
				t.Errorf("%s: go test %s names no package", p.path, m[1])
				continue
			}
			files, err := filepath.Glob(filepath.Join("..", words[at], "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			var source strings.Builder
			for _, file := range files {
				source.WriteString(readText(t, file))
			}
			for flag, kind := range map[string]string{"-run": "Test", "-bench": "Benchmark"} {
				at := slices.Index(words, flag)
				if at < 0 || words[at+1] == "^$" {
					continue
				}
				seen++
				pattern := regexp.MustCompile(words[at+1])
				if !slices.ContainsFunc(regexp.MustCompile(`(?m)^func (`+kind+`\w+)\(`).FindAllStringSubmatch(source.String(), -1),
					func(f []string) bool { return pattern.MatchString(f[1]) }) {
					t.Errorf("%s: go test %s: there is no such %s", p.path, m[1], kind)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("found only %d commands", seen)
	}
}
