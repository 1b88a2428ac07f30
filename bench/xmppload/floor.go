package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// cmdFloor runs this binary's floor-server and loads it.
func cmdFloor(args []string) error {
	fs, t, c := newFlags("floor")
	kindF := fs.String("kind", "canned", "tls, pipe, canned-nopipe or canned")
	n := fs.Int("n", 2000, "logins")
	cc := fs.Int("c", 16, "workers")
	cert := fs.String("cert", "ecdsa.crt", "certificate")
	key := fs.String("key", "ecdsa.key", "key")
	script := fs.String("script", "", "auth program, generic protocol")
	procs := fs.Int("procs", 1, "auth processes")
	tickets := fs.Bool("tickets", true, "the server sends session tickets")
	q := fs.Int("queries", 20000, "pipe: extra run of bare queries on one connection, to price a query alone")
	fs.Parse(args)
	if *kindF == "tls" || *kindF == "pipe" {
		t.DirectTLS, t.Until = true, "tls"
	}
	if err := t.prepare(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "floor-server", "-addr", "127.0.0.1:0", "-kind", *kindF, "-cert", *cert, "-key", *key, "-script", *script, "-procs", fmt.Sprint(*procs), "-tickets="+fmt.Sprint(*tickets))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	if _, err := fmt.Fscanf(out, "listening %s\n", &t.Addr); err != nil {
		return fmt.Errorf("floor-server did not come up: %w", err)
	}
	c.pid = "floor=" + strconv.Itoa(cmd.Process.Pid)
	r := newResult(c, "floor-"+*kindF)
	loginMany(t, 100, 8, 0, newResult(c, "warm"), nil)
	time.Sleep(200 * time.Millisecond)
	if err := c.start(); err != nil {
		return err
	}
	t0 := time.Now()
	var lat []time.Duration
	if *kindF == "pipe" {
		lat, err = pipeLogins(t, *n, *cc, r)
		r.Wall = time.Since(t0).Seconds()
	} else {
		lat, _, _ = loginMany(t, *n, *cc, 100, r, nil)
	}
	if err != nil {
		return err
	}
	time.Sleep(c.settle)
	r.N, r.C, r.OK = *n, *cc, len(lat)
	c.cpu(r, max(1, r.OK), "login")
	r.M["logins_per_s"] = float64(r.OK) / r.Wall
	r.lat("", lat)
	if *kindF == "pipe" && *q > 0 {
		s, err := t.login(0)
		if err != nil {
			return err
		}
		c.mark()
		br := bufio.NewReader(s.c)
		var ql []time.Duration
		for i := 0; i < *q; i++ {
			q0 := time.Now()
			if _, err := io.WriteString(s.c, "auth:u1:bench.test:pass:u1\n"); err != nil {
				return err
			}
			if l, err := br.ReadString('\n'); err != nil || !strings.HasPrefix(l, "1") {
				return fmt.Errorf("query: %q %v", l, err)
			}
			ql = append(ql, time.Since(q0))
		}
		time.Sleep(200 * time.Millisecond)
		tmp := newResult(c, "")
		c.cpu(tmp, *q, "query")
		for k, v := range tmp.M {
			if strings.HasPrefix(k, "cpu_ms_per_query") {
				r.M[k] = v
			}
		}
		r.lat("query_", ql)
		s.close()
	}
	c.report(r)
	return nil
}

// pipeLogins: handshake and one query per connection.
func pipeLogins(t *target, n, c int, r *result) ([]time.Duration, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var next atomic.Int64
	var lat []time.Duration
	for w := 0; w < c; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				t0 := time.Now()
				s, err := t.login(i)
				if err != nil {
					r.fail(&mu, err)
					continue
				}
				u := t.userName(i)
				io.WriteString(s.c, "auth:"+u+":"+t.Domain+":pass:"+u+"\n")
				var b [8]byte
				k, err := s.c.Read(b[:])
				d := time.Since(t0)
				if err != nil || k < 1 || b[0] != '1' {
					r.fail(&mu, fmt.Errorf("pipe-answer"))
				} else {
					mu.Lock()
					lat = append(lat, d)
					mu.Unlock()
				}
				s.close()
			}
		}()
	}
	wg.Wait()
	return lat, nil
}
