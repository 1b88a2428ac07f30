package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"unicode/utf8"
)

// A row is one line of the table.
type row struct {
	Part     string `json:"part"`
	What     string `json:"what"`
	Unit     string `json:"unit"`
	Measured spread `json:"measured"`
	Floor    spread `json:"floor"`
	Ratio    spread `json:"ratio"`
	Added    bool   `json:"added,omitempty"` // Ratio is a difference, in Unit
	Target   string `json:"target,omitempty"`
	Met      *bool  `json:"met"` // null where nothing is aimed at
	// wrong says that this row is a reason to fail.
	wrong bool
}

// atMost sets a target for v, one of the row's figures.
func (r row) atMost(v spread, limit float64, text string) row {
	met := v.median() <= limit
	r.Target, r.Met = "≤ "+text, &met
	return r
}

// atLeast is the other way round.
func (r row) atLeast(v spread, limit float64, text string) row {
	met := v.median() >= limit
	r.Target, r.Met = "≥ "+text, &met
	return r
}

func (r row) cells() []string {
	ratio := r.Ratio.String()
	if r.Added && ratio != "" {
		ratio = fmt.Sprintf("%+.2f %s", r.Ratio.median(), r.Unit)
	}
	met := ""
	if r.Met != nil {
		met = "yes"
		if !*r.Met {
			met = "MISSED"
		}
	}
	return []string{r.Part, r.What, r.Unit, r.Measured.String(), r.Floor.String(), ratio, r.Target, met}
}

// printTable prints Markdown that can be read as it is.
func printTable(w io.Writer, rows []row) error {
	lines := [][]string{{"", "what", "unit", "measured", "floor", "ratio", "target", "met?"}}
	missed := 0
	for _, r := range rows {
		lines = append(lines, r.cells())
		if r.Met != nil && !*r.Met {
			missed++
		}
	}
	width := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, c := range l {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for n, l := range lines {
		for i, c := range l {
			b.WriteString("| " + c + strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)+1))
		}
		b.WriteString("|\n")
		if n == 0 {
			for _, x := range width {
				b.WriteString("|" + strings.Repeat("-", x+2))
			}
			b.WriteString("|\n")
		}
	}
	fmt.Fprintf(&b, "\n%s, %d cores; median of the rounds and [min-max]; ratios are of neighbours in one round.\n",
		runtime.Version(), runtime.NumCPU())
	switch missed {
	case 0:
		b.WriteString("All targets are met.\n")
	case 1:
		b.WriteString("One target is MISSED.\n")
	default:
		fmt.Fprintf(&b, "%d targets are MISSED.\n", missed)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func printJSON(w io.Writer, rows []row) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(rows)
}
