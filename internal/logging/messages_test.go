package logging

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestDocs_messages: the table of docs/log.md has every message that a running daemon logs, and none that it does not.
func TestDocs_messages(t *testing.T) {
	text, err := os.ReadFile("../../docs/log.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^\\| [a-z, ]+ \\| `([^`]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		documented[m[1]] = true
	}
	logged, all := messages(t, "../..")
	if len(logged) < 20 {
		t.Fatalf("found only %d messages in the code", len(logged))
	}
	for msg, where := range logged {
		if !documented[msg] {
			t.Errorf("%s: %q is not in the table of docs/log.md", where, msg)
		}
	}
	for msg := range documented {
		if !all[msg] {
			t.Errorf("docs/log.md has %q, which nobody logs", msg)
		}
	}
}

// messages finds what the daemon's packages give to loggers, with the places, and all strings that they have.
func messages(t *testing.T, root string) (logged map[string]string, all map[string]bool) {
	t.Helper()
	logged, all = make(map[string]string), make(map[string]bool)
	position := map[string]int{"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "Log": 2, "LogAttrs": 2}
	files := token.NewFileSet()
	look := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if s, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				all[s] = true
			}
		case *ast.CallExpr:
			method, ok := n.Fun.(*ast.SelectorExpr)
			if !ok {
				break
			}
			at, ok := position[method.Sel.Name]
			if !ok || len(n.Args) <= at {
				break
			}
			if lit, ok := n.Args[at].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if msg, err := strconv.Unquote(lit.Value); err == nil {
					logged[msg] = files.Position(lit.Pos()).String()
				}
			}
		}
		return true
	}
	for _, dir := range []string{"server", "extauth", "saslmech", "config", "internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if name := entry.Name(); !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err == nil {
				ast.Inspect(file, look)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return logged, all
}
