package integration

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/config"
)

var (
	docLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	docHeading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	docSpan    = regexp.MustCompile("`([^`\n]+)`")
	docOption  = regexp.MustCompile(`^(?:gatehouse|external_auth|token|otp|c2s)_\w+`)
	docCommand = regexp.MustCompile(`^gatehouse ([a-z]+(?: [a-z]+)?)`)
	docFlag    = regexp.MustCompile(`(?:^| )(--[a-z-]+|-[a-z])\b`)
	docMessage = regexp.MustCompile(`^[a-z]+[;,]?( [a-z]+[;,]?)+$`)
	docMetric  = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (?:gauge|counter|histogram)")
)

// anchors returns what a link to a heading of the page may end in, made as GitHub makes them.
func (p *docPage) anchors() []string {
	var all []string
	for _, m := range docHeading.FindAllStringSubmatch(p.prose, -1) {
		name := strings.ToLower(strings.NewReplacer("`", "", " ", "-").Replace(m[1]))
		all = append(all, regexp.MustCompile(`[^\w-]`).ReplaceAllString(name, ""))
	}
	return all
}

// TestDocs_links: what pages link to is there.
func TestDocs_links(t *testing.T) {
	t.Parallel()
	pages := docPages(t)
	byPath := make(map[string]*docPage)
	for _, p := range pages {
		byPath[p.path] = p
	}
	seen := 0
	for _, p := range pages {
		for _, m := range docLink.FindAllStringSubmatch(p.prose, -1) {
			file, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			seen++
			path := p.path
			if file != "" {
				path = filepath.Join(filepath.Dir(p.path), file)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: %s leads nowhere: %v", p.path, m[1], err)
			}
			if target := byPath[path]; anchor != "" && (target == nil || !slices.Contains(target.anchors(), anchor)) {
				t.Errorf("%s: %s: there is no such heading", p.path, m[1])
			}
		}
	}
	if seen < 30 {
		t.Errorf("found only %d links", seen)
	}
}

// TestDocs_names: options, metrics and flags that the text of the pages names do exist.
func TestDocs_names(t *testing.T) {
	t.Parallel()
	pages := docPages(t)
	known := make(map[string]bool)
	for _, o := range config.Options {
		known[o.Name] = true
	}
	module, err := os.ReadFile("../prosody/mod_auth_gatehouse.lua")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`module:get_option\w*\("(\w+)"`).FindAllSubmatch(module, -1) {
		known[string(m[1])] = true
	}
	for _, p := range pages {
		for _, m := range docMetric.FindAllStringSubmatch(p.text, -1) {
			known[m[1]] = true // internal/admin compares these with the program
		}
		for _, m := range regexp.MustCompile("(?m)^\\| `(c2s_\\w+)` .*Prosody's\\.").FindAllStringSubmatch(p.text, -1) {
			known[m[1]] = true // a table says that the option belongs to Prosody
		}
	}
	options, flags := 0, 0
	help := make(map[string]string)
	for _, p := range pages {
		for _, m := range docSpan.FindAllStringSubmatch(p.prose, -1) {
			if name := docOption.FindString(m[1]); name != "" {
				options++
				if !known[name] {
					t.Errorf("%s: there is no option %s", p.path, name)
				}
			}
			command := docCommand.FindStringSubmatch(m[1])
			if command == nil {
				continue
			}
			text, ok := help[command[1]]
			if !ok {
				args := append(strings.Fields(command[1]), "--help")
				out, err := exec.Command(gatehouse, args...).CombinedOutput()
				if err != nil {
					t.Errorf("%s: %s: %v\n%s", p.path, m[1], err, out)
				}
				text = string(out)
				help[command[1]] = text
			}
			for _, flag := range docFlag.FindAllStringSubmatch(strings.Split(m[1], " | ")[0], -1) {
				flags++
				if !regexp.MustCompile(regexp.QuoteMeta(flag[1]) + `\b`).MatchString(text) {
					t.Errorf("%s: %s: there is no flag %s", p.path, m[1], flag[1])
				}
			}
		}
	}
	if options < 50 || flags < 5 {
		t.Errorf("found only %d options and %d flags", options, flags)
	}
}

// TestDocs_migrateTable: the table of docs/migrate.md says of each of Prosody's options what becomes of it.
func TestDocs_migrateTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/migrate.md")
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?) \\|").FindAllStringSubmatch(string(text), -1) {
		for _, name := range docSpan.FindAllStringSubmatch(row[1], -1) {
			told[name[1]] = true
		}
	}
	for _, o := range config.Options {
		if !strings.HasPrefix(o.Name, "gatehouse_") && !told[o.Name] {
			t.Errorf("docs/migrate.md does not say what becomes of %s", o.Name)
		}
	}
}

// TestDocs_dependencies: docs/dependencies.md has a row for each module that go.mod asks for, and for no other; a version that it
// names is the one that is used.
func TestDocs_dependencies(t *testing.T) {
	t.Parallel()
	page := readText(t, "../docs/dependencies.md")
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)`(?: (v[0-9.]+))? \\| \\S").FindAllStringSubmatch(page, -1)
	used := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) (v\S+)$`).FindAllStringSubmatch(readText(t, "../go.mod"), -1) {
		module, version := m[1], m[2]
		told := false
		for _, row := range rows {
			// A row may be about one package of the module, and need not have the number of its major version.
			if row[1] != module && !strings.HasPrefix(row[1], module+"/") && !strings.HasPrefix(module, row[1]+"/v") {
				continue
			}
			told = true
			used[row[1]] = true
			if row[2] != "" && row[2] != version {
				t.Errorf("docs/dependencies.md has %s at %s, it is %s", module, row[2], version)
			}
		}
		if !told {
			t.Errorf("docs/dependencies.md does not say why %s is there", module)
		}
	}
	for _, row := range rows {
		if !used[row[1]] {
			t.Errorf("docs/dependencies.md has %s, which go.mod does not ask for", row[1])
		}
	}
}

// TestDocs_messages: what docs/troubleshoot.md and docs/operate.md quote of the log and of commands is what the program
// says.
func TestDocs_messages(t *testing.T) {
	t.Parallel()
	var source strings.Builder
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		source.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range []string{"../docs/troubleshoot.md", "../docs/operate.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range docSpan.FindAllStringSubmatch(readPage(name, string(text)).prose, -1) {
			if !docMessage.MatchString(m[1]) || strings.HasPrefix(m[1], "gatehouse ") || strings.HasPrefix(m[1], "systemctl ") {
				continue
			}
			seen++
			if !strings.Contains(source.String(), m[1]) {
				t.Errorf("%s: the program never says %q", name, m[1])
			}
		}
	}
	if seen < 10 {
		t.Errorf("found only %d messages", seen)
	}
}
