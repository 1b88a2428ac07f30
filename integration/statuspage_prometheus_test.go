package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// prometheus is a Prometheus that asks daemons every second.
type prometheus struct {
	address string
	client  http.Client
}

// startPrometheus starts one with the alerts of docs/metrics.md, which need not last.
func startPrometheus(t testing.TB, targets ...string) *prometheus {
	t.Helper()
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, alerts, _ := strings.Cut(string(text), "## Alerts\n\n```yaml\n")
	alerts, _, found := strings.Cut(alerts, "```")
	if !found {
		t.Fatal("no alerts in docs/metrics.md")
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"rules.yml": regexp.MustCompile(`(?m)^ *for: .*\n`).ReplaceAllString(alerts, ""),
		"prometheus.yml": fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
  - job_name: gatehouse
    static_configs:
      - targets: ["%s"]
`, strings.Join(targets, `", "`)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := &prometheus{address: unusedAddress(t), client: http.Client{Timeout: patience}}
	log := newLogBuffer()
	cmd := exec.Command("prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+p.address)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = log, log, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; run scripts/test-deps.sh as root", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("log of Prometheus:\n%s", log)
		}
	})
	until(t, "Prometheus has asked everybody", patience, func() bool {
		values, err := p.query("up == 1")
		return err == nil && len(values) == len(targets)
	})
	return p
}

// query returns the values of an expression at the moment.
func (p *prometheus) query(expression string) ([]float64, error) {
	resp, err := p.client.Get("http://" + p.address + "/api/v1/query?" + url.Values{"query": {expression}}.Encode())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	var values []float64
	for _, r := range answer.Data.Result {
		v, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			return nil, err
		}
		if !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	return values, nil
}

// has waits until an expression has a value.
func (p *prometheus) has(t testing.TB, what, expression string) {
	t.Helper()
	var values []float64
	var err error
	for deadline := time.Now().Add(10 * time.Second); len(values) == 0 && time.Now().Before(deadline); {
		if values, err = p.query(expression); err != nil {
			t.Errorf("%s: %s: %v", what, expression, err)
			return
		}
		if len(values) == 0 {
			<-time.After(200 * time.Millisecond)
		}
	}
	if len(values) == 0 {
		t.Errorf("%s: no data: %s", what, expression)
	}
}

// scrape returns all series of a daemon, by what stands before their value.
func scrape(t testing.TB, address string) map[string]float64 {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	series := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64)
		if err != nil {
			t.Fatal(err)
		}
		series[line[:at]] = v
	}
	return series
}

// dashboard returns the expressions of contrib/grafana/gatehouse.json by their panels, as Grafana asks them with everything
// selected.
func dashboard(t testing.TB) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../contrib/grafana/gatehouse.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
		Annotations struct {
			List []struct{ Name, Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	asked := make(map[string]string)
	for _, p := range board.Panels {
		for i, target := range p.Targets {
			asked[fmt.Sprint(p.Title, " ", i+1)] = target.Expr
		}
	}
	for _, a := range board.Annotations.List {
		asked["annotation "+a.Name] = a.Expr
	}
	for _, v := range board.Templating.List {
		if inside, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			asked["variable "+v.Name] = inside[:strings.LastIndexByte(inside, ',')]
		}
	}
	names := regexp.MustCompile(`\$\w+`)
	for what, expression := range asked {
		asked[what] = names.ReplaceAllStringFunc(expression, func(name string) string {
			switch name {
			case "$__rate_interval", "$__interval":
				return "30s"
			case "$host", "$instance", "$job":
				return ".*"
			}
			t.Errorf("%s: nobody knows %s", what, name)
			return name
		})
	}
	return asked
}

// TestMetrics: each number is what happened, no more and no less, and with a Prometheus that asks over TCP every alert of
// docs/metrics.md fires for what it is for, and every panel of the dashboard shows something.
func TestMetrics(t *testing.T) {
	t.Parallel()
	m := startMeasured(t)
	f := startForgetful(t)
	p := startPrometheus(t, m.admin, f.admin)
	m.happens(t)
	f.happens(t)
	for what, expression := range dashboard(t) {
		p.has(t, what, expression)
	}
	alerts := []string{
		"GatehouseCannotSay", "GatehouseManyRefused", "GatehouseScriptQueue", "GatehouseScriptRestarts", "GatehouseOldVerdicts", "GatehouseFull",
		"GatehouseConfigBroken", "GatehouseGuardAlone", "GatehouseTokenMemory", "GatehouseCertificateExpires",
	}
	for _, alert := range alerts {
		p.has(t, alert, `max_over_time(ALERTS{alertname="`+alert+`",alertstate="firing"}[5m])`)
	}
	f.signal(t, killed)
	p.has(t, "GatehouseDown", `ALERTS{alertname="GatehouseDown",alertstate="firing"}`)
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(text), -1) {
		if !slices.Contains(append(alerts, "GatehouseDown"), found[1]) {
			t.Errorf("nobody has seen %s", found[1])
		}
	}
}
