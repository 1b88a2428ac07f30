package admin

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// expose returns what a scrape reads.
func expose(t testing.TB, m *Metrics, source Source) string {
	t.Helper()
	res := get(t, Handler(m, source, Control), "/metrics")
	if res.code != 200 {
		t.Fatalf("/metrics: %d: %s", res.code, res.body)
	}
	return res.body
}

// ours returns the samples of a metric, or of all ours if name is empty, without comments.
func ours(exposition, name string) []string {
	var out []string
	for line := range strings.Lines(exposition) {
		if strings.HasPrefix(line, "gatehouse_"+name) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

func login(host, mechanism, verdict string) Login {
	return Login{Time: epoch, Host: host, User: "alice", Mechanism: mechanism, Remote: "192.0.2.1:5000",
		TLS: "TLS1.3", Verdict: verdict, Condition: "not-authorized", Duration: 30 * time.Millisecond}
}

func TestMetrics_lint(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(expose(t, NewMetrics("1.0"), shop()))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestMetrics_values(t *testing.T) {
	m := NewMetrics("1.0")
	m.Login(login("example.org", "PLAIN", "accepted"))
	m.Login(login("example.org", "PLAIN", "accepted"))
	m.Login(login("example.org", "PLAIN", "refused"))
	m.Login(login("example.org", "PLAIN", "undecided"))
	m.Login(login("example.org", "no such verdict", "who knows"))
	m.Query("example.org", time.Millisecond, 20*time.Millisecond, nil)
	m.Query("example.org", 3*time.Second, 0, errors.New("late"))
	m.Handshake(4*time.Millisecond, nil)
	m.Handshake(4*time.Millisecond, errors.New("gone"))
	m.Reload(time.Millisecond, nil, "external_auth_timeout", epoch)
	m.Reload(time.Millisecond, nil, "", epoch.Add(time.Hour))
	m.Reload(time.Millisecond, errors.New("line 3"), "", epoch.Add(2*time.Hour))
	text := expose(t, m, shop())
	for _, want := range []string{
		`gatehouse_logins_total{host="example.org",mechanism="PLAIN",outcome="accepted"} 2`,
		`gatehouse_logins_total{host="example.org",mechanism="PLAIN",outcome="refused"} 1`,
		`gatehouse_logins_total{host="example.org",mechanism="PLAIN",outcome="undecided"} 1`,
		`gatehouse_logins_total{host="example.org",mechanism="other",outcome="undecided"} 1`,
		`gatehouse_logins_total{host="token.example",mechanism="X-TOKEN",outcome="accepted"} 0`,
		`gatehouse_login_duration_seconds_bucket{host="example.org",mechanism="PLAIN",le="0.025"} 0`,
		`gatehouse_login_duration_seconds_bucket{host="example.org",mechanism="PLAIN",le="0.05"} 4`,
		`gatehouse_queries_total{host="example.org",result="answered"} 1`,
		`gatehouse_queries_total{host="example.org",result="failed"} 1`,
		`gatehouse_query_queue_duration_seconds_count{host="example.org"} 2`,
		`gatehouse_query_script_duration_seconds_count{host="example.org"} 1`,
		`gatehouse_tls_handshakes_total{result="succeeded"} 1`,
		`gatehouse_tls_handshakes_total{result="failed"} 1`,
		`gatehouse_tls_handshake_duration_seconds_count 1`,
		`gatehouse_config_reloads_total{result="changed"} 1`,
		`gatehouse_config_reloads_total{result="unchanged"} 1`,
		`gatehouse_config_reloads_total{result="refused"} 1`,
		`gatehouse_config_reload_duration_seconds_count 3`,
		`gatehouse_config_last_reload_successful 0`,
		fmt.Sprintf(`gatehouse_config_last_reload_success_timestamp_seconds %v`, float64(epoch.Add(time.Hour).Unix())),
		`gatehouse_pool_processes{host="example.org"} 4`,
		`gatehouse_pool_size{host="example.org"} 2`,
		`gatehouse_pool_busy{host="example.org"} 1`,
		`gatehouse_pool_queue{host="example.org"} 3`,
		`gatehouse_pool_restarts_total{host="example.org"} 5`,
		`gatehouse_pool_timeouts_total{host="example.org"} 6`,
		`gatehouse_auth_answers_total{from="script",host="example.org"} 40`,
		`gatehouse_auth_answers_total{from="shared",host="example.org"} 41`,
		`gatehouse_auth_answers_total{from="cache",host="example.org"} 42`,
		`gatehouse_auth_answers_total{from="outage",host="example.org"} 43`,
		`gatehouse_auth_cache_entries{host="example.org",verdict="yes"} 44`,
		`gatehouse_auth_cache_entries{host="example.org",verdict="no"} 45`,
		`gatehouse_connections{state="handshake"} 1`,
		`gatehouse_connections{state="login"} 2`,
		`gatehouse_connections{state="session"} 3`,
		`gatehouse_unauthed_connections 51`,
		`gatehouse_unauthed_addresses 52`,
		`gatehouse_limit{limit="connections"} 53`,
		`gatehouse_limit{limit="unauthed_connections"} 54`,
		`gatehouse_limit{limit="unauthed_connections_per_address"} 55`,
		`gatehouse_limit_reached_total{limit="size"} 0`,
		`gatehouse_replay_entries 12`,
		`gatehouse_replay_up 1`,
		fmt.Sprintf(`gatehouse_certificate_expiry_timestamp_seconds{file="/etc/certs/example.org.crt",host="example.org"} %v`,
			float64(epoch.AddDate(0, 0, 10).Unix())),
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	for _, want := range []string{"gatehouse_build_info", "go_goroutines", "process_start_time_seconds"} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no metric %s", want)
		}
	}
	if t.Failed() {
		t.Logf("there are:\n%s", strings.Join(ours(text, ""), "\n"))
	}
}

// A host that a reload removed is gone from the gauges, and its counters stay.
func TestMetrics_removedHost(t *testing.T) {
	m, source := NewMetrics("1.0"), shop()
	m.Login(login("example.org", "PLAIN", "accepted"))
	if len(ours(expose(t, m, source), `pool_size{host="example.org"}`)) != 1 {
		t.Fatal("no gauge of the host while it is there")
	}
	source.change(func(f *fakeSource) {
		f.status.Hosts = f.status.Hosts[1:]
		f.status.Certificates = f.status.Certificates[2:]
		f.status.Replay = nil
	})
	text := expose(t, m, source)
	for _, gone := range []string{"pool_", "auth_", "replay_", `certificate_expiry_timestamp_seconds{file="/etc/certs/example`} {
		if left := ours(text, gone); left != nil {
			t.Errorf("still there: %q", left)
		}
	}
	if len(ours(text, `logins_total{host="example.org",mechanism="PLAIN",outcome="accepted"} 1`)) != 1 {
		t.Error("the counter is gone")
	}
}

// Strangers choose names of mechanisms; they must not fill the memory with series.
func TestMetrics_strangersMakeNoSeries(t *testing.T) {
	m := NewMetrics("1.0")
	for i := range 1000 {
		m.Login(login("example.org", fmt.Sprintf("MECH-%d", i), "refused"))
	}
	if n, err := testutil.GatherAndCount(m.registry, "gatehouse_logins_total"); n != len(verdicts) || err != nil {
		t.Errorf("%d series, error %v", n, err)
	}
}

func TestMetrics_hotPathAllocatesNothing(t *testing.T) {
	m := NewMetrics("1.0")
	l := login("example.org", "PLAIN", "accepted")
	for name, f := range map[string]func(){
		"Login":     func() { m.Login(l) },
		"Query":     func() { m.Query("example.org", time.Millisecond, time.Millisecond, nil) },
		"Handshake": func() { m.Handshake(time.Millisecond, nil) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestMetrics_concurrent(t *testing.T) {
	m, source := NewMetrics("1.0"), shop()
	for j := range 20 {
		source.status.Hosts = append(source.status.Hosts, Host{Name: fmt.Sprintf("h%d.example", j), Mechanisms: []string{"PLAIN"}})
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				host := fmt.Sprintf("h%d.example", j%20)
				m.Login(login(host, "PLAIN", verdicts[(i+j)%len(verdicts)]))
				m.Query(host, 0, time.Millisecond, nil)
				if j%50 == 0 {
					expose(t, m, source)
					get(t, Handler(m, source, Control), "/status.json")
				}
			}
		})
	}
	wg.Wait()
	sum := 0.0
	families, err := prometheus.Gatherers{m.registry}.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "gatehouse_logins_total" {
			for _, s := range f.GetMetric() {
				sum += s.GetCounter().GetValue()
			}
		}
	}
	if sum != 8*200 {
		t.Errorf("%v logins counted", sum)
	}
}

func BenchmarkMetrics_Login(b *testing.B) {
	m := NewMetrics("1.0")
	for name, verdict := range map[string]string{"accepted": "accepted", "refused": "refused"} {
		b.Run(name, func(b *testing.B) {
			l := login("example.org", "PLAIN", verdict)
			b.ReportAllocs()
			for b.Loop() {
				m.Login(l)
			}
		})
	}
}

// Hosts come and go for as long as a daemon runs. A host that has just come is not taken for one that has gone by a scrape
// that began before.
func TestMetrics_hostGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, m := shop(), NewMetrics("1.0")
		m.Login(login("token.example", "X-TOKEN", "accepted"))
		m.Login(login("new.example", "PLAIN", "accepted")) // its reload is not over
		m.Query("new.example", 0, time.Millisecond, nil)
		have := func(host string) int {
			return strings.Count(expose(t, m, source), `host="`+host+`"`)
		}
		if have("new.example") == 0 {
			t.Error("a host that has just come is gone")
		}
		time.Sleep(forgetAfter / 2)
		source.change(func(f *fakeSource) {
			f.status.Hosts = []Host{f.status.Hosts[0], {Name: "new.example", Mechanisms: []string{"PLAIN"}}}
			f.status.Certificates = nil
		})
		before := strings.Count(expose(t, m, source), `host="example.org"`)
		time.Sleep(forgetAfter)
		if n := have("token.example"); n != 0 {
			t.Errorf("%d series of a host that is gone", n)
		}
		if now := have("example.org"); now != before {
			t.Errorf("a host that stays had %d series and has %d", before, now)
		}
		if got := ours(expose(t, m, source), `logins_total{host="new.example",mechanism="PLAIN",outcome="accepted"}`); len(got) != 1 || !strings.HasSuffix(got[0], " 1") {
			t.Errorf("a login of the host that came: %q", got)
		}
		m.Login(login("token.example", "X-TOKEN", "refused")) // by a client who was there all the time
		have("token.example")
		time.Sleep(forgetAfter)
		if n := have("token.example"); n != 0 || len(m.missing) != 1 {
			t.Errorf("%d series of a host that is gone, after a late login", n)
		}
		have("")
		if len(m.missing) != 0 {
			t.Errorf("remembered as missing: %v", m.missing)
		}
	})
}
