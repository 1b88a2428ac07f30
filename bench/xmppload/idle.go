package main

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

func cmdIdle(args []string) error {
	fs, t, c := newFlags("idle")
	n := fs.Int("n", 5000, "sessions")
	cc := fs.Int("c", 32, "workers while opening")
	warm := fs.Int("warm", 500, "logins before the first reading, so that heaps are grown")
	hold := fs.Duration("hold", 10*time.Second, "hold time before the second reading")
	pause := fs.Duration("pause", 2*time.Second, "wait before the first reading, and between opening and holding")
	fs.Parse(args)
	if err := t.prepare(); err != nil {
		return err
	}
	r := newResult(c, "idle")
	loginMany(t, *warm, 16, 0, newResult(c, "warm"), nil)
	time.Sleep(*pause)
	if err := c.start(); err != nil {
		return err
	}
	if len(c.gs) == 0 {
		return errors.New("idle needs -pid")
	}
	var before []memUse
	for _, g := range c.gs {
		before = append(before, g.mem())
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var next atomic.Int64
	ss := make([]*session, *n)
	t0 := time.Now()
	for w := 0; w < *cc; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				i := int(next.Add(1)) - 1
				if i >= *n {
					return
				}
				s, err := t.login(*warm + i)
				if err != nil {
					r.fail(&mu, err)
					continue
				}
				ss[i] = s
			}
		}()
	}
	wg.Wait()
	wall := time.Since(t0)
	ok := 0
	var dropped atomic.Int64
	for _, s := range ss {
		if s == nil {
			continue
		}
		ok++
		go func() {
			for {
				if _, err := s.elem(); err != nil {
					if !errors.Is(err, os.ErrDeadlineExceeded) {
						dropped.Add(1)
					}
					return
				}
			}
		}()
	}
	r.N, r.C, r.OK, r.Wall = *n, *cc, ok, wall.Seconds()
	time.Sleep(*pause)
	c.cpu(r, max(1, ok), "login")
	c.mark()
	t1 := time.Now()
	time.Sleep(*hold)
	held := time.Since(t1)
	var cpu float64
	var db, da, dr int64
	for i, g := range c.gs {
		m := g.mem()
		cpu += g.cpuSeconds() - c.c0[i]
		db += before[i].PSS
		da += m.PSS
		dr += m.RSS - before[i].RSS
		if len(c.gs) > 1 {
			r.M["pss_per_session_B:"+g.Name] = float64(m.PSS-before[i].PSS) / float64(max(1, ok))
		}
	}
	r.M["pss_before_MB"] = float64(db) / 1e6
	r.M["pss_after_MB"] = float64(da) / 1e6
	r.M["pss_per_session_B"] = float64(da-db) / float64(max(1, ok))
	r.M["rss_per_session_B"] = float64(dr) / float64(max(1, ok))
	r.M["idle_cpu_ms_per_s"] = cpu * 1000 / held.Seconds()
	r.M["dropped"] = float64(dropped.Load())
	r.M["logins_per_s"] = float64(ok) / wall.Seconds()
	c.report(r)
	sem := make(chan struct{}, 32)
	for _, s := range ss {
		if s == nil {
			continue
		}
		wg.Add(1)
		sem <- struct{}{}
		go func() {
			defer wg.Done()
			s.raw.SetDeadline(time.Now().Add(5 * time.Second))
			s.end()
			s.c.Close()
			<-sem
		}()
	}
	wg.Wait()
	return nil
}
