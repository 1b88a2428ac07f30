package integration

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/config"
	"gatehouse.im/gatehouse/internal/xmpptest"
)

// optionEffect is a change of one option, and what somebody outside sees of it.
type optionEffect struct {
	option        string
	inHost        bool // it stands in the host
	before, after any
	with, host    options // the rest of the config that it takes: of the global section, and of the host
	says          string  // what the line says instead of the option's name
	see           func(e *effects) string
	want          [2]string // before and after
	// elsewhere is set instead of see where it is more than a look: why, and the test that shows the effect of a reload.
	elsewhere string
}

// effects is a daemon whose options are changed one by one.
type effects struct {
	*reloadable
	t     *testing.T
	ports [8]int // of these, clients (STARTTLS, direct TLS, one more), WebSocket with and without TLS, admin
	base  options
	shown strings.Builder // all that the daemon has said, but for its log
	n     int             // of people so far, so that each is another one
}

// What must not be shown by anything; "canary" is in every secret.
const (
	canarySecret = "canary-secret-0123456789-0"
	otherSecret  = "canary-secret-0123456789-1"
	seedOne      = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	seedTwo      = "MFRGGZDFMZTWQ2LKMFRGGZDFMZTWQ2LK"
)

// effectScript lets everybody in by "secret", and knows alice. Some people are special.
const effectScript = `#!/bin/sh
while IFS= read -r q; do
	printf '%s\n' "$q" >>asked
	case $q in
	auth:tty*) if [ -t 1 ]; then echo 1; else echo 0; fi ;;
	auth:slow*) sleep 0.25; echo 1 ;;
	auth:flaky*) if [ -e broken ]; then exit 1; fi; echo 1 ;;
	auth:*:secret | isuser:alice:*) echo 1 ;;
	*) echo 0 ;;
	esac
done
`

func startEffects(t *testing.T) *effects {
	e := &effects{t: t}
	dir := t.TempDir()
	copy(e.ports[:], freePorts(t, len(e.ports)))
	for path, f := range map[string]file{
		"auth.sh":  {effectScript, 0o755},
		"other.sh": {strings.ReplaceAll(effectScript, "secret", "hunter2"), 0o755},
	} {
		if err := writeInPlace(filepath.Join(dir, path), f); err != nil {
			t.Fatal(err)
		}
	}
	for _, sub := range []string{"certs", "certs2", "ca", "ca2"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, sub := range []string{"certs", "certs2"} {
		ca, err := xmpptest.NewCA()
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"localhost", "stays.example", "port.example"} {
			pair, err := ca.Issue(xmpptest.ECDSA, host)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := pair.Write(filepath.Join(dir, sub), host); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, sub, "ca.pem"), ca.PEM(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	makeUsersCA(t, filepath.Join(dir, "ca"))
	makeUsersCA(t, filepath.Join(dir, "ca2"))
	e.base = reloadOptions(dir, e.ports[0], e.ports[1])
	maps.Copy(e.base, options{
		"gatehouse_self_signed": nil, "certificates": "certs", "gatehouse_log_format": "json",
		"gatehouse_guard": false, "gatehouse_external_auth_start_timeout": 2,
		"gatehouse_log": map[string]any{"info": "*console", "debug": filepath.Join(dir, "all.log")},
	})
	e.reloadable = &reloadable{dir: dir}
	e.reloadable = &reloadable{
		follower: follower{daemon: launchLogging(t, "", e.write(&optionEffect{}, nil))},
		config:   filepath.Join(dir, "prosody.cfg.lua"), dir: dir,
	}
	e.next(t, "ready", func(l logLine) bool { return l.Msg == "ready" })
	return e
}

// write writes the config with an option at a value.
func (e *effects) write(o *optionEffect, value any) string {
	global, own := options{}, options{"authentication": "external", "external_auth_command": "./auth.sh"}
	maps.Copy(own, o.host)
	maps.Copy(global, o.with)
	if o.inHost {
		own[o.option] = value
	} else if o.option != "" {
		global[o.option] = value
	}
	stays := host{"stays.example", options{"authentication": "external", "external_auth_command": "./auth.sh",
		"certificate": "certs/stays.example.crt"}}
	return writeConfig(e.t, e.dir, []host{{"localhost", own}, stays}, e.base, global)
}

// becomes reloads, and returns what the daemon says.
func (e *effects) becomes(o *optionEffect, value any) string {
	e.t.Helper()
	e.write(o, value)
	code, answer, err := e.ask(http.MethodPost, "/reload")
	e.shown.WriteString(answer)
	if err != nil || code != http.StatusOK {
		e.t.Errorf("%s = %v: %d, %v: %s", o.option, value, code, err, answer)
	}
	return answer
}

// look is see, with the status page and the metrics looked at as well.
func (e *effects) look(o *optionEffect) string {
	if o.see == nil {
		return ""
	}
	seen := o.see(e)
	for _, path := range []string{"/status.json", "/metrics"} {
		_, text, err := e.ask(http.MethodGet, path)
		if err != nil {
			e.t.Error(err)
		}
		e.shown.WriteString(text)
	}
	return seen
}

// TestReload_everyOption changes every option that there is by a reload: the answer and the log name it, what it does is
// seen at once, and once it is changed back nothing is left of it. Whoever adds an option adds it here: with what somebody
// outside sees of it, or with a reason and the test that shows it.
func TestReload_everyOption(t *testing.T) {
	t.Parallel()
	e := startEffects(t)
	pid := e.cmd.Process.Pid
	table := slices.Concat(hostEffects(e), behindEffects(e), portEffects(e), daemonEffects(e))
	for _, option := range config.Options {
		if !slices.ContainsFunc(table, func(o optionEffect) bool { return o.option == option.Name }) {
			t.Errorf("%s: nothing shows that a reload changes it", option.Name)
		}
	}
	for _, o := range table {
		if o.elsewhere != "" {
			named(t, o.option, o.elsewhere)
		}
		if !slices.ContainsFunc(config.Options, func(known config.OptionInfo) bool { return known.Name == o.option }) {
			t.Errorf("%s: there is no such option", o.option)
		}
		e.try(&o)
	}
	if e.cmd.Process.Pid != pid {
		t.Error("it was restarted")
	}
	text := e.log.String() + e.shown.String()
	logs, err := filepath.Glob(filepath.Join(e.dir, "*.log"))
	if err != nil || len(logs) < 5 {
		t.Errorf("log files: %v, %v", logs, err)
	}
	for _, path := range logs {
		log, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		text += string(log)
	}
	for _, secret := range []string{"canary", seedOne, seedTwo} {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("a secret is shown: %s", text[max(0, at-200):at+100])
		}
	}
	if t.Failed() {
		return
	}
	e.becomes(&optionEffect{option: "gatehouse_shutdown_timeout"}, 3)
	e.stop(t)
	if !strings.Contains(e.log.String(), `"msg":"shutting down","within":3}`) {
		t.Error("gatehouse_shutdown_timeout: the end does not go by it")
	}
}

// named fails the test if a reason names no test that there is.
func named(t *testing.T, option, reason string) {
	t.Helper()
	name := regexp.MustCompile(`Test[A-Za-z_]+`).FindString(reason)
	files, err := filepath.Glob("../*/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	deeper, err := filepath.Glob("../*/*/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(files, deeper...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if name != "" && strings.Contains(string(text), "func "+name+"(") {
			return
		}
	}
	t.Errorf("%s: there is no test %q", option, name)
}

// try changes an option, and changes it back.
func (e *effects) try(o *optionEffect) {
	began := time.Now()
	name := o.option + " "
	if o.inHost {
		name = "localhost: " + o.option + " "
	}
	if o.says != "" {
		name = o.says
	}
	e.becomes(o, o.before)
	if got := e.look(o); got != o.want[0] {
		e.t.Errorf("%s = %v: got %q, want %q", o.option, o.before, got, o.want[0])
	}
	e.skip()
	for step, value := range []any{o.after, o.before} {
		answer := e.becomes(o, value)
		if o.option == "gatehouse_data_dir" && step == 1 {
			return // there is nothing to change back
		}
		if !strings.Contains(answer, name) {
			e.t.Errorf("%s = %v is not named: %q", o.option, value, answer)
			continue
		}
		var line logLine
		if o.option == "gatehouse_log_format" {
			e.skip() // it is of two forms
		} else {
			line = e.next(e.t, fmt.Sprintf("%s = %v", o.option, value), func(l logLine) bool {
				return l.Msg == reloaded && strings.Contains(l.Changed+"; "+l.Restart, name)
			})
		}
		if restart := o.option == "gatehouse_data_dir"; restart != (line.Restart != "") {
			e.t.Errorf("%s = %v: needs restart: %q", o.option, value, line.Restart)
		}
		if got := e.look(o); got != o.want[1-step] {
			e.t.Errorf("%s = %v: got %q, want %q", o.option, value, got, o.want[1-step])
		}
	}
	if took := time.Since(began); took > 1*time.Second {
		e.t.Logf("%s: %v", o.option, took.Round(time.Millisecond))
	}
}

// someone is a new user, whose name begins with a word that the script may know.
func (e *effects) someone(word string) string {
	e.n++
	return fmt.Sprint(word, e.n)
}

// asked is how often the script was asked about a user.
func (e *effects) asked(user string) int {
	text, err := os.ReadFile(filepath.Join(e.dir, "asked"))
	if err != nil {
		e.t.Fatal(err)
	}
	return strings.Count(string(text), ":"+user+":")
}

func (e *effects) clients() string  { return loopback(e.ports[0]) }
func (e *effects) directly() string { return loopback(e.ports[1]) }

// login is what becomes of an attempt at localhost.
func (e *effects) login(mechanism, message string) string {
	got, err := authenticate(e.t, e.clients(), "localhost", mechanism, message)
	if err != nil {
		return outcomeOf(err)
	}
	return got
}

func (e *effects) password(user, secret string) string { return e.login("PLAIN", plain(user, secret)) }

// lasting says whether something takes longer than a while.
func lasting(what func(), while time.Duration) string {
	began := time.Now()
	what()
	if time.Since(began) > while {
		return "slow"
	}
	return "fast"
}
