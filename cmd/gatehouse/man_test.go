package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"gatehouse.im/gatehouse/config"
)

// manPage returns a page in mdoc, and as a reader has it, on one line.
func manPage(t *testing.T, section string) (source, text string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run([]string{"man", section}, globals{Stdout: &out, Stderr: &errs}); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	path := filepath.Join(t.TempDir(), "gatehouse."+section)
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if complaints, err := exec.Command("mandoc", "-T", "lint", "-W", "warning", path).CombinedOutput(); err != nil || len(complaints) > 0 {
		t.Errorf("mandoc -T lint: %v\n%s", err, complaints)
	}
	shown, err := exec.Command("mandoc", "-T", "ascii", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	plain := regexp.MustCompile(`.\x08`).ReplaceAllString(string(shown), "") // overstrikes for bold and underlined
	return out.String(), strings.Join(strings.Fields(plain), " ")
}

func TestMan_programShowsEveryCommand(t *testing.T) {
	source, text := manPage(t, "8")
	var cmds commands
	parser, err := kong.New(&cmds, kong.Name("gatehouse"), kong.Vars{"version": "x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range parser.Model.Leaves(true) {
		name := strings.Join(commandPath(n), " ")
		if !strings.Contains(source, ".Ss "+name+"\n") || !strings.Contains(text, "gatehouse "+name) {
			t.Errorf("the command %q is missing", name)
		}
		_, section, _ := strings.Cut(source, ".Ss "+name+"\n")
		section, _, _ = strings.Cut(section, "\n.S")
		for _, f := range ownFlags(n) {
			if !regexp.MustCompile(`(?m)^\.It Fl -` + f.Name + `\b`).MatchString(section) {
				t.Errorf("%s: the flag --%s is missing", name, f.Name)
			}
		}
	}
	for _, hidden := range []string{".Ss man\n", "Print a manual page."} {
		if strings.Contains(source, hidden) {
			t.Errorf("the page shows %q", hidden)
		}
	}
	for _, code := range []string{"64", "69", "77", "78"} {
		if !strings.Contains(source, ".It "+code+"\n") {
			t.Errorf("exit code %s is missing", code)
		}
	}
}

// docs/commands.md is written by hand.
func TestCommandsPage_hasEveryFlag(t *testing.T) {
	page, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	var cmds commands
	parser, err := kong.New(&cmds, kong.Name("gatehouse"), kong.Vars{"version": "x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range parser.Model.Leaves(true) {
		name := strings.Join(commandPath(n), " ")
		if !regexp.MustCompile("(?m)^\\| `" + name + `\b`).Match(page) {
			t.Errorf("the command %q is missing", name)
		}
		for _, f := range flagsOf(n) {
			if !regexp.MustCompile("--" + f.Name + `\b[^-]`).Match(page) {
				t.Errorf("%s: the flag --%s is missing", name, f.Name)
			}
		}
	}
}

func TestMan_configShowsEveryOption(t *testing.T) {
	source, text := manPage(t, "5")
	for _, o := range config.Options {
		if n := strings.Count(source, ".It Va "+o.Name+" "); n != 1 {
			t.Errorf("%s is there %d times", o.Name, n)
		}
		if o.Default != "" && !strings.Contains(text, "The default is "+o.Default+".") {
			t.Errorf("%s: the default %s is missing", o.Name, o.Default)
		}
	}
}

func TestRoff(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                 "plain",
		".so /etc/passwd":       `\&.so /etc/passwd`,
		`a \ b`:                 `a \e b`,
		"it's ~ and ^":          `it\(aqs \(ti and \(ha`,
		"`x` stands in for y":   `\fBx\fR stands in for y`,
		"One. Two.\n'three":     "One.\nTwo.\n\\(aqthree",
		"an end. .like a macro": "an end.\n\\&.like a macro",
	} {
		if got := roff(in); got != want {
			t.Errorf("roff(%q) = %q, want %q", in, got, want)
		}
	}
}
