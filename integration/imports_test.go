package integration

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "gatehouse.im/gatehouse/"

// allowed is who may import whom within the module: docs/architecture.md. A
// package that is missing imports nothing of ours.
var allowed = map[string][]string{
	"cmd/gatehouse":            {"config", "server", "extauth", "saslmech", "internal/admin", "internal/admission", "internal/authapi", "internal/authcache", "internal/client", "internal/guard", "internal/httpserver", "internal/logging", "internal/state", "internal/ticket", "internal/token", "internal/upstream", "internal/webserver", "internal/credentials"},
	"config":                   {"internal/luaconf"},
	"server":                   {"saslmech", "internal/admission", "internal/framing", "internal/xmlstream"},
	"internal/admin":           {"internal/httpserver"},
	"internal/authapi":         {"internal/httpserver", "saslmech"},
	"internal/credentials":     {"saslmech"},
	"internal/client":          {"saslmech", "internal/xmlstream"},
	"internal/framing":         {"internal/xmlstream"},
	"internal/guard/guardtest": {"internal/guard"},
	"internal/state":           {"internal/guard"},
	"internal/upstream":        {"saslmech", "internal/xmlstream"},
	"internal/webserver":       {"internal/admission", "internal/httpserver"},
}

func TestImports_pointOneWay(t *testing.T) {
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}}: {{join .Imports " "}}`, "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		pkg, imports, ok := strings.Cut(strings.TrimSpace(line), ": ")
		pkg = strings.TrimPrefix(pkg, module)
		if !ok || strings.HasPrefix(pkg, "integration") || strings.HasPrefix(pkg, "bench") {
			continue // they test and measure the rest
		}
		seen++
		for imp := range strings.FieldsSeq(imports) {
			ours, ok := strings.CutPrefix(imp, module)
			if ok && !slices.Contains(allowed[pkg], ours) {
				t.Errorf("%s imports %s, which docs/architecture.md does not have", pkg, ours)
			}
		}
	}
	if seen < len(allowed) {
		t.Errorf("looked at %d packages only", seen)
	}
}
