package main

import (
	"fmt"
	"strconv"
	"sync"
	"time"
)

// pinger sends XEP-0199 pings on a fixed schedule and times the answers from
// the scheduled moment, so that a stalled server cannot hide its stall.
type pinger struct {
	s     *session
	every time.Duration
	mu    sync.Mutex
	sent  map[string]time.Time
	lat   []time.Duration
	n     int
}

func (p *pinger) run(prefix string, d time.Duration) ([]time.Duration, int) {
	p.mu.Lock()
	p.sent = map[string]time.Time{}
	p.lat = nil
	p.n = 0
	p.mu.Unlock()
	end := time.Now().Add(d)
	next := time.Now()
	for i := 0; next.Before(end); i++ {
		time.Sleep(time.Until(next))
		id := prefix + strconv.Itoa(i)
		p.mu.Lock()
		p.sent[id] = next
		p.n++
		p.mu.Unlock()
		if err := p.s.send("<iq type='get' id='" + id + "' to='" + p.s.t.Domain + "'><ping xmlns='urn:xmpp:ping'/></iq>"); err != nil {
			break // what is unanswered says so
		}
		next = next.Add(p.every)
	}
	// wait for stragglers
	for i := 0; i < 100; i++ {
		p.mu.Lock()
		left := len(p.sent)
		p.mu.Unlock()
		if left == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]time.Duration(nil), p.lat...), len(p.sent)
}

func (p *pinger) read() {
	for {
		raw, err := p.s.elem()
		if err != nil {
			return
		}
		if local(name(raw)) != "iq" {
			continue
		}
		now := time.Now()
		id := attr(raw, "id")
		p.mu.Lock()
		if t0, ok := p.sent[id]; ok {
			delete(p.sent, id)
			p.lat = append(p.lat, now.Sub(t0))
		}
		p.mu.Unlock()
	}
}

func cmdSlow(args []string) error {
	fs, t, c := newFlags("slow")
	dur := fs.Duration("dur", 10*time.Second, "length of the loaded part")
	base := fs.Duration("base", 2*time.Second, "length of the quiet part before it")
	cc := fs.Int("c", 64, "concurrent workers")
	every := fs.Duration("ping-every", 20*time.Millisecond, "ping schedule")
	fs.Parse(args)
	if err := t.prepare(); err != nil {
		return err
	}
	r := newResult(c, "slow")
	if t.Fail {
		r.Mode = "slow-fail"
	}
	pt := *t
	pt.Fail = false
	ps, err := pt.loginSteady(0, t.userName(0), "pinger")
	if err != nil {
		return fmt.Errorf("pinger login: %w", err)
	}
	p := &pinger{s: ps, every: *every}
	go p.read()
	quiet, lostQ := p.run("q", *base)
	if err := c.start(); err != nil {
		return err
	}
	stop := make(chan struct{})
	type out struct{ lat []time.Duration }
	ch := make(chan out)
	go func() {
		l, _, _ := loginMany(t, 1<<30, *cc, 1, r, stop)
		ch <- out{l}
	}()
	var loaded []time.Duration
	var lostL int
	pd := make(chan struct{})
	go func() { loaded, lostL = p.run("l", *dur); close(pd) }()
	time.Sleep(*dur)
	close(stop)
	o := <-ch
	<-pd
	time.Sleep(c.settle)
	r.C, r.OK = *cc, len(o.lat)
	r.N = r.OK
	for _, v := range r.Errors {
		r.N += v
	}
	c.cpu(r, max(1, r.OK), "login")
	r.M["logins_per_s"] = float64(r.OK) / r.Wall
	r.lat("", o.lat)
	r.lat("ping_quiet_", quiet)
	r.lat("ping_", loaded)
	r.M["ping_n"] = float64(len(loaded))
	r.M["ping_unanswered"] = float64(lostQ + lostL)
	c.report(r)
	ps.close()
	return nil
}
