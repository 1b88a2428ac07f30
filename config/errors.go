package config

import (
	"sort"
	"strings"
)

// Problem is one thing that is wrong with a config, or, as a warning, odd about it.
type Problem struct {
	Pos Pos
	// Host is the virtual host it is about; empty when it is about all of them.
	Host string
	// Option is the option it is about; may be empty.
	Option string
	// Msg says what is wrong and what to do. It never holds a secret.
	Msg string
}

// String is "file:line: host example.org: option: message", without the parts that are not known.
func (p Problem) String() string {
	var b strings.Builder
	if pos := p.Pos.String(); pos != "" {
		b.WriteString(pos + ": ")
	}
	if p.Host != "" {
		b.WriteString("host " + p.Host + ": ")
	}
	if p.Option != "" {
		b.WriteString(p.Option + ": ")
	}
	return b.String() + p.Msg
}

// Error is everything that is wrong with a config, in the order of the files and lines.
type Error struct {
	Problems []Problem
	// Sources are what to watch: when they change, it may be mended.
	Sources Sources
}

// Error is one line a problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sortProblems brings problems into the order of the files read, then of lines, and drops repetitions: an option of the
// global section is looked at once a host.
func sortProblems(problems []Problem, files []string) []Problem {
	order := make(map[string]int, len(files))
	for i, file := range files {
		order[file] = i
	}
	sort.SliceStable(problems, func(i, j int) bool {
		a, b := problems[i].Pos, problems[j].Pos
		if a.File != b.File {
			return order[a.File] < order[b.File]
		}
		return a.Line < b.Line
	})
	seen := make(map[string]bool)
	kept := problems[:0]
	for _, p := range problems {
		if s := p.String(); !seen[s] {
			seen[s] = true
			kept = append(kept, p)
		}
	}
	return kept
}
