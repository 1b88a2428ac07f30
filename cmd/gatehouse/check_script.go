package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"gatehouse.im/gatehouse/config"
)

// script explains a host's script: how the command was understood, who may run
// and change it, and how it is asked.
func (r *report) script(cfg *config.Config, h *config.Host, s settings) {
	e := h.External
	r.row("script", "%s%s", commandText(e.Command), r.at(e.Pos))
	if !h.ScriptPasswords && !h.Token.CheckUser {
		r.row("", "asked for nothing on this host, where tokens are all that counts")
	}
	for _, other := range r.scripts {
		if reflect.DeepEqual(other.as, e) {
			r.row("", "the same as for %s", other.host)
			return
		}
	}
	r.scripts = append(r.scripts, explained{h.Name, e})
	raw, _ := s.get(h.Name, "external_auth_command")
	dir := filepath.Dir(cfg.Path)
	if how := understood(raw, e.Command, dir); how != "" {
		r.row("", "%s", how)
	}
	for _, path := range scriptFiles(e.Command, dir) {
		r.scriptFile(h, s, path, path == e.Command[0])
	}
	if missing := missingScript(e.Command, dir); missing != "" {
		p := s.problem(h, "external_auth_command", fmt.Sprintf("there is no file %s for %s to run", missing, filepath.Base(e.Command[0])))
		p.Pos = e.Pos
		r.add(warning, p)
	}
	transport := "pipes"
	if e.PTY {
		transport = "a terminal"
	}
	processes := fmt.Sprintf("%s, %d queries may wait", plural1(e.Processes, "process", "processes"), e.Queue)
	if e.Blocking {
		processes = fmt.Sprintf("one query at a time (external_auth_blocking), %d may wait", e.Queue)
	}
	r.row("", "%s protocol over %s; %s", e.Protocol, transport, processes)
	r.row("", "%s a query, %s for the first answer after a start", e.Timeout, e.StartTimeout)
	if c := e.Cache; c != nil {
		r.row("", "a yes is remembered for %s, a no for %s; if it cannot say, a yes of the last %s counts", c.Yes, c.No, max(c.Yes, c.Outage))
	}
}

// explained is a script that the report has told all about.
type explained struct {
	host string
	as   *config.ExternalAuth
}

// understood says how the option became a program and arguments; nothing where
// it is the path of the program.
func understood(raw any, command []string, dir string) string {
	found := func(word string) string {
		switch {
		case strings.Contains(word, "/") && !filepath.IsAbs(word), filepath.Join(dir, word) == command[0]:
			return "relative to the config file"
		case !strings.Contains(word, "/"):
			return word + " was found in PATH"
		}
		return ""
	}
	if line, ok := raw.(string); ok {
		if len(command) == 1 && (line == command[0] || filepath.Join(dir, line) == command[0] || !strings.ContainsAny(line, "/ \t'\"\\")) {
			return found(line)
		}
		how := "no file has this name, so it was split like a shell command line"
		if first := strings.Fields(line)[0]; !strings.ContainsAny(first, `'"\`) && found(first) != "" {
			how += "; " + found(first)
		}
		return how
	}
	if list, ok := raw.([]any); ok && len(list) > 0 {
		how := "a list: the program and its arguments as they are"
		if first, _ := list[0].(string); found(first) != "" {
			how += "; " + found(first)
		}
		return how
	}
	return ""
}

// scriptFiles are the files that a command is made of: the program, and what
// among its arguments is a file, for "python3 auth.py" is common.
func scriptFiles(command []string, dir string) []string {
	files := []string{command[0]}
	for _, arg := range command[1:] {
		if !filepath.IsAbs(arg) {
			arg = filepath.Join(dir, arg)
		}
		if info, err := os.Stat(arg); err == nil && info.Mode().IsRegular() {
			files = append(files, arg)
		}
	}
	return files
}

// interpreters are programs whose first argument is a script.
var interpreters = []string{"sh", "bash", "dash", "python", "perl", "php", "ruby", "node", "lua"}

// wrappers are programs that run another one.
var wrappers = []string{"env", "sudo", "doas", "runuser", "nice", "timeout", "setsid", "stdbuf", "nohup"}

// scriptEnds are the ends of names by which an argument is known as a script, behind options or another program's name.
var scriptEnds = []string{".sh", ".py", ".pl", ".php", ".rb", ".js", ".lua"}

// missingScript returns the script that a program is to run, if it is not
// there: the first argument of an interpreter, or the path of a script behind
// options ("python3 -u /srv/auth.py") or another program ("sudo /srv/auth.py").
// What else may follow an option, such as code, nobody knows.
func missingScript(command []string, dir string) string {
	name := strings.TrimRight(filepath.Base(command[0]), "0123456789.")
	if !slices.Contains(interpreters, name) && !slices.Contains(wrappers, name) {
		return ""
	}
	for i, arg := range command[1:] {
		first := i == 0 && slices.Contains(interpreters, name) && !strings.HasPrefix(arg, "-")
		path := strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, "./")
		if !first && !(path && slices.Contains(scriptEnds, filepath.Ext(arg)) && !strings.ContainsAny(arg, " \t\n;")) {
			continue
		}
		if !filepath.IsAbs(arg) {
			arg = filepath.Join(dir, arg)
		}
		if _, err := os.Stat(arg); errors.Is(err, fs.ErrNotExist) {
			return arg
		}
		return "" // what follows are arguments of the script's own
	}
	return ""
}

// scriptFile explains one file of a command and finds what is wrong with it.
func (r *report) scriptFile(h *config.Host, s settings, path string, program bool) {
	problem := func(l level, format string, args ...any) {
		p := s.problem(h, "external_auth_command", fmt.Sprintf(format, args...))
		p.Pos = h.External.Pos
		r.add(l, p)
	}
	steps, err := walk(path)
	if err != nil {
		problem(warning, "%v", err)
		return
	}
	file := steps[len(steps)-1]
	interpreter, missing := interpreterOf(path)
	want := mayRead
	if program && interpreter == "" {
		want = mayRun
	} else if program {
		want |= mayRun // the interpreter has to read it
	}
	text := ""
	if !program {
		text = r.short(path) + ": "
	}
	text += file.String() + ", "
	if program {
		text += runners(steps) + " may run it, "
	}
	r.row("", "%s%s may change it", text, owners(file))
	if interpreter != "" && program {
		r.row("", "its first line asks for %s", clean(interpreter))
	}
	if missing != "" && program {
		problem(warning, "%s cannot run: its first line asks env for %s, which is not in PATH", path, clean(missing))
	}
	if err := r.who.may(path, want); err != nil && !r.who.self {
		problem(warning, "%v, so no password can be checked", err)
	}
	if found := changers(steps); len(found) > 0 {
		l, text := found[0].problem(path, "script")
		problem(l, "%s", text)
	}
}

// runners says who may run a program.
func runners(steps []step) string {
	file := steps[len(steps)-1]
	switch {
	case file.mode&mayRun != 0 && nobody.reaches(steps[:len(steps)-1]):
		return "everybody"
	case file.mode&mayRun != 0:
		return "everybody who gets there"
	case file.mode&(mayRun<<3) != 0:
		return userName(file.uid) + " and group " + groupName(file.gid)
	}
	return "only " + userName(file.uid)
}

// owners says who may change a file itself.
func owners(file step) string {
	switch {
	case file.mode&mayWrite != 0:
		return "everybody"
	case file.mode&(mayWrite<<3) != 0:
		return userName(file.uid) + " and group " + groupName(file.gid)
	}
	return "only " + userName(file.uid)
}

// maxInterpreterLine is more than Linux reads of a first line (256 bytes).
const maxInterpreterLine = 256

// interpreterOf returns what the first line of a script asks for, or nothing; and
// the program that env does not find, if it asks for env.
func interpreterOf(path string) (line, missing string) {
	f, err := os.Open(path)
	if err != nil {
		return "", ""
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, maxInterpreterLine))
	if err != nil {
		return "", ""
	}
	text, ok := strings.CutPrefix(string(head), "#!")
	if !ok {
		return "", ""
	}
	text, _, _ = strings.Cut(text, "\n")
	words := strings.Fields(text)
	line = strings.Join(words, " ")
	if len(words) < 2 || filepath.Base(words[0]) != "env" {
		return line, ""
	}
	for _, word := range words[1:] {
		if strings.HasPrefix(word, "-") || strings.Contains(word, "=") {
			continue
		}
		found, err := exec.LookPath(word)
		if err != nil {
			return line, word
		}
		return line + ", which is " + found, ""
	}
	return line, ""
}

// commandText shows a command so that the borders of its words are seen.
func commandText(command []string) string {
	words := make([]string, len(command))
	for i, w := range command {
		words[i] = w
		if w == "" || w != clean(w) || strings.ContainsAny(w, " \t'\"\\") {
			words[i] = fmt.Sprintf("%q", w)
		}
	}
	return strings.Join(words, " ")
}

func plural1(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
