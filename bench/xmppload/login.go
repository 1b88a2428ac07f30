package main

import (
	"errors"
	"flag"
	"sync"
	"sync/atomic"
	"time"
)

func newFlags(name string) (*flag.FlagSet, *target, *common) {
	fs := flag.NewFlagSet(name, flag.ExitOnError)
	t, c := &target{}, &common{}
	t.flags(fs)
	c.flags(fs)
	return fs, t, c
}

// loginMany runs n logins by c workers; stop, when not nil, ends the run early.
// It returns the latencies of those that ended as expected.
// Sessions are closed aside, so that a server slow to close does not hold up
// the next login; r gets that time as close_p50_ms, and the wall time (without
// the last closes) as wall.
func loginMany(t *target, n, c, base int, r *result, stop <-chan struct{}) (lat []time.Duration, ph [nPhases][]time.Duration, resumed int64) {
	var mu sync.Mutex
	var wg, cwg sync.WaitGroup
	var closes []time.Duration
	t0 := time.Now()
	defer func() {
		r.Wall = time.Since(t0).Seconds()
		cwg.Wait()
		tmp := &result{M: map[string]float64{}}
		tmp.lat("", closes)
		if len(closes) > 0 {
			r.M["close_p50_ms"] = tmp.M["p50_ms"]
		}
	}()
	var next atomic.Int64
	for w := 0; w < c; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				if stop != nil {
					select {
					case <-stop:
						return
					default:
					}
				}
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if t.Rate > 0 {
					time.Sleep(time.Until(t0.Add(time.Duration(float64(i) / t.Rate * float64(time.Second)))))
				}
				tt := t
				if t.Mix && i&1 == 1 {
					tt = t.failing
				}
				t0 := time.Now()
				s, err := tt.login(base + i)
				d := time.Since(t0)
				if tt.Fail && s != nil && err == error(errNotAuthorized) {
					err = nil
					// the connection was closed by loginAs; nothing to end
					mu.Lock()
					lat = append(lat, d)
					for p := range ph {
						ph[p] = append(ph[p], s.ph[p])
					}
					mu.Unlock()
					continue
				}
				if err != nil {
					r.fail(&mu, err)
					continue
				}
				if s.resumed {
					atomic.AddInt64(&resumed, 1)
				}
				mu.Lock()
				lat = append(lat, d)
				for p := range ph {
					ph[p] = append(ph[p], s.ph[p])
				}
				mu.Unlock()
				cwg.Add(1)
				go func() {
					defer cwg.Done()
					c0 := time.Now()
					s.close()
					mu.Lock()
					closes = append(closes, time.Since(c0))
					mu.Unlock()
				}()
			}
		}()
	}
	wg.Wait()
	return
}

// loginSteady tries up to ten times: some servers reject a right password now
// and then, and a mode that only needs a session should not fail on that.
func (t *target) loginSteady(i int, user, resource string) (s *session, err error) {
	for k := 0; k < 10; k++ {
		if s, err = t.loginAs(i, user, resource); err == nil {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	return
}

func cmdLogin(args []string) error {
	fs, t, c := newFlags("login")
	n := fs.Int("n", 1000, "logins")
	cc := fs.Int("c", 16, "concurrent workers")
	warm := fs.Int("warm", 50, "logins before the clock starts")
	fs.Float64Var(&t.Rate, "rate", 0, "logins to begin in a second, evenly, where -c allows it (0: as many as can be)")
	fs.Parse(args)
	if err := t.prepare(); err != nil {
		return err
	}
	r := newResult(c, "login")
	if t.Fail {
		r.Mode = "fail"
	}
	if t.Mix {
		r.Mode = "mix"
	}
	if t.Until != "bind" {
		r.Mode += "-until-" + t.Until
	}
	if *warm > 0 {
		w := newResult(c, "warm")
		loginMany(t, *warm, min(*cc, 8), 0, w, nil)
		time.Sleep(200 * time.Millisecond)
	}
	if err := c.start(); err != nil {
		return err
	}
	lat, ph, resumed := loginMany(t, *n, *cc, *warm, r, nil)
	time.Sleep(c.settle)
	r.N, r.C, r.OK = *n, *cc, len(lat)
	c.cpu(r, max(1, r.OK), "login")
	r.M["logins_per_s"] = float64(r.OK) / r.Wall
	if t.Mix || t.Fail {
		r.M["false_accepts"] = float64(r.Errors["unexpected-success"])
	}
	if !t.Fail {
		r.M["false_rejects"] = float64(r.Errors["sasl:not-authorized"])
	}
	if t.Resume {
		r.M["resumed"] = float64(resumed)
	}
	r.lat("", lat)
	for p, d := range ph {
		tmp := &result{M: map[string]float64{}}
		tmp.lat("", d)
		if v := tmp.M["p50_ms"]; v > 0 {
			r.M["phase_"+phaseNames[p]+"_p50_ms"] = v
		}
	}
	c.report(r)
	if r.OK == 0 {
		return errors.New("no login succeeded")
	}
	return nil
}
