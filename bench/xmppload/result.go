package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A result is what one run reports; it is one line of JSON in the -json file.
type result struct {
	Label   string             `json:"label"`
	Mode    string             `json:"mode"`
	When    string             `json:"when"`
	C       int                `json:"c,omitempty"`
	N       int                `json:"n"`
	OK      int                `json:"ok"`
	Errors  map[string]int     `json:"errors,omitempty"`
	Wall    float64            `json:"wall_s"`
	M       map[string]float64 `json:"m"` // the figures, by name
	Args    []string           `json:"args"`
	Trace   string             `json:"trace,omitempty"`
	samples map[string]string
}

type common struct {
	pid, json, label string
	settle           time.Duration
	quiet            bool
	gs               []group
	c0               []float64
	byComm0          []map[string]float64
	self0            float64
}

func (c *common) flags(fs *flag.FlagSet) {
	fs.StringVar(&c.pid, "pid", "", "server processes: pid[,pid...] or name=pid[,name=pid...]; whole trees are counted")
	fs.StringVar(&c.json, "json", "", "append the result as one JSON line to this file (- is standard output)")
	fs.StringVar(&c.label, "label", "", "name for this run in the JSON output")
	fs.DurationVar(&c.settle, "settle", 500*time.Millisecond, "wait before the final CPU reading, so that work after the last login counts")
	fs.BoolVar(&c.quiet, "q", false, "no text report")
}

func (c *common) start() error {
	gs, err := parsePids(c.pid)
	if err != nil {
		return err
	}
	for _, g := range gs {
		if len(tree(g.Pids)) == 0 {
			return fmt.Errorf("-pid: no process %v", g.Pids)
		}
	}
	c.gs = gs
	c.mark()
	return nil
}

func (c *common) mark() {
	c.c0, c.byComm0 = nil, nil
	for _, g := range c.gs {
		c.c0 = append(c.c0, g.cpuSeconds())
		c.byComm0 = append(c.byComm0, g.cpuByComm())
	}
	c.self0 = selfCPU()
}

// cpu adds the CPU figures since mark; per is the divisor (logins, messages).
func (c *common) cpu(r *result, per int, unit string) {
	tot := 0.0
	for i, g := range c.gs {
		d := g.cpuSeconds() - c.c0[i]
		tot += d
		if len(c.gs) > 1 {
			r.M["cpu_s:"+g.Name] = d
			if per > 0 {
				r.M["cpu_ms_per_"+unit+":"+g.Name] = d * 1000 / float64(per)
			}
		}
		for k, v := range g.cpuByComm() {
			if dv := v - c.byComm0[i][k]; dv > 0 && per > 0 {
				r.M["cpu_ms_per_"+unit+"/"+k] += dv * 1000 / float64(per)
			}
		}
	}
	if len(c.gs) > 0 {
		r.M["cpu_s"] = tot
		if per > 0 {
			r.M["cpu_ms_per_"+unit] = tot * 1000 / float64(per)
		}
	}
	self := selfCPU() - c.self0
	r.M["client_cpu_s"] = self
	if per > 0 {
		r.M["client_cpu_ms_per_"+unit] = self * 1000 / float64(per)
	}
}

func selfCPU() float64 {
	var ru syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return float64(ru.Utime.Sec+ru.Stime.Sec) + float64(ru.Utime.Usec+ru.Stime.Usec)/1e6
}

func newResult(c *common, mode string) *result {
	return &result{Label: c.label, Mode: mode, When: time.Now().UTC().Format(time.RFC3339), Errors: map[string]int{}, M: map[string]float64{}, Args: os.Args[1:]}
}

// lat adds percentiles of durations, in ms.
func (r *result) lat(prefix string, d []time.Duration) {
	if len(d) == 0 {
		return
	}
	sort.Slice(d, func(i, j int) bool { return d[i] < d[j] })
	q := func(p float64) float64 {
		i := int(p*float64(len(d))+0.999999) - 1
		if i < 0 {
			i = 0
		}
		if i >= len(d) {
			i = len(d) - 1
		}
		return float64(d[i].Microseconds()) / 1000
	}
	r.M[prefix+"p50_ms"] = q(.50)
	r.M[prefix+"p90_ms"] = q(.90)
	r.M[prefix+"p99_ms"] = q(.99)
	r.M[prefix+"max_ms"] = float64(d[len(d)-1].Microseconds()) / 1000
}

func (r *result) fail(mu *sync.Mutex, err error) {
	k := err.Error()
	if le, ok := err.(*loginErr); ok {
		k = le.kind
	}
	mu.Lock()
	r.Errors[k]++
	if r.samples == nil {
		r.samples = map[string]string{}
	}
	if _, ok := r.samples[k]; !ok {
		r.samples[k] = err.Error()
	}
	mu.Unlock()
}

func (c *common) report(r *result) {
	if !c.quiet {
		w := os.Stdout
		if c.json == "-" {
			w = os.Stderr
		}
		fmt.Fprintf(w, "%s %s: n=%d ok=%d c=%d wall=%.2fs\n", r.Mode, r.Label, r.N, r.OK, r.C, r.Wall)
		var ks []string
		for k := range r.M {
			ks = append(ks, k)
		}
		sort.Strings(ks)
		for _, k := range ks {
			fmt.Fprintf(w, "  %-32s %12.3f\n", k, r.M[k])
		}
		if r.Trace != "" {
			fmt.Fprintf(w, "  %s\n", r.Trace)
		}
		for k, n := range r.Errors {
			fmt.Fprintf(w, "  error %-26s %8d   e.g. %.200s\n", k, n, strings.TrimSpace(r.samples[k]))
		}
	}
	if c.json == "" {
		return
	}
	b, _ := json.Marshal(r)
	b = append(b, '\n')
	if c.json == "-" {
		os.Stdout.Write(b)
		return
	}
	f, err := os.OpenFile(c.json, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	f.Write(b)
	f.Close()
}
