package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/admin"
)

// What the log says of a reload.
const (
	reloaded   = "reloaded"
	refused    = "reload refused; the config in use stays"
	nothingNew = "reload: nothing changed"
	mended     = "reload: the file is good again, and nothing changed"
)

// logLine is what the tests of reloads need of a line in the log, in its JSON form.
type logLine struct {
	Time    time.Time `json:"time"`
	Level   string    `json:"level"`
	Msg     string    `json:"msg"`
	By      string    `json:"by"`
	Cause   string    `json:"cause"`
	Changed string    `json:"changed"`
	Restart string    `json:"needs_restart"`
}

// ofReload says whether the line is the outcome of a reload.
func (l logLine) ofReload() bool {
	return l.Msg == reloaded || l.Msg == refused || l.Msg == nothingNew || l.Msg == mended
}

// follower reads a daemon's log line by line. It belongs to one goroutine.
type follower struct {
	*daemon
	at int // how much of the log was read
}

// skip leaves out what is in the log by now.
func (f *follower) skip() { f.at = len(f.log.String()) }

// rest returns the lines that are there now and have not been read.
func (f *follower) rest(t testing.TB) []logLine {
	t.Helper()
	text := f.log.String()
	end := strings.LastIndexByte(text, '\n') + 1
	if end <= f.at {
		return nil
	}
	var lines []logLine
	for raw := range strings.Lines(text[f.at:end]) {
		// Most lines are about logins, and there are many.
		if !strings.Contains(raw, `"msg":"login"`) {
			var l logLine
			if err := json.Unmarshal([]byte(raw), &l); err != nil {
				t.Fatalf("a line of the log is not JSON: %v: %s", err, raw)
			}
			lines = append(lines, l)
		}
	}
	f.at = end
	return lines
}

// next waits for the next line that is right, and leaves out what is before it. Those after it that are there already are
// left out as well.
func (f *follower) next(t testing.TB, what string, right func(logLine) bool) logLine {
	t.Helper()
	timeout := time.After(patience)
	var seen []logLine
	for {
		_, changed := f.log.state()
		lines := f.rest(t)
		for _, l := range lines {
			if right(l) {
				return l
			}
			if l.ofReload() {
				seen = append(seen, l)
			}
		}
		select {
		case <-changed:
		case <-f.ended:
			t.Fatalf("%s: the program ended", what)
		case <-timeout:
			t.Fatalf("%s: not in the log within %v; reloads since: %+v", what, patience, seen)
		}
	}
}

// nextReload waits for the outcome of a reload: one of the constants above, with a text in its cause or changes.
func (f *follower) nextReload(t testing.TB, msg, text string) logLine {
	t.Helper()
	return f.next(t, fmt.Sprintf("%q with %q", msg, text), func(l logLine) bool {
		return l.Msg == msg && strings.Contains(l.Cause+l.Changed, text)
	})
}

// reloadable is a daemon whose config is changed under way: it logs JSON, listens where it is told, and has a
// control socket.
type reloadable struct {
	follower
	config, dir string
}

// startReloadable starts the program on a config with the options that reloadOptions gives.
func startReloadable(t testing.TB, config string) *reloadable {
	t.Helper()
	return startReloadableProgram(t, gatehouse, config)
}

// startReloadableProgram is startReloadable with another build of gatehouse.
func startReloadableProgram(t testing.TB, program, config string, env ...string) *reloadable {
	t.Helper()
	dir := filepath.Dir(config)
	r := &reloadable{follower: follower{daemon: launchProgram(t, program, "json", config, env...)}, config: config, dir: dir}
	r.next(t, "ready", func(l logLine) bool { return l.Msg == "ready" })
	return r
}

// reloadOptions are what a reloadable daemon needs in its config.
func reloadOptions(dir string, starttls, direct int) options {
	o := baseOptions(dir)
	o["c2s_ports"] = []any{starttls}
	o["c2s_direct_tls_ports"] = []any{direct}
	return o
}

func (r *reloadable) socket() string { return filepath.Join(r.dir, "data", "gatehouse.sock") }

// ask puts a request to the daemon on its control socket.
func (r *reloadable) ask(method, path string) (code int, body string, err error) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", r.socket())
		},
	}}
	req, err := http.NewRequest(method, "http://localhost"+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// status is what the status page shows.
func (r *reloadable) status(t testing.TB) admin.Status {
	t.Helper()
	code, body, err := r.ask(http.MethodGet, "/status.json")
	var s admin.Status
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("code %d: %s", code, body)
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &s)
	}
	if err != nil {
		t.Fatalf("/status.json: %v", err)
	}
	return s
}

// metric is a value of /metrics, by its name with labels.
func (r *reloadable) metric(t testing.TB, name string) float64 {
	t.Helper()
	_, body, err := r.ask(http.MethodGet, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(body)
	if found == nil {
		t.Fatalf("/metrics has no %s", name)
	}
	value, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// usage is what a daemon takes of the machine.
type usage struct {
	goroutines, children, descriptors int
}

// within says whether it is no more than another.
func (u usage) within(limit usage) bool {
	return u.goroutines <= limit.goroutines && u.children <= limit.children && u.descriptors <= limit.descriptors
}

func (r *reloadable) usage(t testing.TB) usage {
	t.Helper()
	u := usage{goroutines: int(r.metric(t, "go_goroutines"))}
	pid := r.cmd.Process.Pid
	u.children = len(children(t, pid))
	// The connection of the question above may be closed a little later than it was answered.
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	u.descriptors = len(fds)
	return u
}

// children are the processes of a process, dead ones that nobody waited for included.
func children(t testing.TB, parent int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid; the name may hold anything.
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if ppid, err := strconv.Atoi(string(fields[1])); err == nil && ppid == parent {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// memory is a field of /proc/PID/status, in KiB: VmRSS, VmHWM.
func (r *reloadable) memory(t testing.TB, field string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + field + `:\s+(\d+) kB$`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("no %s", field)
	}
	kib, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kib
}

// freePorts finds so many TCP ports that nobody uses. The system gives none of them to the sockets of clients, so they
// stay free until they are used, whatever other tests do: none gets the same.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	const first, past = 10000, 32000
	var ports []int
	for tries := 0; len(ports) < n; tries++ {
		port := first + rand.IntN(past-first)
		ln, err := net.Listen("tcp4", fmt.Sprint(":", port))
		if tries > 1000 {
			t.Fatalf("no free port: %v", err)
		}
		if err != nil {
			continue
		}
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		if _, taken := takenPorts.LoadOrStore(port, true); !taken {
			ports = append(ports, port)
		}
	}
	return ports
}

var takenPorts sync.Map // by freePorts

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// planFile is a script of its own that does what a plan says; see testscript.
func planFile(plan any) file {
	text, err := json.MarshalIndent(plan, "", "  ")
	if err != nil {
		panic(err) // plans are made of strings and numbers
	}
	return file{"#!" + testscript + " --plan\n" + string(text) + "\n", 0o755}
}
