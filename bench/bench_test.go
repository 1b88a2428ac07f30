package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestRun_short checks that every part runs and that no answer is wrong. Figures
// depend on the machine and are not judged.
func TestRun_short(t *testing.T) {
	var out, progress bytes.Buffer
	if err := run(t.Context(), []string{"-short", "-json"}, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.Bytes())
	}
	var rows []struct {
		Part, What string
		Measured   struct{ Median float64 }
	}
	if err := json.Unmarshal(out.Bytes(), &rows); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	seen := make(map[string]int)
	for _, r := range rows {
		seen[r.Part]++
		switch {
		case r.Part == "e" && r.Measured.Median != 0:
			t.Errorf("%s: %v", r.What, r.Measured.Median)
		case r.Part != "e" && r.Measured.Median <= 0:
			t.Errorf("%s: %v was measured", r.What, r.Measured.Median)
		}
	}
	for _, p := range parts {
		if seen[p.name] == 0 {
			t.Errorf("part %s has no rows", p.name)
		}
	}
}

func TestRun_refusesUnknownPart(t *testing.T) {
	var out, progress bytes.Buffer
	if err := run(t.Context(), []string{"-only", "a,z"}, &out, &progress); err == nil {
		t.Error("no error")
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		spread spread
		text   string
	}{
		{nil, ""},
		{spread{0}, "0"},
		{spread{0.4567}, "0.46"},
		{spread{3, 1, 2}, "2 [1-3]"},
		{spread{0.01, 0.02, 0.03, 0.5}, "0.025 [0.010-0.50]"},
		{spread{12.34, 1234.5}, "623 [12.3-1234]"},
	} {
		if got := c.spread.String(); got != c.text {
			t.Errorf("%v: %q, want %q", []float64(c.spread), got, c.text)
		}
	}
	ratio := spread{2, 9}.over(spread{1, 3, 5})
	if len(ratio) != 2 || ratio[0] != 2 || ratio[1] != 3 {
		t.Errorf("ratios are not of neighbours: %v", []float64(ratio))
	}
}

func TestPrintTable_saysWhatIsMissed(t *testing.T) {
	good := row{Part: "a", What: "good", Unit: "ms", Measured: spread{1}, Floor: spread{1}, Ratio: spread{1}}
	bad := row{Part: "b", What: "bad", Unit: "ms", Measured: spread{5}, Floor: spread{1}, Ratio: spread{4}, Added: true}
	var b strings.Builder
	rows := []row{good.atMost(good.Ratio, 1.3, "1.3"), bad.atMost(bad.Ratio, 1, "+1 ms"), {Part: "c", What: "no target"}}
	if err := printTable(&b, rows); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, want := range map[int][]string{
		2: {"good", "≤ 1.3", "yes"},
		3: {"bad", "+4.00 ms", "MISSED"},
		4: {"no target"},
	} {
		for _, w := range want {
			if !strings.Contains(lines[i], w) {
				t.Errorf("no %q in %q", w, lines[i])
			}
		}
	}
	if !strings.Contains(b.String(), "One target is MISSED.") {
		t.Error(b.String())
	}
}
