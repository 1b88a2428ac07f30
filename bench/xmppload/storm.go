package main

import (
	"sync"
	"sync/atomic"
	"time"
)

func cmdStorm(args []string) error {
	fs, t, c := newFlags("storm")
	k := fs.Int("k", 2000, "sessions")
	retry := fs.Bool("retry", true, "a failed client tries again after 1 s")
	limit := fs.Duration("limit", 120*time.Second, "give up after this long")
	warm := fs.Int("warm", 50, "logins before the clock starts")
	fs.Parse(args)
	if err := t.prepare(); err != nil {
		return err
	}
	t.Users = max(t.Users, 1)
	r := newResult(c, "storm")
	loginMany(t, *warm, 8, 0, newResult(c, "warm"), nil)
	if err := c.start(); err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := make(chan struct{})
	var t0 time.Time
	lat := make([]time.Duration, 0, *k)
	ss := make([]*session, *k)
	retries := int64(0)
	for i := 0; i < *k; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			<-start
			for {
				s, err := t.login(*warm + i)
				if err == nil {
					ss[i] = s
					mu.Lock()
					lat = append(lat, time.Since(t0))
					mu.Unlock()
					return
				}
				r.fail(&mu, err)
				if !*retry || time.Since(t0) > *limit {
					return
				}
				atomic.AddInt64(&retries, 1)
				time.Sleep(time.Second)
			}
		}()
	}
	time.Sleep(300 * time.Millisecond)
	t0 = time.Now()
	close(start)
	wg.Wait()
	wall := time.Since(t0)
	time.Sleep(c.settle)
	r.N, r.C, r.OK, r.Wall = *k, *k, len(lat), wall.Seconds()
	c.cpu(r, max(1, r.OK), "login")
	r.M["all_bound_s"] = wall.Seconds()
	r.M["retries"] = float64(retries)
	r.M["logins_per_s"] = float64(r.OK) / wall.Seconds()
	r.lat("", lat)
	c.report(r)
	// leave gently
	sem := make(chan struct{}, 32)
	for _, s := range ss {
		if s == nil {
			continue
		}
		wg.Add(1)
		sem <- struct{}{}
		go func() { defer wg.Done(); s.close(); <-sem }()
	}
	wg.Wait()
	return nil
}
