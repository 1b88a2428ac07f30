package admin

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// exposed returns all metrics that there can be: type and labels by name, as "counter host, result".
func exposed(t testing.TB) map[string]string {
	t.Helper()
	m := NewMetrics("1.0")
	gauges := prometheus.NewRegistry()
	gauges.MustRegister(&collector{m, shop()})
	m.Handshake(time.Millisecond, nil)
	families, err := prometheus.Gatherers{gauges, m.registry}.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		all[f.GetName()] = strings.TrimSpace(strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, ", "))
	}
	return all
}

func isOurs(name string) bool { return strings.HasPrefix(name, "gatehouse_") }

var metricName = regexp.MustCompile(`\b(?:gatehouse|process|go)_[a-z0-9_]+\b`)

// known tells whether a name in an expression is that of a metric, or of a part of a histogram.
func known(all map[string]string, name string) bool {
	if all[name] != "" {
		return true
	}
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, part); ok && strings.HasPrefix(all[base], "histogram") {
			return true
		}
	}
	return false
}

func TestDocs_tellOfEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	all := exposed(t)
	told := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `(gatehouse_[a-z_]+)` \\| (\\w+) \\| ([^|]*)\\|").FindAllStringSubmatch(string(text), -1) {
		told[row[1]] = strings.TrimSpace(row[2] + " " + strings.TrimSpace(row[3]))
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if isOurs(name) && told[name] != all[name] {
			t.Errorf("docs/metrics.md has %s as %q, it is %q", name, told[name], all[name])
		}
	}
	_, alerts, _ := strings.Cut(string(text), "## Alerts")
	inAlerts := metricName.FindAllString(alerts, -1)
	if len(inAlerts) == 0 {
		t.Error("no metric in the alerts")
	}
	for _, name := range append(slices.Collect(maps.Keys(told)), inAlerts...) {
		if !known(all, name) {
			t.Errorf("docs/metrics.md names %s, which there is not", name)
		}
	}
}

func TestGrafana_usesWhatThereIs(t *testing.T) {
	text, err := os.ReadFile("../../contrib/grafana/gatehouse.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Title  string
		Panels []struct {
			ID         int
			Type       string
			Title      string
			Datasource struct{ UID string }
			Targets    []struct{ Expr string }
			GridPos    struct{ X, Y, W, H int }

			FieldConfig struct{ Defaults struct{ Unit string } }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
		Annotations struct{ List []struct{ Expr string } }
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	var expressions []string
	ids, cells := make(map[int]bool), make(map[string]string)
	for _, p := range dashboard.Panels {
		if ids[p.ID] {
			t.Errorf("%s: another panel has the id %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s reaches beyond the 24 columns of a dashboard", p.Title)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := fmt.Sprint(p.GridPos.X+x, ",", p.GridPos.Y+y)
				if other := cells[cell]; other != "" {
					t.Fatalf("%s covers %s at %s", p.Title, other, cell)
				}
				cells[cell] = p.Title
			}
		}
		if p.Type != "row" && (p.Datasource.UID != "${datasource}" || len(p.Targets) == 0) {
			t.Errorf("%s: data source %q, %d queries", p.Title, p.Datasource.UID, len(p.Targets))
		}
		// What happens in a second has a unit of that kind, and nothing else has one.
		rates := 0
		for _, target := range p.Targets {
			if strings.Contains(target.Expr, "rate(") && !strings.Contains(target.Expr, "histogram_quantile(") {
				rates++
			}
		}
		switch unit := p.FieldConfig.Defaults.Unit; unit {
		case "reqps", "ops", "cps":
			if rates != len(p.Targets) {
				t.Errorf("%s: the unit %s, for what is no rate", p.Title, unit)
			}
		case "short", "":
			if rates > 0 && rates == len(p.Targets) {
				t.Errorf("%s: a rate without a unit", p.Title)
			}
		}
		for _, target := range p.Targets {
			expressions = append(expressions, target.Expr)
		}
	}
	for _, v := range dashboard.Templating.List {
		expressions = append(expressions, v.Definition)
	}
	for _, a := range dashboard.Annotations.List {
		expressions = append(expressions, a.Expr)
	}
	all, used := exposed(t), make(map[string]bool)
	for _, e := range expressions {
		for _, name := range metricName.FindAllString(e, -1) {
			if !known(all, name) {
				t.Errorf("there is no %s: %s", name, e)
			}
			used[name] = true
		}
	}
	for name := range all {
		if isOurs(name) && !used[name] && !used[name+"_bucket"] && !used[name+"_sum"] {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}
