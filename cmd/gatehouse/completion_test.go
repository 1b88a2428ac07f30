package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// completionFile writes what `gatehouse completion SHELL` prints to a file.
func completionFile(t *testing.T, shell, name string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run([]string{"completion", shell}, globals{Stdout: &out, Stderr: &errs}); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// completions are what each shell must offer for the words of a command line,
// the last of which is being typed: at least has, and none of hasNot.
var completions = []struct {
	words       []string
	has, hasNot []string
}{
	{[]string{""}, []string{"serve", "check", "config", "token", "completion"}, []string{"man", "dump", "mint"}},
	{[]string{"c"}, []string{"check", "config", "completion"}, []string{"serve"}},
	{[]string{"serve", "--"}, []string{"--config", "--log-format", "--help"}, []string{"--query"}},
	{[]string{"serve", "--log-format", ""}, []string{"text", "json", "journald"}, []string{"--config"}},
	{[]string{"serve", "--config", "check", "--l"}, []string{"--log-format"}, []string{"--query"}},
	{[]string{"serve", "--config", "a"}, []string{"a file.lua", "alone.lua"}, []string{"--help"}},
	{[]string{"config", ""}, []string{"dump"}, []string{"serve"}},
	{[]string{"config", "dump", "--"}, []string{"--json", "--no-json", "--secrets"}, nil},
	{[]string{"token", ""}, []string{"keys", "mint", "verify"}, []string{"dump"}},
	{[]string{"completion", ""}, []string{"bash", "zsh", "fish"}, nil},
}

// filesToComplete makes a directory with a few files.
func filesToComplete(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"a file.lua", "alone.lua", "other.lua"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// checkCompletions compares what a shell offers with what it must.
func checkCompletions(t *testing.T, offer func(words []string) []string) {
	t.Helper()
	for _, tt := range completions {
		got := offer(tt.words)
		for _, want := range tt.has {
			if !slices.Contains(got, want) {
				t.Errorf("%q: %q is missing in %q", tt.words, want, got)
			}
		}
		for _, unwanted := range tt.hasNot {
			if slices.Contains(got, unwanted) {
				t.Errorf("%q: %q is offered", tt.words, unwanted)
			}
		}
	}
}

func TestCompletion_bash(t *testing.T) {
	file, dir := completionFile(t, "bash", "gatehouse"), filesToComplete(t)
	registered, err := exec.Command("bash", "--norc", "-c", `source "$0"; complete -p gatehouse`, file).CombinedOutput()
	if err != nil || string(registered) != "complete -F _gatehouse gatehouse\n" {
		t.Fatalf("complete -p: %v: %s", err, registered)
	}
	offer := func(words []string) []string {
		cmd := exec.Command("bash", append([]string{"--norc", "-c", `source "$0"; COMP_WORDS=(gatehouse "$@"); COMP_CWORD=$#
			_gatehouse; (( ${#COMPREPLY[@]} )) && printf '%s\n' "${COMPREPLY[@]}" || :`, file}, words...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v: %s", words, err, out)
		}
		return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	}
	checkCompletions(t, offer)
	// bash takes --flag=value for three words.
	if got := offer([]string{"serve", "--log-format", "=", "j"}); !slices.Equal(got, []string{"json", "journald"}) {
		t.Errorf("--log-format=j: %q", got)
	}
	if got := offer([]string{"serve", "--log-format", "="}); !slices.Equal(got, []string{"text", "json", "journald"}) {
		t.Errorf("--log-format=: %q", got)
	}
}

func TestCompletion_fish(t *testing.T) {
	file, dir := completionFile(t, "fish", "gatehouse.fish"), filesToComplete(t)
	checkCompletions(t, func(words []string) []string {
		cmd := exec.Command("fish", "--no-config", "-c", `source $argv[1]; complete -C $argv[2]`, file,
			"gatehouse "+strings.Join(words, " "))
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v: %s", words, err, out)
		}
		var got []string
		for line := range strings.Lines(string(out)) {
			word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			got = append(got, strings.ReplaceAll(word, `\ `, " "))
		}
		return got
	})
}

func TestCompletion_zsh(t *testing.T) {
	file, dir := completionFile(t, "zsh", "_gatehouse"), filesToComplete(t)
	checkCompletions(t, func(words []string) []string { return zshOffers(t, file, dir, words) })
}

// zshOffers has an interactive zsh complete a line, and returns what it offers.
// Without a terminal zsh completes nothing.
func zshOffers(t *testing.T, file, dir string, words []string) []string {
	t.Helper()
	home := t.TempDir()
	setup := `fpath=(${FILE:h} $fpath); autoload -Uz compinit; compinit -D -u
offer() { # tells what would be inserted
	compadd() {
		local -a found; builtin compadd -A found "$@"
		print -rl -- "${found[@]}" >>$HOME/offered
		builtin compadd "$@"
	}
	_main_complete
}
zle -C offer complete-word offer
zle-line-init() { BUFFER="gatehouse $LINE"; CURSOR=$#BUFFER; zle offer; BUFFER=exit; zle accept-line }
zle -N zle-line-init
`
	if err := os.WriteFile(filepath.Join(home, ".zshrc"), []byte(setup), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "zsh", "-d", "-i")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+home, "ZDOTDIR="+home, "TERM=dumb", "FILE="+file, "LINE="+strings.Join(words, " "))
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 200})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	screen := new(bytes.Buffer)
	_, _ = screen.ReadFrom(terminal) // EIO at the end
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%q: %v: %q", words, err, screen)
	}
	out, err := os.ReadFile(filepath.Join(home, "offered"))
	if err != nil {
		t.Fatalf("%q: nothing was offered (%v): %q", words, err, screen)
	}
	return strings.Split(strings.ReplaceAll(strings.TrimSuffix(string(out), "\n"), `\ `, " "), "\n")
}
