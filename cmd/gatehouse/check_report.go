package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"

	"gatehouse.im/gatehouse/config"
)

// level is how bad a finding is; the worst comes first.
type level int

const (
	mistake level = iota // serve refuses the file
	danger               // somebody may come in, or read what is secret
	warning              // it works, but perhaps not as meant
	old                  // it works, and has a better form by now
)

var levelNames = [...]string{mistake: "error", danger: "DANGER", warning: "warning", old: "old"}

// finding is one thing that a person should know about the file.
type finding struct {
	level level
	config.Problem
}

// report writes the explanation of a config, and collects findings.
type report struct {
	palette
	w        io.Writer
	width    int    // columns of the terminal; 0 elsewhere, where no line is broken
	dir      string // of the config file: paths in it are shown without it
	now      time.Time
	who      identity // that serve runs as
	findings []finding
	scripts  []explained

	tryUpstream bool     // whether to go to the servers behind
	trial       *trial   // as whom to log in there; nil if as nobody
	unusable    []string // those of their addresses that did not do, and why
}

func newReport(w io.Writer, now time.Time, who identity) *report {
	r := &report{palette: newPalette(w), w: w, now: now, who: who}
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil {
			r.width = min(max(columns, 60), 120)
		}
	}
	return r
}

// add notes a finding, once: what is set for all hosts is found with each.
func (r *report) add(l level, p config.Problem) {
	if f := (finding{l, p}); !slices.Contains(r.findings, f) {
		r.findings = append(r.findings, f)
	}
}

func (r *report) count(l level) int {
	n := 0
	for _, f := range r.findings {
		if f.level == l {
			n++
		}
	}
	return n
}

// begin says which files are read, and with whose rights.
func (r *report) begin(path string, cfg *config.Config) {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs // as problems name it
	}
	r.dir = filepath.Dir(path)
	fmt.Fprintln(r.w, r.bold(path))
	if cfg == nil {
		return
	}
	if len(cfg.Files) > 1 {
		var more []string
		for _, file := range cfg.Files[1:] {
			name := r.short(file)
			if _, err := os.Stat(file); err != nil {
				name += " (not there)"
			}
			more = append(more, name)
		}
		r.row("reads also", "%s", strings.Join(more, ", "))
	}
	r.row("run by", "%s", r.who.describe())
}

// labelWidth is the column where the text of a row begins.
const labelWidth = 15

// title begins a section.
func (r *report) title(format string, args ...any) {
	fmt.Fprintf(r.w, "\n%s\n", r.bold(fmt.Sprintf(format, args...)))
}

// row writes one fact under a label; without a label it belongs to the row
// before.
func (r *report) row(label, format string, args ...any) {
	r.wrapped(r.w, fmt.Sprintf("  %-*s", labelWidth-3, label)+" ", labelWidth, fmt.Sprintf(format, args...))
}

// wrapped writes a text behind its lead, in as many lines as the terminal asks
// for. The lead may hold colours, so its width is given.
func (r *report) wrapped(w io.Writer, lead string, indent int, text string) {
	fmt.Fprint(w, lead)
	column := indent
	for i, word := range strings.Split(text, " ") {
		switch {
		case i == 0:
		case r.width > 0 && column+1+len(word) > r.width:
			fmt.Fprint(w, "\n", strings.Repeat(" ", indent))
			column = indent
		default:
			fmt.Fprint(w, " ")
			column++
		}
		fmt.Fprint(w, word)
		column += len(word)
	}
	fmt.Fprintln(w)
}

// short is a path as a person would say it who stands in the directory of the
// config file.
func (r *report) short(path string) string {
	if inside, ok := strings.CutPrefix(path, r.dir+"/"); ok && r.dir != "" {
		return clean(inside)
	}
	return clean(path)
}

// at is a position in brackets behind a text, or nothing.
func (r *report) at(pos config.Pos) string {
	if pos.IsZero() {
		return ""
	}
	pos.File = r.short(pos.File)
	return r.faint(" (" + pos.String() + ")")
}

// showFindings lists what was found below the explanation, where the eye is
// when the program ends.
func (r *report) showFindings() {
	if len(r.findings) == 0 {
		return
	}
	r.title("What to look at")
	r.listFindings(r.w, "  ")
}

// listFindings writes one finding a line, the worst first.
func (r *report) listFindings(w io.Writer, indent string) {
	slices.SortStableFunc(r.findings, func(a, b finding) int { return int(a.level - b.level) })
	colour := map[level]func(string) string{mistake: r.bad, danger: r.bad, warning: r.warn, old: r.faint}
	for _, f := range r.findings {
		p := f.Problem
		if indent != "" {
			p.Pos.File = r.short(p.Pos.File)
		}
		lead := indent + colour[f.level](fmt.Sprintf("%-8s", levelNames[f.level])) + " "
		r.wrapped(w, lead, len(indent)+9, clean(strings.ReplaceAll(p.String(), "\n", " ")))
	}
}

// verdict is the last line: what serve would do.
func (r *report) verdict(cfg *config.Config) {
	var names, ports []string
	for _, h := range cfg.Hosts {
		names = append(names, h.Name)
	}
	for _, l := range cfg.Listeners {
		ports = append(ports, listenerName(l))
	}
	good := "This file is good"
	switch dangers, warnings := r.count(danger), r.count(warning); {
	case dangers > 0:
		good = fmt.Sprintf("This file works, but has %s", plural(dangers, "danger"))
	case warnings > 0:
		good = fmt.Sprintf("This file works, with %s", plural(warnings, "warning"))
	}
	r.wrapped(r.w, "\n", 0, fmt.Sprintf("%s: gatehouse serve would listen on %s for %s: %s.", good, strings.Join(ports, ", "),
		plural(len(names), "host"), strings.Join(names, ", ")))
}

// clean keeps a text of somebody else's from steering the terminal.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return unicode.ReplacementChar
	}, s)
}
