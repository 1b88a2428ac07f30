package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const examplePath = "../prosody.cfg.lua.example"

// comparable writes a Config without the places of things.
func comparable(t *testing.T, c *Config) string {
	t.Helper()
	data, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	pos := regexp.MustCompile(`"Pos": \{[^}]*\}`)
	text := pos.ReplaceAllString(string(data), `"Pos": {}`)
	text = regexp.MustCompile(`"(Path|Optional)": [^\n]*`).ReplaceAllString(text, "")
	return regexp.MustCompile(`(?s)"Files": \[.*?\]`).ReplaceAllString(text, "")
}

// onlyItsSecret says that nothing is wrong with the example but that its secret is known.
func onlyItsSecret(warnings []Problem) bool {
	return len(warnings) == 1 && warnings[0].Option == "token_secret" && strings.Contains(warnings[0].Msg, "gatehouse's example")
}

func TestExample_loads(t *testing.T) {
	c, warnings, err := Load(examplePath)
	if err != nil || !onlyItsSecret(warnings) {
		t.Fatalf("Load: %v, warnings %v", err, warnings)
	}
	h := c.Host("localhost")
	if h == nil || !h.OfferPlain || !h.OfferToken || !c.SelfSigned || len(c.Listeners) != 4 {
		t.Errorf("not what the demonstration needs: %+v %+v", c, h)
	}
}

// TestExample_showsTheDefaults takes each commented option out of its comment: nothing may change.
func TestExample_showsTheDefaults(t *testing.T) {
	text, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Abs("../examples")
	if err != nil {
		t.Fatal(err)
	}
	dir := writeFiles(t, "certs/README", "")
	if err := os.Symlink(examples, filepath.Join(dir, "examples")); err != nil {
		t.Fatal(err)
	}
	loaded := func(text []byte) string {
		path := filepath.Join(dir, "prosody.cfg.lua")
		writeFile(t, path, string(text))
		c, warnings, err := Load(path)
		if err != nil || !onlyItsSecret(warnings) {
			t.Fatalf("Load: %v, warnings %v", err, warnings)
		}
		return comparable(t, c)
	}
	want := loaded(text)
	commented := regexp.MustCompile(`(?m)^(\s*)-- ([a-z0-9_]+) = .*$`)
	names := commented.FindAllSubmatch(text, -1)
	if len(names) < 15 {
		t.Fatalf("only %d options in comments", len(names))
	}
	for _, m := range names {
		changed := bytes.Replace(text, m[0], bytes.Replace(m[0], []byte("-- "), nil, 1), 1)
		if loaded(changed) != want {
			t.Errorf("%s: the example does not show the default", m[2])
		}
	}
}

func TestExample_showsOurOptions(t *testing.T) {
	text, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range Options {
		if strings.HasPrefix(o.Name, "gatehouse_") || strings.HasPrefix(o.Name, "external_auth_") {
			if !strings.Contains(string(text), o.Name+" = ") {
				t.Errorf("%s is not in the example", o.Name)
			}
		}
	}
}

func TestOptions_documented(t *testing.T) {
	var want strings.Builder
	want.WriteString("# Options\n\n" +
		"All the options that gatehouse reads from `prosody.cfg.lua`. What is not here belongs to Prosody and is left alone; only an\n" +
		"unknown option that begins with `gatehouse_` is an error. \"Global\" options count above the first `VirtualHost` only; the\n" +
		"others may stand there as well, for all hosts. A string may stand for a number or a boolean, as in Prosody.\n" +
		"`prosody.cfg.lua.example` shows most of them at work.\n\n" +
		"| option | type | default | where | meaning |\n|---|---|---|---|---|\n")
	for _, o := range Options {
		where, def := "host", ""
		if o.Global {
			where = "global"
		}
		if o.Default != "" {
			def = "`" + o.Default + "`"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s | %s |\n", o.Name, o.Type, def, where, strings.ReplaceAll(o.Meaning, "|", "\\|"))
	}
	const path = "../docs/options.md"
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(path, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want.String() {
		t.Errorf("docs/options.md differs from Options (%v); UPDATE_DOCS=1 go test ./config writes it anew", err)
	}
}

func TestOptions_unique(t *testing.T) {
	seen := make(map[string]bool)
	for _, o := range Options {
		if seen[o.Name] || o.Type == "" || o.Meaning == "" {
			t.Errorf("%s: twice, or not complete", o.Name)
		}
		seen[o.Name] = true
	}
}

// TestExample_script asks the example script everything that it knows, in a copy of its table.
func TestExample_script(t *testing.T) {
	table := filepath.Join(t.TempDir(), "users.txt")
	writeFile(t, table, "alice:secret\nbob:a:b c")
	cmd := exec.Command("../examples/auth.sh")
	cmd.Env = append(os.Environ(), "AUTH_USERS="+table)
	cmd.Stdin = strings.NewReader(`auth:alice:localhost:secret
auth:alice:localhost:wrong
auth:alice:localhost:
auth:nobody:localhost:secret
auth:bob:localhost:a:b c
isuser:bob:localhost
isuser:nobody:localhost
setpass:alice:localhost:new: \n$x'"*
auth:alice:localhost:secret
auth:alice:localhost:new: \n$x'"*
setpass:nobody:localhost:x
nonsense
`)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.ReplaceAll(string(out), "\n", ""); got != "100011010100" {
		t.Errorf("answers %s", got)
	}
	text, err := os.ReadFile(table)
	if err != nil || string(text) != "alice:new: \\n$x'\"*\nbob:a:b c\n" {
		t.Errorf("table %q %v", text, err)
	}
}
